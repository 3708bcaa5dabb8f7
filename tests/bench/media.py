"""The clip that every server of a run serves, and the shapes in which they want it.

A camera's kind of stream: H.264 High, 1280 × 720, 30 pictures a second, 4 Mbit/s, a sync point every 2 seconds,
no B-pictures. `nals` is what a picture consists of: "sei" (a slice and its timing SEI, as most encoders write) or
"single" (one slice, which is kind to servers that work by the NAL unit). Made once, kept in the cache directory.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import av.bitstream
import numpy as np

from common.sample import Codec, Sample, Track

Nals = Literal["sei", "single"]

WIDTH, HEIGHT = 1280, 720
FPS = 30
BITRATE_BPS = 4_000_000
SYNC_INTERVAL_S = 2
SECONDS = 10
_START_CODE = b"\0\0\1"
_PARAMETER_SETS = (7, 8)  # nal_unit_type of SPS and PPS, ITU-T H.264 table 7-1


@dataclass(frozen=True)
class Clip:
    """The clip, as files. `pictures`: a directory of one Annex B access unit a file, 00000.h264 and on."""

    mp4: Path
    pictures: Path
    bitrate_bps: float


def clip(cache: Path, nals: Nals = "sei") -> Clip:
    """The clip, made if the cache has none yet."""
    mp4 = cache / f"clip-{nals}.mp4"
    pictures = cache / f"clip-{nals}"
    if not pictures.is_dir():
        fresh_mp4, fresh_pictures = cache / f"fresh-{nals}.mp4", cache / f"fresh-{nals}"
        _encode(fresh_mp4, nals)
        split(fresh_mp4, fresh_pictures)
        fresh_mp4.rename(mp4)
        fresh_pictures.rename(pictures)
    size_bytes = sum(path.stat().st_size for path in pictures.iterdir())
    return Clip(mp4, pictures, size_bytes * 8 / SECONDS)


def split(mp4: Path, pictures: Path) -> None:
    """Write each access unit of the file into one of its own, as `Clip.pictures` has them."""
    pictures.mkdir(exist_ok=True)
    for number, (data, _) in enumerate(_access_units(mp4)):
        (pictures / f"{number:05d}.h264").write_bytes(data)


def frames_file(clip: Clip) -> Path:
    """The clip muxed by our own muxer, as fanout.c wants it: each frame after its length (32 bits, big-endian)."""
    from muxer.mpegts import TsMuxer  # not before it is needed: the other peers can be measured without it

    units = list(_access_units(clip.mp4))
    sets = b"".join(_START_CODE + nal for nal in _nals(units[0][0]) if nal[0] & 31 in _PARAMETER_SETS)
    muxer = TsMuxer((Track(Codec.H264, WIDTH, HEIGHT, float(FPS), config=sets),), ssrc=0x5EED)
    path = clip.mp4.with_suffix(".frames")
    with path.open("wb") as file:
        for number, (data, sync) in enumerate(units):
            time_us = 1_000_000 + number * 1_000_000 // FPS
            frame = muxer.write(Sample(data, time_us, Codec.H264, sync), time_us)
            file.write(len(frame.data).to_bytes(4, "big"))
            file.write(frame.data)
    return path


def _nals(access_unit: bytes) -> Iterator[bytes]:
    for part in access_unit.split(_START_CODE):
        if nal := part.rstrip(b"\0"):
            yield nal


def _access_units(mp4: Path) -> Iterator[tuple[bytes, bool]]:
    """Each access unit as Annex B, and whether it is a sync point."""
    with av.open(str(mp4)) as container:
        stream = container.streams.video[0]
        annex_b = av.bitstream.BitStreamFilterContext("h264_mp4toannexb", stream)
        for packet in container.demux(stream):
            for unit in annex_b.filter(packet):
                if unit.size:
                    yield bytes(unit), unit.is_keyframe


def _encode(path: Path, nals: Nals) -> None:
    """Pictures with enough detail and motion that the encoder has use for the bit rate."""
    rng = np.random.default_rng(1)
    texture = rng.integers(0, 256, (HEIGHT * 2 // 8, WIDTH * 2 // 8), np.uint8).repeat(8, 0).repeat(8, 1)
    grain = rng.integers(0, 14, (8, HEIGHT, WIDTH), np.uint8)
    timing = "nal-hrd=vbr:pic-struct=1:" if nals == "sei" else ""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.bit_rate = BITRATE_BPS
        stream.codec_context.time_base = Fraction(1, FPS)
        stream.options = {
            "preset": "veryfast",
            "x264-params": f"{timing}bframes=0:sliced-threads=0:keyint={FPS * SYNC_INTERVAL_S}:scenecut=0:"
            f"vbv-maxrate={BITRATE_BPS // 1000}:vbv-bufsize={BITRATE_BPS // 1000}",
        }
        for number in range(FPS * SECONDS):
            turn = 2 * math.pi * number / (FPS * SECONDS)  # round once in a clip: motion without a seam
            x = int(WIDTH / 2 * (1 + math.sin(turn)))
            y = int(HEIGHT / 2 * (1 + math.cos(turn)))
            luma = texture[y : y + HEIGHT, x : x + WIDTH] // 2 + grain[number % len(grain)] + 40
            chroma = np.full((HEIGHT // 2, WIDTH), 128, np.uint8)
            picture = av.VideoFrame.from_ndarray(np.concatenate([luma, chroma]), format="yuv420p")
            picture.pts = number
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
