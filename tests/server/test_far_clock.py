"""Times of another host, as ages on this one."""

from hypothesis import given
from hypothesis import strategies as st

from server.far_clock import WINDOW_US, FarClock


@given(st.integers(-(10**13), 10**13), st.lists(st.integers(0, 500_000), min_size=1, max_size=50))
def test_ages_are_those_beyond_the_quickest(far_us: int, ways_us: list[int]) -> None:
    """However far apart the two clocks are."""
    clock, now_us, quickest_us = FarClock(), 10_000_000, 10**9
    for way_us in ways_us:
        now_us += 40_000
        quickest_us = min(quickest_us, way_us)
        assert now_us - clock.here_us(1, now_us - way_us - far_us, now_us) == way_us - quickest_us


def test_a_clock_that_runs_faster_or_slower_is_followed() -> None:
    for rate in (0.999, 1.001):
        clock = FarClock()
        for now_us in range(0, 10 * WINDOW_US, 1_000_000):
            born_us = clock.here_us(1, round(now_us * rate), now_us)
            assert 0 <= now_us - born_us <= 2 * WINDOW_US * 0.001


def test_a_new_life_of_the_source_may_have_another_clock() -> None:
    clock = FarClock()
    assert clock.here_us(1, 5, 1000) == 1000
    assert clock.here_us(2, 900_000, 2000) == 2000
    assert clock.here_us(2, 900_000, 2500) == 2000
