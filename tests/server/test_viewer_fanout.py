"""Every frame's way to its viewers: what they get, whatever their sockets, the muxer and the timing do."""

import pytest
from msgspec.structs import replace

from common.drops import QUEUE_DROPS, Drop
from common.errors import MessageError
from common.messages import Ended, Forget, ReadStart, ReadStop
from server.flow import Gate
from server.frame_buffers import Framing
from server.viewers import USER_AGENT_MAX
from tests.support.fanout_bench import Bench, viewer_of
from tests.support.frame_source import FrameSource


def test_live_viewers_share_and_others_get_their_own_form(bench: Bench) -> None:
    peers = [bench.reader(), bench.reader(channel=4), bench.reader(Framing.TS)]
    first = bench.live(*(ticket for _, ticket in peers))
    second = bench.to_live()
    for peer, _ in peers:
        assert peer.read(bench.fanout) > 0
        assert peer.judge.frames == [(1, 0), (1, 1)]
        assert not peer.judge.unfinished
        assert peer.starts == 1
        assert viewer_of(peer).frames_sent == 2
        assert viewer_of(peer).rtp_sent(0)[0] == 2
    sizes = [viewer_of(peer).bytes_sent for peer, _ in peers]
    assert sizes == [len(first.data) + len(second.data)] * 2 + [8 * 188]
    assert [viewer_of(peer).id for peer, _ in peers] == ["server-0-1", "server-0-2", "server-0-3"]
    assert len(viewer_of(peers[0][0]).user_agent) == USER_AGENT_MAX
    assert (bench.counters.frames_in, bench.counters.frames_sent) == (2, 6)
    assert bench.counters.bytes_sent == sum(sizes)


def test_a_frame_for_live_viewers_is_not_for_those_that_catch_up(bench: Bench) -> None:
    a, ticket = bench.reader()
    b, other = bench.reader()
    bench.live(ticket)
    bench.to_live()
    old = bench.source.frame(sync=True)
    bench.fanout.deliver(old.addressed(to_live=True, tickets=(other,), live=(other,)), old.data)
    bench.to_live()
    for peer in (a, b):
        peer.read(bench.fanout)
    assert a.judge.frames == [(1, n) for n in range(4)]
    assert b.judge.frames == [(1, n) for n in (2, 3)]


def test_a_viewer_that_takes_part_of_a_frame_stops_before_the_next(bench: Bench) -> None:
    peer, ticket = bench.reader()
    bench.live(ticket)
    big = bench.to_live(packets=700)
    assert peer.outlet.blocked
    assert not bench.said  # the frame counts as taken
    bench.to_live()
    stop = bench.heard(ReadStop)
    assert (stop.ticket, stop.after) == (ticket, (1, big.message.number))
    assert viewer_of(peer).flow.gate is Gate.WAITING
    bench.to_live()
    assert not bench.said
    while peer.read(bench.fanout):
        pass
    start = bench.heard(ReadStart)
    assert (start.viewer, start.after) == (viewer_of(peer).number, (1, big.message.number))
    assert start.ticket != ticket
    assert start.room_bytes == 1  # a frame, to see how it goes
    assert peer.judge.frames == [(1, 0), (1, 1)]
    assert bench.counters.read_stops == 1


def test_what_is_left_out_is_counted_and_the_numbers_go_on(bench: Bench) -> None:
    slow, ticket = bench.reader()
    quick, other = bench.reader()
    bench.live(ticket, other)
    bench.to_live(packets=700)
    for _ in range(3):
        while quick.read(bench.fanout):
            pass
        bench.to_live()
    while slow.read(bench.fanout):
        pass
    bench.heard(ReadStop)
    again = bench.heard(ReadStart).ticket
    bench.now_us = 5 * 40_000 + 7_000
    frame = bench.source.frame(sync=True, packets=10)
    bench.fanout.deliver(frame.addressed(to_live=True, tickets=(again,), live=(again,)), frame.data)
    bench.to_live()
    for peer in (slow, quick):
        while peer.read(bench.fanout):
            pass
    assert slow.judge.frames == [(1, 0), (1, 1), (1, 5), (1, 6)]  # and the judge minds every number
    assert quick.judge.frames == [(1, n) for n in range(7)]
    viewer = viewer_of(slow)
    assert (viewer.frames_dropped, viewer.splices, viewer.unlogged_drops) == (3, 1, 3)
    assert viewer_of(quick).frames_dropped == 0
    assert viewer.last is not None
    assert viewer.last.age_us == 7_000 - 40_000
    assert bench.counters.frames_dropped == 3


def test_what_leads_the_sync_point_that_a_viewer_started_at_is_no_loss(bench: Bench) -> None:
    peer, ticket = bench.reader()
    frame = bench.source.frame(sync=True)
    bench.fanout.deliver(frame.addressed(tickets=(ticket,)), frame.data)
    for _ in range(2):
        bench.source.frame()
    frame = bench.source.frame()
    tally = tuple(2 if reason is Drop.LEADING else 0 for reason in QUEUE_DROPS)
    told = replace(frame.addressed(tickets=(ticket,), live=(ticket,)), left_out=((ticket, tally),))
    bench.fanout.deliver(told, frame.data)
    bench.to_live()
    peer.read(bench.fanout)
    assert peer.judge.frames == [(1, 0), (1, 3), (1, 4)]
    viewer = viewer_of(peer)
    assert (viewer.books.dropped, viewer.splices, viewer.spliced) == (0, 0, False)
    assert viewer.books.drops == {Drop.LEADING: 2}


def test_audio_between_drops_makes_one_splice(bench: Bench) -> None:
    peer, ticket = bench.reader()
    frame = bench.source.frame(sync=True)
    bench.fanout.deliver(frame.addressed(tickets=(ticket,)), frame.data)
    for kind in (0, 1, 0, 1, 0):
        frame = bench.source.frame(kind, sync=kind == 1)
        if kind == 1:
            bench.fanout.deliver(frame.addressed(tickets=(ticket,)), frame.data)
    frame = bench.source.frame(sync=True)
    bench.fanout.deliver(frame.addressed(tickets=(ticket,)), frame.data)
    assert (viewer_of(peer).splices, viewer_of(peer).frames_dropped) == (1, 3)
    bench.source.frame()
    frame = bench.source.frame(sync=True)
    bench.fanout.deliver(frame.addressed(tickets=(ticket,)), frame.data)
    assert viewer_of(peer).splices == 2


def test_frames_after_a_pause_are_not_dropped_ones(bench: Bench) -> None:
    peer, ticket = bench.reader()
    bench.live(ticket)
    bench.fanout.read_stop(viewer_of(peer))
    assert bench.heard(ReadStop).after == (1, 0)
    bench.to_live()
    bench.fanout.read_start(viewer_of(peer))
    again = bench.heard(ReadStart)
    assert again.after == (1, 0)
    frame = bench.source.frame(sync=True)
    bench.fanout.deliver(frame.addressed(tickets=(again.ticket,)), frame.data)
    peer.read(bench.fanout)
    assert peer.judge.frames == [(1, 0), (1, 2)]
    assert (viewer_of(peer).frames_dropped, viewer_of(peer).splices) == (0, 1)


def test_a_broken_viewer_hurts_nobody_else(bench: Bench) -> None:
    readers = [bench.reader() for _ in range(3)]
    bench.live(*(ticket for _, ticket in readers))
    readers[1][0].far.close()
    bench.to_live()
    bench.to_live()
    assert len(readers[1][0].errors) == 1
    assert bench.heard(Forget).viewer == viewer_of(readers[1][0]).number
    assert bench.counters.frames_sent == 3 + 2 + 2
    for index in (0, 2):
        readers[index][0].read(bench.fanout)
        assert len(readers[index][0].judge.frames) == 3


def test_a_ticket_that_is_parked_is_opened_anew(bench: Bench) -> None:
    peer, ticket = bench.reader()
    frame = bench.source.frame(sync=True)
    bench.fanout.deliver(frame.addressed(tickets=(ticket,), parked=(ticket,)), frame.data)
    start = bench.heard(ReadStart)
    assert start.after == (1, 0)
    # ... and when it is full too, once it has drained
    frame = bench.source.frame(packets=700)
    bench.fanout.deliver(frame.addressed(tickets=(start.ticket,), parked=(start.ticket,)), frame.data)
    assert not bench.said
    while peer.read(bench.fanout):
        pass
    assert bench.heard(ReadStart).after == (1, 1)


def test_a_live_ticket_that_is_parked_does_not_get_that_frame(bench: Bench) -> None:
    peer, ticket = bench.reader()
    other, other_ticket = bench.reader()
    bench.live(ticket, other_ticket)
    frame = bench.source.frame()
    bench.fanout.deliver(frame.addressed(to_live=True, parked=(ticket,)), frame.data)
    assert bench.heard(ReadStart).after == (1, 0)
    for each in (peer, other):
        each.read(bench.fanout)
    assert peer.judge.frames == [(1, 0)]
    assert other.judge.frames == [(1, 0), (1, 1)]


def test_stale_and_foreign_tickets_are_ignored(bench: Bench) -> None:
    peer, ticket = bench.reader()
    bench.live(ticket)
    frame = bench.source.frame()
    bench.fanout.deliver(frame.addressed(tickets=(999,), live=(998,), parked=(997,)), frame.data)
    foreign = FrameSource("two").frame(sync=True)
    bench.fanout.deliver(foreign.addressed(tickets=(ticket,)), foreign.data)
    assert bench.counters.stale_frames == 2
    peer.read(bench.fanout)
    assert peer.judge.frames == [(1, 0)]


def test_a_frame_is_not_sent_twice_whatever_the_muxer_says(bench: Bench) -> None:
    peer, ticket = bench.reader()
    frame = bench.live(ticket)
    bench.fanout.deliver(frame.addressed(to_live=True), frame.data)
    peer.read(bench.fanout)
    assert peer.judge.frames == [(1, 0)]
    bench.fanout.muxer_is_new(["cam"], replaced=False)
    again = bench.heard(ReadStart)
    assert again.after == (1, 0)
    bench.fanout.deliver(frame.addressed(tickets=(again.ticket,), live=(again.ticket,)), frame.data)
    bench.to_live()
    peer.read(bench.fanout)
    assert peer.judge.frames == [(1, 0), (1, 1)]
    assert bench.counters.stale_frames == 2


def test_a_ticket_that_becomes_live_out_of_step_is_opened_anew(bench: Bench) -> None:
    (_, first), (late, second) = bench.reader(), bench.reader()
    bench.live(first, second)
    other, third = bench.reader()
    ahead = bench.source.frame(sync=True)
    bench.fanout.deliver(ahead.addressed(tickets=(third,), live=(third,)), ahead.data)
    assert bench.heard(ReadStart).viewer == viewer_of(other).number
    assert viewer_of(late).flow.gate is Gate.LIVE


def test_a_gap_in_what_is_live_moves_all_viewers_numbers(bench: Bench) -> None:
    peer, ticket = bench.reader()
    ts, other = bench.reader(Framing.TS)
    bench.live(ticket, other)
    bench.source.frame(packets=20)
    bench.to_live(sync=True)
    bench.to_live()
    for each in (peer, ts):
        each.read(bench.fanout)
        assert each.judge.frames == [(1, 0), (1, 2), (1, 3)]
        assert viewer_of(each).frames_dropped == 1


def test_a_viewer_that_is_lowered_asks_for_key_frames_and_is_not_live(bench: Bench) -> None:
    peer, ticket = bench.reader()
    bench.live(ticket)
    bench.fanout.key_frames_only(viewer_of(peer), True)
    start = bench.heard(ReadStart)
    assert (start.after, start.key_frames_only) == ((1, 0), True)
    bench.to_live()
    frame = bench.source.frame(sync=True)
    bench.fanout.deliver(frame.addressed(tickets=(start.ticket,)), frame.data)
    bench.fanout.key_frames_only(viewer_of(peer), True)
    assert not bench.said
    bench.fanout.key_frames_only(viewer_of(peer), False)
    start = bench.heard(ReadStart)
    assert (start.after, start.key_frames_only) == ((1, 2), False)
    peer.read(bench.fanout)
    assert peer.judge.frames == [(1, 0), (1, 2)]


def test_endings_go_to_the_owner(bench: Bench) -> None:
    peer, ticket = bench.reader()
    bench.fanout.ended(Ended(ticket + 1, "not this"))
    bench.fanout.ended(Ended(ticket, "unplugged"))
    assert peer.endings == ["unplugged"]


def test_frames_that_are_none_are_refused(bench: Bench) -> None:
    frame = FrameSource("other").frame()
    with pytest.raises(MessageError):
        bench.fanout.deliver(frame.addressed(), frame.data)
    frame = bench.source.frame()
    with pytest.raises(MessageError):
        bench.fanout.deliver(frame.addressed(), frame.data[:-1])
    with pytest.raises(MessageError):
        bench.fanout.deliver(frame.addressed(), b"")
