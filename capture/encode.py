"""Pictures to H.264, sound to AAC or Opus, by libavcodec. One picture in, one access unit out, at once.

A picture carries its capture time through the encoder. Sync points come by time, so that a camera that slows
down in the dark keeps their distance, and on request. The rate is bounded, not filled: a still picture costs
little, and no picture more than `bitrate_bps` allows over a second.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Literal, NamedTuple

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from capture.sync_points import SyncPoints
from common import config
from common.errors import MediaError, SourceError
from common.sample import Codec, Sample, Track

MICROSECOND = Fraction(1, 1_000_000)
PIXELS = "yuv420p"
FPS_UNKNOWN = 30.0  # what the encoder is told where the camera says nothing
ONE_THREAD_PIXELS_S_MAX = 1920 * 1080 * 30  # one core of a small machine encodes so much; more needs several
THREADS_MAX = 4
_BT601 = 5  # AVColorSpace: what cameras and JPEG have, at any size; HD players must be told
_LIMITED_RANGE = 1  # AVColorRange
# Tried in this order; the last one works everywhere.
_ALL = ("h264_v4l2m2m", "libx264")
_ENCODERS = {"auto": _ALL, "h264_v4l2m2m": _ALL, "libx264": ("libx264",)}
_PROFILES = {"baseline": "Constrained Baseline", "main": "Main", "high": "High"}  # as libavcodec calls them


class PictureEncoder:
    """H.264 of pictures of any format and size. The board's own encoder where it has one, else x264.

    track: known from the first access unit on, and anew after the picture's size changed. notes: which encoder of
    the settings could not be used.
    """

    def __init__(self, settings: config.Encode, fps: float) -> None:
        self.track: Track | None = None
        self.notes: tuple[str, ...] = ()
        self._settings = settings
        self._untried = list(_ENCODERS[settings.codec])
        self._fps = fps or FPS_UNKNOWN
        self._context: VideoCodecContext | None = None
        self._reformatter = VideoReformatter()
        self._sync_points = SyncPoints(Codec.H264)
        self._key_wanted = False
        self._key_at_us: int | None = None

    def request_key_frame(self) -> None:
        """Make the next picture a sync point."""
        self._key_wanted = True

    def encode(self, picture: av.VideoFrame, time_us: int) -> list[Sample]:
        """The access units that are ready now, mostly one. `time_us` must rise from call to call.

        Raises SourceError if the encoder fails.
        """
        width, height = picture.width & ~1, picture.height & ~1  # 4:2:0 has no odd sizes
        if self._context is None or (self._context.width, self._context.height) != (width, height):
            self.close()
            self._context = self._open(width, height)
            self._key_at_us = None
        if (picture.format.name, picture.width, picture.height) != (PIXELS, width, height):
            # In this thread: to wake others costs more than a picture's conversion.
            picture = self._reformatter.reformat(picture, width, height, format=PIXELS, threads=1)
        picture.pts = time_us
        picture.time_base = MICROSECOND
        picture.pict_type = PictureType.I if self._key_is_due(time_us) else PictureType.NONE
        try:
            return self._encoded(self._context, picture)
        except (FFmpegError, MediaError) as error:
            if self.track is not None or len(self._untried) == 1:
                raise SourceError(f"the encoder {self._context.name} failed: {error}") from None
            self._give_up(error)
        self._context = self._open(width, height)
        return self._encoded(self._context, picture)

    def close(self) -> None:
        """Free the encoder. The next picture opens it again."""
        self._context = None

    def _key_is_due(self, time_us: int) -> bool:
        half_picture_us = 500_000 / self._fps
        interval_us = self._settings.sync_interval_ms * 1000
        due = self._key_at_us is None or time_us - self._key_at_us + half_picture_us >= interval_us
        if due or self._key_wanted:
            self._key_wanted = False
            self._key_at_us = time_us
            return True
        return False

    def _open(self, width: int, height: int) -> VideoCodecContext:
        several = width * height * self._fps > ONE_THREAD_PIXELS_S_MAX
        rate_bps = self._settings.bitrate_bps
        bounds = {"maxrate": str(rate_bps), "bufsize": str(rate_bps)} if rate_bps else {}
        profile = self._settings.profile
        tools = {"coder": "cavlc" if profile == "baseline" else "cabac", "8x8dct": str(int(profile == "high"))}
        x264 = {"preset": "ultrafast", "tune": "zerolatency", "forced-idr": "1", "crf": "23", **tools, **bounds}
        while True:
            name = self._untried[0]
            context = new_context(name, "w")
            context.width, context.height, context.pix_fmt = width, height, PIXELS
            context.time_base = MICROSECOND
            context.framerate = Fraction(self._fps).limit_denominator(1001)
            context.gop_size = max(1, round(self._fps * self._settings.sync_interval_ms / 1000))
            context.colorspace = _BT601
            context.color_range = _LIMITED_RANGE
            context.thread_count = THREADS_MAX if several else 1
            context.profile = _PROFILES[profile]
            if name == "libx264":
                context.options = x264
            elif rate_bps:
                context.bit_rate = rate_bps
            try:
                context.open()
            except FFmpegError as error:
                if len(self._untried) == 1:
                    reason = f"{name}: {error.strerror}"
                    raise SourceError(f"no H.264 encoder takes {width}x{height} pictures: {reason}") from None
                self._give_up(error)
            else:
                return context

    def _give_up(self, error: FFmpegError | MediaError) -> None:
        """The encoder that was tried cannot be used: from now on the next one is."""
        name = self._untried.pop(0)
        if self._settings.codec == name:
            self.notes = (f"the encoder {name} cannot be used here ({error}): {self._untried[0]} encodes",)

    def _encoded(self, context: VideoCodecContext, picture: av.VideoFrame) -> list[Sample]:
        return [sample for packet in context.encode(picture) if (sample := self._sample(packet)) is not None]

    def _sample(self, packet: "av.Packet[Any]") -> Sample | None:
        unit = self._sync_points.feed(bytes(packet))
        if unit is None:
            return None
        config = self._sync_points.config
        if packet.pts is None:
            raise MediaError("a picture came back without its time")
        if unit.sync and (self.track is None or self.track.config != config):
            assert self._context is not None
            self.track = Track(Codec.H264, self._context.width, self._context.height, self._fps, config=config)
        return Sample(unit.data, packet.pts, Codec.H264, unit.sync)


def new_context(name: str, mode: Literal["r", "w"]) -> VideoCodecContext:
    """libavcodec's encoder ("w") or decoder ("r") of pictures by that name, not yet open."""
    context = VideoCodecContext.create(name, mode)
    assert isinstance(context, VideoCodecContext)
    return context


class JpegDecoder:
    """MJPEG pictures, each for itself, also those of cameras that leave the Huffman tables out."""

    def __init__(self) -> None:
        context = new_context("mjpeg", "r")
        context.thread_count = 1  # more threads hold pictures back
        context.options = {"err_detect": "explode"}  # no half pictures
        self._context = context

    def decode(self, data: bytes | memoryview) -> av.VideoFrame | None:
        """The picture; None if it is damaged."""
        if not data:
            return None  # to libavcodec the end of all pictures
        try:
            pictures: Sequence[av.VideoFrame] = self._context.decode(av.Packet(bytes(data)))
        except FFmpegError:
            return None
        return pictures[0] if pictures else None


class _SoundCodec(NamedTuple):
    """libavcodec's encoder: its name, samples in a block of one channel, how it takes them, and its options."""

    name: str
    block_samples: int
    planar: bool
    options: dict[str, str]


_SOUND_CODECS = {
    Codec.AAC: _SoundCodec("aac", 1024, True, {"aac_coder": "fast"}),
    Codec.OPUS: _SoundCodec("libopus", 960, False, {"frame_duration": "20"}),
}


class SoundEncoder:
    """AAC-LC or Opus of blocks of `block_samples`, of which AAC comes out two later (the encoder's look ahead)."""

    def __init__(self, codec: Codec, sample_rate_hz: int, channels: int, bitrate_bps: int) -> None:
        """codec: AAC or OPUS, which has 48000 Hz only."""
        name, self.block_samples, self._planar, options = _SOUND_CODECS[codec]
        context = AudioCodecContext.create(name, "w")
        assert isinstance(context, AudioCodecContext)
        self._layout = "mono" if channels == 1 else "stereo"
        self._format = "fltp" if self._planar else "flt"
        self._time_base = Fraction(1, sample_rate_hz)
        context.sample_rate, context.layout, context.format = sample_rate_hz, self._layout, self._format
        context.time_base = self._time_base
        context.bit_rate = bitrate_bps
        context.options = options
        context.open()
        self._context = context
        self.track = Track(
            codec, sample_rate_hz=sample_rate_hz, channels=channels, config=bytes(context.extradata or b"")
        )

    def encode(self, block: NDArray[np.float32], first_sample: int) -> list[tuple[bytes, int]]:
        """Raw frames, each with the number of its first sample, which is negative for the lead-in.

        block: (channels, block_samples), -1 to 1. first_sample: its number; blocks follow without a gap.
        """
        if not self._planar:
            block = np.ascontiguousarray(block.T).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(block, format=self._format, layout=self._layout)
        frame.sample_rate = self.track.sample_rate_hz
        frame.pts, frame.time_base = first_sample, self._time_base
        return [(bytes(packet), packet.pts) for packet in self._context.encode(frame) if packet.pts is not None]
