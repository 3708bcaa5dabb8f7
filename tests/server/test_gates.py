"""When gates open: together where many want it, for a slow viewer not before it can have what is new in time."""

from collections.abc import Iterator

import pytest

from common.messages import ReadStart, ReadStop
from server.fanout import LOOK_US, LOOK_WAITING_US
from server.flow import Gate
from server.pacing import ROOM_BYTES
from tests.support.fanout_bench import AGE_MAX_US, Bench, Peer, viewer_of

INTERVAL_US = 20_000
MS = 1000


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench(INTERVAL_US)
    yield bench
    bench.close()


def starts(bench: Bench) -> list[int]:
    """Which viewers' gates have been opened since the last call."""
    said = [message.viewer for message in bench.said if isinstance(message, ReadStart)]
    bench.said.clear()
    return said


def at(bench: Bench, now_us: int) -> None:
    """It is so late: the loop turns."""
    bench.now_us = now_us
    bench.fanout.tick()


def test_the_first_gate_opens_at_once_and_the_others_together(bench: Bench) -> None:
    at(bench, 10 * MS)
    peers = [bench.peer() for _ in range(4)]
    for peer in peers[:3]:
        bench.fanout.read_start(viewer_of(peer))
    assert starts(bench) == [1]
    at(bench, 15 * MS)
    bench.fanout.read_start(viewer_of(peers[3]))
    bench.fanout.read_stop(viewer_of(peers[1]))  # it has thought better of it
    assert starts(bench) == []
    assert bench.fanout.due_us == 10 * MS + INTERVAL_US
    at(bench, bench.fanout.due_us)
    assert starts(bench) == [3, 4]
    at(bench, bench.fanout.due_us)
    assert starts(bench) == []


def test_a_viewer_that_is_gone_is_not_waited_for(bench: Bench) -> None:
    peers = [bench.peer() for _ in range(2)]
    for peer in peers:
        bench.fanout.read_start(viewer_of(peer))
    bench.fanout.remove(viewer_of(peers[1]))
    at(bench, INTERVAL_US)
    assert starts(bench) == [1]


def test_the_first_picture_comes_alone(bench: Bench) -> None:
    peer, ticket = bench.reader()
    frame = bench.source.frame(sync=True)
    bench.fanout.deliver(frame.addressed(tickets=(ticket,), parked=(ticket,)), frame.data)
    assert not bench.said
    assert viewer_of(peer).frames_sent == 1
    at(bench, INTERVAL_US)
    start = bench.heard(ReadStart)
    assert (start.after, start.room_bytes, start.delay_us) == ((1, 0), ROOM_BYTES, 0)


def test_a_new_viewer_asks_for_one_frame(bench: Bench) -> None:
    bench.fanout.read_start(viewer_of(bench.peer()))
    assert bench.heard(ReadStart).room_bytes == 1


class Slow:
    """A live viewer whose peer reads when told to; time goes on by the way."""

    def __init__(self, bench: Bench, peer: Peer) -> None:
        self.bench = bench
        self.peer = peer
        self.viewer = viewer_of(peer)

    def reads(self, size: int, after_us: int) -> None:
        """After so long it reads so much."""
        at(self.bench, self.bench.now_us + after_us)
        self.peer.read(self.bench.fanout, size)


def live_ones(bench: Bench, count: int) -> list[Slow]:
    """Viewers that have been live for a while, and have nothing before them."""
    peers = [bench.peer() for _ in range(count)]
    for peer in peers:
        bench.fanout.read_start(viewer_of(peer))
        at(bench, bench.now_us + INTERVAL_US)
    tickets = [message.ticket for message in bench.said if isinstance(message, ReadStart)]
    bench.said.clear()
    bench.live(*tickets)
    for peer in peers:
        while peer.read(bench.fanout):
            pass
    at(bench, 2 * AGE_MAX_US)
    return [Slow(bench, peer) for peer in peers]


def crawl(bench: Bench) -> Slow:
    """A viewer that has just been found to take 5 kB a second of a frame of 130 kB, the rest of which waits."""
    (slow,) = live_ones(bench, 1)
    bench.to_live(packets=700)
    bench.to_live()
    assert bench.heard(ReadStop).after == (1, 1)
    while slow.peer.outlet.blocked:
        slow.reads(1000, 200 * MS)
    return slow


def peer_has_it_all(peer: Peer) -> bool:
    return peer.judge.frames[-1] == (1, 1) and not peer.judge.unfinished


def test_a_slow_viewers_gate_stays_shut_until_what_it_has_is_nearly_there(bench: Bench) -> None:
    slow = crawl(bench)
    assert slow.viewer.flow.ticket is None
    assert slow.viewer.pace is not None
    assert slow.viewer.pace.bytes_per_s is not None
    assert slow.viewer.pace.bytes_per_s < 20_000
    opened: list[ReadStart] = []
    while not opened and not peer_has_it_all(slow.peer):
        backlog = slow.peer.outlet.backlog_bytes
        rate = slow.viewer.pace.bytes_per_s
        slow.reads(500, LOOK_WAITING_US)
        opened = [message for message in bench.said if isinstance(message, ReadStart)]
        if backlog > rate * 3 // 5:
            assert not opened, "600 ms of it are before what would come now"
    assert slow.viewer.flow.ticket is not None
    assert opened[0].after == (1, 1)
    assert opened[0].room_bytes < 5000
    assert 0 < opened[0].delay_us < AGE_MAX_US // 2


def test_what_is_lost_on_the_way_to_the_gate_is_not_given_twice(bench: Bench) -> None:
    slow = crawl(bench)
    while not any(isinstance(message, ReadStart) for message in bench.said):
        slow.reads(1000, LOOK_WAITING_US)
    ticket = bench.heard(ReadStart).ticket
    bench.source.frame()
    frame = bench.source.frame(sync=True)
    bench.fanout.deliver(frame.addressed(tickets=(ticket,), live=(ticket,)), frame.data)
    while slow.peer.read(bench.fanout):
        pass
    assert slow.peer.judge.frames == [(1, 0), (1, 1), (1, 4)]
    assert slow.viewer.frames_dropped == 2


def test_a_live_viewer_whose_kernel_swallows_everything_is_found_out(bench: Bench) -> None:
    """Nobody is told when a path slows down: what is given is taken, and goes nowhere."""
    slow, other = live_ones(bench, 2)
    for _ in range(3):
        bench.to_live(packets=1)
        other.peer.read(bench.fanout)
        at(bench, bench.now_us + LOOK_US)
    assert not slow.peer.outlet.blocked
    assert bench.heard(ReadStop).after is not None
    assert not bench.said
    assert slow.viewer.flow.gate is Gate.WAITING
    assert other.viewer.flow.gate is Gate.LIVE
    while slow.peer.read(bench.fanout):
        pass
    at(bench, bench.now_us + LOOK_WAITING_US)
    start = bench.heard(ReadStart)
    assert start.viewer == slow.viewer.number
