"""The capture of one stream: its source, run while it is wanted, tried again when it fails.

idle      nobody wants samples (on demand only)
waiting   the source failed; its next life begins when the pause is over
open      the source is read; samples go out

While it waits, or an open source has nothing to give yet, a slate may stand in (`capture.standby`). The loop is
that of `capture.worker`.
"""

import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from capture.maker_of import maker_of
from capture.outlet import Outlet
from capture.policy import IDLE_WAIT_US, Demand, KeyFrameRequests, Retries
from capture.source import Source
from capture.standby import Standby
from common import clock, source_spec
from common.config import Config
from common.endpoints import program_endpoint
from common.errors import SourceEndedError, SourceError
from common.logs import Logger
from common.sample import SAMPLE_BYTES_MAX, Sample, Track

if TYPE_CHECKING:
    from capture.slate import Slate


class StreamCapture:
    """One stream of a capture process.

    stream: its settings. outlet: lives on when they change. due_us: when to call `turn` again, at the latest.
    """

    def __init__(self, name: str, config: Config, outlet: Outlet, log: Logger, read_wait_us: int) -> None:
        """read_wait_us: how long a turn may wait for a sample. 0: not at all, there are others; only a source that
        knows when its next sample is due can be read so."""
        stream = self.stream = config.streams[name]
        self.outlet = outlet
        self.due_us = 0
        self._name = name
        self._log = log
        self._read_wait_us = read_wait_us
        self._spec = source_spec.parse(stream.source)
        self._shown = source_spec.without_secrets(stream.source)
        self._programs_at = program_endpoint(config.runtime_dir, name)
        self._demand = Demand(stream.on_demand, config.capture)
        self._retries = Retries(config.capture)
        self._requests = KeyFrameRequests()
        self._standby = Standby(bool(stream.slate))
        self._slate: Slate | None = None  # while it stands in
        self._slates = 0
        self._make: Callable[[], Source] | None = None  # a source; its libraries are loaded
        self._source: Source | None = None
        self._tracks: tuple[Track, ...] = ()
        self._ended = False  # for good: until it is not wanted any more
        self._reason: str | None = None  # why it is down, as said last; None while it is not
        self._missing = False  # its device or file was not there when last looked for
        self._past: dict[str, int] = {}  # counters of past lives
        self._read = self._oversize = self._withheld = 0

    def prepare(self) -> None:
        """Load what a source that is wanted at once needs, while the muxer finds the way here."""
        if not self.stream.on_demand:
            self._make = self._maker()

    def turn(self, now_us: int) -> None:
        """Do what is due. Raises SettingsError for what no retry can help."""
        self.outlet.receive()
        if self.outlet.take_key_frame_request():
            self._requests.ask()
        if not self._demand.wanted(self.outlet.demanded, now_us):
            self._rest()
            self.due_us = now_us + IDLE_WAIT_US
            return
        self._stand_in(now_us)
        try:
            if self._source is None:
                if self._has_come_back():
                    self._retries.begin_anew()
                if self._ended or not self._retries.due(now_us):
                    wait_us = min(IDLE_WAIT_US, self._retries.wait_us(now_us) or IDLE_WAIT_US)
                    due_us = self._standby.due_us
                    self.due_us = now_us + wait_us if due_us is None else min(now_us + wait_us, due_us)
                    return
                self._source = self._opened()
            if self._requests.passes(now_us):
                self._source.request_key_frame()
            self.due_us = 0
            while self.due_us <= now_us:
                sample = self._source.read(self._read_wait_us / 1e6)
                if sample is not None:
                    self._read += 1
                    self._publish(self._source, sample)
                if self._read_wait_us:
                    break
                self.due_us = self._source.due_us
        except SourceError as error:
            self.down(str(error), ended=isinstance(error, SourceEndedError))

    def down(self, reason: str, ended: bool) -> None:
        """The source cannot be read, or read on. ended: nor later, unless its file is another then."""
        self._ended = ended
        self.close()
        self._retries.failed(clock.now_us())
        self._missing = self._is_missing()
        if reason != self._reason:  # once, not at each try
            self._reason = reason
            self.outlet.tell_state(False, reason, slate=self._slate is not None)
            self._log.warning("source_down", stream=self._name, reason=reason)
        self._standby.away(time.strftime("%H:%M"), clock.now_us())
        self.due_us = 0

    def close(self) -> None:
        """End this life of the source."""
        if self._source is not None:
            self._past = self._source_counters()
            self._source.close()
        self._source = None
        self._tracks = ()

    @property
    def counters(self) -> Mapping[str, int]:
        """What it has done, by name."""
        outlet = self.outlet
        return {
            "samples_read": self._read,
            "samples_withheld": self._withheld,
            "samples": outlet.samples,
            "samples_repeated": outlet.repeated,
            "groups_too_long": outlet.recent.cut,
            "bytes": outlet.bytes,
            "key_frames": outlet.key_frames,
            "key_frame_requests": outlet.requests,
            "messages_refused": outlet.refused,
            "subscriptions": outlet.subscriptions,
            "oversize": self._oversize,
            "slates": self._slates,
            "retries": self._retries.count,
            **self._source_counters(),
        }

    def _stand_in(self, now_us: int) -> None:
        """Show the slate, where it is due."""
        due_us = self._standby.due_us
        if due_us is None or now_us < due_us:
            return
        time_us = self._standby.show(now_us)
        try:
            if self._slate is None:
                self._slate = self._first_slate()
        except SourceError as error:
            self._standby.rest()
            self._log.warning("no_slate", stream=self._name, reason=str(error))
            return
        self._slates += 1
        self.outlet.publish(self._slate.sample(time_us))

    def _first_slate(self) -> "Slate":
        from capture.slate import WORDS, Slate  # most captures never need it

        words = WORDS if self.stream.slate is True else str(self.stream.slate)
        video, *audio = self._standby.tracks
        slate = Slate(video, words, self._standby.since)
        self.outlet.begin((slate.track, *audio))
        self.outlet.tell_state(False, self._reason or "", slate=True)
        return slate

    def _has_come_back(self) -> bool:
        """Whether the device, or the file, that was missing is there again."""
        was_missing, self._missing = self._missing, self._is_missing()
        return was_missing and not self._missing

    def _is_missing(self) -> bool:
        path = source_spec.path_of(self._spec)
        return path is not None and not os.path.exists(path)

    def _opened(self) -> Source:
        self._make = self._make or self._maker()
        source = self._make()
        source.open()
        return source

    def _maker(self) -> Callable[[], Source]:
        return maker_of(self._spec, self.stream, self._programs_at)

    def _publish(self, source: Source, sample: Sample) -> None:
        if not self._tracks:
            self._slate = None
            self._tracks = source.tracks
            self.outlet.begin(self._tracks)
            self._say_up(source)
        elif source.tracks is not self._tracks and source.tracks != self._tracks:
            self._tracks = source.tracks
            self.outlet.announce(self._tracks)
            self._log.info("tracks_changed", stream=self._name, tracks=_in_words(self._tracks))
        if len(sample.data) > SAMPLE_BYTES_MAX:
            self._oversize += 1
            return
        passed = self._standby.passed(self._tracks, sample, clock.now_us())
        if passed is None:
            self._withheld += 1
        else:
            self.outlet.publish(passed)

    def _say_up(self, source: Source) -> None:
        self._retries.up(clock.now_us())
        self._reason = None
        self.outlet.tell_state(True)
        self._log.info("source_up", stream=self._name, source=self._shown, tracks=_in_words(self._tracks))
        for note in source.notes:
            self._log.warning("source_note", stream=self._name, note=note)

    def _rest(self) -> None:
        """Nobody wants it: neither up nor down."""
        if self._source is not None or self._reason is not None:
            self._log.info("source_idle", stream=self._name, source=self._shown)
        self.close()
        self._ended = False
        self._standby.rest()
        self._slate = None
        self.outlet.forget_state()
        self._reason = None

    def _source_counters(self) -> dict[str, int]:
        """Of all lives of the source together."""
        now = {} if self._source is None else self._source.counters
        return {name: self._past.get(name, 0) + now.get(name, 0) for name in {**self._past, **now}}


def _in_words(tracks: tuple[Track, ...]) -> str:
    """For the log: `h264 1280x720 30 fps, aac 48000 Hz 1 ch`."""
    return ", ".join(
        f"{track.codec} {track.sample_rate_hz} Hz {track.channels} ch"
        if track.audio
        else f"{track.codec} {track.width}x{track.height} {track.fps:g} fps"
        for track in tracks
    )
