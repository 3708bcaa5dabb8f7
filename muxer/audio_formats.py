"""Sound that needs little or nothing around it in RTP. Pure.

G.711         PCMU, PCMA      RFC 3551 4.5.14: samples; types 0 and 8 at 8000 Hz in mono
L16           L16             RFC 3551 4.5.11: samples, the high byte first; types 10 and 11 at 44100 Hz
Opus          opus            RFC 7587: one Opus packet; always 48000 Hz and 2 channels by name
MP2, MP3      MPA, type 14    RFC 2250 3.5: frames behind the offset of a fragment
AC-3          ac3             RFC 4184: a frame, or fragments of one
"""

from typing import ClassVar

from common.errors import MediaError
from common.sample import Codec, Track
from muxer.payload_format import VIDEO_RATE_HZ, Parts, PayloadFormat, Piece, cut, room

OPUS_RATE_HZ = 48_000
OPUS_BYTES_MAX = 61_298  # 48 frames of 1276 bytes and what tells them apart (RFC 6716 3.2)
_OPUS_HEAD_BYTES = 19
_G711_RATE_HZ = 8000
_MPA_PAYLOAD_TYPE = 14
_AC3_SAMPLES = 1536
_AC3_FRAME_BYTES_MAX = 3840  # A/52 5.4.1.4: 640 kbit/s at 32 kHz


class PcmFormat(PayloadFormat):
    """G.711 and L16. A sample of several packets goes on in time from one to the next."""

    marks = False  # it would say that a silence has ended
    _static: ClassVar[dict[tuple[Codec, int, int], int]] = {
        (Codec.PCMU, 8000, 1): 0,
        (Codec.PCMA, 8000, 1): 8,
        (Codec.L16, 44100, 2): 10,
        (Codec.L16, 44100, 1): 11,
    }

    def __init__(self, track: Track, payload_type: int) -> None:
        default = 0 if track.codec is Codec.L16 else _G711_RATE_HZ
        self.rate_hz = track.sample_rate_hz or default
        channels = track.channels or 1
        if not self.rate_hz:
            raise MediaError("L16 needs its sample rate in its Track")
        self._frame_bytes = channels * (2 if track.codec is Codec.L16 else 1)
        if self._frame_bytes > room(0):
            raise MediaError(f"{track.codec.upper()} of {channels} channels does not go into an RTP packet")
        self.step = room(0) // self._frame_bytes
        suffix = f"/{channels}" if channels > 1 else ""
        super().__init__(
            track.codec,
            f"{track.codec.upper()}/{self.rate_hz}{suffix}",
            self._static.get((track.codec, self.rate_hz, channels), payload_type),
        )

    def split(self, data: Piece, sync: bool) -> Parts:  # noqa: ARG002
        """Whole samples of all channels to each packet."""
        if len(data) % self._frame_bytes:
            raise MediaError(f"{len(data)} bytes of {self.encoding} are no whole samples")
        return Parts([(b"", piece) for piece in cut(data, self.step * self._frame_bytes)])

    def ticks(self, data: Piece) -> int:
        """See `PayloadFormat`."""
        return len(data) // self._frame_bytes


class OpusFormat(PayloadFormat):
    """Opus. A packet cannot be fragmented: one that is larger than others can be is sent as it is."""

    marks = False  # as for PCM
    rate_hz = OPUS_RATE_HZ

    def __init__(self, track: Track, payload_type: int) -> None:
        channels, family = track.channels or 2, 0
        if track.config:
            if len(track.config) < _OPUS_HEAD_BYTES or track.config[:8] != b"OpusHead":
                raise MediaError("the Opus track's config is no OpusHead (RFC 7845 5.1)")
            channels, family = track.config[9], track.config[18]
        if family or not 1 <= channels <= 2:
            raise MediaError(f"RTP cannot carry Opus of {channels} channels, mapping family {family}")
        self._channels = channels
        super().__init__(track.codec, f"opus/{OPUS_RATE_HZ}/2", payload_type)

    @property
    def parameters(self) -> str:
        """RFC 7587 6.1."""
        return "sprop-stereo=1" if self._channels > 1 else ""

    def split(self, data: Piece, sync: bool) -> Parts:  # noqa: ARG002
        """The packet."""
        if len(data) > OPUS_BYTES_MAX:
            raise MediaError(f"an Opus packet of {len(data)} bytes, at most {OPUS_BYTES_MAX}")
        return Parts([(b"", data)])

    def ticks(self, data: Piece) -> int:
        """By the packet's first bytes (RFC 6716 3.1)."""
        config, code = data[0] >> 3, data[0] & 3
        if config < 12:  # SILK
            frame = (480, 960, 1920, 2880)[config & 3]
        elif config < 16:  # hybrid
            frame = (480, 960)[config & 1]
        else:  # CELT
            frame = (120, 240, 480, 960)[config & 3]
        count = (1, 2, 2, data[1] & 0x3F if len(data) > 1 else 0)[code]
        return frame * count


class MpegAudioFormat(PayloadFormat):
    """MP2 and MP3, one frame a packet, or in fragments."""

    marks = False  # it would say that a silence has ended
    rate_hz = VIDEO_RATE_HZ

    def __init__(self, track: Track, payload_type: int) -> None:  # noqa: ARG002
        super().__init__(track.codec, f"MPA/{self.rate_hz}", _MPA_PAYLOAD_TYPE)

    def split(self, data: Piece, sync: bool) -> Parts:  # noqa: ARG002
        """Each piece behind its offset in the frame."""
        if len(data) > 0xFFFF:
            raise MediaError(f"an MPEG audio frame of {len(data)} bytes, at most {0xFFFF}")
        size = room(4)
        return Parts([((n * size).to_bytes(4, "big"), piece) for n, piece in enumerate(cut(data, size))])


class Ac3Format(PayloadFormat):
    """AC-3, one frame a packet, or in fragments."""

    def __init__(self, track: Track, payload_type: int) -> None:
        if not track.sample_rate_hz:
            raise MediaError("AC-3 needs its sample rate in its Track")
        self.rate_hz = track.sample_rate_hz
        channels = f"/{track.channels}" if track.channels else ""
        super().__init__(track.codec, f"ac3/{self.rate_hz}{channels}", payload_type)

    def split(self, data: Piece, sync: bool) -> Parts:  # noqa: ARG002
        """RFC 4184 4.1.1: a type, and the number of frames or fragments."""
        if len(data) > _AC3_FRAME_BYTES_MAX:
            raise MediaError(f"an AC-3 frame of {len(data)} bytes, at most {_AC3_FRAME_BYTES_MAX}")
        pieces = cut(data, room(2))
        if len(pieces) == 1:
            return Parts([(b"\0\1", data)])
        whole_enough = len(pieces[0]) * 8 >= len(data) * 5  # five eighths can be decoded by themselves
        kinds = [1 if whole_enough else 2, *[3] * (len(pieces) - 1)]
        return Parts([(bytes((kind, len(pieces))), piece) for kind, piece in zip(kinds, pieces, strict=True)])

    def ticks(self, data: Piece) -> int:  # noqa: ARG002
        """See `PayloadFormat`."""
        return _AC3_SAMPLES
