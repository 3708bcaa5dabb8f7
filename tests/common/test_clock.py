"""Clock arithmetic."""

from hypothesis import given
from hypothesis import strategies as st

from common.clock import now_us, ticks_90k


@given(st.integers(-(1 << 62), 1 << 62))
def test_ticks_survive_the_way_over_microseconds(ticks: int) -> None:
    """A PTS in µs, rounded either way, gives the same PTS again."""
    assert ticks_90k(ticks * 100 // 9) == ticks
    assert ticks_90k(-(-ticks * 100 // 9)) == ticks


def test_ticks_are_rounded_not_cut() -> None:
    assert [ticks_90k(us) for us in (0, 5, 6, 16, 17, 1_000_000)] == [0, 0, 1, 1, 2, 90_000]
    assert ticks_90k(33_333) == 3000
    assert ticks_90k(-33_333) == -3000


def test_the_clock_never_goes_back() -> None:
    times = [now_us() for _ in range(1000)]
    assert times == sorted(times)
