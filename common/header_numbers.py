"""A viewer's own header numbers, as what is added to the stream's: RTP sequence, clock, SSRC, continuity. Pure.

Frames are numbered once for all viewers of a stream. A viewer whose numbers are others, because frames were left
out for it or its muxer was replaced, has an `Offset` that stays the same from frame to frame for as long as it
takes them all: so viewers with equal offsets are served from one buffer, and no number is kept per viewer. It is
computed anew where a frame does not follow the one the viewer had last, so that its own numbers go on.
"""

from typing import NamedTuple, Protocol

from common import grid
from common.clock import RTP_WRAP, ticks_90k
from common.grid import Buffer, Counters, rtp_packets

SEQUENCE_WRAP = 1 << 16
COUNTER_WRAP = 16


class Numbered(Protocol):
    """What the headers of a frame say: a `common.grid.Frame`, or the message that carries one."""

    @property
    def time_us(self) -> int: ...
    @property
    def sequence(self) -> int: ...
    @property
    def clock(self) -> int: ...
    @property
    def ssrc(self) -> int: ...
    @property
    def counters(self) -> Counters: ...
    @property
    def counts(self) -> Counters: ...


class Offset(NamedTuple):
    """What makes a stream's numbers a viewer's. ssrc: the viewer's where it is another, else None."""

    sequence: int = 0
    clock: int = 0
    ssrc: int | None = None
    counters: Counters = (0, 0, 0, 0)


NONE = Offset()


class Mark:
    """Where a frame stands, in the stream's numbers, and what the frame that follows it must have.

    time_us, ssrc, clock: the frame's. sequence, counters: of the frame that follows. size, packets: of its RTSP
    framing.
    """

    __slots__ = ("clock", "counters", "packets", "sequence", "size", "ssrc", "time_us")

    def __init__(self, frame: Numbered, size: int) -> None:
        self.time_us = frame.time_us
        self.ssrc = frame.ssrc
        self.clock = frame.clock
        self.size = size
        self.packets = rtp_packets(size)
        self.sequence = (frame.sequence + self.packets) % SEQUENCE_WRAP
        a, b, c, d = frame.counters
        e, f, g, h = frame.counts
        self.counters = (
            (a + e) % COUNTER_WRAP, (b + f) % COUNTER_WRAP, (c + g) % COUNTER_WRAP, (d + h) % COUNTER_WRAP
        )  # fmt: skip

    def is_followed_by(self, frame: Numbered) -> bool:
        """Whether `frame` goes on where this one ended, so that every offset stays."""
        return self.sequence == frame.sequence and self.ssrc == frame.ssrc and self.counters == frame.counters


def next_offset(last: Mark | None, offset: Offset, frame: Numbered) -> Offset:
    """The offset of `frame` for a viewer that took `last` at `offset`; its first frame's numbers are its own."""
    if last is None:
        return NONE
    if last.is_followed_by(frame):
        return offset
    ssrc = last.ssrc if offset.ssrc is None else offset.ssrc
    clock = offset.clock
    if last.ssrc != frame.ssrc:  # another muxer, and another relation of its clock to the time
        passed = ticks_90k(frame.time_us) - ticks_90k(last.time_us)
        clock = (last.clock + offset.clock + passed - frame.clock) % RTP_WRAP
    a, b, c, d = last.counters
    e, f, g, h = offset.counters
    i, j, k, m = frame.counters
    counters = (
        (a + e - i) % COUNTER_WRAP, (b + f - j) % COUNTER_WRAP,
        (c + g - k) % COUNTER_WRAP, (d + h - m) % COUNTER_WRAP,
    )  # fmt: skip
    sequence = (last.sequence + offset.sequence - frame.sequence) % SEQUENCE_WRAP
    return Offset(sequence, clock, None if ssrc == frame.ssrc else ssrc, counters)


def renumbered(data: Buffer, frame: Numbered, offset: Offset, channel: int = 0) -> Buffer:
    """The bytes of `frame` with a viewer's numbers and `$` channel; `data` itself where they are the stream's."""
    if channel == 0 and offset == NONE:
        return data
    return grid.renumber(
        data,
        sequence=(frame.sequence + offset.sequence) % SEQUENCE_WRAP,
        clock_offset=offset.clock,
        ssrc=frame.ssrc if offset.ssrc is None else offset.ssrc,
        delta=offset.counters,
        channel=channel,
    )
