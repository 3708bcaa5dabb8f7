"""A real server process and viewers that do not keep up: how much it holds for them, what it tells the muxer."""

import threading
import time
from collections.abc import Iterator

import pytest

from common.messages import ReadStart, ReadStop
from tests.support.fake_muxer import FakeMuxer
from tests.support.frame_source import Judge
from tests.support.server_process import ServerProcess, framed, healthy, play
from tests.support.wait import until

FRAME_PACKETS = 60  # 11 kB, 25 times a second: 2.3 Mbit/s
SYNC_EVERY = 25
BPS = FRAME_PACKETS * 188 * 8 * 25
SMALL_BUFFER_BYTES = 4096
HELD_BYTES_MAX = 128 << 10  # a window of 4 kB, 16 kB not sent, one packet of 64 kB that both are cut by, one frame


class Source(threading.Thread):
    """Frames at their pace, from entering to leaving the context."""

    def __init__(self, muxer: FakeMuxer) -> None:
        super().__init__(daemon=True)
        self._muxer = muxer
        self._stopping = threading.Event()

    def run(self) -> None:
        number = 0
        due_s = time.monotonic()
        while not self._stopping.wait(max(0.0, due_s - time.monotonic())):
            now_us = time.monotonic_ns() // 1000
            self._muxer.produce("cam", sync=number % SYNC_EVERY == 0, packets=FRAME_PACKETS, time_us=now_us)
            number += 1
            due_s += 0.04

    def __enter__(self) -> "Source":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self.join(10)


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[ServerProcess, FakeMuxer]]:
    """A stream whose viewers, when they are behind, go on at the newest sync point."""
    with ServerProcess("cam") as server, FakeMuxer(server.directory, "cam", skips=True) as muxer:
        until(lambda: muxer.greeted, 10, "the server to find the muxer")
        healthy(server)
        with Source(muxer):
            yield server, muxer


def of_viewer(muxer: FakeMuxer, viewer: int) -> list[ReadStart]:
    return [
        message for message in muxer.of(ReadStart) if isinstance(message, ReadStart) and message.viewer == viewer
    ]


@pytest.mark.parametrize("share", [2, 10])
def test_a_slow_viewer_is_given_as_little_ahead_as_its_pace_asks_for(
    served: tuple[ServerProcess, FakeMuxer], share: int
) -> None:
    server, muxer = served
    before = len(muxer.of(ReadStart))
    with play(
        server, receive_buffer_bytes=SMALL_BUFFER_BYTES, read_bytes_max=2048, rate_bps=BPS // share
    ) as client:
        viewer = muxer.of(ReadStart)[before]
        assert isinstance(viewer, ReadStart)
        judge = Judge()
        until_s = time.monotonic() + 6
        while time.monotonic() < until_s:
            judge.receive(framed(client.next_packet()))
        until(lambda: server.viewers(), 5, "the viewer's figures")
        read = client.bytes_read
        (figures,) = (figures for figures in server.viewers() if figures.state == "reading")
    starts = of_viewer(muxer, viewer.viewer)
    assert starts[0].room_bytes == 1  # its first picture
    told = [start for start in starts if start.delay_us]
    assert told, "its pace has been found out"
    late = told[len(told) // 2 :]
    assert all(start.delay_us <= 450_000 + 1 for start in late)
    assert all(start.room_bytes <= BPS // 8 // share for start in late)  # a second's, of which 50 ms are due
    assert figures.frames_dropped > 0
    assert figures.splices > 0
    assert figures.bytes_sent - read < HELD_BYTES_MAX
    assert judge.frames
    until(
        lambda: f"viewer=server-0-{viewer.viewer} " in server.log and "event=viewer_slow" in server.log,
        5,
        "a line",
    )


def test_who_keeps_up_is_not_touched(served: tuple[ServerProcess, FakeMuxer]) -> None:
    server, muxer = served
    before = len(muxer.of(ReadStart))
    stops = len(muxer.of(ReadStop))
    with play(server) as client:
        judge = Judge()
        while len(judge.frames) < 75:
            judge.receive(framed(client.next_packet()))
        numbers = [number for _, number in judge.frames]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert (
        len(muxer.of(ReadStart)) - before <= 3
    )  # its first picture, what it had to catch up, and perhaps once more
    assert len(muxer.of(ReadStop)) == stops
