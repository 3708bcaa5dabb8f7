"""What viewers get when another muxer takes their stream over: it goes on where the former one ended."""

import pytest
from msgspec.structs import replace

from common.messages import ReadStart
from server.flow import Gate
from server.frame_buffers import Framing
from tests.support.fanout_bench import Bench, Peer, viewer_of
from tests.support.frame_source import FrameSource


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
