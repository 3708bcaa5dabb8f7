"""The times of the pictures of a file: presentation, decoding, duration, where the file says only some. Pure.

both are there      MP4, TS
no decoding times   at first, in Matroska: libavformat knows them a few pictures later
no presentation     raw H.264 and H.265, AVI: from the picture order count and the frame rate
"""

from collections import deque
from fractions import Fraction
from typing import Generic, NamedTuple, TypeVar

from capture.picture_order import PictureOrderCounts, PresentationOrder
from common.sample import Codec

UNDATED_MAX = 32  # pictures in front without decoding time; Matroska has 16 at most

T = TypeVar("T")


class Stamp(NamedTuple):
    """Times of one picture, µs of the file."""

    time_us: int
    decode_us: int
    duration_us: int


def microseconds(ticks: int, time_base: Fraction) -> int:
    """Ticks to µs, rounded: ticks of 90 kHz are found again by `common.clock.ticks_90k`."""
    numerator, denominator = time_base.as_integer_ratio()
    return (2 * ticks * numerator * 1_000_000 + denominator) // (2 * denominator)


class StampedTimes(Generic[T]):
    """Of pictures that have presentation times. `item` is what the caller knows the picture by."""

    def __init__(self, picture_us: Fraction) -> None:
        """picture_us: the distance of pictures by the nominal rate."""
        self._picture_us = picture_us
        self._undated: list[tuple[T, int, int]] = []

    def push(self, item: T, time_us: int, decode_us: int | None, duration_us: int) -> list[tuple[T, Stamp]]:
        """The next picture in decoding order; duration_us 0 is not known. Returns those that are complete."""
        duration_us = duration_us or round(self._picture_us)
        if decode_us is None:
            self._undated.append((item, time_us, duration_us))
            return self.flush() if len(self._undated) > UNDATED_MAX else []
        # Backwards from the first one that is known.
        ready = []
        count = len(self._undated)
        for turn, (earlier, shown_us, length_us) in enumerate(self._undated):
            due_us = min(decode_us - round((count - turn) * self._picture_us), shown_us)
            ready.append((earlier, Stamp(shown_us, due_us, length_us)))
        self._undated = []
        ready.append((item, Stamp(time_us, min(decode_us, time_us), duration_us)))
        return ready

    def flush(self) -> list[tuple[T, Stamp]]:
        """No more pictures, or no decoding times: then they are those of presentation."""
        undated, self._undated = self._undated, []
        return [(item, Stamp(time_us, time_us, duration_us)) for item, time_us, duration_us in undated]


class OrderedTimes(Generic[T]):
    """Of pictures that have none: one every `picture_us`, in the order of their counts."""

    def __init__(self, codec: Codec, picture_us: Fraction) -> None:
        self._picture_us = picture_us
        self._counts = PictureOrderCounts(codec)
        self._order = PresentationOrder()
        self._waiting: deque[tuple[T, int]] = deque()
        self._turn = 0

    def push(self, item: T, picture: bytes) -> list[tuple[T, Stamp]]:
        """The next picture in decoding order, as Annex B. Returns those whose times are known now."""
        self._waiting.append((item, self._turn))
        self._turn += 1
        return self._stamped(self._order.push(self._counts.read(picture)))

    def flush(self) -> list[tuple[T, Stamp]]:
        """No more pictures: the others."""
        return self._stamped(self._order.flush())

    def _stamped(self, places: list[int]) -> list[tuple[T, Stamp]]:
        ready = []
        for place in places:
            item, turn = self._waiting.popleft()
            stamp = Stamp(round(place * self._picture_us), round(turn * self._picture_us), round(self._picture_us))
            ready.append((item, stamp))
        return ready
