"""Buckets, as Prometheus counts them: a value on a bound is under it."""

import pytest

from common.histogram import Histogram


@pytest.mark.parametrize(
    ("value_us", "counts"),
    [
        (-5, [1, 0, 0]),
        (0, [1, 0, 0]),
        (10_000, [1, 0, 0]),
        (10_001, [0, 1, 0]),
        (20_000, [0, 1, 0]),
        (9**9, [0, 0, 1]),
    ],
)
def test_where_a_value_goes(value_us: int, counts: list[int]) -> None:
    histogram = Histogram((0.01, 0.02))
    histogram.note(value_us)
    assert (histogram.counts, histogram.total_us) == (counts, max(value_us, 0))


def test_many_at_once() -> None:
    histogram = Histogram((0.01,))
    histogram.note(3, 1000)
    histogram.note(20_000, 2)
    assert (histogram.counts, histogram.total_us) == ([1000, 2], 43_000)
