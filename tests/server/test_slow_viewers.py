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
FRAME_BYTES = FRAME_PACKETS * 188 * 332 // 329  # with RTP
BPS = FRAME_BYTES * 8 * 25
AGE_MAX_US = 1_000_000
SMALL_BUFFER_BYTES = 4096
HELD_BYTES_MAX = 64 << 10  # a window of 4 kB, 16 kB not sent, a frame; some for luck


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
        until(lambda: len(muxer.of(ReadStart)) > before, 10, "its gate to open")
        viewer = muxer.of(ReadStart)[before]
        assert isinstance(viewer, ReadStart)
        judge = Judge()
        until_s = time.monotonic() + 4
        while time.monotonic() < until_s:
            judge.receive(framed(client.next_packet()))
        until(lambda: any(figures.frames_dropped for figures in server.viewers()), 5, "the viewer's figures")
        read = client.bytes_read
        (figures,) = server.viewers()
    starts = of_viewer(muxer, viewer.viewer)
    assert starts[0].room_bytes == 1  # its first picture
    late = starts[len(starts) // 2 :]
    assert max(start.delay_us for start in late) <= AGE_MAX_US // 2
    assert any(start.delay_us for start in late), "what stands in the kernel's queues is told"
    sizes = sorted(start.room_bytes for start in late)
    assert sizes[len(sizes) // 2] <= 4 * FRAME_BYTES  # mostly a frame or two
    assert figures.state in ("reading", "behind")
    assert figures.splices > 0
    assert figures.bytes_sent - read < HELD_BYTES_MAX
    assert judge.frames
    until(
        lambda: f"viewer=server-0-{viewer.viewer} " in server.log and "event=viewer_slow" in server.log,
        5,
        "a line",
    )


def test_that_a_viewer_stalls_is_seen_while_it_does(served: tuple[ServerProcess, FakeMuxer]) -> None:
    server, _ = served
    with play(server) as good, play(server, receive_buffer_bytes=SMALL_BUFFER_BYTES) as client:
        client.next_packet()

        def seen() -> bool:
            for _ in range(FRAME_PACKETS // 7 * 5):  # as many as come in 0.2 s
                good.next_packet()
            return any(figures.state == "behind" and figures.frames_behind > 25 for figures in server.viewers())

        until(seen, 15, "the figures of a stalled viewer")
        (stalled,) = (figures for figures in server.viewers() if figures.state == "behind")
        assert stalled.age_ms > 1000
        until(lambda: f"viewer={stalled.id} " in server.log, 5, "a line")


def test_who_keeps_up_is_not_touched(served: tuple[ServerProcess, FakeMuxer]) -> None:
    server, muxer = served
    before = len(muxer.of(ReadStart))
    stops = len(muxer.of(ReadStop))
    with play(server) as client:
        judge = Judge()
        while len(judge.frames) < 75:
            judge.receive(framed(client.next_packet()))
        numbers = [number for _, number in judge.frames]
    # Its first picture and what it had to catch up, and some for a machine that is busy with something else.
    assert len(muxer.of(ReadStart)) - before <= 10
    assert len(muxer.of(ReadStop)) - stops <= 4
    assert numbers[-1] - numbers[0] < len(numbers) + SYNC_EVERY


def test_who_stalls_and_reads_again_is_soon_where_the_others_are(served: tuple[ServerProcess, FakeMuxer]) -> None:
    server, muxer = served
    with play(server, receive_buffer_bytes=SMALL_BUFFER_BYTES) as client:
        judge = Judge()
        while len(judge.frames) < 30:
            judge.receive(framed(client.next_packet()))
        stops = len(muxer.of(ReadStop))
        until(lambda: len(muxer.of(ReadStop)) > stops, 10, "it to be behind")
        newest = muxer.models["cam"].source.number
        until(lambda: muxer.models["cam"].source.number > newest + 100, 20, "four seconds to pass")
        newest = muxer.models["cam"].source.number
        while judge.frames[-1][1] < newest:
            judge.receive(framed(client.next_packet()))
        behind = muxer.models["cam"].source.number - newest
        assert behind < 75, f"it took {behind / 25} s"
        numbers: list[int] = []
        while len(numbers) < 25:  # and it keeps up
            judge.receive(framed(client.next_packet()))
            numbers = [number for _, number in judge.frames if number > newest + 75]
        assert numbers[-1] - numbers[0] < 25 + 2 * SYNC_EVERY
