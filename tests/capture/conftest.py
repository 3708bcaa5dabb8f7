"""A camera that does what real ones do only now and then, and the clock of the source that reads it."""

from collections.abc import Iterator

import pytest

from tests.capture.camera_sources import SIZES, Clock
from tests.capture.fake_camera import FakeCamera


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCamera]:
    made = FakeCamera({"H264": SIZES})
    made.install(monkeypatch)
    yield made
    made.close()
