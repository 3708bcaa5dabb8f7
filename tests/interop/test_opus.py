"""Sound in Opus: players decode it out of MPEG-TS and out of RTP."""

import re
from collections.abc import Iterator

import pytest

from tests.support import players
from tests.support.instance import PATIENT, Instance

pytestmark = pytest.mark.interop

SECONDS = 3
PACKETS = SECONDS * 50 - 15  # of 20 ms; the first ones may come before the first picture
PAYLOADS = ("ts", "native")


@pytest.fixture(scope="module")
def instance() -> Iterator[Instance]:
    source = '[streams.test]\nsource = "test:size=320x240,fps=25"\nsound_codec = "opus"\n'
    with Instance(config=PATIENT + source) as running:
        running.wait_live("test")
        yield running


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_ffmpeg(instance: Instance, payload: str, transport: str) -> None:
    players.need("ffmpeg")
    decoded = players.run(
        f"ffmpeg -v warning -xerror -rtsp_transport {transport} -i {instance.rtsp('test')}/{payload}"
        f" -t {SECONDS} -map 0:v -map 0:a -f framecrc -"
    )
    assert (decoded.code, decoded.err) == (0, "")
    assert re.search(r"^#codec_id 1: pcm", decoded.out, re.M)
    sounds = [line.split(",") for line in decoded.out.splitlines() if line.startswith("1,")]
    assert len(sounds) >= PACKETS
    assert {int(sound[3]) for sound in sounds} == {960}


@pytest.mark.parametrize("payload", PAYLOADS)
def test_gstreamer(instance: Instance, payload: str) -> None:
    demux = "rtpmp2tdepay ! tsdemux" if payload == "ts" else "rtpopusdepay"
    played = players.gst(
        f"-v rtspsrc location={instance.rtsp('test')}/{payload} protocols=tcp ! "
        f"application/x-rtp,media={'video' if payload == 'ts' else 'audio'} ! {demux} ! opusparse ! opusdec ! "
        "identity silent=false ! fakesink sync=false",
        enough=lambda out: out.count("chain   *") > PACKETS,
    )
    assert "audio/x-raw" in played.out
