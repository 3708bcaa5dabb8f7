"""Times that a file does not say."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from capture.file_times import UNDATED_MAX, Stamp, StampedTimes, microseconds
from common.clock import ticks_90k

PICTURE_US = Fraction(1_000_000, 30)


@given(st.integers(-(1 << 40), 1 << 40))
def test_ticks_of_90_khz_are_found_again(ticks: int) -> None:
    assert ticks_90k(microseconds(ticks, Fraction(1, 90_000))) == ticks


@given(st.integers(-(1 << 40), 1 << 40), st.fractions(Fraction(1, 1_000_000), 1, max_denominator=10**7))
def test_ticks_are_rounded_to_the_nearest(ticks: int, time_base: Fraction) -> None:
    assert abs(microseconds(ticks, time_base) - ticks * time_base * 1_000_000) <= Fraction(1, 2)


def test_what_is_complete_passes() -> None:
    times: StampedTimes[str] = StampedTimes(PICTURE_US)
    assert times.push("a", 100, 50, 40) == [("a", Stamp(100, 50, 40))]
    assert times.push("b", 140, 90, 0) == [("b", Stamp(140, 90, 33333))]
    assert times.flush() == []


def test_decoding_times_that_come_late_are_counted_back() -> None:
    times: StampedTimes[str] = StampedTimes(PICTURE_US)
    assert times.push("i", 0, None, 33_000) == []
    assert times.push("p", 100_000, None, 33_000) == []
    assert times.push("b", 33_000, 0, 33_000) == [
        ("i", Stamp(0, -66_667, 33_000)),
        ("p", Stamp(100_000, -33_333, 33_000)),
        ("b", Stamp(33_000, 0, 33_000)),
    ]


def test_without_any_they_are_those_of_presentation() -> None:
    times: StampedTimes[int] = StampedTimes(PICTURE_US)
    for index in range(UNDATED_MAX):
        assert times.push(index, index * 40, None, 40) == []
    assert times.push(UNDATED_MAX, UNDATED_MAX * 40, None, 40) == [
        (index, Stamp(index * 40, index * 40, 40)) for index in range(UNDATED_MAX + 1)
    ]
    times.push(0, 7, None, 40)
    assert times.flush() == [(0, Stamp(7, 7, 40))]


def test_no_picture_is_decoded_after_it_is_shown() -> None:
    times: StampedTimes[str] = StampedTimes(PICTURE_US)
    assert times.push("a", 100, 150, 40) == [("a", Stamp(100, 100, 40))]
