"""The muxer process: the only event loop of the package. It moves messages; decisions are in the pure modules.

captures ──▶ Intake ──▶ Stream (muxer, ring) ──▶ Fanout (drop queues) ──▶ servers

A wake-up costs as much as the work on a frame. So where samples come in close upon each other, those of TURN_US
are taken together, and servers are sent what came of them together, too.
"""

import secrets
import time
from collections import Counter
from functools import partial

import zmq

from common import sockets, wire
from common.clock import now_us
from common.config import Config
from common.errors import MessageError, SettingsError, VersionError
from common.figures import RoleFigures
from common.messages import (
    HEADS_MAX,
    Announce,
    Describe,
    Described,
    Ended,
    Forget,
    Hello,
    Message,
    ReadStart,
    ReadStop,
    SampleMessage,
    SourceState,
    Welcome,
)
from common.poller import READ, Poller, wake
from common.refusals import Refusals
from common.role import Role
from common.sample import Payload
from muxer.clock_rounds import ClockRounds
from muxer.outputs import Output, Outputs
from muxer.servers import Servers
from muxer.sheet import Sheets
from muxer.sources import Source, new_output

LEAVE_US = 5_000_000  # a stream that moves is kept for so long: servers hear of it a little later
TURN_MESSAGES_MAX = 256  # read from one socket in one turn
HOUSEKEEPING_US = 100_000
HOUSEKEEPING_LATE_US = 50_000  # it waits so long for a turn that there is anyway
TURN_US = 5_000  # what a sample may wait for others: each turn costs as much as a frame, here and in a server
CROWDED_US = 6_000  # two turns that are no further apart: the next waits
DESCRIBES_WAITING_MAX = 1000  # of one stream whose tracks are not known yet
SUBSCRIBE, UNSUBSCRIBE = b"\x01", b"\x00"


class Worker:
    """One muxer process."""

    def __init__(self, role: Role, index: int) -> None:
        config = role.config
        if not 0 <= index < config.processes.muxers:
            raise SettingsError(f"--index {index}: there are {config.processes.muxers} muxers, counted from 0")
        self._role = role
        self._epoch = secrets.randbits(62)
        self._counters: Counter[str] = Counter()
        self._refusals = Refusals(role.log)
        self._touched: dict[str, None] = {}  # streams that may have something to send, in order
        self._clocks = ClockRounds(self._next_tick_us)
        self._poller = Poller()
        socket = sockets.frames_out(role.context, *role.lines.frames_out(index))
        self._servers = Servers(socket, self._counters, now_us, self._forgotten)
        self._poller.add(socket.fileno(), READ, wake)
        self._poller.add(role.wake_fd, READ, wake)
        self._sources: dict[str, Source] = {}
        self._readable: dict[str, None] = {}  # streams whose capture may have sent something, in order
        self._index = index
        self._viewer = config.viewer
        self._sheets = Sheets()
        self._adopt(config)

    def run(self) -> None:
        """Work until the role is to stop."""
        self._role.ready()
        housekeeping_us = turn_us = 0
        more_requests = crowded = False
        try:
            while not self._role.stopping:
                busy = more_requests or self._readable or self._touched
                latest_us = housekeeping_us + HOUSEKEEPING_LATE_US
                due_us = 0 if busy else min(latest_us, self._clocks.due_us or latest_us)
                if crowded and not busy:  # a clock reference does not wait: it would come too late
                    time.sleep(max(min(turn_us + TURN_US, due_us) - now_us(), 0) / 1e6)
                self._poller.poll(due_us - now_us())
                now = now_us()
                crowded, turn_us = now - turn_us <= CROWDED_US, now
                self._receive_samples()
                for name in self._clocks.due(now):
                    if self._sources[name].outputs.tick(now):
                        self._touched[name] = None
                if now >= housekeeping_us:
                    housekeeping_us = now + HOUSEKEEPING_US
                    self._housekeep(now)
                touched, self._touched = self._touched, {}
                for name in touched:
                    for output in self._sources[name].outputs.by_payload.values():
                        self._send_frames(output)
                # On every turn: what was sent may have swallowed the descriptor's word that there is something.
                more_requests = self._receive_requests()
                self._role.tick(now, self._figures)
                if self._role.take_changes():
                    self._adopt(self._role.config)
                    self._role.reconfigured()
        finally:
            self._servers.socket.close()
            for source in self._sources.values():
                source.disconnect(self._role, self._poller)
            self._poller.close()

    def _all_outputs(self) -> list[Output]:
        return [output for source in self._sources.values() for output in source.outputs.by_payload.values()]

    def _next_tick_us(self, name: str) -> int | None:
        source = self._sources.get(name)  # None: it has been let go
        return source.outputs.next_tick_us if source is not None else None

    # -- streams --------------------------------------------------------------------------------------

    def _adopt(self, config: Config) -> None:
        """Take on the streams that are this muxer's now, and keep the others for those who do not know yet."""
        lines = self._role.lines
        mine = [name for name in config.streams if lines.muxer_of(name) == lines.muxer(self._index)]
        for source in self._sources.values():
            since_us = now_us() if source.leaving_us is None else source.leaving_us
            source.leaving_us = None if source.name in mine else since_us
        for name in mine:
            wanted = config.streams[name]
            known = self._sources.get(name)
            if known is None:
                outputs = Outputs(wanted.payload, partial(new_output, name, self._viewer, self._sheets))
                known = self._sources[name] = Source(name, outputs)
            known.connect(lines.samples_in(name), self._role, self._poller, partial(self._may_read, name))
            known.adopt(wanted)

    def _let_go(self, source: Source, now: int) -> bool:
        """Whether the stream is another muxer's by now, as everybody knows; then it is gone from here."""
        if source.leaving_us is None or now - source.leaving_us < LEAVE_US or source.outputs.viewers:
            return False
        source.disconnect(self._role, self._poller)
        for names in (self._sources, self._readable, self._touched):
            names.pop(source.name, None)
        return True

    # -- captures -------------------------------------------------------------------------------------

    def _may_read(self, name: str, _events: int = READ) -> None:
        """The descriptor of a ZeroMQ socket speaks only once: it is read until it is empty."""
        self._readable[name] = None

    def _receive_samples(self) -> None:
        """Take what captures have sent, a message of each in turn."""
        for _ in range(TURN_MESSAGES_MAX):
            if not self._readable:
                return
            sources = [self._sources[name] for name in self._readable]
            self._readable = {}
            for source in sources:
                self._receive_sample(source)
            more = set(sockets.readable([source.socket for source in sources]))
            self._readable |= {source.name: None for source in sources if source.socket in more}

    def _receive_sample(self, source: Source) -> None:
        frames = sockets.take(source.socket)
        if frames is None:
            return
        try:
            message, media = wire.decode(frames)
            self._take(source, message, media)
        except MessageError as error:
            self._refusals.note(f"capture-{source.name}", error)
            if isinstance(error, VersionError):
                self._take(source, SourceState(False, f"its capture speaks {error}"), b"")

    def _take(self, source: Source, message: Message, media: wire.Buffer) -> None:
        match message:
            case SampleMessage():
                self._take_sample(source, message, bytes(media))
            case Announce():
                source.intake.announce(message)
                for server, ticket, reason in source.outputs.announce(message.tracks):
                    self._servers.tell(server, Ended(ticket, reason))
                self._note_error(source, source.outputs.shown.error)
                self._answer_describes(source)
            case SourceState():
                source.intake.source_state(message)
                if not message.up and not message.slate:
                    for output in source.outputs.by_payload.values():
                        self._send_frames(output)  # the last ones are worth sending
                    source.outputs.clear()
                    self._answer_describes(source)
            case _:
                raise MessageError(f"{type(message).__name__} from a capture")

    def _take_sample(self, source: Source, message: SampleMessage, data: bytes) -> None:
        sample = source.intake.sample(message, data)
        if sample is None:
            return
        now = now_us()
        if source.intake.state == "live":
            source.heard_us = now
        at_us = source.arrival_us(message, sample, now)
        for error in source.outputs.write(sample, at_us, (message.epoch, message.sequence)):
            self._counters["samples_refused"] += 1
            self._note_error(source, error)
        if not message.repeated:  # more of them may come, which were before now
            self._clocks.note(source.name)
        self._touched[source.name] = None
        self._counters["samples_in"] += 1

    def _note_error(self, source: Source, reason: str) -> None:
        if reason and source.intake.reason != reason:
            source.intake.reason = reason
            self._role.log.error("sample_refused", stream=source.name, reason=reason)

    def _ask_key_frame(self, source: Source, now: int) -> None:
        if source.subscribed and (request := source.intake.request(source.outputs.awaits_sync, now)):
            self._counters["key_frame_requests"] += 1
            self._tell_capture(source, wire.encode(request))

    def _tell_capture(self, source: Source, frames: list[wire.Buffer]) -> None:
        self._may_read(source.name)
        try:
            sockets.send(source.socket, frames)
        except zmq.Again:
            self._counters["requests_dropped"] += 1

    # -- servers --------------------------------------------------------------------------------------

    def _receive_requests(self) -> bool:
        """Take what servers have sent; whether there may be more than TURN_MESSAGES_MAX, for the next turn."""
        for _ in range(TURN_MESSAGES_MAX):
            received = sockets.receive(self._servers.socket)
            if received is None:
                return False
            identity, *frames = received
            try:
                self._serve(identity, frames)
            except MessageError as error:
                self._refusals.note("a server", error)
                if isinstance(error, VersionError):  # it shall know our version
                    self._servers.send_parts(identity, wire.encode(Welcome(self._role.name, self._epoch)))
        return True

    def _serve(self, identity: bytes, frames: list[bytes]) -> None:
        message, is_known = self._servers.heed(identity, frames)
        if not is_known and not self._welcome(identity):
            self._servers.forget(identity)
            return  # what it asks may be meant for the muxer before us: it hears who we are first, or nothing
        match message:
            case Hello():
                if is_known:
                    self._welcome(identity)
            case Describe():
                self._describe(identity, message)
            case ReadStart():
                self._counters["read_starts"] += 1
                refusal = self._read_start(identity, message)
                if refusal:
                    self._counters["viewers_refused"] += 1
                    self._servers.tell(identity, Ended(message.ticket, refusal))
            case ReadStop():
                self._counters["read_stops"] += 1
                for output in self._all_outputs():
                    output.fanout.read_stop(identity, message)
            case Forget():
                for output in self._all_outputs():
                    output.fanout.forget(identity, message.viewer)
            case _:
                raise MessageError(f"{type(message).__name__} from a server")

    def _welcome(self, identity: bytes) -> bool:
        """Tell a server who this is; whether that could be sent."""
        heads = [head for output in self._all_outputs() if (head := output.head(identity)) is not None]
        parts = [tuple(heads[i : i + HEADS_MAX]) for i in range(0, len(heads) or 1, HEADS_MAX)]
        return all(self._servers.send(identity, Welcome(self._role.name, self._epoch, part)) for part in parts)

    def _read_start(self, identity: bytes, message: ReadStart) -> str:
        """Open a viewer's gate; or why not."""
        source = self._sources.get(message.stream)
        if source is None:
            return "no such stream"
        output = source.outputs.get(message.payload, now_us())
        if output.error:
            return output.error
        is_other = message.after is not None and message.after[0] != output.epoch
        if is_other and message.resume is None and message.payload is Payload.NATIVE:
            return "the stream has changed: ask for its description again"
        if not output.fanout.read_start(identity, message):
            return "too many viewers"
        self._touched[source.name] = None
        return ""

    def _describe(self, identity: bytes, message: Describe) -> None:
        source = self._sources.get(message.stream)
        output = source.outputs.get(message.payload, now_us()) if source is not None else None
        if source is None or output is None:
            self._servers.tell(
                identity, Described(message.request, message.stream, "", "no such stream", message.payload)
            )
        elif len(output.describes) >= DESCRIBES_WAITING_MAX:
            self._counters["describes_refused"] += 1
            refusal = Described(message.request, message.stream, "", "too many requests", message.payload)
            self._servers.tell(identity, refusal)
        else:
            output.describes.append((identity, message.request))
            self._demand(source)
            self._answer_describes(source)

    def _answer_describes(self, source: Source) -> None:
        """Answer as soon as the tracks are known, or the source says that it is down."""
        for payload, output in source.outputs.by_payload.items():
            down = source.intake.state == "down"
            error = (source.intake.reason or "the source is down") if down else output.error or output.refused
            if not error and output.stream.muxer is None:
                continue
            sdp = output.stream.sdp(now_us(), output.epoch) if output.describes and not error else ""
            unsuited = bool(error) and not down
            for identity, request in output.describes:
                self._servers.tell(identity, Described(request, source.name, sdp, error, payload, unsuited))
            output.describes.clear()

    def _send_frames(self, output: Output) -> None:
        full: set[bytes] = set()
        for parcel in output.fanout.parcels():
            message, data = output.message(parcel)
            if parcel.server not in full and self._servers.send(parcel.server, message, data):
                self._counters["frames_out"] += 1
                self._counters["bytes_out"] += len(data)
            else:
                full.add(parcel.server)
                output.fanout.refused(parcel)

    def _forgotten(self, identity: bytes) -> None:
        for output in self._all_outputs():
            output.fanout.forget_server(identity)
            output.describes = [waiting for waiting in output.describes if waiting[0] != identity]

    # -- the rest -------------------------------------------------------------------------------------

    def _housekeep(self, now: int) -> None:
        for identity in self._servers.silent(now):
            self._role.log.warning("server_silent", server=identity.decode(errors="replace"))
            self._servers.forget(identity)
        for source in list(self._sources.values()):
            if self._let_go(source, now):
                continue
            for server, ticket, reason in source.given_up(now):
                self._counters["viewers_given_up"] += 1
                self._servers.tell(server, Ended(ticket, reason))
            source.outputs.let_go(now)
            for output in source.outputs.by_payload.values():
                output.fanout.enforce()
                if output.fanout.has_waiting:
                    self._touched[source.name] = None  # a server that was full may have room again
            self._demand(source)
            self._ask_key_frame(source, now)

    def _demand(self, source: Source) -> None:
        """Subscribe to the capture while the stream is wanted: the subscription is what starts it."""
        wanted = not source.on_demand or source.outputs.wanted
        if wanted is not source.subscribed:
            source.subscribed = wanted
            if wanted:
                source.intake.subscribed()
            else:  # what is in the ring will be old when somebody comes again
                source.intake.unsubscribed()
                source.outputs.clear()
            self._tell_capture(source, [SUBSCRIBE if wanted else UNSUBSCRIBE])

    def _figures(self) -> RoleFigures:
        now = now_us()
        return RoleFigures(
            counters={**self._counters, **self._refusals.counters},
            streams=[s.figures(now) for s in self._sources.values() if s.leaving_us is None],
        )
