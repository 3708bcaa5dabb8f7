"""The muxer process: the only event loop of the package. It moves messages; decisions are in the pure modules.

captures ──▶ Intake ──▶ Stream (muxer, ring) ──▶ Fanout (drop queues) ──▶ servers

A wake-up costs as much as the work on a frame. So where samples come in close upon each other, those of TURN_US
are taken together, and servers are sent what came of them together, too.
"""

import secrets
import time
from collections import Counter
from functools import partial

import msgspec
import zmq

from common import sockets, wire
from common.clock import now_us
from common.endpoints import capture_endpoint, muxer_endpoint, muxer_of
from common.errors import MediaError, MessageError, SettingsError
from common.figures import RoleFigures, StreamFigures
from common.intake import Intake, arrival_us
from common.messages import (
    Announce,
    Describe,
    Described,
    Ended,
    Forget,
    FrameMessage,
    Hello,
    KeyFrameRequest,
    Message,
    ReadStart,
    ReadStop,
    SampleMessage,
    SourceState,
    Welcome,
)
from common.poller import READ, Poller, wake
from common.role import Role
from common.sample import Payload
from muxer.clock_rounds import ClockRounds
from muxer.fanout import Fanout, Parcel
from muxer.ring import Limits
from muxer.stream import Stream

TURN_MESSAGES_MAX = 256  # read from one socket before the others have their turn
HOUSEKEEPING_US = 100_000
SERVER_SILENT_US = 3_000_000  # a server says Hello five times a second
TURN_US = 2_000  # what a sample may wait for others
CROWDED_US = 2_500  # two turns that are no further apart: the next waits
DESCRIBES_WAITING_MAX = 1000  # of one stream whose tracks are not known yet
NO_NATIVE = "only MPEG-TS so far"
SUBSCRIBE, UNSUBSCRIBE = b"\x01", b"\x00"


class _Source(msgspec.Struct):
    """One stream of this shard, with all that belongs to it."""

    name: str
    on_demand: bool
    text: str
    socket: sockets.Socket
    intake: Intake
    stream: Stream
    fanout: Fanout
    describes: list[tuple[bytes, int]] = []
    subscribed: bool = False


class Worker:
    """One muxer process."""

    def __init__(self, role: Role, index: int) -> None:
        config = role.config
        if not 0 <= index < config.processes.muxers:
            raise SettingsError(f"--index {index}: there are {config.processes.muxers} muxers, counted from 0")
        self._role = role
        self._epoch = secrets.randbits(62)
        self._counters: Counter[str] = Counter()
        self._heard_us: dict[bytes, int] = {}  # servers, by identity
        self._touched: dict[str, None] = {}  # streams that may have something to send, in order
        self._clocks = ClockRounds(lambda name: self._sources[name].stream.next_tick_us)
        self._poller = Poller()
        self._servers = sockets.frames_out(role.context, muxer_endpoint(config.runtime_dir, index))
        self._poller.add(self._servers.fileno(), READ, wake)
        self._poller.add(role.wake_fd, READ, wake)
        age_max_us = config.viewer.age_max_ms * 1000
        limits = Limits(age_max_us=age_max_us, instant=config.viewer.start == "instant", paced=True)
        self._sources: dict[str, _Source] = {}
        self._readable: dict[str, None] = {}  # streams whose capture may have sent something, in order
        for name, settings in config.streams.items():
            if muxer_of(name, config.processes.muxers) != index:
                continue
            stream = Stream(name, ssrc=secrets.randbits(32), age_max_us=age_max_us)
            source = _Source(
                name=name,
                on_demand=settings.on_demand,
                text=settings.source,
                socket=sockets.samples_in(role.context, capture_endpoint(config.runtime_dir, name)),
                intake=Intake(),
                stream=stream,
                fanout=Fanout(stream, self._epoch, limits, now_us),
            )
            self._poller.add(source.socket.fileno(), READ, partial(self._may_read, name))
            self._sources[name] = source

    def run(self) -> None:
        """Work until the role is to stop."""
        self._role.ready()
        housekeeping_us = turn_us = 0
        more_requests = crowded = False
        try:
            while not self._role.stopping:
                busy = more_requests or self._readable or self._touched
                if crowded and not busy:
                    time.sleep(max(turn_us + TURN_US - now_us(), 0) / 1e6)
                due_us = 0 if busy else min(housekeeping_us, self._clocks.due_us or housekeeping_us)
                self._poller.poll(due_us - now_us())
                now = now_us()
                crowded, turn_us = now - turn_us <= CROWDED_US, now
                readable, self._readable = self._readable, {}
                for name in readable:
                    self._receive_samples(self._sources[name])
                for name in self._clocks.due(now):
                    if self._sources[name].stream.tick(now):
                        self._touched[name] = None
                if now >= housekeeping_us:
                    housekeeping_us = now + HOUSEKEEPING_US
                    self._housekeep(now)
                touched, self._touched = self._touched, {}
                for name in touched:
                    self._send_frames(self._sources[name])
                # On every turn: what was sent may have swallowed the descriptor's word that there is something.
                more_requests = self._receive_requests()
                self._role.tick(now, self._figures)
        finally:
            self._poller.close()
            self._servers.close()
            for source in self._sources.values():
                source.socket.close()

    # -- captures -------------------------------------------------------------------------------------

    def _may_read(self, name: str, _events: int = READ) -> None:
        """The descriptor of a ZeroMQ socket speaks only once: it is read until it is empty."""
        self._readable[name] = None

    def _receive_samples(self, source: _Source) -> None:
        self._readable[source.name] = None
        for _ in range(TURN_MESSAGES_MAX):
            frames = sockets.receive(source.socket)
            if frames is None:
                del self._readable[source.name]
                return
            try:
                message, media = wire.decode(frames)
                self._take(source, message, media)
            except MessageError as error:
                self._refuse("capture", error)
            except MediaError as error:
                self._counters["samples_refused"] += 1
                if source.intake.reason != str(error):
                    source.intake.reason = str(error)
                    self._role.log.error("sample_refused", stream=source.name, reason=str(error))

    def _take(self, source: _Source, message: Message, media: wire.Buffer) -> None:
        match message:
            case SampleMessage():
                sample = source.intake.sample(message, bytes(media))
                if sample is not None:
                    at_us = arrival_us(message, sample, now_us())
                    source.stream.write(sample, at_us, (message.epoch, message.sequence))
                    self._clocks.note(source.name)
                    self._touched[source.name] = None
                    self._counters["samples_in"] += 1
            case Announce():
                source.intake.announce(message)
                source.stream.announce(message.tracks)
                self._answer_describes(source)
            case SourceState():
                source.intake.source_state(message)
                if not message.up:
                    source.stream.ring.clear()
                    self._answer_describes(source)
            case _:
                raise MessageError(f"{type(message).__name__} from a capture")

    def _ask_key_frame(self, source: _Source, now: int) -> None:
        if source.subscribed and source.intake.asks_key_frame(source.fanout.awaits_sync, now):
            self._counters["key_frame_requests"] += 1
            self._tell_capture(source, wire.encode(KeyFrameRequest()))

    def _tell_capture(self, source: _Source, frames: list[wire.Buffer]) -> None:
        self._may_read(source.name)
        try:
            sockets.send(source.socket, frames)
        except zmq.Again:
            self._counters["requests_dropped"] += 1

    # -- servers --------------------------------------------------------------------------------------

    def _receive_requests(self) -> bool:
        """Take what servers have sent; whether there may be more than TURN_MESSAGES_MAX, for the next turn."""
        for _ in range(TURN_MESSAGES_MAX):
            received = sockets.receive(self._servers)
            if received is None:
                return False
            identity, *frames = received
            try:
                message, _ = wire.decode(frames)
                self._serve(identity, message)
            except MessageError as error:
                self._refuse("server", error)
        return True

    def _serve(self, identity: bytes, message: Message) -> None:
        self._heard_us[identity] = now_us()
        match message:
            case Hello():
                self._send(identity, Welcome(self._role.name, self._epoch))
            case Describe():
                self._describe(identity, message)
            case ReadStart():
                self._counters["read_starts"] += 1
                source = self._sources.get(message.stream)
                if source is None:
                    self._send(identity, Ended(message.ticket, "no such stream"))
                elif message.payload is not Payload.TS:
                    self._send(identity, Ended(message.ticket, NO_NATIVE))
                elif not source.fanout.read_start(identity, message):
                    self._counters["viewers_refused"] += 1
                    self._send(identity, Ended(message.ticket, "too many viewers"))
                else:
                    self._touched[source.name] = None
            case ReadStop():
                self._counters["read_stops"] += 1
                for source in self._sources.values():
                    source.fanout.read_stop(identity, message)
            case Forget():
                for source in self._sources.values():
                    source.fanout.forget(identity, message.viewer)
            case _:
                raise MessageError(f"{type(message).__name__} from a server")

    def _describe(self, identity: bytes, message: Describe) -> None:
        source = self._sources.get(message.stream)
        if source is None:
            self._send(identity, Described(message.request, message.stream, "", "no such stream", message.payload))
        elif message.payload is not Payload.TS:
            self._send(identity, Described(message.request, message.stream, "", NO_NATIVE, message.payload))
        elif len(source.describes) >= DESCRIBES_WAITING_MAX:
            self._counters["describes_refused"] += 1
            self._send(identity, Described(message.request, message.stream, "", "too many requests"))
        else:
            source.describes.append((identity, message.request))
            self._demand(source)
            self._answer_describes(source)

    def _answer_describes(self, source: _Source) -> None:
        """Answer as soon as the tracks are known, or the source says that it is down."""
        if not source.describes or (source.stream.muxer is None and source.intake.state != "down"):
            return
        for identity, request in source.describes:
            if source.intake.state == "down":
                answer = Described(request, source.name, "", source.intake.reason or "the source is down")
            else:
                answer = Described(request, source.name, source.stream.sdp(now_us(), self._epoch), "")
            self._send(identity, answer)
        source.describes.clear()

    def _send_frames(self, source: _Source) -> None:
        full: set[bytes] = set()
        for parcel in source.fanout.parcels():
            if parcel.server in full or not self._send_frame(source, parcel):
                full.add(parcel.server)
                source.fanout.refused(parcel)

    def _send_frame(self, source: _Source, parcel: Parcel) -> bool:
        entry = source.stream.ring[parcel.number]
        frame = entry.frame
        header = FrameMessage(
            stream=source.name,
            payload=frame.payload,
            track=frame.track,
            epoch=self._epoch,
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
        )
        if not self._send(parcel.server, header, frame.data):
            return False
        self._counters["frames_out"] += 1
        self._counters["bytes_out"] += len(frame.data)
        return True

    def _send(self, identity: bytes, message: Message, media: wire.Buffer | None = None) -> bool:
        try:
            sockets.send(self._servers, [identity, *wire.encode(message, media)])
        except zmq.Again:
            self._counters["server_full"] += 1
            return False
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            self._forget_server(identity)
            return False
        return True

    def _forget_server(self, identity: bytes) -> None:
        self._heard_us.pop(identity, None)
        for source in self._sources.values():
            source.fanout.forget_server(identity)
            source.describes = [waiting for waiting in source.describes if waiting[0] != identity]

    # -- the rest -------------------------------------------------------------------------------------

    def _housekeep(self, now: int) -> None:
        for identity, heard_us in list(self._heard_us.items()):
            if now - heard_us > SERVER_SILENT_US:
                self._role.log.warning("server_silent", server=identity.decode(errors="replace"))
                self._forget_server(identity)
        for source in self._sources.values():
            source.fanout.enforce()
            self._touched[source.name] = None  # a server that was full may have room again
            self._demand(source)
            self._ask_key_frame(source, now)

    def _demand(self, source: _Source) -> None:
        """Subscribe to the capture while the stream is wanted: the subscription is what starts it."""
        wanted = not source.on_demand or bool(source.fanout.viewers or source.describes)
        if wanted is not source.subscribed:
            source.subscribed = wanted
            if wanted:
                source.intake.subscribed()
            else:  # what is in the ring will be old when somebody comes again
                source.stream.ring.clear()
            self._tell_capture(source, [SUBSCRIBE if wanted else UNSUBSCRIBE])

    def _refuse(self, sender: str, error: MessageError) -> None:
        self._counters["messages_refused"] += 1
        self._role.log.debug("message_refused", sender=sender, reason=str(error))

    def _figures(self) -> RoleFigures:
        now = now_us()
        return RoleFigures(
            counters=dict(self._counters),
            streams=[self._stream_figures(s, now) for s in self._sources.values()],
        )

    def _stream_figures(self, source: _Source, now: int) -> StreamFigures:
        fps, bitrate_bps = source.stream.rates(now)
        video = next((track for track in source.stream.tracks if not track.audio), None)
        return StreamFigures(
            name=source.name,
            source=source.text,
            codecs=[track.codec.value for track in source.stream.tracks],
            width=video.width if video is not None else 0,
            height=video.height if video is not None else 0,
            fps=round(fps, 2),
            bitrate_bps=bitrate_bps,
            sync_interval_s=source.stream.sync_interval_us / 1e6,
            viewers=source.fanout.viewers,
            epoch=source.intake.epoch,
            samples_in=source.intake.samples_in,
            samples_lost=source.intake.samples_lost,
            state=source.intake.state,
            reason=source.intake.reason,
        )
