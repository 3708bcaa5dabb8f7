"""The slate: one still picture that says since when there is none, encoded like the source's pictures were.

It is encoded once, and shown again and again: that costs nothing.
"""

from fractions import Fraction
from itertools import cycle
from typing import Any

import av
import msgspec
import numpy as np
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType

from capture import glyphs
from capture.encode import MICROSECOND, PIXELS, PictureEncoder, new_context
from capture.glyphs import CELL_COLUMNS, CELL_ROWS, DARK, Plane
from capture.sync_points import SyncPoints
from common import config
from common.errors import MediaError, SourceError
from common.sample import Codec, Sample, Track

WORDS = "no signal since"
SIZE = (640, 360)  # where that of the source is not known
FPS = 25.0  # likewise
_QUANTISER = "3"  # of JPEG: sharp letters
_X265 = "log-level=none:repeat-headers=1:keyint=1:bframes=0:frame-threads=1:pools=none"
# One IDR picture that follows another must have another idr_pic_id (ITU-T H.264 7.4.3): two take turns.
_PICTURES = 2


class Slate:
    """track: the source's track of pictures, with this one's parameter sets. Raises SourceError."""

    def __init__(self, like: Track, words: str, since: str) -> None:
        width, height = (like.width & ~1 or SIZE[0], like.height & ~1 or SIZE[1])
        picture = av.VideoFrame.from_ndarray(painted(width, height, words, since), format=PIXELS)
        try:
            coded, parameter_sets = _encoded(picture, like.codec, like.fps or FPS)
        except (FFmpegError, MediaError) as error:
            raise SourceError(f"no slate in {like.codec.upper()} {width}x{height}: {error}") from None
        self.track = msgspec.structs.replace(like, width=width, height=height, config=parameter_sets)
        self._turns = cycle(coded)

    def sample(self, time_us: int) -> Sample:
        """The picture at `time_us`, a sync point."""
        return Sample(next(self._turns), time_us, self.track.codec)


def painted(width: int, height: int, words: str, since: str) -> Plane:
    """The picture as yuv420p, (height · 3/2, width): two lines of text, as large as there is room for."""
    pixels: Plane = np.full((height * 3 // 2, width), 128, np.uint8)
    luma = pixels[:height]
    luma[:] = DARK
    lines = [text[: width // CELL_COLUMNS] for text in (words, since)]
    longest = max(map(len, lines))
    if not longest or height < 2 * CELL_ROWS:
        return pixels  # no room for letters
    scale = max(1, min(width * 8 // 10 // (CELL_COLUMNS * longest), height // (4 * CELL_ROWS)))
    top = (height - 2 * CELL_ROWS * scale) // 2
    for row, text in enumerate(lines):
        left = (width - CELL_COLUMNS * len(text) * scale) // 2
        glyphs.write(luma, text, (top + row * CELL_ROWS * scale, left), scale)
    return pixels


def _encoded(picture: av.VideoFrame, codec: Codec, fps: float) -> tuple[list[bytes], bytes]:
    """_PICTURES sync points of it, and the parameter sets in them. Raises FFmpegError, MediaError, SourceError."""
    if codec is Codec.H264:
        encoder = PictureEncoder(config.Encode(bitrate_bps=0, sync_interval_ms=1, codec="libx264"), fps)
        samples = [sample for number in range(_PICTURES) for sample in encoder.encode(picture, number * 1_000_000)]
        encoder.close()
        return [bytes(sample.data) for sample in samples], encoder.track.config if encoder.track else b""
    if codec is Codec.MJPEG:
        context = _context("mjpeg", picture, fps, {"huffman": "default", "qmin": _QUANTISER, "qmax": _QUANTISER})
        return _packets(context, picture.reformat(format="yuvj420p")), b""
    sync_points = SyncPoints(codec)
    context = _context(
        "libx265", picture, fps, {"preset": "ultrafast", "tune": "zerolatency", "x265-params": _X265}
    )
    units = [sync_points.feed(data) for data in _packets(context, picture)]
    return [unit.data for unit in units if unit is not None and unit.sync], sync_points.config


def _context(name: str, picture: av.VideoFrame, fps: float, options: dict[str, str]) -> VideoCodecContext:
    context = new_context(name, "w")
    context.width, context.height = picture.width, picture.height
    context.pix_fmt = "yuvj420p" if name == "mjpeg" else PIXELS
    context.time_base = MICROSECOND
    context.framerate = Fraction(fps).limit_denominator(1001)
    context.thread_count = 1
    context.options = options
    return context


def _packets(context: VideoCodecContext, picture: av.VideoFrame) -> list[bytes]:
    packets: list[av.Packet[Any]] = []
    for number in range(_PICTURES):
        picture.pts, picture.time_base = number * 1_000_000, MICROSECOND
        picture.pict_type = PictureType.I
        packets += context.encode(picture)
    packets += context.encode(None)
    return [bytes(packet) for packet in packets]
