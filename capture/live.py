"""Live streams of others: `rtsp://`, `http://` and `exec:`.

Samples are given out as they come, at their own times, which are put on our clock (`capture.clock_follower`). A
stream whose pictures have no times gets those of their arrival. What is no live stream after all, a file or HLS,
comes faster than real time and is given out when it is due. MJPEG is encoded to H.264, as a camera's is.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping

from capture.clock_follower import ClockFollower
from capture.file_tracks import FileSample
from capture.jpeg_track import JpegTrack
from capture.known_tracks import KnownTracks
from capture.live_input import OPEN_S, CommandInput, LiveInput, UrlInput
from capture.live_reader import Arrived, LiveReader
from common import clock, config
from common.errors import SourceError
from common.sample import Sample, Track
from common.source_spec import CommandSpec, UrlSpec

SETTLE_US = 300_000  # what a server gives at once in the beginning came late: the delay is known behind it
TRACK_WAIT_US = 3_000_000  # a track of which nothing has come for so long is left out
STALL_US = 10_000_000  # without a sample: longer than the time-out of the network, which says why
LATE_US_MAX = 1_000_000  # what is paced, and so much too late, goes on from where it stood
AHEAD_US_MAX = 30_000_000  # what is paced, and so far ahead, has jumped: HLS has segments of ten seconds


class LiveSource:
    """See `capture.source.Source`."""

    due_us = 0

    def __init__(
        self, spec: UrlSpec | CommandSpec, settings: config.Stream, now_us: Callable[[], int] = clock.now_us
    ) -> None:
        self._spec = spec
        self._settings = settings
        self._now_us = now_us
        self._input: LiveInput | None = None
        self._reader: LiveReader | None = None
        self._heard_us = 0
        self._head: list[Arrived] | None = []  # of the first SETTLE_US; None when they are over
        self._waiting: deque[Arrived] = deque()  # come, and not yet given out
        self._follower = ClockFollower(0, 0)
        self._paced_offset_us = 0
        self._newest_us: dict[bool, int] = {}  # decoding time, by whether it is audio
        self._known = KnownTracks()
        self._jpeg = JpegTrack(settings)
        self._ready: deque[Sample] = deque()
        self._damaged = self._stalls = 0

    @property
    def tracks(self) -> tuple[Track, ...]:
        return self._known.tracks

    @property
    def counters(self) -> Mapping[str, int]:
        damaged = self._damaged + self._jpeg.damaged + (self._reader.damaged if self._reader is not None else 0)
        return {
            "damaged": damaged,
            "dropped_raw": self._jpeg.dropped,
            "jumps": self._follower.jumps,
            "stalls": self._stalls,
        }

    @property
    def notes(self) -> tuple[str, ...]:
        return self._reader.notes if self._reader is not None else ()

    def open(self) -> None:
        spec = self._spec
        self._input = _input_of(spec, self._settings)
        self._reader = LiveReader(self._input)
        self._heard_us = self._now_us()

    def read(self, timeout_s: float) -> Sample | None:
        if not self._ready:
            arrived = self._next(timeout_s)
            now_us = self._now_us()
            if self._head is not None:
                self._settle(self._head, arrived, now_us)
            elif arrived is not None:
                self._place(arrived, now_us)
        return self._ready.popleft() if self._ready else None

    def request_key_frame(self) -> None:
        self._jpeg.request_key_frame()

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._damaged += self._reader.damaged
            self._reader = None
        self._jpeg.close()

    def _next(self, timeout_s: float) -> Arrived | None:
        """The next sample that is to be given out now."""
        assert self._reader is not None
        if not self._waiting:
            try:
                arrived = self._reader.next(timeout_s)
            except SourceError:
                if not self._head:
                    raise
                self._begin(self._head, self._now_us())  # it was short, but all of it has come
                return None
            now_us = self._now_us()
            if arrived is None:
                limit_us = STALL_US if self._reader.is_open else STALL_US + round(OPEN_S * 1e6)
                if now_us - self._heard_us > limit_us:
                    assert self._input is not None
                    raise SourceError(f"{self._input.name}: nothing has come for {limit_us // 1_000_000} s")
                return None
            self._heard_us = now_us
            self._waiting.append(arrived)
        if self._head is None and self._reader.is_paced:
            wait_us = self._paced_offset_us + self._waiting[0].sample.stamp.decode_us - self._now_us()
            if not -LATE_US_MAX < wait_us < AHEAD_US_MAX:
                self._stalls += 1
                self._paced_offset_us -= wait_us
            elif wait_us > 0:
                time.sleep(min(wait_us / 1e6, timeout_s))
                if wait_us > timeout_s * 1e6:
                    return None
        return self._waiting.popleft()

    def _settle(self, head: list[Arrived], arrived: Arrived | None, now_us: int) -> None:
        """Wait until the delay is known, and one sample of each track has come."""
        assert self._reader is not None
        if arrived is not None:
            head.append(arrived)
        if not head or now_us - head[0].at_us < SETTLE_US:
            return
        tracks = {each.sample.track.audio for each in head}
        if len(tracks) == self._reader.tracks_count or now_us - head[0].at_us > TRACK_WAIT_US:
            self._begin(head, now_us)

    def _begin(self, head: list[Arrived], now_us: int) -> None:
        """The samples in `head` are given out next."""
        self._known = KnownTracks({each.sample.track.audio for each in head})
        for each in head:
            track = each.sample.track
            if track.audio not in self._known and not self._jpeg.takes(track):
                self._known.note(track)
        self._follower = ClockFollower(min(each.at_us - each.sample.stamp.decode_us for each in head), now_us)
        self._paced_offset_us = now_us - head[0].sample.stamp.decode_us
        self._waiting.extendleft(reversed(head))
        self._head = None

    def _place(self, arrived: Arrived, now_us: int) -> None:
        """Put the sample on our clock, and make it ready."""
        assert self._reader is not None
        sample, at_us = arrived
        audio = sample.track.audio
        if not self._reader.timed:
            time_us = decode_us = max(at_us, self._newest_us.get(audio, at_us) + 1)
        else:
            offset_us = self._paced_offset_us
            if not self._reader.is_paced:
                offset_us = self._follower.offset_us(sample.stamp.decode_us, at_us)
            time_us, decode_us = sample.stamp.time_us + offset_us, sample.stamp.decode_us + offset_us
        if decode_us <= self._newest_us.get(audio, decode_us - 1) or audio not in self._known.expected:
            self._damaged += 1
            return
        self._newest_us[audio] = decode_us
        if self._jpeg.takes(sample.track):
            self._encode(sample, time_us, now_us - at_us)
            return
        self._known.note(sample.track)
        if self._known.tracks:
            self._ready.append(
                Sample(
                    sample.data,
                    time_us,
                    sample.track.codec,
                    sample.sync,
                    None if decode_us == time_us else decode_us,
                )
            )

    def _encode(self, sample: FileSample, time_us: int, late_us: int) -> None:
        self._ready.extend(self._jpeg.encode(sample, time_us, late_us))
        if self._jpeg.track is not None:
            self._known.note(self._jpeg.track)


def _input_of(spec: UrlSpec | CommandSpec, settings: config.Stream) -> LiveInput:
    return UrlInput(spec) if isinstance(spec, UrlSpec) else CommandInput(spec, settings.format)
