"""When gates open: together where many want it, for a slow viewer not before it can have what is new in time."""

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from common.messages import Head, ReadStart, ReadStop
from common.sample import Payload
from server.fanout import LOOK_LATE_US, LOOK_READING_US, LOOK_WAITING_US
from server.flow import Gate
from server.pacing import ROOM_BYTES_MAX
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
    at(bench, 10 * MS + INTERVAL_US)
    assert starts(bench) == [3, 4]
    assert bench.fanout.due_us == 10 * MS + LOOK_READING_US + LOOK_LATE_US


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
    assert peer.read(bench.fanout)
    at(bench, INTERVAL_US)
    start = bench.heard(ReadStart)
    assert (start.after, start.room_bytes, start.delay_us) == ((1, 0), ROOM_BYTES_MAX, 0)


def test_a_new_viewer_asks_for_one_frame(bench: Bench) -> None:
    bench.fanout.read_start(viewer_of(bench.peer()))
    assert bench.heard(ReadStart).room_bytes == 1


def live_ones(bench: Bench, count: int) -> list[Peer]:
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
    at(bench, bench.now_us + LOOK_READING_US)
    return peers


def by_ticket(bench: Bench, start: ReadStart, packets: int = 3) -> int:
    """A frame for this ticket that uses its room up; the frame's size."""
    frame = bench.source.frame(packets=packets)
    bench.fanout.deliver(frame.addressed(tickets=(start.ticket,), parked=(start.ticket,)), frame.data)
    return len(frame.data)


def test_a_live_viewer_whose_kernel_swallows_everything_is_found_out(bench: Bench) -> None:
    """Nobody is told when a path slows down: what is given is taken, and goes nowhere."""
    slow, other = live_ones(bench, 2)
    for _ in range(3):
        bench.to_live(packets=1)
        other.read(bench.fanout)
        at(bench, bench.now_us + AGE_MAX_US // 4)
    assert not slow.outlet.blocked
    assert bench.heard(ReadStop).after == viewer_of(slow).position
    assert not bench.said
    assert viewer_of(slow).flow.gate is Gate.WAITING
    assert viewer_of(slow).behind
    assert viewer_of(other).flow.gate is Gate.LIVE


def test_the_gate_of_one_who_is_behind_opens_when_what_he_has_is_not_old(bench: Bench) -> None:
    (slow,) = live_ones(bench, 1)
    for _ in range(2):
        bench.to_live(packets=1)
        at(bench, bench.now_us + AGE_MAX_US // 2)
    bench.heard(ReadStop)
    for _ in range(20):
        at(bench, bench.now_us + LOOK_WAITING_US)
    assert not bench.said
    while slow.read(bench.fanout):
        pass
    at(bench, bench.now_us + LOOK_WAITING_US)
    start = bench.heard(ReadStart)
    assert (start.after, start.room_bytes, start.delay_us) == (viewer_of(slow).position, 1, 0)


def test_the_muxer_is_told_how_long_what_a_viewer_has_has_been_there(bench: Bench) -> None:
    peer, ticket = bench.reader()
    at(bench, AGE_MAX_US)
    frame = bench.source.frame(sync=True, packets=1)
    bench.fanout.deliver(frame.addressed(tickets=(ticket,), parked=(ticket,)), frame.data)
    start = bench.heard(ReadStart)
    assert start.delay_us == 0
    at(bench, bench.now_us + 300 * MS)
    by_ticket(bench, start, packets=1)
    assert bench.heard(ReadStart).delay_us == 300 * MS
    assert peer.read(bench.fanout)


def test_who_is_behind_is_given_a_frame_then_twice_what_it_took(bench: Bench) -> None:
    (slow,) = live_ones(bench, 1)
    bench.to_live(packets=700)
    bench.to_live()
    bench.heard(ReadStop)
    while slow.read(bench.fanout):
        pass
    start = bench.heard(ReadStart)
    assert start.room_bytes == 1
    for _ in range(3):
        size = by_ticket(bench, start)
        while slow.read(bench.fanout):
            pass
        at(bench, bench.now_us + INTERVAL_US)
        before, start = start, bench.heard(ReadStart)
        assert start.room_bytes == (before.room_bytes if size < before.room_bytes else 2 * size)
    size = by_ticket(bench, start, packets=700)  # of which its socket takes a part, and of the next one nothing
    while slow.read(bench.fanout):
        pass
    at(bench, bench.now_us + INTERVAL_US)
    assert bench.heard(ReadStart).room_bytes == 2 * size


def test_who_takes_less_than_it_asked_for_asks_for_that(bench: Bench) -> None:
    peer, ticket = bench.reader()
    frame = bench.source.frame(sync=True)
    bench.fanout.deliver(frame.addressed(tickets=(ticket,), parked=(ticket,)), frame.data)
    at(bench, INTERVAL_US)
    start = bench.heard(ReadStart)
    frame = bench.source.frame(packets=700)
    bench.fanout.deliver(frame.addressed(tickets=(start.ticket,)), frame.data)
    following = bench.source.frame()
    bench.fanout.deliver(following.addressed(tickets=(start.ticket,)), following.data)
    assert bench.heard(ReadStop).after == (1, 1)
    while peer.read(bench.fanout):
        pass
    at(bench, bench.now_us + INTERVAL_US)
    assert bench.heard(ReadStart).room_bytes == len(frame.data)


def test_what_is_lost_on_the_way_to_the_gate_is_not_given_twice(bench: Bench) -> None:
    (slow,) = live_ones(bench, 1)
    bench.to_live(packets=700)
    bench.to_live()
    bench.heard(ReadStop)
    while slow.read(bench.fanout):
        pass
    ticket = bench.heard(ReadStart).ticket
    bench.source.frame()
    frame = bench.source.frame(sync=True)
    assert viewer_of(slow).frames_behind == 1
    bench.fanout.deliver(frame.addressed(tickets=(ticket,), live=(ticket,)), frame.data)
    while slow.read(bench.fanout):
        pass
    assert slow.judge.frames == [(1, 0), (1, 1), (1, 4)]
    assert viewer_of(slow).frames_dropped == 2
    assert viewer_of(slow).frames_behind == 0


def test_how_far_a_stalled_viewer_is_behind_can_be_told_at_any_time(bench: Bench) -> None:
    slow, other = live_ones(bench, 2)
    bench.to_live(packets=700)
    for _ in range(10):
        while other.read(bench.fanout):
            pass
        at(bench, bench.now_us + 40 * MS)
        bench.to_live()
    viewer = viewer_of(slow)
    assert viewer.last is not None
    assert (viewer.behind, viewer.frames_behind, viewer.frames_dropped) == (True, 10, 0)
    assert viewer.age_us(bench.now_us) == bench.now_us - viewer.last.time_us
    assert (viewer_of(other).behind, viewer_of(other).frames_behind) == (False, 0)


def test_where_none_reads_the_muxer_tells_how_far_the_stream_is(bench: Bench) -> None:
    (slow,) = live_ones(bench, 1)
    bench.to_live(packets=700)
    bench.to_live()
    viewer = viewer_of(slow)
    assert viewer.position == (1, 1)
    assert (viewer.behind, viewer.frames_behind, viewer.frames_due) == (True, 1, 2)
    for number, behind in ((300, 299), (250, 299), (320, 319)):  # never back
        bench.fanout.is_at(Head("cam", Payload.TS, 1, number))
        assert viewer.frames_behind == behind
    for other in (
        Head("cam", Payload.NATIVE, 1, 900),
        Head("two", Payload.TS, 1, 900),
        Head("x", Payload.TS, 1, 9),
    ):
        bench.fanout.is_at(other)
    assert (viewer.frames_behind, viewer.frames_due) == (319, 2), "due is what passed up to its last"
    bench.fanout.remove(viewer)
    (delivery,) = bench.fanout.ledger.figures(bench.fanout.streams.values())
    assert delivery.drops["left"] == 319
    assert delivery.frames_due == 321 == delivery.frames_sent + sum(delivery.drops.values())


def test_of_another_muxers_frames_it_is_not_known_how_many_it_has_missed(bench: Bench) -> None:
    (slow,) = live_ones(bench, 1)
    bench.fanout.is_at(Head("cam", Payload.TS, 1, 10))
    assert viewer_of(slow).frames_behind == 10
    bench.fanout.is_at(Head("cam", Payload.TS, 2, 500))
    assert viewer_of(slow).frames_behind == 0


def test_unless_they_say_which_samples_they_hold(bench: Bench) -> None:
    slow, ticket = bench.reader()
    frame = bench.source.frame(sync=True)
    message = replace(frame.addressed(tickets=(ticket,)), sample=(7, 40))
    bench.fanout.deliver(message, frame.data)
    viewer = viewer_of(slow)
    for head, behind in (
        (Head("cam", Payload.TS, 1, 10, (7, 49)), 10),
        (Head("cam", Payload.TS, 2, 3, (7, 45)), 10),  # it has begun with what was before
        (Head("cam", Payload.TS, 2, 8, (7, 50)), 10),
        (Head("cam", Payload.TS, 2, 108, (7, 150)), 110),
        (Head("cam", Payload.TS, 3, 0, (7, 151)), 111),
    ):
        bench.fanout.is_at(head)
        assert viewer.frames_behind == behind
    bench.fanout.remove(viewer)
    (delivery,) = bench.fanout.ledger.figures(bench.fanout.streams.values())
    assert delivery.drops["left"] == 111
    assert delivery.frames_due == 112 == delivery.frames_sent + sum(delivery.drops.values())


def slow_one(bench: Bench) -> Peer:
    """A viewer that has been behind, has read everything, and whose gate is not open yet."""
    (slow,) = live_ones(bench, 1)
    bench.to_live(packets=700)
    bench.to_live()
    bench.heard(ReadStop)
    return slow


def test_a_slow_viewer_whose_window_is_shut_is_given_nothing(bench: Bench) -> None:
    slow = slow_one(bench)
    slow.outlet.window = -1
    while slow.read(bench.fanout):
        pass
    viewer = viewer_of(slow)
    for _ in range(AGE_MAX_US // LOOK_WAITING_US - 1):
        at(bench, bench.now_us + LOOK_WAITING_US)
        assert not bench.said
    slow.outlet.window = 0
    at(bench, bench.now_us + LOOK_WAITING_US)
    assert bench.heard(ReadStart).viewer == viewer.number


def test_that_a_window_has_been_opened_may_not_have_been_heard(bench: Bench) -> None:
    slow = slow_one(bench)
    slow.outlet.window = -1
    while slow.read(bench.fanout):
        pass
    viewer = viewer_of(slow)
    assert viewer.last is not None
    at(bench, viewer.last.came_us + AGE_MAX_US + LOOK_WAITING_US)
    assert bench.heard(ReadStart).viewer == viewer.number


def test_a_frame_that_comes_late_finds_out_whether_a_slow_viewer_is_still_ready(bench: Bench) -> None:
    slow = slow_one(bench)
    while slow.read(bench.fanout):
        pass
    at(bench, bench.now_us + LOOK_WAITING_US)
    start = bench.heard(ReadStart)
    first = bench.source.frame(packets=1)
    bench.fanout.deliver(first.addressed(tickets=(start.ticket,)), first.data)
    at(bench, bench.now_us + AGE_MAX_US * 2 // 5 + 1)
    second = bench.source.frame(sync=True)
    bench.fanout.deliver(second.addressed(tickets=(start.ticket,)), second.data)
    assert bench.heard(ReadStop).after == (1, first.message.number)


def test_the_kernel_holds_nothing_unsent_of_who_is_slow_until_he_has_kept_up(bench: Bench) -> None:
    slow = slow_one(bench)
    assert viewer_of(slow).slow
    assert slow.outlet.fitted[-1] == 1
    while slow.read(bench.fanout):
        pass
    at(bench, bench.now_us + LOOK_WAITING_US)
    start, start_us = bench.heard(ReadStart), bench.now_us
    frame = bench.source.frame()
    bench.fanout.deliver(frame.addressed(tickets=(start.ticket,), live=(start.ticket,)), frame.data)
    for _ in range(4):
        assert viewer_of(slow).slow or bench.now_us >= start_us + AGE_MAX_US
        while slow.read(bench.fanout):
            pass
        at(bench, bench.now_us + LOOK_READING_US)
    assert not viewer_of(slow).slow
    assert slow.outlet.fitted[-1] > 1
