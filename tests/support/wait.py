"""Waiting for a condition, always with a bound: the only sleep of the tests that see framegate from outside."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

POLL_S = 0.02


def until(probe: Callable[[], T], within_s: float, what: str) -> T:
    """The first true answer of `probe`. Raises AssertionError that says `what` was waited for, and the last."""
    give_up_s = time.monotonic() + within_s
    while not (answer := probe()):
        assert time.monotonic() < give_up_s, f"waited {within_s} s for: {what} (last: {answer!r})"
        time.sleep(POLL_S)
    return answer
