"""The schedule of a soak: by its seed alone, of everything, and calm at the end."""

import itertools

from tests.chaos.schedule import BEGIN_S, CALM_S, SPACING_S, Fault, schedule


def test_the_same_seed_does_the_same_and_another_one_something_else() -> None:
    assert schedule(7, 600) == schedule(7, 600)
    assert schedule(7, 600) != schedule(8, 600)


def test_a_longer_soak_begins_like_a_shorter_one() -> None:
    short = schedule(3, 120)
    assert schedule(3, 600)[: len(short)] == short


def test_everything_is_done_in_time() -> None:
    events = schedule(1, 1800)
    assert {event.fault for event in events} == set(Fault)
    assert events[0].at_s == BEGIN_S
    assert events[-1].at_s < 1800 - CALM_S
    steps = [after.at_s - before.at_s for before, after in itertools.pairwise(events)]
    assert SPACING_S[0] <= min(steps) <= max(steps) <= SPACING_S[1]


def test_one_that_is_too_short_does_nothing() -> None:
    assert schedule(1, BEGIN_S + CALM_S) == []
