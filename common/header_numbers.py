"""A viewer's own header numbers, as what is added to the stream's: RTP sequence, clock, SSRC, continuity. Pure.

Frames are numbered once for all viewers of a stream. A viewer whose numbers are others, because frames were left
out for it or its muxer was replaced, has an `Offset` that stays the same from frame to frame for as long as it
takes them all: so viewers with equal offsets are served from one buffer, and no number is kept per viewer. It is
computed anew where a frame does not follow the one the viewer had last, so that its own numbers go on. Every frame
says where all RTP streams of its stream stand, so that the numbers of each go on whatever frames of which track
were left out.
"""

from typing import NamedTuple, Protocol

from common import grid, rtp_rows
from common.clock import RTP_WRAP, ticks
from common.grid import LEAD_BYTES, Buffer, Counters
from common.sample import Payload

SEQUENCE_WRAP = 1 << 16
COUNTER_WRAP = 16


class Numbered(Protocol):
    """What the headers of a frame say: a `common.grid.Frame`, or the message that carries one."""

    @property
    def payload(self) -> Payload: ...
    @property
    def track(self) -> int: ...
    @property
    def time_us(self) -> int: ...
    @property
    def sequences(self) -> tuple[int, ...]: ...
    @property
    def clocks(self) -> tuple[int, ...]: ...
    @property
    def ssrcs(self) -> tuple[int, ...]: ...
    @property
    def rates_hz(self) -> tuple[int, ...]: ...
    @property
    def counters(self) -> Counters: ...
    @property
    def counts(self) -> Counters: ...
    @property
    def packets(self) -> int: ...


class RtpOffset(NamedTuple):
    """What makes the numbers of one RTP stream a viewer's. ssrc: the viewer's where it is another, else None."""

    sequence: int = 0
    clock: int = 0
    ssrc: int | None = None


class Offset(NamedTuple):
    """What makes a stream's numbers a viewer's. rtp: by track; empty where no track has any."""

    rtp: tuple[RtpOffset, ...] = ()
    counters: Counters = (0, 0, 0, 0)

    def of(self, track: int) -> RtpOffset:
        """That of one RTP stream."""
        return self.rtp[track] if track < len(self.rtp) else _NO_RTP


NONE = Offset()
_NO_RTP = RtpOffset()


class Mark:
    """Where a frame stands, in the stream's numbers, and what the frame that follows it must have.

    time_us, ssrcs, clocks, rates_hz, track: the frame's. sequences, counters: of the frame that follows. packets,
    size: how many RTP packets it has, and the bytes of their RTSP framing.
    """

    __slots__ = ("clocks", "counters", "packets", "rates_hz", "sequences", "size", "ssrcs", "time_us", "track")

    def __init__(self, frame: Numbered, size: int) -> None:
        self.time_us = frame.time_us
        self.ssrcs = frame.ssrcs
        self.clocks = frame.clocks
        self.rates_hz = frame.rates_hz
        self.track = track = frame.track
        self.size = size
        self.packets = frame.packets
        before = frame.sequences
        after = (before[track] + self.packets) % SEQUENCE_WRAP
        self.sequences = (*before[:track], after, *before[track + 1 :])
        a, b, c, d = frame.counters
        e, f, g, h = frame.counts
        self.counters = (
            (a + e) % COUNTER_WRAP, (b + f) % COUNTER_WRAP, (c + g) % COUNTER_WRAP, (d + h) % COUNTER_WRAP
        )  # fmt: skip

    @property
    def octets(self) -> int:
        """The bytes of its RTP payload."""
        return self.size - self.packets * LEAD_BYTES

    def is_followed_by(self, frame: Numbered) -> bool:
        """Whether `frame` goes on where this one ended, so that every offset stays."""
        return self.sequences == frame.sequences and self.ssrcs == frame.ssrcs and self.counters == frame.counters


def next_offset(last: Mark | None, offset: Offset, frame: Numbered) -> Offset:
    """The offset of `frame` for a viewer that took `last` at `offset`; its first frame's numbers are its own."""
    if last is None:
        return NONE
    if last.is_followed_by(frame):
        return offset
    rtp = tuple(_next_rtp(last, offset, frame, track) for track in range(len(frame.sequences)))
    a, b, c, d = last.counters
    e, f, g, h = offset.counters
    i, j, k, m = frame.counters
    counters = (
        (a + e - i) % COUNTER_WRAP, (b + f - j) % COUNTER_WRAP,
        (c + g - k) % COUNTER_WRAP, (d + h - m) % COUNTER_WRAP,
    )  # fmt: skip
    return Offset(rtp if any(own != _NO_RTP for own in rtp) else (), counters)


def _next_rtp(last: Mark, offset: Offset, frame: Numbered, track: int) -> RtpOffset:
    if track >= len(last.sequences):
        return _NO_RTP  # the stream had no such track before
    own = offset.of(track)
    theirs = frame.ssrcs[track]
    ssrc = last.ssrcs[track] if own.ssrc is None else own.ssrc
    clock = own.clock
    if last.ssrcs[track] != theirs:  # another muxer, and another relation of its clock to the time
        passed = _passed(last, frame, track)
        clock = (last.clocks[track] + own.clock + passed - frame.clocks[track]) % RTP_WRAP
    sequence = (last.sequences[track] + own.sequence - frame.sequences[track]) % SEQUENCE_WRAP
    return RtpOffset(sequence, clock, None if ssrc == theirs else ssrc)


def _passed(last: Mark, frame: Numbered, track: int) -> int:
    """The ticks of a track's clock from one frame to the other."""
    rate_hz = frame.rates_hz[track]
    passed = ticks(frame.time_us, rate_hz) - ticks(last.time_us, rate_hz)
    # The clock of TS is one of sending: it goes on even where sound is sent behind a later picture.
    return passed if frame.payload == Payload.NATIVE else max(passed, 0)


def renumbered(data: Buffer, frame: Numbered, offset: Offset, channel: int = 0) -> Buffer:
    """The bytes of `frame` with a viewer's numbers and `$` channel; `data` itself where they are the stream's."""
    own = offset.of(frame.track)
    if channel == 0 and own == _NO_RTP and offset.counters == NONE.counters:
        return data
    sequence = (frame.sequences[frame.track] + own.sequence) % SEQUENCE_WRAP
    ssrc = frame.ssrcs[frame.track] if own.ssrc is None else own.ssrc
    if frame.payload == Payload.NATIVE:
        return rtp_rows.renumber(
            data, rtp_rows.walk(data), sequence=sequence, clock_offset=own.clock, ssrc=ssrc, channel=channel
        )
    return grid.renumber(
        data, sequence=sequence, clock_offset=own.clock, ssrc=ssrc, delta=offset.counters, channel=channel
    )
