"""When viewers get their sender reports, and that the two clocks in them agree."""

import struct
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from common.header_numbers import NONE
from server.frame_mark import FrameMark
from server.rtcp import ntp_time
from server.sender_reports import AGE_MAX_US, INTERVAL_US, SenderReports
from server.viewers import Viewer
from tests.support.fanout_bench import Bench, Peer, viewer_of

WALL_US = 1_700_000_000_000_000


class Reported(Bench):
    """A bench whose peers get reports."""

    def __init__(self) -> None:
        super().__init__()
        self.wall_us = WALL_US
        self.reports = SenderReports(self.counters, self.clock, lambda: self.wall_us + self.now_us, "me")

    def start(self, peer: Peer) -> None:
        self.reports.start(viewer_of(peer))


@pytest.fixture
def bench() -> Iterator[Reported]:
    bench = Reported()
    yield bench
    bench.close()


def parts(data: bytes) -> tuple[int, int, int, int]:
    """NTP time, RTP clock, packets and octets of a sender report."""
    ntp, clock, packets, octets = struct.unpack_from(">QIII", data, 8)
    return ntp, clock, packets, octets


def test_the_first_at_once_and_the_others_at_an_interval(bench: Reported) -> None:
    peer, ticket = bench.reader(channel=4)
    assert bench.reports.due_us is None
    bench.live(ticket)
    bench.now_us = 10_000
    bench.start(peer)
    bench.to_live(packets=8)
    bench.reports.tick()
    peer.read(bench.fanout)
    [first] = peer.judge.rtcp
    assert parts(first) == (ntp_time(WALL_US + 10_000), 900, 1, 5 * 188)  # 10 ms after the frame of time 0
    assert bench.reports.due_us == 10_000 + INTERVAL_US
    bench.now_us = 10_000 + INTERVAL_US
    bench.reports.tick()
    peer.read(bench.fanout)
    passed = (bench.now_us - 40_000) * 9 // 100  # since the second frame
    assert parts(peer.judge.rtcp[1]) == (ntp_time(WALL_US + bench.now_us), 3600 + passed, 3, 13 * 188)
    assert bench.counters.reports_sent == 2


def test_the_wall_clock_of_a_viewer_cannot_be_set(bench: Reported) -> None:
    (early, first), (late, second) = bench.reader(), bench.reader()
    bench.live(first, second)
    bench.start(early)
    bench.wall_us += 3_600_000_000
    bench.start(late)
    bench.now_us = INTERVAL_US
    bench.reports.tick()
    for peer, wall_us in ((early, WALL_US), (late, WALL_US + 3_600_000_000)):
        peer.read(bench.fanout)
        assert [parts(report)[0] for report in peer.judge.rtcp] == [
            ntp_time(wall_us), ntp_time(wall_us + INTERVAL_US),
        ]  # fmt: skip


def test_the_tracks_of_a_viewer_are_reported_at_the_same_instant(bench: Reported) -> None:
    peer, _ = bench.reader()
    viewer = viewer_of(peer)
    viewer.channels = (0, 1), (2, 3)
    one_clock_each = {"sequences": (1, 2), "ssrcs": (7, 8), "rates_hz": (90_000, 48_000), "clocks": (9_000, 500)}
    frame = replace(bench.source.frame(sync=True, time_us=1_000_000).message, **one_clock_each)
    viewer.took(FrameMark(frame, 1332, 1_000_000), 0, NONE)
    bench.now_us = 1_030_000
    bench.start(peer)
    said, reports = peer.far.recv(2000), []
    while said:
        size = int.from_bytes(said[2:4], "big")
        reports.append((said[1], said[4 : 4 + size]))
        said = said[4 + size :]
    assert [channel for channel, _ in reports] == [1, 3]
    for (_, report), ssrc, clock in zip(reports, (7, 8), (9_000 + 2_700, 500 + 1_440), strict=True):
        kind, words, source = struct.unpack_from(">xBHI", report)
        assert (kind, source) == (200, ssrc)
        assert parts(report)[:2] == (ntp_time(WALL_US + bench.now_us), clock)
        sdes = report[4 + 4 * words :]
        assert (sdes[1], sdes[4:8], sdes[8:12]) == (202, ssrc.to_bytes(4, "big"), b"\x01\x02me"), "the same name"


def test_a_frame_of_another_hosts_clock_is_now(bench: Reported) -> None:
    peer, ticket = bench.reader()
    bench.live(ticket)
    bench.now_us = AGE_MAX_US
    bench.start(peer)
    peer.read(bench.fanout)
    assert parts(peer.judge.rtcp[0])[1] == 0


def test_no_report_for_those_that_are_blocked_stopped_or_gone(bench: Reported) -> None:
    readers = [bench.reader() for _ in range(4)]
    bench.live(*(ticket for _, ticket in readers))
    blocked, stopped, gone, well = (peer for peer, _ in readers)
    for peer in (blocked, stopped, gone, well):
        bench.start(peer)
        peer.read(bench.fanout)
    while not blocked.outlet.blocked:
        blocked.outlet.offer(b"$\x01\x10\x00" + bytes(0x1000))
    bench.fanout.read_stop(viewer_of(stopped))
    bench.fanout.remove(viewer_of(gone))
    bench.now_us += INTERVAL_US
    bench.reports.tick()
    for peer in (stopped, gone, well):
        peer.read(bench.fanout)
    assert [len(peer.judge.rtcp) for peer in (stopped, gone, well)] == [1, 1, 2]
    assert blocked.outlet.queued_bytes == 0
    while blocked.outlet.blocked:
        blocked.read(bench.fanout)
    while blocked.read(bench.fanout):
        pass
    bench.now_us += INTERVAL_US
    bench.reports.tick()
    blocked.read(bench.fanout)
    assert parts(blocked.judge.rtcp[-1])[2] == 1


def test_a_broken_viewer_is_its_owners_affair(bench: Reported) -> None:
    peer, ticket = bench.reader()
    bench.live(ticket)
    bench.start(peer)
    peer.far.close()
    bench.now_us += INTERVAL_US
    bench.reports.tick()
    assert len(peer.errors) == 1


def test_goodbye(bench: Reported) -> None:
    peer, ticket = bench.reader()
    viewer: Viewer = viewer_of(peer)
    bench.reports.stop(viewer)
    assert peer.read(bench.fanout) == 0  # it never heard of us
    bench.live(ticket)
    bench.reports.stop(viewer)
    peer.read(bench.fanout)
    assert peer.judge.rtcp[-1][-8:] == struct.pack(">BBHI", 0x81, 203, 1, bench.source.ssrc)
