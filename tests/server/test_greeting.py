"""When muxers are greeted: seldom while they send, soon when they fall silent, and then often."""

import itertools
from collections.abc import Collection

from server.greeting import CALM_INTERVAL_US, INTERVAL_US, LATE_US, SEEK_AFTER_US, SEEK_INTERVAL_US, Greeting

STEP_US = 1_000
FRAME_US = 33_000


def greeted(words_us: Collection[int], until_us: int, answers: bool = False) -> list[int]:
    """When a muxer is greeted that says something at these times, and perhaps answers."""
    greeting, words = Greeting(), set(words_us)
    greetings = []
    for now_us in range(0, until_us, STEP_US):
        if now_us in words:
            greeting.said_us = now_us
        if now_us >= greeting.due_us:
            greetings.append(now_us)
            greeting.done(now_us)
            if answers:
                words.add(now_us + STEP_US)
    return greetings


def gaps(times_us: list[int]) -> set[int]:
    return {after - before for before, after in itertools.pairwise(times_us)}


def test_one_that_sends_frames_is_greeted_seldom() -> None:
    assert gaps(greeted(range(0, 5_000_000, FRAME_US), 5_000_000, answers=True)) == {CALM_INTERVAL_US}


def test_one_that_only_answers_is_greeted_more_often() -> None:
    assert gaps(greeted([0], 5_000_000, answers=True)[1:]) == {INTERVAL_US + STEP_US}


def test_one_that_has_never_said_anything_is_sought() -> None:
    assert gaps(greeted([], 1_000_000)) == {SEEK_INTERVAL_US}


def test_one_that_falls_silent_is_asked_soon_and_then_sought() -> None:
    last_us = 61 * FRAME_US
    times_us = greeted(range(0, last_us + 1, FRAME_US), last_us + 1_000_000)
    after = [at_us - last_us for at_us in times_us if at_us > last_us]
    assert after[0] <= INTERVAL_US
    sought = [at_us for at_us in after if at_us >= SEEK_AFTER_US]
    assert sought[0] <= SEEK_AFTER_US + SEEK_INTERVAL_US
    assert gaps(sought) == {SEEK_INTERVAL_US}


def test_no_wake_up_for_one_that_is_there_where_a_turn_comes_anyway_but_for_one_that_is_sought() -> None:
    greeting = Greeting()
    assert greeting.latest_us == greeting.due_us
    greeting.said_us = 0
    greeting.done(0)
    assert greeting.latest_us == greeting.due_us + LATE_US
