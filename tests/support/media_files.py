"""Small media files of every kind that a user may have, written by libavformat, and what is really in them.

Two seconds of moving noise and a tone. Each is made once in a test session, in a directory of its own.
"""

import functools
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

WIDTH, HEIGHT = 160, 120
FPS = 30
PICTURES = 60
SYNC_EVERY = 30
RATE_HZ = 48_000

_home = tempfile.TemporaryDirectory(prefix="framegate-media-")


@dataclass(frozen=True)
class Packet:
    """One packet as libavformat gives it, in µs of the file, as fractions: not yet rounded."""

    audio: bool
    pts_us: Fraction
    dts_us: Fraction
    data: bytes
    key: bool


@functools.cache
def media_file(
    name: str,
    video: str | None = "libx264",
    audio: str | None = "aac",
    *,
    b_pictures: int = 2,
    pictures: int = PICTURES,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    fps: int | Fraction = FPS,
    options: str = "",
    muxer: str | None = None,
    muxer_options: str = "",
) -> Path:
    """A file called `name`, whose suffix says the container. options: `key=value,…` of the video encoder."""
    path = Path(tempfile.mkdtemp(dir=_home.name), name)
    with av.open(str(path), "w", format=muxer, options=_pairs(muxer_options)) as container:
        picture_stream: Any = container.add_stream(video, rate=fps) if video else None
        if picture_stream is not None:
            picture_stream.width, picture_stream.height = size
            picture_stream.pix_fmt = "yuvj420p" if video == "mjpeg" else "yuv420p"
            picture_stream.gop_size = SYNC_EVERY
            picture_stream.options = _encoder_options(video or "", b_pictures) | _pairs(options)
        rate = 8000 if audio in ("pcm_mulaw", "pcm_alaw") else RATE_HZ
        sound_stream: Any = container.add_stream(audio, rate=rate, layout="mono") if audio else None
        sounded = 0
        for number in range(pictures):
            if picture_stream is not None:
                frame = av.VideoFrame.from_ndarray(_picture(number, *size), format="yuv420p")
                if video == "mjpeg":
                    frame = frame.reformat(format="yuvj420p")
                frame.pts, frame.time_base = number, Fraction(1, fps)
                container.mux(picture_stream.encode(frame))
            while sound_stream is not None and sounded * fps < (number + 1) * rate:
                container.mux(sound_stream.encode(_sound(sounded, rate, str(audio))))
                sounded += 1024
        for stream in (picture_stream, sound_stream):
            if stream is not None:
                container.mux(stream.encode(None))
    return path


def packets(path: Path) -> list[Packet]:
    """All packets of a file whose times are all there, by libavformat."""
    found = []
    with av.open(f"file:{path}") as container:
        for packet in container.demux():
            if packet.size:
                assert packet.pts is not None
                assert packet.dts is not None
                found.append(
                    Packet(
                        packet.stream.type == "audio",
                        packet.pts * packet.time_base * 1_000_000,
                        packet.dts * packet.time_base * 1_000_000,
                        bytes(packet),
                        packet.is_keyframe,
                    )
                )
    return found


def variant(source: Path, name: str, change: Callable[[bytes], bytes]) -> Path:
    """A file with changed bytes, for example cut short."""
    path = Path(tempfile.mkdtemp(dir=_home.name), name)
    path.write_bytes(change(source.read_bytes()))
    return path


def _pairs(text: str) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in text.split(",") if pair)


def _encoder_options(encoder: str, b_pictures: int) -> dict[str, str]:
    if encoder == "libx264":
        return {"preset": "ultrafast", "bf": str(b_pictures), "sc_threshold": "0"}
    if encoder == "libx265":
        parameters = f"bframes={b_pictures}:log-level=none:keyint={SYNC_EVERY}:scenecut=0:pools=1:frame-threads=1"
        return {"preset": "ultrafast", "x265-params": parameters}
    return {"huffman": "default"} if encoder == "mjpeg" else {}  # the tables that RTP can carry


def _picture(number: int, width: int, height: int) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    noise = np.random.default_rng(number).integers(0, 24, (height, width), dtype=np.uint8)
    luma = noise + np.uint8(60) + ((np.arange(width) + 4 * number) % 64).astype(np.uint8)
    return np.vstack([luma, np.full((height // 2, width), 128, np.uint8)])


def _sound(first: int, rate: int, encoder: str) -> av.AudioFrame:
    tone = np.sin((np.arange(1024) + first) * 2 * np.pi * 440 / rate) * 0.2
    planar = encoder in ("aac", "libmp3lame", "ac3")
    if planar:
        frame = av.AudioFrame.from_ndarray(tone.astype(np.float32)[None], format="fltp", layout="mono")
    else:
        frame = av.AudioFrame.from_ndarray((tone * 32767).astype(np.int16)[None], format="s16", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = rate, first, Fraction(1, rate)
    return frame
