"""Every frame's way to its viewers: what they get, whatever their sockets, the muxer and the timing do."""

from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from common.drops import QUEUE_DROPS, Drop
from common.errors import MessageError
from common.messages import Ended, Forget, ReadStart, ReadStop
from server.fanout import LOOK_WAITING_US
from server.flow import Gate
from server.frame_buffers import Framing
from server.viewers import USER_AGENT_MAX
from tests.support.fanout_bench import Bench, Peer, viewer_of
from tests.support.frame_source import FrameSource
from tests.support.model_muxer import ModelMuxer


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


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


def test_another_muxer(bench: Bench) -> None:
    peer, ticket = bench.reader()
    bench.live(ticket)
    bench.fanout.muxer_is_new(["cam"], replaced=True)
    start = bench.heard(ReadStart)
    assert start.after == (1, 0)
    new = FrameSource(epoch=2, ssrc=99, sequence=4000, clock_base=12345, counters=[5, 6, 7, 8])
    frame = new.frame(sync=True, time_us=80_000)
    bench.fanout.deliver(frame.addressed(tickets=(start.ticket,)), frame.data)
    clock = new.frame(2, time_us=90_000)
    bench.fanout.deliver(clock.addressed(tickets=(start.ticket,), live=(start.ticket,)), clock.data)
    following = new.frame(time_us=120_000)
    bench.fanout.deliver(following.addressed(to_live=True), following.data)
    peer.read(bench.fanout)
    assert peer.judge.frames == [(1, 0), (2, 0), (2, 2)]
    assert peer.judge.clock == 120_000 * 9 // 100
    assert viewer_of(peer).splices == 1


def test_what_came_of_another_muxer_before_its_welcome_is_not_asked_for_again(bench: Bench) -> None:
    peer, ticket = bench.reader()
    frame = bench.source.frame()
    bench.fanout.deliver(replace(frame.addressed(tickets=(ticket,)), sample=(5, 8)), frame.data)
    bench.fanout.muxer_is_new(["cam"], replaced=True)  # the stream moves
    start = bench.heard(ReadStart)
    new = FrameSource(epoch=2)
    frame, clock, following = new.frame(), new.frame(2, packets=1), new.frame()
    bench.fanout.deliver(replace(frame.addressed(tickets=(start.ticket,)), sample=(5, 9)), frame.data)
    bench.fanout.muxer_is_new(["cam"], replaced=False)
    start = bench.heard(ReadStart)
    assert (start.after, start.resume) == ((2, 0), None)  # by the sample, its clock reference would be passed over
    for one in (clock, following):
        bench.fanout.deliver(one.addressed(tickets=(start.ticket,)), one.data)
    assert viewer_of(peer).drops == {}
    assert viewer_of(peer).frames_sent == 4


def test_another_muxer_that_goes_on_with_the_next_sample_leaves_no_gap(bench: Bench) -> None:
    peer, ticket = bench.reader()
    frame = bench.source.frame()
    sample = replace(frame.addressed(to_live=True, tickets=(ticket,), live=(ticket,)), sample=(5, 8))
    bench.fanout.deliver(sample, frame.data)
    bench.fanout.muxer_is_new(["cam"], replaced=True)
    start = bench.heard(ReadStart)
    assert (start.after, start.resume) == ((1, 0), (5, 8, True))
    new = FrameSource(epoch=2, ssrc=99, sequence=4000, clock_base=12345, counters=[5, 6, 7, 8])
    frame = new.frame(time_us=40_000)
    addressed = frame.addressed(tickets=(start.ticket,), live=(start.ticket,))
    bench.fanout.deliver(replace(addressed, sample=(5, 9)), frame.data)
    peer.read(bench.fanout)
    assert peer.judge.frames == [(1, 0), (2, 0)]
    assert viewer_of(peer).splices == 0


def test_what_is_missing_is_said_to_another_muxer(bench: Bench) -> None:
    _, ticket = bench.reader()
    frames = [bench.source.frame(sync=number == 0) for number in range(3)]
    for number in (0, 2):
        message = replace(frames[number].addressed(tickets=(ticket,)), sample=(5, number))
        bench.fanout.deliver(message, frames[number].data)
    bench.fanout.muxer_is_new(["cam"], replaced=True)
    assert bench.heard(ReadStart).resume == (5, 2, False)


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


class Simulation(RuleBasedStateMachine):
    """A muxer that keeps everything, viewers that read when they like, and messages that arrive when they like."""

    @initialize(
        framings=st.lists(st.sampled_from([Framing.INTERLEAVED, Framing.TS]), min_size=1, max_size=3),
        skips=st.booleans(),
    )
    def start(self, framings: list[Framing], skips: bool) -> None:
        self.bench = Bench()
        self.epoch = 1
        self.muxer = ModelMuxer(FrameSource(sequence=65530), skips)
        self.muxer.produce(sync=True)
        for number, framing in enumerate(framings):
            self.bench.peer(framing, channel=2 * number)

    @rule(kind=st.integers(0, 2), packets=st.integers(1, 60), sync=st.booleans())
    def produce(self, kind: int, packets: int, sync: bool) -> None:
        self.muxer.produce(kind, sync and kind == 0, packets, self.bench.now_us)
        self.bench.now_us += 40_000

    @rule(messages=st.integers(1, 4))
    def to_muxer(self, messages: int) -> None:
        for _ in range(min(messages, len(self.bench.said))):
            self.muxer.hear(self.bench.said.popleft())

    @rule(messages=st.integers(1, 4))
    def to_server(self, messages: int) -> None:
        for _ in range(min(messages, len(self.muxer.out))):
            self.bench.fanout.deliver(*self.muxer.out.popleft())

    @rule(index=st.integers(0, 2), size=st.integers(1, 30_000))
    def read(self, index: int, size: int) -> None:
        self.peer(index).read(self.bench.fanout, size)

    @rule(index=st.integers(0, 2))
    def play(self, index: int) -> None:
        self.bench.fanout.read_start(viewer_of(self.peer(index)))

    @rule(index=st.integers(0, 2))
    def pause(self, index: int) -> None:
        self.bench.fanout.read_stop(viewer_of(self.peer(index)))

    @rule()
    def muxer_is_full(self) -> None:
        self.muxer.park_all()

    @precondition(lambda self: self.epoch < 4)
    @rule()
    def muxer_dies(self) -> None:
        self.epoch += 1
        source = FrameSource(
            epoch=self.epoch, ssrc=self.epoch, sequence=self.epoch * 999, counters=[self.epoch] * 4
        )
        self.muxer = ModelMuxer(source, self.muxer.skips)
        self.bench.said.clear()
        self.bench.fanout.muxer_is_new(["cam"], replaced=True)

    @rule()
    def muxer_forgets(self) -> None:
        self.muxer.tickets.clear()
        self.muxer.live.clear()
        self.muxer.by_viewer.clear()
        self.bench.fanout.muxer_is_new(["cam"], replaced=False)

    @invariant()
    def frames_are_in_order_and_none_comes_twice(self) -> None:
        for peer in self.bench.peers:
            frames = peer.judge.frames
            assert frames == sorted(set(frames))

    def teardown(self) -> None:
        if not hasattr(self, "bench"):
            return
        for peer in self.bench.peers:
            self.bench.fanout.read_start(viewer_of(peer))
        self.muxer.produce(sync=True, packets=60, time_us=self.bench.now_us)
        self.muxer.produce(kind=2, packets=1, time_us=self.bench.now_us)  # the clock, if it is another muxer's
        self.muxer.produce(time_us=self.bench.now_us)
        going = True
        while going:
            going = bool(self.bench.said or self.muxer.out)
            self.to_muxer(100)
            self.to_server(100)
            for peer in self.bench.peers:
                going = bool(peer.read(self.bench.fanout)) or viewer_of(peer).behind or going
            self.bench.now_us += LOOK_WAITING_US
            self.bench.fanout.tick()
        last = (self.epoch, self.muxer.source.number - 1)
        for peer in self.bench.peers:
            assert viewer_of(peer).flow.gate is Gate.LIVE
            assert viewer_of(peer).position == last
            assert peer.judge.frames[-1] == last
            assert not peer.judge.unfinished
        self.frames_are_in_order_and_none_comes_twice()
        self.bench.close()

    def peer(self, index: int) -> Peer:
        return self.bench.peers[index % len(self.bench.peers)]


TestSimulation = Simulation.TestCase
TestSimulation.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)


def clock_flags(peer: Peer) -> list[int]:
    """The flags of each adaptation field with a PCR that the viewer was given."""
    ts = peer.judge.ts
    packets = [ts[at : at + 188] for at in range(0, len(ts), 188)]
    return [packet[5] for packet in packets if packet[3] & 0x20 and packet[4] and packet[5] & 0x10]


@pytest.mark.parametrize("framing", [Framing.INTERLEAVED, Framing.TS])
def test_the_first_clock_of_another_muxer_is_told_to_be_another(bench: Bench, framing: Framing) -> None:
    peer, ticket = bench.reader(framing)
    bench.live(ticket)
    frame = bench.source.frame(2, packets=1)
    bench.fanout.deliver(frame.addressed(to_live=True), frame.data)
    bench.fanout.muxer_is_new(["cam"], replaced=True)
    again = bench.heard(ReadStart).ticket
    bench.source = FrameSource(epoch=2)
    first = bench.source.frame(sync=True)
    bench.fanout.deliver(first.addressed(tickets=(again,), live=(again,)), first.data)
    third = bench.heard(ReadStart)  # not live yet: nothing has told it of the other clock
    assert third.after == (2, 0)
    for _ in range(2):
        frame = bench.source.frame(2, packets=1)
        bench.fanout.deliver(frame.addressed(tickets=(third.ticket,)), frame.data)
    frame = bench.source.frame()
    bench.fanout.deliver(frame.addressed(tickets=(third.ticket,), live=(third.ticket,)), frame.data)
    assert not bench.said
    assert viewer_of(peer).flow.gate is Gate.LIVE
    while peer.read(bench.fanout):
        pass
    assert clock_flags(peer) == [0x10, 0x90, 0x10]
