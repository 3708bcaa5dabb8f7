"""Real clients decode native payloads, over TCP, without one error (`matrix` has more of both)."""

import re
from collections.abc import Iterator
from itertools import pairwise

import av
import av.logging
import pytest

from tests.support import check_picture, players
from tests.support.check_picture import CheckClip
from tests.support.instance import Instance
from tests.support.media_files import media_file

pytestmark = pytest.mark.interop

SECONDS = 2
PICTURES = SECONDS * 25
AUDIO_FRAMES = SECONDS * 48_000 // 1024
ENOUGH = 0.7
KINDS = {"h264": ("video", "audio"), "h265": ("video",), "mjpeg": ("video",), "audio": ("audio",)}
CLOSED_GROUPS = "x265-params=open-gop=0:bframes=2:keyint=25:log-level=none"


@pytest.fixture(scope="module")
def instance(clip: CheckClip) -> Iterator[Instance]:
    files = {
        "h264": clip.path,
        "h265": media_file("native.mp4", "libx265", None, pictures=100, fps=25, options=CLOSED_GROUPS),
        "mjpeg": media_file("native.mkv", "mjpeg", None, pictures=100, fps=25, size=(640, 480)),
        "audio": media_file("native.m4a", None, "aac", pictures=100, fps=25),
    }
    settings = "".join(
        f'[streams.{name}]\nsource = "mock:{path}"\nmjpeg = "pass"\npayload = "native"\n'
        for name, path in files.items()
    )
    with Instance(config=settings) as running:
        running.wait_live(*files)
        yield running


@pytest.mark.parametrize("stream", KINDS)
def test_ffmpeg(instance: Instance, stream: str) -> None:
    players.need("ffmpeg")
    decoded = players.run(
        f"ffmpeg -v error -xerror -rtsp_transport tcp -i {instance.rtsp(stream)} -t {SECONDS} -map 0 -f framecrc -"
    )
    assert (decoded.code, decoded.err) == (0, "")
    kinds = dict(re.findall(r"^#media_type (\d): (\w+)", decoded.out, re.M))
    assert tuple(sorted(kinds.values(), reverse=True)) == KINDS[stream]
    for track, kind in kinds.items():
        wanted = PICTURES if kind == "video" else AUDIO_FRAMES
        assert len(re.findall(rf"^{track},", decoded.out, re.M)) >= ENOUGH * wanted, kind


@pytest.mark.parametrize("stream", KINDS)
def test_gstreamer_playbin(instance: Instance, stream: str) -> None:
    url = instance.rtsp(stream).replace("rtsp://", "rtspt://")
    sinks = [f"{kind}-sink='fakesink name={kind} silent=false sync=true'" for kind in KINDS[stream]]

    def enough(out: str) -> bool:
        return all(out.count(f"({kind}:sink)") >= PICTURES for kind in KINDS[stream])

    players.gst(f"-v playbin uri={url} {' '.join(sinks)}", enough)


def test_pyav_gets_every_picture(instance: Instance, clip: CheckClip) -> None:
    numbers: list[int] = []
    sounds = 0
    av.logging.set_level(av.logging.ERROR)
    try:
        with (
            av.logging.Capture(local=False) as complaints,
            av.open(instance.rtsp("h264"), "r", options={"rtsp_transport": "tcp"}, timeout=20) as live,
        ):
            for packet in live.demux(video=0, audio=0):
                for frame in packet.decode():
                    if isinstance(frame, av.VideoFrame):
                        reading = check_picture.read(check_picture.from_frame(frame))
                        assert not reading.damaged, f"picture {reading.number}"
                        numbers.append(reading.number)
                    sounds += isinstance(frame, av.AudioFrame)
                if len(numbers) > 2 * PICTURES:
                    break
    finally:
        av.logging.set_level(None)
    assert complaints == []
    assert all(clip.follows(after, before) for before, after in pairwise(numbers)), numbers
    assert sounds > ENOUGH * AUDIO_FRAMES
