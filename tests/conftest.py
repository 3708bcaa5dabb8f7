"""For all tests: what is slow runs only when it is asked for, and a failing test shows the logs of framegate."""

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.support import check_picture, instance
from tests.support.check_picture import CheckClip

# A busy machine is slow now and then: how long an example takes says nothing about the code.
hypothesis.settings.register_profile("framegate", deadline=None)
hypothesis.settings.load_profile("framegate")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what is marked slow, unless -m says what is wanted or one test is named."""
    if config.option.markexpr or any("::" in argument for argument in config.args):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    items[:] = [item for item in items if item not in slow]
    config.hook.pytest_deselected(items=slow)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Put the log of every running instance below a failure."""
    report = yield
    if report.failed:  # type: ignore[attr-defined]
        for number, running in enumerate(instance.running):
            report.sections.append((f"framegate {number}: {item.nodeid}", running.log))  # type: ignore[attr-defined]
    return report


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> CheckClip:
    """Ten seconds of check pictures with B-pictures and a tone, a sync point every 2 seconds: 1.2 Mbit/s."""
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    return check_picture.make(path, sync_every=50, b_pictures=2, audio=True)


@pytest.fixture(scope="session")
def short_clip(tmp_path_factory: pytest.TempPathFactory) -> CheckClip:
    """Two seconds, so that its seam comes by soon; a sync point every second."""
    path: Path = tmp_path_factory.mktemp("clips") / "short.mp4"
    return check_picture.make(path, pictures=50, sync_every=25, b_pictures=2, audio=True)


@pytest.fixture(scope="session")
def wide_clip(tmp_path_factory: pytest.TempPathFactory) -> CheckClip:
    """8 Mbit/s: what a slow reader cannot follow. A sync point every second, B-pictures, a tone."""
    path = tmp_path_factory.mktemp("clips") / "wide.mp4"
    return check_picture.make(path, width=640, height=480, sync_every=25, b_pictures=2, crf=6, audio=True)
