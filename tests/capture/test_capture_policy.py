"""When a source runs, is tried again, and is asked for a key frame."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from capture.policy import (
    IDLE_WAIT_US,
    KEY_FRAME_INTERVAL_US,
    STEADY_US,
    SUBSCRIBER_WAIT_US,
    TURN_US,
    Demand,
    KeyFrameRequests,
    Retries,
    next_turn_us,
)
from common.config import Capture

SETTINGS = Capture(retry_ms=500, retry_max_ms=5000, idle_ms=10_000)


def test_what_is_not_on_demand_is_always_wanted_once_somebody_can_hear_it() -> None:
    demand = Demand(False, SETTINGS)
    assert not demand.wanted(False, 5)
    assert demand.wanted(True, 10)
    assert demand.wanted(False, 20)
    assert demand.wanted(False, 1 << 60)


def test_what_is_not_on_demand_does_not_wait_for_ever() -> None:
    demand = Demand(False, SETTINGS)
    assert not demand.wanted(False, 5)
    assert not demand.wanted(False, 4 + SUBSCRIBER_WAIT_US)
    assert demand.wanted(False, 5 + SUBSCRIBER_WAIT_US)
    assert demand.wanted(False, 6 + SUBSCRIBER_WAIT_US)


def test_on_demand_it_runs_on_for_a_while() -> None:
    demand = Demand(True, SETTINGS)
    assert not demand.wanted(False, 0)
    assert demand.wanted(True, 1_000_000)
    assert demand.wanted(False, 10_999_999)
    assert not demand.wanted(False, 11_000_000)
    assert demand.wanted(True, 60_000_000)
    assert demand.wanted(True, 600_000_000)
    assert demand.wanted(False, 609_999_999)


def pauses(retries: Retries, count: int, now_us: int = 0) -> list[int]:
    found = []
    for _ in range(count):
        retries.failed(now_us)
        found.append(retries.wait_us(now_us) // 1000)
        now_us += retries.wait_us(now_us)
        assert retries.due(now_us)
        assert not retries.due(now_us - 1)
    return found


def test_pauses_double_to_their_limit() -> None:
    retries = Retries(SETTINGS)
    assert retries.due(0)
    assert retries.wait_us(0) == 0
    assert pauses(retries, 6) == [500, 1000, 2000, 4000, 5000, 5000]
    assert retries.count == 6


def test_a_source_that_was_well_is_tried_again_soon() -> None:
    retries = Retries(SETTINGS)
    pauses(retries, 5)
    retries.up(100_000_000)
    assert pauses(retries, 1, 100_000_000 + STEADY_US) == [500]


def test_what_has_come_back_is_opened_now_and_then_after_the_first_pause() -> None:
    retries = Retries(SETTINGS)
    pauses(retries, 4)
    retries.begin_anew()
    assert retries.due(0)
    assert pauses(retries, 2) == [500, 1000]


def test_one_that_comes_and_goes_is_not() -> None:
    retries = Retries(SETTINGS)
    pauses(retries, 5)
    retries.up(100_000_000)
    assert pauses(retries, 1, 100_000_000 + STEADY_US - 1) == [5000]


def test_a_longest_pause_below_the_first_is_the_first() -> None:
    assert pauses(Retries(Capture(retry_ms=700, retry_max_ms=100)), 3) == [700, 700, 700]


def test_a_request_passes_at_once_and_the_next_one_waits_and_is_not_lost() -> None:
    requests = KeyFrameRequests()
    assert not requests.passes(0)
    requests.ask()
    assert requests.passes(0)
    assert not requests.passes(KEY_FRAME_INTERVAL_US)
    requests.ask()
    requests.ask()
    assert requests.passes(KEY_FRAME_INTERVAL_US)
    requests.ask()
    assert not requests.passes(2 * KEY_FRAME_INTERVAL_US - 1)
    assert requests.passes(2 * KEY_FRAME_INTERVAL_US)
    assert not requests.passes(9 * KEY_FRAME_INTERVAL_US)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 300_000)), max_size=100))
def test_requests_are_spaced_and_every_one_is_answered(steps: list[tuple[bool, int]]) -> None:
    requests = KeyFrameRequests()
    now_us = 0
    asked_us: int | None = None
    passed: list[int] = []
    for asks, step_us in steps:
        now_us += step_us
        if asks:
            requests.ask()
            asked_us = now_us
        if requests.passes(now_us):
            passed.append(now_us)
            asked_us = None
    assert all(after - before >= KEY_FRAME_INTERVAL_US for before, after in pairwise(passed))
    assert asked_us is None or requests.passes(now_us + KEY_FRAME_INTERVAL_US)


def test_a_turn_begins_when_something_is_due() -> None:
    assert next_turn_us([1_000_000 + 33_000], 1_000_000, alone=True) == 1_033_000
    assert next_turn_us([0], 1_000_000, alone=True) == 1_000_000
    assert next_turn_us([1_090_000, 1_033_000], 1_000_000, alone=False) == 1_033_000


def test_files_that_share_a_process_wait_a_little_for_each_other() -> None:
    assert next_turn_us([0, 1_033_000], 1_000_000, alone=False) == 1_000_000 + TURN_US
    assert next_turn_us([1_000_000 + TURN_US - 1], 1_000_000, alone=False) == 1_000_000 + TURN_US


def test_no_turn_is_so_late_that_the_process_is_taken_for_dead() -> None:
    for due_us in ([], [1_000_000 + 3_600_000_000]):
        for alone in (False, True):
            assert next_turn_us(due_us, 1_000_000, alone) == 1_000_000 + IDLE_WAIT_US
