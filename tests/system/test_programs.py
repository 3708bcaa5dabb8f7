"""Programs that publish to a running instance, and tap it: the examples, run as a reader would."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

from tests.support import judge
from tests.support.instance import Instance
from tests.support.viewers import RtspViewer
from tests.support.wait import until

EXAMPLES = Path(__file__).parents[2] / "deploy" / "examples"
PATIENCE_S = 60


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    home = tmp_path_factory.mktemp("r")
    with Instance("ball=program:", runtime_dir=home / "framegate") as running:
        yield running


def example(instance: Instance, name: str, *arguments: str) -> "subprocess.Popen[str]":
    """An example that finds the instance by itself: it is the user's default one."""
    environment = {**instance.environment(), "XDG_RUNTIME_DIR": str(instance.runtime_dir.parent)}
    return subprocess.Popen(
        [sys.executable, str(EXAMPLES / name), *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip


def is_in(instance: Instance, state: str) -> None:
    until(lambda: instance.stream("ball")["state"] == state, PATIENCE_S, state)


def test_pictures_of_a_program_that_dies_and_comes_back(instance: Instance) -> None:
    assert instance.stream("ball")["state"] == "waiting"
    with example(instance, "publish_pictures.py", "ball") as publisher:
        is_in(instance, "live")
        with RtspViewer(instance.rtsp("ball")) as viewer:
            viewer.wait_bytes(20_000)
            publisher.kill()
            is_in(instance, "down")
            assert instance.stream("ball")["reason"] == "its program has ended"
            with example(instance, "publish_pictures.py", "ball") as another:
                viewer.wait_bytes(20_000, PATIENCE_S)
                with example(instance, "detect_motion.py", "ball", "3") as detector:
                    said, errors = detector.communicate(timeout=PATIENCE_S)
                another.kill()
    judge.check_rtp(viewer.rtp)
    judge.check_ts(viewer.ts, spliced=True)
    assert (detector.returncode, errors) == (0, "")
    assert said.startswith("motion ")


def test_another_encoding(instance: Instance, tmp_path: Path) -> None:
    target = tmp_path / "out.ts"
    with example(instance, "smaller_pictures.py", "test:size=320x240", str(target), "4") as session:
        _, errors = session.communicate(timeout=PATIENCE_S)
    assert session.returncode == 0, errors
    assert "Traceback" not in errors
    with av.open(str(target)) as container:
        pictures = list(container.decode(video=0))
    assert len(pictures) > 10
    assert (pictures[0].width, pictures[0].height) == (160, 120)
