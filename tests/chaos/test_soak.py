"""A short soak. A long one is `python -m tests.chaos --minutes 30`."""

import pytest

from tests.chaos.soak import soak

SECONDS = 75.0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_everything_at_once_for_a_minute() -> None:
    assert soak(1, SECONDS).blames == []
