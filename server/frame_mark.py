"""A frame as a server knows it once it is sent: its place in the stream, and how old it was. Pure."""

from common.clock import RTP_WRAP
from common.header_numbers import Mark
from common.messages import FrameMessage, Head


def first_numbers(frame: FrameMessage, clock: int) -> list[tuple[int, int]]:
    """For a viewer whose first frame this is: of each track the sequence number of its first packet, and its RTP
    clock at the instant that the frame's own first packet is of. clock: that packet's timestamp."""
    passed = (clock - frame.clock + RTP_WRAP // 2) % RTP_WRAP - RTP_WRAP // 2
    rate_hz = frame.rates_hz[frame.track]
    clocks = [
        (at + round(passed * own_rate_hz / rate_hz)) % RTP_WRAP
        for at, own_rate_hz in zip(frame.clocks, frame.rates_hz, strict=True)
    ]
    return list(zip(frame.sequences, clocks, strict=True))


class FrameMark(Mark):
    """epoch, number: the frame's, as ReadStart and ReadStop name it. came_us: when it came here.
    born_us: its time, on this host's clock. sample: as in FrameMessage."""

    __slots__ = ("born_us", "came_us", "epoch", "number", "sample")

    def __init__(self, frame: FrameMessage, size: int, now_us: int, born_us: int | None = None) -> None:
        super().__init__(frame, size)
        self.epoch = frame.epoch
        self.number = frame.number
        self.sample = frame.sample
        self.came_us = now_us
        self.born_us = frame.time_us if born_us is None else born_us

    def is_resumed_by(self, frame: FrameMessage) -> bool:
        """Whether `frame`, of another muxer, holds the next sample."""
        if self.sample is None or frame.sample is None:
            return False
        return self.sample[0] == frame.sample[0] and self.sample[1] + 1 == frame.sample[1]

    def samples_to(self, frame: "FrameMessage | FrameMark | Head") -> int:
        """How many samples came behind it up to `frame`, of another muxer; 0 in another life of the source."""
        return max(_samples_between(self, frame) or 0, 0)

    def has_other_clock(self, frame: FrameMessage) -> bool:
        """Whether `frame`, behind it for a viewer, may count another clock than it, without saying so."""
        if self.epoch != frame.epoch:
            return True
        if self.number + 1 == frame.number or self.sample is None or frame.sample is None:
            return False
        return self.sample[0] != frame.sample[0]  # another life of the source, which began in between

    @property
    def position(self) -> tuple[int, int]:
        """Both as one."""
        return self.epoch, self.number

    @property
    def age_us(self) -> int:
        """How old it was when it came here."""
        return self.came_us - self.born_us


def is_newer(frame: FrameMark | Head, newest: FrameMark | Head) -> bool:
    """Whether the stream, at `newest` so far, is at `frame` now: not if it came for one who is behind."""
    if frame.epoch == newest.epoch:
        return frame.number > newest.number
    samples = _samples_between(newest, frame)
    return samples is None or samples >= 0


def _samples_between(one: FrameMark | Head, other: FrameMessage | FrameMark | Head) -> int | None:
    """How many samples `other` is behind `one` in the stream; None where they are of two lives of the source."""
    if one.sample is None or other.sample is None or one.sample[0] != other.sample[0]:
        return None
    return other.sample[1] - one.sample[1]
