"""Samples and tracks: what a source produces, before any muxing.

A *sample* is one whole encoded access unit (video) or audio frame. Times are µs on the capture host's
monotonic clock, so that they go on across restarts of any process. Pure: no clock, no sockets.
"""

from enum import StrEnum
from typing import Annotated

import msgspec

SAMPLE_BYTES_MAX = 12_000_000  # an intra picture of 8K at high rate; larger ones are a fault upstream
CONFIG_BYTES_MAX = 4096  # parameter sets of HEVC with extensions are some 200 bytes
TIME_US_MAX = 1 << 62


_VIDEO = frozenset({"h264", "h265", "mjpeg"})


class Codec(StrEnum):
    """Every codec that can be named. What each payload can carry is the payload's to say.

    audio: whether it is one of sound; read for each sample in every process, so it is worked out once.
    """

    H264 = "h264"
    H265 = "h265"
    MJPEG = "mjpeg"
    AAC = "aac"
    MP3 = "mp3"
    MP2 = "mp2"
    AC3 = "ac3"
    OPUS = "opus"
    PCMU = "pcmu"
    PCMA = "pcma"
    L16 = "l16"

    def __init__(self, name: str) -> None:
        self.audio = name not in _VIDEO


class Payload(StrEnum):
    """How a stream goes into RTP.

    TS: all its tracks in one MPEG-TS on one RTP stream (RFC 2250). NATIVE: each track in its codec's own payload
    format, on an RTP stream of its own.
    """

    TS = "ts"
    NATIVE = "native"


TRACKS_MAX = 2  # of a stream: one of video, one of audio


class Track(msgspec.Struct, frozen=True, array_like=True):
    """The description of one track of a stream. A stream has at most one video and one audio track.

    `config` is what a decoder needs before the first sample: Annex B parameter sets for H.264 and H.265
    (each with its start code), the AudioSpecificConfig for AAC (ISO/IEC 14496-3 1.6.2.1), OpusHead for
    Opus (RFC 7845 5.1), else empty. Zero stands for unknown in every number.
    """

    codec: Codec
    width: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0
    height: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0
    fps: Annotated[float, msgspec.Meta(ge=0, le=1e6)] = 0.0
    sample_rate_hz: Annotated[int, msgspec.Meta(ge=0, le=100_000_000)] = 0
    channels: Annotated[int, msgspec.Meta(ge=0, le=255)] = 0
    config: Annotated[bytes, msgspec.Meta(max_length=CONFIG_BYTES_MAX)] = b""

    @property
    def audio(self) -> bool:
        """Whether this is the audio track."""
        return self.codec.audio


class Sample(msgspec.Struct, frozen=True, gc=False):
    """One whole encoded access unit or audio frame.

    data: H.264 and H.265 as Annex B; AAC as one raw frame without ADTS header; JPEG as one JFIF picture;
        other audio as its codec's own frame.
    time_us: presentation time, µs. decode_time_us: decoding time where it differs (B-pictures), else None.
    sync: a decoder can start here (for video: IDR or other intra random access point; every audio frame
        and every JPEG picture is one).
    """

    data: bytes | memoryview
    time_us: int
    codec: Codec
    sync: bool = True
    decode_time_us: int | None = None

    @property
    def audio(self) -> bool:
        """Whether this is an audio frame."""
        return self.codec.audio

    @property
    def order_us(self) -> int:
        """The decoding time, µs: `decode_time_us` where given, else `time_us`."""
        return self.time_us if self.decode_time_us is None else self.decode_time_us
