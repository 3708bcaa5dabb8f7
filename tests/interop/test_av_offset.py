"""Sound and picture stay together: what a client gets is as far apart as in the file."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import flash_and_beep
from tests.support.instance import Instance

pytestmark = pytest.mark.interop

SECONDS = 4.0
APART_MS_MAX = 20.0


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return flash_and_beep.make(tmp_path_factory.mktemp("flash") / "clip.mp4", seconds=20)


@pytest.fixture(scope="module")
def instance(clip: Path) -> Iterator[Instance]:
    with Instance(f"av=mock:{clip}") as running:
        running.wait_live("av")
        yield running


@pytest.mark.parametrize("payload", ["ts", "native"])
@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_rtsp(instance: Instance, clip: Path, payload: str, transport: str) -> None:
    in_file = flash_and_beep.offset_ms(str(clip), seconds=SECONDS)
    url = f"{instance.rtsp('av')}/{payload}"
    live = flash_and_beep.offset_ms(url, seconds=SECONDS, options={"rtsp_transport": transport})
    assert abs(live - in_file) < APART_MS_MAX


def test_http(instance: Instance, clip: Path) -> None:
    in_file = flash_and_beep.offset_ms(str(clip), seconds=SECONDS)
    live = flash_and_beep.offset_ms(instance.http("av"), seconds=SECONDS)
    assert abs(live - in_file) < APART_MS_MAX
