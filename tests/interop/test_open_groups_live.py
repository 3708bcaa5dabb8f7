"""A stream of open groups (H.265), joined at any picture: ffmpeg decodes it without a word."""

import threading
from collections.abc import Iterator

import pytest

from tests.support import players
from tests.support.instance import PATIENT, Instance
from tests.support.media_files import media_file

JOINS = 6
APART_S = 0.37  # no multiple of the time between pictures, or between sync points
OPEN = "x265-params=open-gop=1:keyint=25:min-keyint=25:bframes=3:scenecut=0:log-level=none"


@pytest.fixture(scope="module")
def instance() -> Iterator[Instance]:
    clip = media_file("open.mp4", "libx265", None, pictures=200, fps=25, options=OPEN)
    with Instance(f"open=mock:{clip}", config=PATIENT) as running:
        running.wait_live("open")
        yield running


@pytest.mark.interop
@pytest.mark.parametrize("payload", ["ts", "native"])
def test_joined_at_any_time(instance: Instance, payload: str) -> None:
    players.need("ffmpeg")
    url = f"{instance.rtsp('open')}/{payload}"
    played: list[players.Run] = []

    def play() -> None:
        played.append(players.run(f"ffmpeg -v warning -xerror -rtsp_transport tcp -i {url} -t 2 -f null -"))

    players_at_once = [threading.Timer(number * APART_S, play) for number in range(JOINS)]
    for player in players_at_once:
        player.start()
    for player in players_at_once:
        player.join()
    assert [(run.code, run.err) for run in played] == [(0, "")] * JOINS
    assert {reason for viewer in instance.stats()["deliveries"] for reason in viewer["drops"]} <= {
        "leading",
        "left",
    }
