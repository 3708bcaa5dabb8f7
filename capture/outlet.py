"""The way out of a capture: samples of one stream over ZeroMQ, numbered, and what its subscribers say back.

    outlet = Outlet(sockets.samples_out(context, endpoint))
    outlet.begin((track,))                  # a new life of the source: a new epoch
    outlet.publish(sample)                  # numbered from 0 in each epoch
    outlet.receive()                        # often: greets who is new, notes what was asked

Every new subscriber is told the tracks and the state at once, and what was published since the newest sync point,
and some time before it (`capture.recent`), comes again. Nobody's slowness is felt here: what a subscriber does not
fetch in time is left out for it, and it sees that by the numbers; if the tracks were, it asks for all this anew.
"""

import secrets

import msgspec

from capture.recent import Recent
from common import clock, sockets, wire
from common.errors import MessageError
from common.messages import TEXT_MAX, Announce, KeyFrameRequest, Message, SampleMessage, SourceState
from common.sample import Sample, Track

RECEIVED_MAX = 1000  # messages taken in one `receive`: a flood must not keep the source waiting
_SUBSCRIBED, _UNSUBSCRIBED = b"\x01", b"\x00"  # to everything, which is all that we offer


class Outlet:
    """One stream's samples out.

    samples, bytes, key_frames: published. repeated: samples published again. refused: malformed messages.
    """

    def __init__(self, socket: sockets.Socket) -> None:
        """socket: of `common.sockets.samples_out` or `program_out`; it is closed with the outlet."""
        self._socket = socket
        self.demanded = False
        self.samples = self.bytes = self.key_frames = 0
        self.subscriptions = self.requests = self.refused = self.repeated = 0
        self.recent = Recent()
        self._epoch = 0
        self._sequence = 0
        self._tracks: tuple[Track, ...] = ()
        self._state: SourceState | None = None
        self._key_frame_wanted = False

    @property
    def socket(self) -> sockets.Socket:
        """To poll for `receive`."""
        return self._socket

    def begin(self, tracks: tuple[Track, ...]) -> None:
        """A new life of the source begins. `tracks` as in `common.messages.Announce`."""
        self._epoch = secrets.randbits(63)
        self._sequence = 0
        self.announce(tracks)

    def announce(self, tracks: tuple[Track, ...]) -> None:
        """The tracks have changed within this life."""
        self._tracks = tracks
        self.recent.begin(tracks)
        self._send(Announce(self._epoch, tracks))

    def publish(self, sample: Sample) -> None:
        """Send one sample of the life that `begin` began."""
        message = SampleMessage(
            self._epoch, self._sequence, sample.time_us, sample.decode_time_us, sample.codec, sample.sync
        )
        self._sequence += 1
        self.samples += 1
        self.bytes += len(sample.data)
        self.key_frames += sample.sync and not sample.audio
        self.recent.add(message, sample)
        self._send(message, sample.data)

    def tell_state(self, up: bool, reason: str = "", *, slate: bool = False) -> None:
        """The source went up, or down for `reason`; slate: and what is published now stands in for it."""
        self._state = SourceState(up, reason[:TEXT_MAX], slate)
        if not up and not slate:
            self.recent.begin(())
        self._send(self._state)

    def forget_state(self) -> None:
        """The source is neither up nor down: it is not wanted."""
        self._state = None
        self._tracks = ()
        self.recent.begin(())

    def receive(self) -> None:
        """Take what subscribers have sent, and greet those who are new."""
        before = self.subscriptions
        unannounced = False
        for _ in range(RECEIVED_MAX):
            frames = sockets.receive(self._socket)
            if frames is None:
                break
            if frames == [_SUBSCRIBED]:
                self.demanded = True
                self.subscriptions += 1
            elif frames == [_UNSUBSCRIBED]:
                self.demanded = False
            else:
                unannounced |= self._take(frames)
        if unannounced or self.subscriptions != before:
            self._greet()

    def take_key_frame_request(self) -> bool:
        """Whether a key frame was asked for since the last call."""
        wanted, self._key_frame_wanted = self._key_frame_wanted, False
        return wanted

    def close(self) -> None:
        """Unbind. Who subscribes waits for the next outlet on this endpoint."""
        self._socket.close()

    def _greet(self) -> None:
        if self._tracks:
            self._send(Announce(self._epoch, self._tracks))
        if self._state is not None:
            self._send(self._state)
        now_us = clock.now_us()
        for message, data in self.recent:
            self.repeated += 1
            order_us = message.time_us if message.decode_time_us is None else message.decode_time_us
            again = msgspec.structs.replace(message, repeated=True, age_us=max(now_us - order_us, 0))
            self._send(again, data)

    def _take(self, frames: list[bytes]) -> bool:
        """Note what is asked; whether by somebody who needs to be greeted again."""
        try:
            message, _ = wire.decode(frames)
            if not isinstance(message, KeyFrameRequest):
                raise MessageError(f"{type(message).__name__} is not for a capture")
        except MessageError:
            self.refused += 1
            return False
        self.requests += 1
        self._key_frame_wanted = True
        return message.unannounced

    def _send(self, message: Message, media: bytes | memoryview | None = None) -> None:
        sockets.send(self._socket, wire.encode(message, media))
