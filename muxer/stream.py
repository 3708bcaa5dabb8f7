"""One stream in a muxer, in one payload: its tracks, its muxer, its ring, and what can be measured of it. Pure."""

from collections import deque

from common.grid import FrameKind
from common.sample import Payload, Sample, Track
from muxer import sdp
from muxer.mpegts import NEVER_US, TsMuxer
from muxer.native import NativeMuxer
from muxer.ring import Entry, Origin, Ring
from muxer.sheet import Sheets

MEASURE_US = 2_000_000  # rates are measured over this long
MEASURE_US_MIN = 500_000  # over less than this they would be noise
MEASURED_MAX = 4096  # frames
_VIDEO = FrameKind.VIDEO  # Python 3.11 is slow to look a member of an enum up
RTP_OVER_IP_BYTES = 24  # what a packet has over UDP that it has not in a `$` frame: IP, UDP, less `$`


class Stream:
    """Samples in, frames in the ring.

    name: for the SDP. ssrc: of its RTP packets (of the first track). age_max_us: how long the ring keeps what is
    older than the newest sync point. version: of the SDP; it grows with every change of that, or of the tracks.
    clock_frames: without a sample, so far. origin: of the newest frame, as in Entry. sheets: as of `TsMuxer`.
    """

    def __init__(
        self,
        name: str,
        *,
        ssrc: int,
        age_max_us: int,
        payload: Payload = Payload.TS,
        sheets: Sheets | None = None,
    ) -> None:
        self.name = name
        self.payload = payload
        self.ring = Ring(age_max_us)
        self.tracks: tuple[Track, ...] = ()
        self.version = 0
        self.clock_frames = 0
        self.sync_interval_us = 0
        self._ssrc = ssrc
        self._sheets = sheets
        self._muxer: TsMuxer | NativeMuxer | None = None
        # Of each frame: when it arrived, its bytes, whether it is a picture, its track, and its RTP packets.
        self._measured: deque[tuple[int, int, bool, int, int]] = deque(maxlen=MEASURED_MAX)
        self._described = ""
        self._sync_time_us: int | None = None
        self.origin: Origin | None = None

    @property
    def muxer(self) -> TsMuxer | NativeMuxer | None:
        """What frames are made by; None before the tracks are known."""
        return self._muxer

    def can_replace(self, tracks: tuple[Track, ...]) -> bool:
        """Whether viewers can go on with other tracks without asking for the description again."""
        return not isinstance(self._muxer, NativeMuxer) or self._muxer.can_replace(tracks)

    def announce(self, tracks: tuple[Track, ...]) -> None:
        """The tracks of the samples to come. Raises MediaError for a codec that the payload cannot carry."""
        if tracks == self.tracks:
            return
        if self._muxer is None:
            # Not from 0, which VLC takes for a packet that has come twice.
            sequence = self._ssrc >> 16 | 1
            if self.payload is Payload.TS:
                self._muxer = TsMuxer(tracks, ssrc=self._ssrc, sequence=sequence, sheets=self._sheets)
            else:
                self._muxer = NativeMuxer(tracks, ssrc=self._ssrc, sequence=sequence)
        else:
            self._muxer.replace_tracks(tracks)
        self.tracks = tracks
        self._described = ""
        self.ring.has_video = any(not track.audio for track in tracks)

    def write(self, sample: Sample, now_us: int, origin: Origin | None = None) -> int:
        """Mux a sample into the ring; returns the number of its frame. Raises MediaError. origin: as in Entry."""
        if self._muxer is None:
            self.announce((Track(sample.codec),))
            assert self._muxer is not None
        frame = self._muxer.write(sample, now_us)
        self._measured.append((now_us, len(frame.data), frame.kind is _VIDEO, frame.track, frame.packets))
        self.origin = origin
        number = self.ring.append(Entry(frame, sample, now_us, origin))
        if self.ring.newest_sync == number:
            if self._sync_time_us is not None and sample.order_us > self._sync_time_us:
                self.sync_interval_us = sample.order_us - self._sync_time_us
            self._sync_time_us = sample.order_us
        return number

    @property
    def next_tick_us(self) -> int:
        """When `tick` has something to do, unless a sample comes before, µs; NEVER_US if it has not."""
        return NEVER_US if self._muxer is None else self._muxer.next_tick_us

    def tick(self, now_us: int) -> bool:
        """Add a CLOCK frame if one is due; returns whether one was."""
        frame = self._muxer.tick(now_us) if self._muxer is not None else None
        if frame is None:
            return False
        self.ring.append(Entry(frame, None, now_us, self.origin))
        self.clock_frames += 1
        return True

    def rates(self, now_us: int) -> tuple[float, int]:
        """Pictures a second and bits a second over the last MEASURE_US; zeros where too little came."""
        span_us = self._measured_span_us(now_us)
        if not span_us:
            return 0.0, 0
        pictures = sum(1 for _, _, is_picture, _, _ in self._measured if is_picture)
        size = sum(size for _, size, _, _, _ in self._measured)
        return pictures * 1e6 / span_us, size * 8_000_000 // span_us

    def sdp(self, now_us: int, session_id: int) -> str:
        """The stream's session description (RFC 8866)."""
        bitrates_bps = self._bandwidths(now_us)
        text = self._describe(bitrates_bps, session_id, 0)
        if text != self._described:
            self._described = text
            self.version += 1
        return self._describe(bitrates_bps, session_id, self.version)

    def _describe(self, bitrates_bps: dict[int, int], session_id: int, version: int) -> str:
        if isinstance(self._muxer, NativeMuxer):
            return sdp.describe_native(
                name=self.name, session_id=session_id, version=version, media=self._muxer.media,
                bitrates_bps=bitrates_bps,
            )  # fmt: skip
        fps = next((track.fps for track in self.tracks if not track.audio), 0.0)
        bitrate_bps = bitrates_bps.get(0, 0)
        return sdp.describe_ts(
            name=self.name, session_id=session_id, version=version, bitrate_bps=bitrate_bps, fps=fps
        )

    def _bandwidths(self, now_us: int) -> dict[int, int]:
        """What each RTP stream takes over UDP and IP, bits a second: b=AS of RFC 8866 5.8.

        Rounded up to two digits, for the description is another one with every change.
        """
        span_us = self._measured_span_us(now_us)
        sizes: dict[int, int] = {}
        for _, size, _, track, packets in self._measured if span_us else ():
            sizes[track] = sizes.get(track, 0) + size + packets * RTP_OVER_IP_BYTES
        return {track: _two_digits(size * 8_000_000 // span_us) for track, size in sizes.items()}

    def _measured_span_us(self, now_us: int) -> int:
        """How long what has been measured took; 0 where it is too little."""
        while self._measured and now_us - self._measured[0][0] > MEASURE_US:
            self._measured.popleft()
        span_us = now_us - self._measured[0][0] if self._measured else 0
        return span_us if span_us >= MEASURE_US_MIN else 0


def _two_digits(number: int) -> int:
    grain = int("1" + "0" * (len(str(number)) - 2))
    return -(-number // grain) * grain
