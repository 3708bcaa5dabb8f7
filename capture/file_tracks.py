"""The packets that libavformat gives for one track, as samples: what differs between containers ends here.

Lengths become start codes, ADTS headers go, parameter sets stand at every sync point, and each sample has a
presentation time, a decoding time and a duration, also where the file has none.
"""

from fractions import Fraction
from typing import Any, NamedTuple

import msgspec
from av.audio.stream import AudioStream
from av.bitstream import BitStreamFilterContext
from av.packet import Packet
from av.video.stream import VideoStream

from capture.file_times import OrderedTimes, Stamp, StampedTimes, microseconds
from capture.sync_points import SyncPoints
from common import adts, annexb
from common.errors import MediaError
from common.sample import CONFIG_BYTES_MAX, Codec, Track

FPS_DEFAULT = Fraction(25)
FPS_MAX = 1000  # rates above are time bases
AUDIO_FRAME_US = 20_000  # where the file does not say how long a frame is
_TO_ANNEX_B = {Codec.H264: "h264_mp4toannexb", Codec.H265: "hevc_mp4toannexb"}


class FileSample(NamedTuple):
    """One sample with the times of the file, µs. track: what it belongs to, as known at this sample."""

    track: Track
    data: bytes
    sync: bool
    stamp: Stamp


_Unit = tuple[Track, bytes, bool]


class VideoTrack:
    """One H.264, H.265 or MJPEG stream. `push` raises MediaError or FFmpegError for a damaged packet."""

    def __init__(self, stream: VideoStream, codec: Codec, ordered: bool, timed: bool = True) -> None:
        """ordered: whether the container says in which order pictures are shown. timed: whether times are read."""
        self.index = stream.index
        self._stream = stream
        context = stream.codec_context
        rate = _rate(stream)
        self._track = Track(codec, context.width, context.height, float(rate))
        self._timed = timed
        self._filter: BitStreamFilterContext | None = None
        if codec in _TO_ANNEX_B:
            self._filter = BitStreamFilterContext(_TO_ANNEX_B[codec], stream)
            self._sync_points = SyncPoints(codec)
        self._stamped: StampedTimes[_Unit] = StampedTimes(1_000_000 / rate)
        self._ordered: OrderedTimes[_Unit] | None = None
        if self._filter is not None and not ordered:
            self._ordered = OrderedTimes(codec, 1_000_000 / rate)

    def push(self, packet: "Packet[Any]") -> list[FileSample]:
        """The next packet; returns the samples that are complete now."""
        pts, dts, duration, time_base = packet.pts, packet.dts, packet.duration or 0, packet.time_base
        unit = self._unit(packet)
        if unit is None:
            return []
        if not self._timed:
            return _samples([(unit, Stamp(0, 0, 0))])
        if self._ordered is not None:
            return _samples(self._ordered.push(unit, unit[1]))
        if pts is None:
            raise MediaError("a picture without its time")
        decode_us = None if dts is None else microseconds(dts, time_base)
        return _samples(
            self._stamped.push(unit, microseconds(pts, time_base), decode_us, microseconds(duration, time_base))
        )

    def flush(self) -> list[FileSample]:
        """The file is at its end: what was still incomplete."""
        return _samples(self._stamped.flush() if self._ordered is None else self._ordered.flush())

    def _unit(self, packet: "Packet[Any]") -> _Unit | None:
        if self._filter is None:
            return self._track, bytes(packet), True
        data = b"".join(bytes(filtered) for filtered in self._filter.filter(packet))
        if not data:
            return None
        unit = self._sync_points.feed(data)
        if unit is None:
            return None
        config = self._sync_points.config
        if unit.sync and config != self._track.config:
            try:
                width, height = annexb.picture_size(config, self._track.codec)
            except MediaError:
                width, height = self._track.width, self._track.height
            self._track = msgspec.structs.replace(self._track, width=width, height=height, config=config)
        return self._track, unit.data, unit.sync


class AudioTrack:
    """One audio stream. `push` raises MediaError for a damaged packet."""

    def __init__(self, stream: AudioStream, codec: Codec) -> None:
        self.index = stream.index
        context = stream.codec_context
        config = bytes(context.extradata or b"") if codec in (Codec.AAC, Codec.OPUS) else b""
        if len(config) > CONFIG_BYTES_MAX:
            config = b""
        self._track = Track(codec, sample_rate_hz=context.sample_rate, channels=context.channels, config=config)
        self._adts = codec is Codec.AAC and not config
        self._end_us = 0

    def push(self, packet: "Packet[Any]") -> list[FileSample]:
        """The next packet; returns its samples."""
        frames = self._frames(bytes(packet))
        duration_us = AUDIO_FRAME_US * len(frames)
        if packet.duration:
            duration_us = microseconds(packet.duration, packet.time_base)
        time_us = self._end_us if packet.pts is None else microseconds(packet.pts, packet.time_base)
        self._end_us = time_us + duration_us
        samples = []
        for turn, frame in enumerate(frames):
            start_us = time_us + duration_us * turn // len(frames)
            stamp = Stamp(start_us, start_us, duration_us // len(frames))
            samples.append(FileSample(self._track, frame, True, stamp))
        return samples

    def flush(self) -> list[FileSample]:
        """The file is at its end. There is nothing incomplete."""
        return []

    def _frames(self, data: bytes) -> list[bytes]:
        if not self._adts:
            return [data]
        frames = adts.raw_frames(data)
        config = adts.build_config(adts.parse_header(data))
        if config != self._track.config:
            self._track = msgspec.structs.replace(self._track, config=config)
        return frames


def _rate(stream: VideoStream) -> Fraction:
    for rate in (stream.guessed_rate, stream.average_rate, stream.base_rate):
        if rate is not None and 0 < rate <= FPS_MAX:
            return rate
    return FPS_DEFAULT


def _samples(units: list[tuple[_Unit, Stamp]]) -> list[FileSample]:
    return [FileSample(track, data, sync, stamp) for (track, data, sync), stamp in units]
