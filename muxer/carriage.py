"""How each codec goes into MPEG-TS: its stream type, descriptors, and what is put before its data. Pure.

    H.264     0x1B  ISO/IEC 13818-1 2.14: access unit delimiter, parameter sets at each sync point
    H.265     0x24  ISO/IEC 13818-1 2.17: likewise
    AAC       0x0F  ISO/IEC 13818-7: ADTS
    MP2, MP3  0x03, below 32 kHz 0x04: ISO/IEC 11172-3, 13818-3
    AC-3      0x81  ATSC A/52 annex A, with the registration AC-3
    Opus      0x06  Xiph's mapping of Opus to MPEG-TS: control header, with the registration Opus

Players know of no mapping for Motion JPEG, G.711 and L16: they are refused.
"""

import msgspec

from common import adts, annexb
from common.errors import MediaError
from common.sample import Codec, Track
from muxer import psi
from muxer.parameter_sets import ParameterSets

VIDEO_STREAM_ID = 0xE0
MPEG_AUDIO_STREAM_ID = 0xC0
PRIVATE_STREAM_ID = 0xBD
_NO_MAPPING = {
    Codec.MJPEG: "encode it to H.264",
    Codec.PCMU: "encode it to AAC",
    Codec.PCMA: "encode it to AAC",
    Codec.L16: "encode it to AAC",
}
_MPEG1_AUDIO, _MPEG2_AUDIO = 0x03, 0x04
_MPEG1_SAMPLE_RATE_HZ_MIN = 32000
_OPUS_CONTROL = b"\x7f\xe0"  # prefix 0x3FF, no trimming, no extension
_OPUS_CHANNELS_MAX = 8
_OPUS_EXTENSION_TAG = 0x80


class Payload(msgspec.Struct, frozen=True, gc=False):
    """The content of one PES packet, in two parts so that the large one is not copied.

    disposable: no other picture refers to this one.
    """

    begin: bytes
    rest: bytes | memoryview
    disposable: bool = False


class Carriage:
    """MP2 and MP3: the frames as they are. The other codecs' classes change what differs."""

    stream_id = MPEG_AUDIO_STREAM_ID
    descriptors = b""

    def __init__(self, track: Track) -> None:
        low = 0 < track.sample_rate_hz < _MPEG1_SAMPLE_RATE_HZ_MIN
        self.stream_type = _MPEG2_AUDIO if low else _MPEG1_AUDIO

    def wrap(self, data: bytes | memoryview, sync: bool) -> Payload:  # noqa: ARG002
        """What of one sample goes into its PES packet. Raises MediaError."""
        return Payload(b"", data)


class Ac3Carriage(Carriage):
    """AC-3: as it is, as a private stream."""

    stream_id = PRIVATE_STREAM_ID
    descriptors = psi.registration(b"AC-3")

    def __init__(self, track: Track) -> None:  # noqa: ARG002
        self.stream_type = 0x81


class AacCarriage(Carriage):
    """AAC: an ADTS header before each frame."""

    def __init__(self, track: Track) -> None:
        if track.config:
            audio = adts.parse_config(track.config)
        elif track.sample_rate_hz and track.channels:
            audio = adts.AudioConfig(adts.AAC_LC, track.sample_rate_hz, track.channels)
        else:
            raise MediaError("AAC needs its AudioSpecificConfig, or sample rate and channels, in its Track")
        self.stream_type = 0x0F
        self._template = adts.header_template(audio)

    def wrap(self, data: bytes | memoryview, sync: bool) -> Payload:  # noqa: ARG002
        """The frame behind its header."""
        return Payload(adts.header(self._template, len(data)), data)


class OpusCarriage(Carriage):
    """Opus: a control header with the size before each packet. The pre-skip is not signalled."""

    stream_id = PRIVATE_STREAM_ID

    def __init__(self, track: Track) -> None:
        channels, family = track.channels or 2, 0
        if track.config:
            if len(track.config) < 19 or track.config[:8] != b"OpusHead":
                raise MediaError("the Opus track's config is no OpusHead (RFC 7845 5.1)")
            channels, family = track.config[9], track.config[18]
        if family > 1 or not 1 <= channels <= _OPUS_CHANNELS_MAX:
            raise MediaError(f"MPEG-TS cannot carry Opus of {channels} channels, mapping family {family}")
        self.stream_type = 0x06
        self.descriptors = psi.registration(b"Opus") + psi.extension(bytes((_OPUS_EXTENSION_TAG, channels)))

    def wrap(self, data: bytes | memoryview, sync: bool) -> Payload:  # noqa: ARG002
        """The packet behind its control header."""
        full, rest = divmod(len(data), 255)
        return Payload(_OPUS_CONTROL + b"\xff" * full + bytes((rest,)), data)


class VideoCarriage(Carriage):
    """H.264 and H.265: a delimiter before an access unit without one, parameter sets at each sync point."""

    stream_id = VIDEO_STREAM_ID

    def __init__(self, track: Track) -> None:
        self.stream_type = 0x1B if track.codec is Codec.H264 else 0x24
        self._codec = track.codec
        self._delimiter = annexb.AUD[track.codec]
        self._delimiter_kind = annexb.AUD_KIND[track.codec]
        self._slice_starts = annexb.SLICE_STARTS[track.codec]
        self._sets = ParameterSets(track.codec, track.config)

    def wrap(self, data: bytes | memoryview, sync: bool) -> Payload:
        """The access unit, with what it lacks before it."""
        if not sync:  # most pictures begin with a slice: no need to look at units
            disposable = self._slice_starts.get(bytes(data[:5]))
            if disposable is not None:
                return Payload(self._delimiter, data, disposable)
        units = annexb.leading_units(data, self._codec)
        if not units:
            raise MediaError(
                f"an {self._codec.upper()} sample that does not begin with a start code: give it as Annex B"
            )
        first, last = units[0], units[-1]
        disposable = annexb.unit_disposable(data, last, self._codec)
        missing = b""
        if sync or len(units) > 2:
            self._sets.learn(data, units)
            if sync:
                missing = self._sets.missing({unit.kind for unit in units})
        if first.kind != self._delimiter_kind:
            return Payload(self._delimiter + missing, data, disposable)
        if not missing:
            return Payload(b"", data, disposable)
        begin = annexb.LONG_START_CODE + bytes(data[first.start : first.end]) + missing
        return Payload(begin, memoryview(data)[first.end :], disposable)


_CARRIAGES: dict[Codec, type[Carriage]] = {
    Codec.H264: VideoCarriage,
    Codec.H265: VideoCarriage,
    Codec.AAC: AacCarriage,
    Codec.MP2: Carriage,
    Codec.MP3: Carriage,
    Codec.AC3: Ac3Carriage,
    Codec.OPUS: OpusCarriage,
}


def carriage(track: Track) -> Carriage:
    """How `track` goes into MPEG-TS. Raises MediaError that names a codec that cannot."""
    kind = _CARRIAGES.get(track.codec)
    if kind is None:
        raise MediaError(f"MPEG-TS cannot carry {track.codec.upper()}: {_NO_MAPPING[track.codec]}")
    return kind(track)
