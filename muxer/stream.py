"""One stream in a muxer: its tracks, its TS muxer, its ring, and what can be measured of it. Pure."""

from collections import deque

from common.grid import FrameKind
from common.sample import Sample, Track
from muxer import sdp
from muxer.mpegts import NEVER_US, TsMuxer
from muxer.ring import Entry, Origin, Ring

MEASURE_US = 2_000_000  # rates are measured over this long
MEASURE_US_MIN = 500_000  # over less than this they would be noise
MEASURED_MAX = 4096  # frames


class Stream:
    """Samples in, frames in the ring.

    name: for the SDP. ssrc: of its RTP packets. age_max_us: how long the ring keeps what is older than the newest
    sync point. version: of the SDP; it grows with every change of the tracks.
    """

    def __init__(self, name: str, *, ssrc: int, age_max_us: int) -> None:
        self.name = name
        self.ring = Ring(age_max_us)
        self.tracks: tuple[Track, ...] = ()
        self.version = 0
        self.sync_interval_us = 0
        self._ssrc = ssrc
        self._muxer: TsMuxer | None = None
        self._measured: deque[tuple[int, int, bool]] = deque(maxlen=MEASURED_MAX)  # arrived, bytes, video
        self._sync_time_us: int | None = None
        self._origin: Origin | None = None

    @property
    def muxer(self) -> TsMuxer | None:
        """The TS muxer; None before the tracks are known."""
        return self._muxer

    def announce(self, tracks: tuple[Track, ...]) -> None:
        """The tracks of the samples to come. Raises MediaError for a codec that TS cannot carry."""
        if tracks == self.tracks:
            return
        if self._muxer is None:
            # Not from 0, which VLC takes for a packet that has come twice.
            self._muxer = TsMuxer(tracks, ssrc=self._ssrc, sequence=self._ssrc >> 16 | 1)
        else:
            self._muxer.replace_tracks(tracks)
        self.tracks = tracks
        self.version += 1
        self.ring.has_video = any(not track.audio for track in tracks)

    def write(self, sample: Sample, now_us: int, origin: Origin | None = None) -> int:
        """Mux a sample into the ring; returns the number of its frame. Raises MediaError. origin: as in Entry."""
        if self._muxer is None:
            self.announce((Track(sample.codec),))
            assert self._muxer is not None
        frame = self._muxer.write(sample, now_us)
        self._measured.append((now_us, len(frame.data), frame.kind is FrameKind.VIDEO))
        self._origin = origin
        number = self.ring.append(Entry(frame, sample, now_us, origin))
        if self.ring.newest_sync == number:
            if self._sync_time_us is not None and sample.order_us > self._sync_time_us:
                self.sync_interval_us = sample.order_us - self._sync_time_us
            self._sync_time_us = sample.order_us
        return number

    @property
    def next_tick_us(self) -> int | None:
        """When `tick` has something to do, unless a sample comes before, µs; None if it has not."""
        if self._muxer is None or self._muxer.next_tick_us == NEVER_US:
            return None
        return self._muxer.next_tick_us

    def tick(self, now_us: int) -> bool:
        """Add a CLOCK frame if one is due; returns whether one was."""
        frame = self._muxer.tick(now_us) if self._muxer is not None else None
        if frame is None:
            return False
        self.ring.append(Entry(frame, None, now_us, self._origin))
        return True

    def rates(self, now_us: int) -> tuple[float, int]:
        """Pictures a second and bits a second over the last MEASURE_US; zeros where too little came."""
        while self._measured and now_us - self._measured[0][0] > MEASURE_US:
            self._measured.popleft()
        span_us = now_us - self._measured[0][0] if self._measured else 0
        if span_us < MEASURE_US_MIN:
            return 0.0, 0
        pictures = sum(1 for _, _, video in self._measured if video)
        size = sum(size for _, size, _ in self._measured)
        return pictures * 1e6 / span_us, size * 8_000_000 // span_us

    def sdp(self, now_us: int, session_id: int) -> str:
        """The stream's session description (RFC 8866)."""
        fps = next((track.fps for track in self.tracks if not track.audio), 0.0)
        _, bitrate_bps = self.rates(now_us)
        return sdp.describe_ts(
            name=self.name, session_id=session_id, version=self.version, bitrate_bps=bitrate_bps, fps=fps
        )
