"""The `program:` source: what a Python program publishes (`capture.publisher`), passed on.

A program connects, and is told that samples are wanted; it announces its tracks, and sends. One that dies, or is
silent for too long, is a camera unplugged: this life ends. With two programs, that has the stream which has
announced last, unless only the other goes on. Until one comes there is nothing, however long that takes.
"""

from collections.abc import Callable, Mapping

import zmq

from common import clock, sockets, wire
from common.errors import MessageError, SettingsError, SourceError
from common.intake import Intake
from common.messages import Announce, KeyFrameRequest, SampleMessage, SourceState
from common.sample import Sample, Track

STALL_US = 5_000_000  # a program that has begun, and then is silent for so long, hangs
_SUBSCRIBE = b"\x01"


class ProgramSource:
    """See `capture.source.Source`. endpoint: where programs connect."""

    due_us = 0

    def __init__(self, endpoint: str, now_us: Callable[[], int] = clock.now_us) -> None:
        self._endpoint = endpoint
        self._now_us = now_us
        self._context: sockets.Context | None = None
        self._intake = Intake()
        self._tracks: tuple[Track, ...] = ()
        self._newest_us: dict[bool, int] = {}  # decoding time, by whether it is audio
        self._heard_us = 0
        self._refused = self._damaged = 0

    @property
    def tracks(self) -> tuple[Track, ...]:
        return self._tracks

    @property
    def counters(self) -> Mapping[str, int]:
        return {"damaged": self._damaged, "gaps": self._intake.samples_lost, "refused": self._refused}

    @property
    def notes(self) -> tuple[str, ...]:
        return ()

    def open(self) -> None:
        context: sockets.Context = zmq.Context()
        try:
            self._socket = sockets.program_in(context, self._endpoint)
        except SettingsError as error:
            context.term()
            raise SourceError(str(error)) from None
        self._context = context
        self._peers = sockets.Peers(self._socket)
        self._socket.send(_SUBSCRIBE)

    def read(self, timeout_s: float) -> Sample | None:
        if not self._socket.poll(round(timeout_s * 1000)):
            self._check_program()
            return None
        self._heard_us = self._now_us()
        try:
            message, media = wire.decode(self._socket.recv_multipart())
        except MessageError:
            self._refused += 1
            return None
        match message:
            case SampleMessage():
                sample = self._in_order(self._intake.sample(message, bytes(media)))
                request = self._intake.request(False, self._heard_us)
                if request is not None:
                    self._ask(request)
                return sample
            case Announce():
                self._intake.announce(message)
                self._tracks = message.tracks
            case SourceState(up=False, reason=reason):
                raise SourceError(reason or "its program has closed it")
            case _:
                self._refused += 1
        return None

    def request_key_frame(self) -> None:
        self._ask(KeyFrameRequest())

    def close(self) -> None:
        if self._context is not None:
            self._peers.close()
            self._socket.close()
            self._context.term()
            self._context = None

    def _ask(self, request: KeyFrameRequest) -> None:
        try:
            sockets.send(self._socket, wire.encode(request))
        except zmq.Again:
            pass  # it takes nothing now; who still waits asks again

    def _check_program(self) -> None:
        """Raises SourceError if a program has begun and is gone, or silent."""
        if not self._tracks:
            return
        if not self._peers.count():
            raise SourceError("its program has ended")
        if self._now_us() - self._heard_us > STALL_US:
            raise SourceError(f"its program has sent nothing for {STALL_US // 1_000_000} s")

    def _in_order(self, sample: Sample | None) -> Sample | None:
        if sample is None:
            return None
        if sample.order_us <= self._newest_us.get(sample.audio, sample.order_us - 1):
            self._damaged += 1
            return None
        self._newest_us[sample.audio] = sample.order_us
        return sample
