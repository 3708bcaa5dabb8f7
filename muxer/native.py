"""The muxer of native payloads: one sample in, one frame of `common.rtp_rows` out. Pure.

Each track is an RTP stream of its own, with its SSRC, sequence and clock. All clocks count the samples' own time:
tick = time × rate, so that which instants of two tracks belong together is known from the first sample on. A
frame of sound that comes within SNAP_US of the end of the one before begins there, to the tick.
"""

from struct import Struct
from typing import NamedTuple

from common.clock import RTP_WRAP, ticks
from common.errors import MediaError
from common.grid import RTP_HEADER_BYTES, Frame, FrameKind
from common.rtp_rows import DOLLAR
from common.sample import SAMPLE_BYTES_MAX, TIME_US_MAX, Codec, Payload, Sample, Track
from muxer.aac_format import AacFormat
from muxer.audio_formats import Ac3Format, MpegAudioFormat, OpusFormat, PcmFormat
from muxer.h264_format import H264Format
from muxer.h265_format import H265Format
from muxer.jpeg_format import JpegFormat
from muxer.payload_format import Parts, PayloadFormat, Piece

SNAP_US = 1000  # times are in µs, and of live sound not even true to that
DYNAMIC_PAYLOAD_TYPE = 96  # of the first track; the second has the next

_VERSION = 0x80
_MARKER = 0x80
_SEQUENCE_WRAP = 1 << 16
_LEAD = Struct(">BBHBBHII")  # `$`, channel, length | version, marker and type, sequence, timestamp, SSRC
_NO_COUNTERS = (0, 0, 0, 0)
_AUDIO, _NATIVE = FrameKind.AUDIO, Payload.NATIVE  # Python 3.11 is slow to look a member of an enum up
_FORMATS = {
    Codec.H264: H264Format,
    Codec.H265: H265Format,
    Codec.MJPEG: JpegFormat,
    Codec.AAC: AacFormat,
    Codec.MP2: MpegAudioFormat,
    Codec.MP3: MpegAudioFormat,
    Codec.AC3: Ac3Format,
    Codec.OPUS: OpusFormat,
    Codec.PCMU: PcmFormat,
    Codec.PCMA: PcmFormat,
    Codec.L16: PcmFormat,
}


class Media(NamedTuple):
    """One media section of the SDP."""

    track: Track
    format: PayloadFormat


class NativeMuxer:
    """Packetises the samples of one stream.

    tracks: at most one video and one audio track. ssrc: of the first RTP stream; the second's is the next number.
    sequence: of the first packet of each. Raises MediaError for a track that RTP cannot carry: it says what to do.
    """

    next_tick_us = TIME_US_MAX  # never: there are no clock references

    def __init__(self, tracks: tuple[Track, ...], *, ssrc: int, sequence: int = 0) -> None:
        self.media = _media(tracks)
        count = len(self.media)
        self._ssrcs = tuple((ssrc + track) % RTP_WRAP for track in range(count))
        self._sequences = (sequence % _SEQUENCE_WRAP,) * count
        self._rates_hz = tuple(media.format.rate_hz for media in self.media)
        self._codecs = tuple(media.format.codec for media in self.media)
        self._kinds = tuple(_AUDIO if media.track.audio else FrameKind.VIDEO for media in self.media)
        self._clocks: list[int | None] = [None] * count  # where the next sample of sound begins, if it follows

    def can_replace(self, tracks: tuple[Track, ...]) -> bool:
        """Whether who was given our description can go on with other tracks: only what is in band has changed."""
        try:
            media = _media(tracks)
        except MediaError:
            return False
        return [_promise(section) for section in media] == [_promise(section) for section in self.media]

    def replace_tracks(self, tracks: tuple[Track, ...]) -> None:
        """Go on with tracks that we `can_replace` ours by."""
        self.media = _media(tracks)

    def write(self, sample: Sample, now_us: int) -> Frame:  # noqa: ARG002
        """Packetise one sample, whole.

        Raises MediaError for a codec that is not among the tracks, and for data that is empty, over
        SAMPLE_BYTES_MAX, or not in the form that `Sample` says.
        """
        try:
            track = self._codecs.index(sample.codec)
        except ValueError:
            raise MediaError(f"the stream has no {sample.codec.upper()} track") from None
        payload_format = self.media[track].format
        if not 0 < len(sample.data) <= SAMPLE_BYTES_MAX:
            raise MediaError(f"a sample of {len(sample.data)} bytes, allowed are 1 to {SAMPLE_BYTES_MAX}")
        parts = payload_format.split(sample.data, sample.sync)
        order_us = sample.order_us
        sequences = self._sequences
        kind = self._kinds[track]
        clock = ticks(sample.time_us, payload_format.rate_hz)
        if kind is _AUDIO:
            clock = self._snapped(clock, track, payload_format, sample.data)
        data = _rows(parts, payload_format, clock % RTP_WRAP, sequences[track], self._ssrcs[track])
        packets = len(parts.packets)
        after = (sequences[track] + packets) % _SEQUENCE_WRAP
        self._sequences = (*sequences[:track], after, *sequences[track + 1 :])
        return Frame(
            kind,
            sample.sync and track == 0,
            parts.disposable,
            order_us,
            sequences,
            tuple([ticks(order_us, rate_hz) % RTP_WRAP for rate_hz in self._rates_hz]),
            self._ssrcs,
            self._rates_hz,
            _NO_COUNTERS,
            _NO_COUNTERS,
            packets,
            data,
            _NATIVE,
            track,
        )

    def tick(self, now_us: int) -> None:
        """There are no clock references."""

    def _snapped(self, clock: int, track: int, payload_format: PayloadFormat, data: Piece) -> int:
        """The RTP timestamp of sound, unwrapped: where the sample before it ended, if that is so near."""
        expected = self._clocks[track]
        if expected is not None and abs(clock - expected) * 1_000_000 <= SNAP_US * payload_format.rate_hz:
            clock = expected
        lasts = payload_format.ticks(data)
        self._clocks[track] = clock + lasts if lasts else None
        return clock


def _media(tracks: tuple[Track, ...]) -> tuple[Media, ...]:
    """The tracks, video first, and how each goes into RTP."""
    ordered = sorted(tracks, key=lambda track: track.audio)
    if not tracks or len({track.audio for track in tracks}) < len(tracks):
        raise MediaError("a stream has at most one video and one audio track, and at least one of them")
    return tuple(
        Media(track, _FORMATS[track.codec](track, DYNAMIC_PAYLOAD_TYPE + number))
        for number, track in enumerate(ordered)
    )


def _promise(media: Media) -> tuple[object, ...]:
    """What a client that has seen the description relies on; the parameters of video come again in band."""
    payload_format = media.format
    parameters = payload_format.parameters if media.track.audio else ""
    return payload_format.codec, payload_format.encoding, payload_format.payload_type, parameters


def _rows(parts: Parts, payload_format: PayloadFormat, clock: int, sequence: int, ssrc: int) -> bytes:
    """The frame's bytes."""
    pack, kind, step = _LEAD.pack, payload_format.payload_type, payload_format.step
    joined: list[Piece] = []
    for head, piece in parts.packets:
        size = RTP_HEADER_BYTES + len(head) + len(piece)
        joined += (pack(DOLLAR, 0, size, _VERSION, kind, sequence & 0xFFFF, clock, ssrc), head, piece)
        sequence += 1
        if step:
            clock = (clock + step) % RTP_WRAP
    if payload_format.marks:
        joined[-3] = pack(DOLLAR, 0, size, _VERSION, kind | _MARKER, sequence - 1 & 0xFFFF, clock, ssrc)
    return b"".join(joined)
