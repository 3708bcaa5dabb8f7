"""A slate stands in for a source that is away: viewers stay, and see one stream whose times go on."""

import shutil
import threading
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support import decoding, judge, players
from tests.support.check_picture import CheckClip
from tests.support.instance import PATIENT, Instance
from tests.support.viewers import HttpViewer, RtspViewer
from tests.support.wait import until

SLATES = 3
FFMPEG_S = 90


@pytest.fixture
def folder(clip: CheckClip, tmp_path: Path) -> Path:
    shutil.copy(clip.path, tmp_path / "there.mp4")
    return tmp_path


def settings(source: str, more: str = "") -> str:
    return f"""{PATIENT}
        [capture]
        retry_ms = 200
        retry_max_ms = 200
        [streams.cam]
        source = "{source}"
        slate = true
        {more}
    """


def slates(instance: Instance) -> int:
    return int(instance.processes("capture")[0]["counters"].get("slates", 0))


def test_viewers_stay_and_times_go_on_while_a_file_is_away(folder: Path) -> None:
    with Instance(config=settings(f"mock:{folder / 'there.mp4'}")) as instance:
        instance.wait_live("cam")
        with RtspViewer(instance.rtsp("cam")) as rtsp, HttpViewer(instance.http("cam")) as http:
            for viewer in (rtsp, http):
                viewer.wait_bytes(50_000)
            (folder / "there.mp4").rename(folder / "away.mp4")
            until(lambda: slates(instance) >= SLATES, 30, "slates")
            stream = instance.stream("cam")
            assert (stream["state"], "no such file" in stream["reason"]) == ("slate", True)
            with HttpViewer(instance.http("cam")) as late:  # who comes now is shown it, too
                late.wait_bytes(1_000)
            assert late.error is None
            (folder / "away.mp4").rename(folder / "there.mp4")
            instance.wait_live("cam")
            for viewer in (rtsp, http):
                viewer.wait_bytes(150_000)
            assert [viewer.error for viewer in (rtsp, http)] == [None, None]
    judge.check_rtp(rtsp.rtp)
    for viewer in (rtsp, http):
        judge.check_ts(viewer.ts, spliced=True)
        decoded = decoding.decode(viewer.ts, check_pictures=True)
        assert not decoded.errors
        units = [unit for unit in decoding.units(viewer.ts) if not unit.audio]
        assert all(one.dts < other.dts for one, other in pairwise(units))
        assert all(other.pts - one.pts < 3 * 90_000 for one, other in pairwise(units))
        numbers = [reading.number for reading in decoded.readings]
        first, last = numbers.index(-1), len(numbers) - numbers[::-1].index(-1) - 1
        assert set(numbers[first : last + 1]) == {-1}  # one run of pictures that are none of the clip's
        assert last - first + 1 >= SLATES
        assert all(unit.key for unit in units[first : last + 2])  # each a sync point, and the first one after
        assert numbers[last + 1] == 0
        for part in (decoded.readings[:first], decoded.readings[last + 1 :]):
            assert not any(reading.damaged for reading in part)


@pytest.mark.interop
@pytest.mark.parametrize("url", ["ts", "native"])
def test_ffmpeg_watches_a_program_that_ends_and_is_started_again(clip: CheckClip, url: str) -> None:
    """The source has sound and B-pictures; the slate has neither."""
    players.need("ffmpeg")
    line = f"ffmpeg -nostdin -v error -re -i {clip.path} -t 6 -c copy -f mpegts -"
    config = settings(f"exec:{line}").replace("= 200", "= 2500")
    with Instance(config=config) as instance:
        instance.wait_live("cam")
        watching = f"ffmpeg -nostdin -v warning -rtsp_transport tcp -i {instance.rtsp('cam')}/{url}"
        ended: list[players.Run] = []

        def watch() -> None:
            shown = "-fps_mode passthrough -enc_time_base 1:90000 -t 14 -f null -"
            ended.append(players.run(f"{watching} {shown}", within_s=FFMPEG_S))

        watcher = threading.Thread(target=watch)
        watcher.start()
        until(lambda: slates(instance) >= 2, 60, "slates")
        until(lambda: instance.stream("cam")["state"] == "live", 30, "the program again")
        watcher.join(FFMPEG_S)
    (run,) = ended
    assert run.code == 0, run.err
    assert run.err == ""
