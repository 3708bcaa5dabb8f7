"""Merging what processes report, and reading their usage."""

import os
import subprocess
import sys

from common.config import Config, Host, Stream
from common.figures import (
    VIEWERS_REPORTED_MAX,
    ProcessFigures,
    RoleFigures,
    StreamFigures,
    ViewerFigures,
)
from deploy.stats import METER_INTERVAL_US, Meter, Usage, merge

CONFIG = Config(streams={"door": Stream(source="camera:0"), "yard": Stream(source="test:")})


def process(name: str) -> ProcessFigures:
    return ProcessFigures(name.partition("-")[0], name, 1, "up", 0.0, 0, 0.0, 0)


def viewer(stream: str) -> ViewerFigures:
    return ViewerFigures("1", stream, "http-ts", "127.0.0.1:9", "ua", "reading", 1.0, 2, 3, 4, 5, 6.0)


class TestMerge:
    def test_every_configured_stream_is_listed_in_their_order(self) -> None:
        figures = merge(CONFIG, [], {}, {})
        assert figures.streams == [
            StreamFigures("door", "camera:0", state="waiting"),
            StreamFigures("yard", "test:", state="waiting"),
        ]
        assert figures.viewers == []

    def test_streams_come_from_the_muxers_and_viewers_from_the_servers(self) -> None:
        reports = {
            "muxer-0": RoleFigures({"a": 1}, [StreamFigures("yard", "test:", ["h264"], viewers=99, state="live")]),
            "muxer-1": RoleFigures({"b": 2}, [StreamFigures("door", "camera:0", ["aac"], epoch=4, state="live")]),
            "server-0": RoleFigures({"c": 3}, viewers=[viewer("yard"), viewer("door")]),
            "server-1": RoleFigures(viewers=[viewer("yard"), viewer("gone")]),
        }
        figures = merge(CONFIG, [process(name) for name in reports], reports, {})
        assert [(s.name, s.codecs, s.viewers, s.epoch) for s in figures.streams] == [
            ("door", ["aac"], 1, 4), ("yard", ["h264"], 2, 0),
        ]  # fmt: skip
        assert [v.stream for v in figures.viewers] == ["yard", "door", "yard", "gone"]
        assert [p.counters for p in figures.processes] == [{"a": 1}, {"b": 2}, {"c": 3}, {}]
        assert reports["muxer-0"].streams[0].viewers == 99  # a report is not changed by being shown

    def test_a_stream_that_no_one_configured_is_not_shown(self) -> None:
        reports = {"muxer-0": RoleFigures(streams=[StreamFigures("stranger", "x:")])}
        assert [stream.name for stream in merge(CONFIG, [], reports, {}).streams] == ["door", "yard"]

    def test_a_stream_that_is_muxed_on_another_host_says_where(self) -> None:
        hosts = {"hub": Host("k" * 40, "f", muxers=1), "edge": Host("k" * 40, "f", servers=1)}
        config = Config(here="edge", hosts=hosts, streams={"door": Stream("test:", host="hub")})
        (door,) = merge(config, [], {"server-0": RoleFigures(viewers=[viewer("door")])}, {}).streams
        assert (door.state, door.reason, door.viewers) == ("elsewhere", "see hub/muxer-0", 1)

    def test_a_failed_capture_shows_as_down_with_its_reason(self) -> None:
        reports = {"muxer-0": RoleFigures(streams=[StreamFigures("door", "camera:0", state="live")])}
        door, yard = merge(CONFIG, [], reports, {"door": "its settings are wrong"}).streams
        assert (door.state, door.reason) == ("down", "its settings are wrong")
        assert (yard.state, yard.reason) == ("waiting", "")

    def test_viewers_beyond_the_limit_are_cut_off(self) -> None:
        reports = {"server-0": RoleFigures(viewers=[viewer("door")] * (VIEWERS_REPORTED_MAX + 1))}
        assert len(merge(CONFIG, [], reports, {}).viewers) == VIEWERS_REPORTED_MAX


class TestMeter:
    def test_reads_memory_at_once_and_the_cpu_share_since_the_last_reading(self) -> None:
        with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
            try:
                meter = Meter()
                first = meter.read([os.getpid(), busy.pid], 0)
                assert first[os.getpid()].rss_bytes > 1_000_000
                assert meter.read([os.getpid(), busy.pid], METER_INTERVAL_US - 1) == first
                now, share = 0, 0.0
                while share == 0.0:  # until the kernel has accounted for a tick
                    now += METER_INTERVAL_US
                    share = meter.read([busy.pid], now)[busy.pid].cpu_percent
                assert share > 0
            finally:
                busy.kill()

    def test_a_new_process_is_read_between_the_readings(self) -> None:
        meter = Meter()
        assert meter.read([], 0) == {}
        assert meter.read([os.getpid()], 1)[os.getpid()].rss_bytes > 0

    def test_one_that_is_gone_shows_nothing(self) -> None:
        with subprocess.Popen([sys.executable, "-c", ""]) as ended:
            ended.wait()
        assert Meter().read([ended.pid], 0) == {ended.pid: Usage()}
