"""Another clock on ours: drift over an hour, jitter, jumps."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.clock_follower import JUMP_US, RATE_PPM_MAX, WINDOW_US, ClockFollower

HOUR_US = 3_600_000_000
STEP_US = 21_333  # an audio frame
START_US = 987_654_321


def hour(ppm: float, jitter_us: int, seed: int = 1) -> list[tuple[int, int]]:
    """An hour of samples: when each was taken, and where it was placed. ppm: how much the other clock is fast."""
    choose = random.Random(seed)
    follower = ClockFollower(START_US, START_US)
    placed = []
    for number in range(HOUR_US // STEP_US):
        taken_us = START_US + number * STEP_US
        time_us = round(number * STEP_US * (1 + ppm / 1e6))
        arrived_us = taken_us + choose.randint(0, jitter_us)
        placed.append((taken_us, time_us + follower.offset_us(time_us, arrived_us)))
    assert follower.jumps == 0
    return placed


@pytest.mark.parametrize(("ppm", "jitter_us"), [(100, 0), (-100, 0), (100, 20_000), (-100, 20_000), (0, 20_000)])
def test_an_hour_of_drift_stays_far_below_what_is_noticed(ppm: float, jitter_us: int) -> None:
    placed = hour(ppm, jitter_us)
    off_us = [place_us - taken_us for taken_us, place_us in placed]
    assert max(map(abs, off_us)) < 25_000, "40 ms is what is noticed; without correction it would be 360"
    distances_us = [after - before for (_, before), (_, after) in pairwise(placed)]
    assert max(abs(distance_us - STEP_US) for distance_us in distances_us) < STEP_US * RATE_PPM_MAX / 500_000 + 3


def test_a_jump_is_taken_up_where_it_is() -> None:
    follower = ClockFollower(0, 0)
    assert follower.offset_us(1000, 1000) == 0
    assert follower.offset_us(2000 + JUMP_US, 2000) == 0, "as far is no jump yet"
    assert follower.offset_us(3001 + JUMP_US, 3000) == -JUMP_US - 1
    assert follower.offset_us(0, 4000) == 4000
    assert follower.jumps == 2


def test_a_delay_that_becomes_less_is_followed_slowly() -> None:
    follower = ClockFollower(500_000, 0)
    offsets = [follower.offset_us(now_us, now_us) for now_us in range(40_000, 80_040_000, 40_000)]
    begin = WINDOW_US // 40_000 - 1
    assert set(offsets[:begin]) == {500_000}
    steps = {before - after for before, after in pairwise(offsets[begin - 1 :])}
    assert steps == {40_000 * RATE_PPM_MAX // 1_000_000}


@given(st.lists(st.tuples(st.integers(-(10**9), 10**9), st.integers(0, 10**8)), max_size=200))
def test_whatever_comes_no_sample_is_placed_far_from_its_arrival(steps: list[tuple[int, int]]) -> None:
    follower = ClockFollower(0, 0)
    now_us = 0
    for time_us, step_us in steps:
        now_us += step_us
        off_us = time_us + follower.offset_us(time_us, now_us) - now_us
        assert abs(off_us) <= JUMP_US + step_us * RATE_PPM_MAX // 1_000_000 + 1
