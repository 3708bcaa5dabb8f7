"""The stream clock."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from muxer.timeline import JUMP_US, LEAD_MAX_US, LEAD_MIN_US, LEAD_US, Timeline

MS = 1000


def test_it_starts_behind_the_first_sample() -> None:
    assert Timeline(1).on_sample(0, 5_000 * MS, 5_000 * MS, 123) == (5_000 * MS - LEAD_US, False)


def test_it_runs_with_our_clock_not_with_the_samples() -> None:
    timeline = Timeline(1)
    timeline.on_sample(0, 0, 0, 1000 * MS)
    for late_ms in (0, 10, 50, 3, 59):
        clock_us, jumped = timeline.on_sample(0, 40 * MS, 40 * MS, (1040 + late_ms) * MS)
        assert (clock_us, jumped) == ((40 + late_ms) * MS - LEAD_US, False)
        timeline = Timeline(1)
        timeline.on_sample(0, 0, 0, 1000 * MS)
    assert timeline.at(1017 * MS) == 17 * MS - LEAD_US


def test_it_stands_still_while_our_clock_goes_back() -> None:
    timeline = Timeline(1)
    timeline.on_sample(0, 0, 0, 1000 * MS)
    assert timeline.at(1010 * MS) == 10 * MS - LEAD_US
    assert timeline.at(500 * MS) == 10 * MS - LEAD_US
    assert timeline.at(1010 * MS) == 10 * MS - LEAD_US
    assert timeline.at(1011 * MS) == 11 * MS - LEAD_US


def test_times_that_go_to_and_fro_do_not_wind_it_on() -> None:
    """As of pictures and sound that a muxer which comes back is given at once: each time it was some ms ahead."""
    timeline = Timeline(2)
    for number in range(50):
        picture_us, sound_us = number * 40 * MS + 30 * MS, number * 40 * MS
        timeline.on_sample(0, picture_us, picture_us, picture_us)
        clock_us, jumped = timeline.on_sample(1, sound_us, sound_us, sound_us)
        assert (clock_us, jumped) == (picture_us - LEAD_US, False)


def test_it_slows_down_for_late_samples_and_only_by_a_quarter() -> None:
    timeline = Timeline(1)
    timeline.on_sample(0, 0, 0, 0)
    clocks = []
    for number in range(1, 100):
        order_us = number * 40 * MS
        clocks.append(timeline.on_sample(0, order_us, order_us, order_us + 300 * MS)[0])
    steps = [after - before for before, after in pairwise(clocks)]
    assert set(steps[:20]) == {30 * MS}
    assert set(steps[-20:]) == {40 * MS}
    assert 99 * 40 * MS - clocks[-1] == LEAD_MIN_US


def test_it_speeds_up_when_all_samples_are_early() -> None:
    """The first one was late: in time it is as far behind the others as it should be."""
    timeline = Timeline(1)
    timeline.on_sample(0, 0, 0, 200 * MS)
    for number in range(1, 1000):
        order_us = number * 40 * MS
        clock_us, jumped = timeline.on_sample(0, order_us, order_us, order_us)
        assert not jumped
    assert order_us - clock_us == LEAD_US


def test_one_late_sample_is_no_reason_to_stay_slow() -> None:
    timeline = Timeline(1)
    timeline.on_sample(0, 0, 0, 0)
    now_us = 0
    for number in range(1, 50):
        order_us = number * 40 * MS
        now_us = max(now_us, order_us + (90 * MS if number == 10 else 0))
        clock_us, _ = timeline.on_sample(0, order_us, order_us, now_us)
    assert LEAD_US <= order_us - clock_us < LEAD_US + 15 * MS


def test_samples_without_waiting_pull_it_along() -> None:
    timeline = Timeline(1)
    for number in range(100):
        order_us = number * 40 * MS
        clock_us, jumped = timeline.on_sample(0, order_us, order_us + 80 * MS, 0)
        assert not jumped
        assert order_us + 80 * MS - clock_us <= LEAD_MAX_US
        assert clock_us <= order_us


def test_it_never_passes_the_decoding_time_to_meet_the_presentation() -> None:
    timeline = Timeline(1)
    timeline.on_sample(0, 0, 0, 0)
    clock_us, _ = timeline.on_sample(0, 10 * MS, 3000 * MS, 10 * MS)
    assert clock_us == 10 * MS


def test_jumps() -> None:
    for jump_us in (JUMP_US + LEAD_MAX_US + 1, -JUMP_US - LEAD_US - 1, -LEAD_US - 1):
        timeline = Timeline(2)
        timeline.on_sample(0, 0, 0, 0)
        assert timeline.on_sample(0, jump_us, jump_us, 0) == (jump_us - LEAD_US, True)
        assert timeline.on_sample(0, jump_us + 1, jump_us + 1, 1) == (jump_us + 1 - LEAD_US, False)
    # ... but late by less, and behind its predecessor, is only late
    timeline = Timeline(2)
    timeline.on_sample(0, 0, 0, 0)
    assert timeline.on_sample(0, 10, 10, JUMP_US)[1] is False
    # ... and another track's samples have an order of their own
    timeline = Timeline(2)
    timeline.on_sample(0, 0, 0, 0)
    assert timeline.on_sample(1, -LEAD_US - 1, 0, 0)[1] is False


STEPS = st.lists(
    st.tuples(st.integers(0, 1), st.integers(-30 * MS, 100 * MS), st.integers(0, 100 * MS)), max_size=80
)


@given(STEPS)
def test_it_never_goes_back_but_in_a_jump(steps: list[tuple[int, int, int]]) -> None:
    timeline = Timeline(2)
    order_us = now_us = 0
    last_us = None
    for track, order_step, now_step in steps:
        order_us, now_us = order_us + order_step, now_us + now_step
        clock_us, jumped = timeline.on_sample(track, order_us, order_us, now_us)
        assert last_us is None or jumped or clock_us >= last_us
        assert jumped or order_us - clock_us <= LEAD_MAX_US
        last_us = timeline.at(now_us + now_step // 2)
        assert last_us >= clock_us
        now_us += now_step // 2
