"""The `mock:` source: a media file as if it were live, in real time, looped for ever.

Samples are read a little ahead and put in order of their decoding times, across tracks and across the seam of
two passes, then each is given out when it is due. MJPEG is encoded to H.264, as a camera's
is, unless it is to be passed through.
"""

import heapq
import itertools
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from capture.file_reel import FileReel
from capture.file_tracks import FileSample
from capture.jpeg_track import JpegTrack
from capture.known_tracks import KnownTracks
from capture.timeline import GRAIN_US, Placed, Timeline
from common import clock, config
from common.errors import SourceEndedError, SourceError
from common.sample import Sample, Track
from common.source_spec import FileSpec

AHEAD_US = 1_000_000  # each track is read ahead at least so far, in decoding time
AHEAD_AT_ONCE_US = 1_000_000  # and then so much further: one after the other, samples cost a fraction
AHEAD_SAMPLES_MAX = 4000
AHEAD_BYTES_MAX = 64 << 20
HEAD_SAMPLES_MAX = 10_000  # looked at to see one sample of each track
LATE_US_MAX = 1_000_000  # a process that stood still so long goes on from where it stood


class MockSource:
    """See `capture.source.Source`."""

    def __init__(
        self,
        spec: FileSpec,
        settings: config.Stream,
        now_us: Callable[[], int] = clock.now_us,
        sleep_s: Callable[[float], None] = time.sleep,
    ) -> None:
        self._now_us, self._sleep_s = now_us, sleep_s
        self._path = str(Path(spec.path).expanduser())
        self._settings = settings
        self._reel: FileReel | None = None
        self._samples: Iterator[FileSample] = iter(())
        self._timeline = Timeline(0, 0)
        self._ahead: list[tuple[int, int, Placed, FileSample]] = []  # heap, by decoding time
        self._ahead_bytes = 0
        self._newest_us: dict[bool, int] = {}  # decoding time of the newest sample, by whether it is audio
        self._turn = itertools.count()
        self._in_pass: set[bool] = set()  # the tracks that had a sample in this pass, by whether it is audio
        self._held_us = 0  # how much later than placed everything is now
        self._known = KnownTracks()
        self._notes: tuple[str, ...] = ()
        self._loops = self._damaged = self._stalls = 0
        self._jpeg = JpegTrack(settings)
        self._ready: deque[Sample] = deque()

    @property
    def tracks(self) -> tuple[Track, ...]:
        return self._known.tracks

    @property
    def counters(self) -> Mapping[str, int]:
        damaged = self._damaged + self._jpeg.damaged + (self._reel.damaged if self._reel is not None else 0)
        return {
            "damaged": damaged,
            "dropped_raw": self._jpeg.dropped,
            "loops": self._loops,
            "jumps": self._timeline.jumps,
            "stalls": self._stalls,
        }

    @property
    def notes(self) -> tuple[str, ...]:
        return self._notes

    @property
    def due_us(self) -> int:
        return 0 if self._ready or not self._ahead else self._ahead[0][0] + self._held_us

    def open(self) -> None:
        reel = self._reel = FileReel(self._path)
        try:
            self._notes = reel.notes
            self._samples = reel.next_pass()
            head = _head(self._samples, reel.tracks_count)
            if not head:
                raise SourceError(f"{self._path}: no whole sample in it")
        except BaseException:
            self.close()
            raise
        self._timeline = Timeline(min(sample.stamp.decode_us for sample in head), self._now_us())
        self._known = KnownTracks({sample.track.audio for sample in head})
        for sample in head:
            self._place(sample)
            if sample.track.audio not in self._known and not self._jpeg.takes(sample.track):
                self._known.note(sample.track)

    def read(self, timeout_s: float) -> Sample | None:
        if self._ready:
            return self._ready.popleft()
        self._read_ahead()
        due_us, _, placed, sample = self._ahead[0]
        late_us = self._now_us() - due_us - self._held_us
        if late_us < 0:
            self._sleep_s(min(timeout_s, -late_us / 1e6))
            if -late_us > timeout_s * 1e6:
                return None
        elif late_us > LATE_US_MAX:
            self._stalls += 1
            self._held_us += late_us // GRAIN_US * GRAIN_US
            late_us = 0
        heapq.heappop(self._ahead)
        self._ahead_bytes -= len(sample.data)
        if self._jpeg.takes(sample.track):
            self._encode(sample, placed.time_us + self._held_us, late_us)
            return self._ready.popleft() if self._ready else None
        self._known.note(sample.track)
        if not self._known.tracks:
            return None  # sound before the first encoded picture
        time_us, decode_us = placed.time_us + self._held_us, placed.decode_us + self._held_us
        return Sample(
            sample.data,
            time_us,
            sample.track.codec,
            sample.sync,
            None if decode_us == time_us else decode_us,
        )

    def request_key_frame(self) -> None:
        self._jpeg.request_key_frame()

    def close(self) -> None:
        if self._reel is not None:
            self._reel.close()
            self._damaged += self._reel.damaged
            self._reel = None
        self._jpeg.close()
        self._ahead.clear()
        self._ready.clear()

    def _read_ahead(self) -> None:
        """Fill the heap, across the end of the file if need be. Raises SourceEndedError where that is the end."""
        if self._is_ahead(AHEAD_US):
            return
        while not self._is_ahead(AHEAD_US + AHEAD_AT_ONCE_US):
            sample = next(self._samples, None)
            if sample is not None:
                self._place(sample)
            elif self._settings.loop:
                self._begin_pass()
            elif self._ahead:
                return
            else:
                raise SourceEndedError(f"{self._path}: this is its end")

    def _is_ahead(self, wanted_us: int) -> bool:
        return bool(self._ahead) and (
            min(self._newest_us.values()) - self._ahead[0][0] >= wanted_us
            or len(self._ahead) >= AHEAD_SAMPLES_MAX
            or self._ahead_bytes >= AHEAD_BYTES_MAX
        )

    def _begin_pass(self) -> None:
        if not self._in_pass:
            raise SourceError(f"{self._path}: no whole sample in it any more")
        for gone in self._newest_us.keys() - self._in_pass:
            del self._newest_us[gone]  # the file was replaced by one without it: nothing of it is waited for
        self._in_pass = set()
        self._timeline.next_pass()
        self._loops += 1
        assert self._reel is not None
        self._samples = self._reel.next_pass()

    def _place(self, sample: FileSample) -> None:
        placed = self._timeline.place(sample.track.audio, *sample.stamp)
        if placed is None:
            self._damaged += 1
            return
        self._in_pass.add(sample.track.audio)
        self._newest_us[sample.track.audio] = placed.decode_us
        self._ahead_bytes += len(sample.data)
        heapq.heappush(self._ahead, (placed.decode_us, next(self._turn), placed, sample))

    def _encode(self, sample: FileSample, time_us: int, late_us: int) -> None:
        self._ready.extend(self._jpeg.encode(sample, time_us, late_us))
        if self._jpeg.track is not None:
            self._known.note(self._jpeg.track)


def _head(samples: Iterator[FileSample], tracks: int) -> list[FileSample]:
    """The first samples, so many that each of `tracks` tracks is there, if it is near."""
    head: list[FileSample] = []
    seen: set[bool] = set()
    size = 0
    for sample in samples:
        head.append(sample)
        seen.add(sample.track.audio)
        size += len(sample.data)
        if len(seen) == tracks or len(head) == HEAD_SAMPLES_MAX or size > AHEAD_BYTES_MAX:
            break
    return head
