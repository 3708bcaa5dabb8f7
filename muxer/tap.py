"""Taps the samples of any stream of a running framegate, as its muxer gets them.

    for sample in subscribe("door"):
        print(sample.codec, len(sample.data), sample.time_us)

The first picture is a sync point, which is there at once in most cases: the newest one is repeated for who comes.
What the program does not take in time is left out, whole samples and up to a sync point: nobody else is held up. A
tap on a stream that is on demand starts its source.
"""

from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import zmq

from common import clock, sockets, wire
from common.captures import endpoint_of
from common.errors import MessageError
from common.instance import stream_of
from common.intake import Intake
from common.messages import Announce, KeyFrameRequest, SampleMessage, SourceState
from common.sample import Sample, Track

AGE_MAX_MS = 2000
_SUBSCRIBE = b"\x01"
_POLL_MS = 200


class Tap:
    """The samples of one stream, one by one; an iterator without end, until `close`.

    dropped: samples left out because the program took them too late.
    """

    def __init__(self, endpoint: str, age_max_ms: int, now_us: Callable[[], int] = clock.now_us) -> None:
        self.dropped = 0
        self._age_max_us = age_max_ms * 1000
        self._now_us = now_us
        self._intake = Intake()
        self._late = False
        self._context: sockets.Context = zmq.Context()
        self._socket = sockets.samples_in(self._context, endpoint)
        self._socket.send(_SUBSCRIBE)

    @property
    def tracks(self) -> tuple[Track, ...]:
        """What the stream holds; empty before the first sample."""
        return self._intake.tracks

    @property
    def reason(self) -> str:
        """Why the source is down, in one line; empty while it runs."""
        return self._intake.reason

    def read(self, timeout_s: float) -> Sample | None:
        """The next sample, None if none comes within `timeout_s`."""
        until_us = self._now_us() + round(timeout_s * 1_000_000)
        while not self._context.closed:
            wait_ms = max(0, until_us - self._now_us() + 999) // 1000
            if not self._socket.poll(wait_ms):
                return None
            sample = self._take()
            if sample is not None:
                return sample
        return None

    def __iter__(self) -> "Tap":
        return self

    def __next__(self) -> Sample:
        while not self._context.closed:
            sample = self.read(_POLL_MS / 1000)
            if sample is not None:
                return sample
        raise StopIteration

    def request_key_frame(self) -> None:
        """Ask the source to make its next picture a sync point, where it can."""
        self._ask(KeyFrameRequest())

    def close(self) -> None:
        """End the subscription; the iteration ends. A second call does nothing."""
        if not self._context.closed:
            self._socket.close()
            self._context.term()

    def __enter__(self) -> "Tap":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _take(self) -> Sample | None:
        try:
            message, media = wire.decode(self._socket.recv_multipart())
        except MessageError:
            return None
        match message:
            case SampleMessage():
                sample = self._intake.sample(message, bytes(media))
                if self._intake.asks_announcement(self._now_us()):
                    self._ask(KeyFrameRequest(unannounced=True))
                return None if sample is None or self._is_late(sample, message.repeated) else sample
            case Announce():
                self._intake.announce(message)
            case SourceState():
                self._intake.source_state(message)
        return None

    def _ask(self, request: KeyFrameRequest) -> None:
        try:
            sockets.send(self._socket, wire.encode(request))
        except zmq.Again:
            pass  # there is no source now: the next one begins with a sync point

    def _is_late(self, sample: Sample, repeated: bool) -> bool:
        """Whether to leave it out: it waited too long, or leans on one that did."""
        late_us = self._now_us() - sample.order_us
        too_late = not repeated and self._age_max_us < late_us
        starts = sample.sync and sample.audio is not any(not track.audio for track in self.tracks)
        if too_late:
            self._late = True
        elif starts:
            self._late = False
        left_out = too_late or (self._late and not sample.audio)
        self.dropped += left_out
        return left_out


def subscribe(stream: str, *, runtime_dir: str | Path | None = None, age_max_ms: int = AGE_MAX_MS) -> Tap:
    """Tap a stream of the running instance.

    runtime_dir: the instance's; None is the default one. age_max_ms: what is older when the program takes it is
    left out. Raises SettingsError where none runs, or has no such stream.
    """
    config, _ = stream_of(stream, runtime_dir)
    return Tap(endpoint_of(config, stream), age_max_ms)
