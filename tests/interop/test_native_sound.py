"""Sound in each codec that has an RTP format of its own: real clients decode it without a word."""

import re
from collections.abc import Iterator

import pytest

from tests.support import players
from tests.support.instance import PATIENT, Instance
from tests.support.media_files import media_file

SECONDS = 1.5
ENOUGH = 0.6
FRAMES = 10
RATES_HZ = {"pcm_mulaw": 8000, "pcm_alaw": 8000}
# The encoder, the container, and what GStreamer takes the sound out of its packets and decodes it by.
CODECS = {
    "mp2": ("mp2", "ts", "rtpmpadepay ! mpegaudioparse ! avdec_mp2float"),
    "mp3": ("libmp3lame", "mp3", "rtpmpadepay ! mpegaudioparse ! avdec_mp3"),
    "ac3": ("ac3", "ts", "rtpac3depay ! ac3parse ! avdec_ac3"),
    "opus": ("libopus", "ogg", "rtpopusdepay ! avdec_opus"),
    "l16": ("pcm_s16be", "mov", "rtpL16depay"),
    "pcmu": ("pcm_mulaw", "wav", "rtppcmudepay ! mulawdec"),
    "pcma": ("pcm_alaw", "wav", "rtppcmadepay ! alawdec"),
}


@pytest.fixture(scope="module")
def instance() -> Iterator[Instance]:
    files = {name: media_file(f"{name}.{suffix}", None, encoder) for name, (encoder, suffix, _) in CODECS.items()}
    with Instance(*(f"{name}=mock:{path}" for name, path in files.items()), config=PATIENT) as running:
        running.wait_live(*files)
        yield running


@pytest.mark.interop
@pytest.mark.parametrize("codec", CODECS)
def test_ffmpeg(instance: Instance, codec: str) -> None:
    players.need("ffmpeg")
    url = f"{instance.rtsp(codec)}/native"
    played = players.run(f"ffmpeg -v warning -xerror -rtsp_transport tcp -i {url} -t {SECONDS} -f framecrc -")
    assert (played.code, played.err) == (0, "")
    samples = sum(int(line.split(",")[3]) for line in re.findall(r"^0,.*", played.out, re.M))
    assert samples > RATES_HZ.get(CODECS[codec][0], 48_000) * SECONDS * ENOUGH


@pytest.mark.interop
@pytest.mark.parametrize("codec", CODECS)
def test_gstreamer(instance: Instance, codec: str) -> None:
    url = f"{instance.rtsp(codec)}/native"
    sink = "fakesink name=sound silent=false"
    line = f"-v rtspsrc location={url} protocols=tcp ! {CODECS[codec][2]} ! {sink}"
    played = players.gst(line, lambda out: out.count("(sound:sink)") >= FRAMES)
    assert played.out.count("(sound:sink)") >= FRAMES
