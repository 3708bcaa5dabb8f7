"""The loop of a capture process: one source, run while it is wanted, tried again when it fails.

idle      nobody wants samples (on demand only)
waiting   the source failed; its next life begins when the pause is over
open      the source is read; samples go out

While it waits, or an open source has nothing to give yet, a slate may stand in (`capture.standby`).
"""

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import zmq

from capture.maker_of import maker_of
from capture.outlet import Outlet
from capture.policy import Demand, KeyFrameRequests, Retries
from capture.source import Source
from capture.standby import Standby
from common import clock, sockets, source_spec
from common.config import Stream
from common.endpoints import program_endpoint
from common.errors import SettingsError, SourceEndedError, SourceError
from common.figures import RoleFigures
from common.role import Role
from common.sample import SAMPLE_BYTES_MAX, Sample, Track

if TYPE_CHECKING:
    from capture.slate import Slate

READ_WAIT_S = 0.05  # how late a signal, a key-frame request or a new subscriber can be heard
IDLE_WAIT_MS = 200  # while nothing runs: all of those wake the loop, the report and retries must not be late


def run_stream(role: Role, name: str) -> None:
    """Run the capture of the stream `name` of the settings until `role.stopping`. Raises SettingsError."""
    stream = role.config.streams.get(name)
    if stream is None:
        known = ", ".join(role.config.streams) or "none"
        raise SettingsError(f"--stream {name}: the settings have no such stream; they have: {known}")
    outlet = Outlet(sockets.samples_out(role.context, *role.lines.samples_out(name)))
    try:
        _Capture(role, stream, outlet, program_endpoint(role.config.runtime_dir, name)).run()
    finally:
        outlet.close()


class _Capture:
    def __init__(self, role: Role, stream: Stream, outlet: Outlet, programs_at: str) -> None:
        self._role = role
        self._stream = stream
        self._spec = source_spec.parse(stream.source)
        self._shown = source_spec.without_secrets(stream.source)
        self._outlet = outlet
        self._programs_at = programs_at
        self._demand = Demand(stream.on_demand, role.config.capture)
        self._retries = Retries(role.config.capture)
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
        self._poller = zmq.Poller()
        self._poller.register(outlet.socket, zmq.POLLIN)
        self._poller.register(role.wake_fd, zmq.POLLIN)

    def run(self) -> None:
        if not self._stream.on_demand:
            self._make = self._maker()  # meanwhile the muxer finds the way here
        self._role.ready()
        try:
            while not self._role.stopping:
                now_us = clock.now_us()
                self._outlet.receive()
                if self._outlet.take_key_frame_request():
                    self._requests.ask()
                self._turn(now_us)
                self._role.tick(now_us, self._figures)
        finally:
            self._end_life()

    def _turn(self, now_us: int) -> None:
        """Do what is due, or wait a while."""
        if not self._demand.wanted(self._outlet.demanded, now_us):
            self._rest()
            self._wait(IDLE_WAIT_MS)
            return
        self._stand_in(now_us)
        try:
            if self._source is None:
                if self._has_come_back():
                    self._retries.begin_anew()
                if self._ended or not self._retries.due(now_us):
                    due_us = self._standby.due_us
                    wait_us = self._retries.wait_us(now_us)
                    wait_us = wait_us if due_us is None else max(0, min(wait_us, due_us - now_us))
                    self._wait(min(IDLE_WAIT_MS, wait_us // 1000 + 1))
                    return
                self._source = self._opened()
            if self._requests.passes(now_us):
                self._source.request_key_frame()
            sample = self._source.read(READ_WAIT_S)
            if sample is not None:
                self._read += 1
                self._publish(self._source, sample)
        except SourceError as error:
            self._ended = isinstance(error, SourceEndedError)
            self._end_life()
            self._retries.failed(clock.now_us())
            self._missing = self._is_missing()
            self._say_down(str(error))
            self._standby.away(time.strftime("%H:%M"), clock.now_us())

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
            self._role.log.warning("no_slate", reason=str(error))
            return
        self._slates += 1
        self._outlet.publish(self._slate.sample(time_us))

    def _first_slate(self) -> "Slate":
        from capture.slate import WORDS, Slate  # most captures never need it

        words = WORDS if self._stream.slate is True else str(self._stream.slate)
        video, *audio = self._standby.tracks
        slate = Slate(video, words, self._standby.since)
        self._outlet.begin((slate.track, *audio))
        self._outlet.tell_state(False, self._reason or "", slate=True)
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
        return maker_of(self._spec, self._stream, self._programs_at)

    def _publish(self, source: Source, sample: Sample) -> None:
        if not self._tracks:
            self._slate = None
            self._tracks = source.tracks
            self._outlet.begin(self._tracks)
            self._say_up(source)
        elif source.tracks is not self._tracks and source.tracks != self._tracks:
            self._tracks = source.tracks
            self._outlet.announce(self._tracks)
            self._role.log.info("tracks_changed", tracks=_in_words(self._tracks))
        if len(sample.data) > SAMPLE_BYTES_MAX:
            self._oversize += 1
            return
        passed = self._standby.passed(self._tracks, sample, clock.now_us())
        if passed is None:
            self._withheld += 1
        else:
            self._outlet.publish(passed)

    def _say_up(self, source: Source) -> None:
        self._retries.up(clock.now_us())
        self._reason = None
        self._outlet.tell_state(True)
        self._role.log.info("source_up", source=self._shown, tracks=_in_words(self._tracks))
        for note in source.notes:
            self._role.log.warning("source_note", note=note)

    def _say_down(self, reason: str) -> None:
        if reason != self._reason:  # once, not at each try
            self._reason = reason
            self._outlet.tell_state(False, reason, slate=self._slate is not None)
            self._role.log.warning("source_down", reason=reason)

    def _rest(self) -> None:
        """Nobody wants it: neither up nor down."""
        if self._source is not None or self._reason is not None:
            self._role.log.info("source_idle", source=self._shown)
        self._end_life()
        self._ended = False
        self._standby.rest()
        self._slate = None
        self._outlet.forget_state()
        self._reason = None

    def _end_life(self) -> None:
        if self._source is not None:
            self._past = self._counters()
            self._source.close()
        self._source = None
        self._tracks = ()

    def _wait(self, wait_ms: int) -> None:
        self._poller.poll(wait_ms)

    def _counters(self) -> dict[str, int]:
        """Of all lives of the source together."""
        now = {} if self._source is None else self._source.counters
        return {name: self._past.get(name, 0) + now.get(name, 0) for name in {**self._past, **now}}

    def _figures(self) -> RoleFigures:
        outlet = self._outlet
        return RoleFigures(
            counters={
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
                **self._counters(),
            }
        )


def _in_words(tracks: tuple[Track, ...]) -> str:
    """For the log: `h264 1280x720 30 fps, aac 48000 Hz 1 ch`."""
    return ", ".join(
        f"{track.codec} {track.sample_rate_hz} Hz {track.channels} ch"
        if track.audio
        else f"{track.codec} {track.width}x{track.height} {track.fps:g} fps"
        for track in tracks
    )
