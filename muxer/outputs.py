"""What one source is made into: an output a payload, each with its stream and the viewers of it. Pure.

The stream's own payload is always made, so that it is there at once; another one from when somebody asks for it
until nobody has wanted it for KEPT_US. It begins with what another output holds from the newest sync point on. A
payload that cannot carry the tracks says so, by name, and keeps nobody from having them in another.
"""

from collections.abc import Callable

import msgspec

from common.errors import MediaError
from common.figures import PayloadFigures
from common.messages import TEXT_MAX, FrameMessage, Head
from common.sample import Payload, Sample, Track
from common.wire import Buffer
from muxer.fanout import Fanout, Parcel
from muxer.mpegts import NEVER_US
from muxer.ring import Origin
from muxer.stream import Stream

KEPT_US = 10_000_000  # from a DESCRIBE to its PLAY, or from one viewer to the next

Ticket = tuple[bytes, int, str]  # whose server it is, its number, and why it ends


class Output(msgspec.Struct):
    """One payload of a source.

    epoch: of its frames. describes: who has asked for its description, by server and request. error: why it cannot
    carry the tracks, refused: why not the newest picture (or frame of sound where there is none), else empty.
    wanted_us: when somebody last did. samples_missed, samples_muxed, samples_refused: see
    `common.figures.PayloadFigures`.
    """

    stream: Stream
    fanout: Fanout
    epoch: int
    describes: list[tuple[bytes, int]] = []
    error: str = ""
    refused: str = ""
    wanted_us: int = 0
    samples_missed: int = 0
    samples_muxed: int = 0
    samples_refused: int = 0

    @property
    def wanted(self) -> bool:
        """Whether somebody does now."""
        return bool(self.describes or self.fanout.viewers)

    def write(self, sample: Sample, now_us: int, origin: Origin | None) -> bool:
        """Make a sample into a frame; False where that cannot be."""
        matters = not sample.audio or all(track.audio for track in self.stream.tracks)
        try:
            self.stream.write(sample, now_us, origin)
        except MediaError as error:
            self.samples_refused += 1
            if matters or not self.refused:
                self.refused = str(error)[:TEXT_MAX]
            return False
        self.samples_muxed += 1
        if matters:
            self.refused = ""
        return True

    def message(self, parcel: Parcel) -> tuple[FrameMessage, Buffer]:
        """A frame for a server, and its bytes."""
        entry = self.stream.ring[parcel.number]
        frame = entry.frame
        message = FrameMessage(
            stream=self.stream.name,
            payload=frame.payload,
            track=frame.track,
            epoch=self.epoch,
            number=parcel.number,
            kind=frame.kind,
            sync=frame.sync,
            time_us=frame.time_us,
            sequences=frame.sequences,
            clocks=frame.clocks,
            ssrcs=frame.ssrcs,
            rates_hz=frame.rates_hz,
            counters=frame.counters,
            counts=frame.counts,
            packets=frame.packets,
            to_live=parcel.to_live,
            tickets=tuple(parcel.tickets),
            live=tuple(parcel.live),
            parked=tuple(parcel.parked),
            sample=entry.origin,
            left_out=tuple(parcel.left_out.items()),
        )
        return message, frame.data

    def head(self, server: bytes) -> Head | None:
        """How far it is, for a server that has viewers of it and does not see it by its frames."""
        stream = self.stream
        if not self.fanout.is_unsent(server) or not stream.ring.head:
            return None
        return Head(stream.name, stream.payload, self.epoch, stream.ring.head - 1, stream.origin)

    @property
    def figures(self) -> PayloadFigures:
        """What it was made of."""
        stream = self.stream
        return PayloadFigures(
            stream.payload.value, self.epoch, stream.ring.head, stream.clock_frames, self.samples_missed,
            self.samples_muxed, self.samples_refused, stream.ring.trimmed,
        )  # fmt: skip


class Outputs:
    """All payloads of one source. main: the one that is always made. make: an empty output."""

    def __init__(self, main: Payload, make: Callable[[Payload], Output]) -> None:
        self._make = make
        self._main = main
        self._tracks: tuple[Track, ...] = ()
        self._samples = 0
        self.by_payload = {main: make(main)}

    @property
    def shown(self) -> Output:
        """The one whose figures are the stream's: the main one, unless only another has something."""
        working = [output for output in self.by_payload.values() if not output.error]
        return working[0] if working else self.by_payload[self._main]

    @property
    def wanted(self) -> bool:
        """Whether anybody wants any."""
        return any(output.wanted for output in self.by_payload.values())

    @property
    def viewers(self) -> int:
        """Of all payloads."""
        return sum(output.fanout.viewers for output in self.by_payload.values())

    @property
    def awaits_sync(self) -> bool:
        """Whether a viewer of any can only go on at a sync point."""
        return any(output.fanout.awaits_sync for output in self.by_payload.values())

    @property
    def next_tick_us(self) -> int | None:
        """When `tick` may next have something to do; None: not as things stand."""
        due_us = min([output.stream.next_tick_us for output in self.by_payload.values()])
        return None if due_us == NEVER_US else due_us

    def get(self, payload: Payload, now_us: int) -> Output:
        """That of a payload, which is made if there is none."""
        output = self.by_payload.get(payload)
        if output is None:
            output = self.by_payload[payload] = self._make(payload)
            output.samples_missed = self._samples
            self._announce(output)
            for other in list(self.by_payload.values())[:-1]:
                if not output.error and not other.error:
                    output.samples_missed -= _copy(other.stream, output)
                    break
        output.wanted_us = now_us
        return output

    def announce(self, tracks: tuple[Track, ...]) -> list[Ticket]:
        """The tracks of the samples to come; the tickets of viewers that cannot go on with them."""
        self._tracks = tracks
        ended: list[Ticket] = []
        for payload, output in list(self.by_payload.items()):
            if not output.stream.can_replace(tracks):
                ended += _end(output, "the stream has changed: ask for its description again")
                fresh = self.by_payload[payload] = self._make(payload)
                fresh.describes, fresh.wanted_us = output.describes, output.wanted_us
                fresh.samples_missed = self._samples
                output = fresh
            self._announce(output)
            if output.error:
                ended += _end(output, output.error)
        return ended

    def write(self, sample: Sample, now_us: int, origin: Origin) -> list[str]:
        """Make a sample into a frame of each; why some cannot."""
        self._samples += 1
        refusals = []
        for output in self.by_payload.values():
            if output.error:
                output.samples_refused += 1
            elif not output.write(sample, now_us, origin):
                refusals.append(output.refused)
        return refusals

    def tick(self, now_us: int) -> bool:
        """Add the clock references that are due; whether there are any."""
        ticked = [output.stream.tick(now_us) for output in self.by_payload.values()]
        return any(ticked)

    def end(self, reason: str) -> list[Ticket]:
        """Forget all viewers."""
        return [ticket for output in self.by_payload.values() for ticket in _end(output, reason)]

    def clear(self) -> None:
        """The source has stopped: what it gave is of no use to who comes later."""
        for output in self.by_payload.values():
            output.stream.ring.clear()

    def let_go(self, now_us: int) -> None:
        """Forget what nobody has wanted for a while."""
        for payload, output in list(self.by_payload.items()):
            if output.wanted:
                output.wanted_us = now_us
            elif payload is not self._main and now_us - output.wanted_us >= KEPT_US:
                del self.by_payload[payload]

    def _announce(self, output: Output) -> None:
        if not self._tracks:
            return
        output.error = ""
        try:
            output.stream.announce(self._tracks)
        except MediaError as error:
            output.error = f"{error}{self._instead(output.stream)}"[:TEXT_MAX]
            output.stream.ring.clear()

    def _instead(self, stream: Stream) -> str:
        """Where else the stream is to be had."""
        other = next(payload for payload in Payload if payload is not stream.payload)
        try:
            self._make(other).stream.announce(self._tracks)
        except MediaError:
            return ""
        return f"; or open rtsp://HOST/{stream.name}/{other}"


def _end(output: Output, reason: str) -> list[Ticket]:
    return [(server, ticket, reason) for server, ticket in output.fanout.end()]


def _copy(stream: Stream, output: Output) -> int:
    """Give an empty output what another stream's ring holds from its newest sync point on; how many samples."""
    ring, copied = stream.ring, 0
    for number in range(ring.first if ring.newest_sync is None else ring.newest_sync, ring.head):
        entry = ring[number]
        if entry.sample is not None:
            output.write(entry.sample, entry.arrived_us, entry.origin)
            copied += 1
    return copied
