"""Every viewer of this server, and each frame's way to those that it is for.

Viewers that have caught up are live: they stand in lanes, all in a lane get the very same bytes, and a frame costs
one system call for each. The others are given theirs by ticket. A peer's fault is caught here and ends that
connection alone. `flow` says when a gate opens and shuts, `pacing` how much a slow viewer is given, and
`common.header_numbers` what a viewer's numbers are.
"""

from collections.abc import Callable, Collection, Iterable
from itertools import count
from typing import cast

from common.errors import MessageError
from common.grid import FrameKind
from common.header_numbers import Offset, next_offset
from common.histogram import SEND_BOUNDS_S, Histogram
from common.messages import Ended, Forget, FrameMessage, Head, Message, ReadStart, ReadStop
from common.sample import Payload
from common.wire import Buffer
from server.counters import Counters
from server.datagrams import Datagrams
from server.flow import Flow, Gate
from server.frame_buffers import Form, FrameBuffers, Framing, check_frame
from server.frame_mark import FrameMark
from server.ledger import Ledger
from server.pacing import LONG_US, next_room_bytes
from server.queues import Queues
from server.tcp_outlet import Broken, FileTakers, TcpOutlet, offer_to_all
from server.udp_outlet import DatagramTakers, UdpOutlet, offer_datagrams
from server.viewers import Channels, Lane, LiveStream, Outlet, Owner, Viewer

OPEN_INTERVAL_US = 20_000  # gates open together, so that the muxer sends a frame once for many who catch up
LOOK_WAITING_US = 50_000  # whether those who have too much before them may be given more
LOOK_READING_US = 500_000  # whether those who are given what comes take it in time
LOOK_LATE_US = 50_000  # that waits so long for a turn that there is anyway

Failures = list[tuple[Viewer, OSError]]


class Fanout:
    """All viewers of this server.

    name: the server's. send: a message to the muxer of a stream. age_max_us: as in `common.config.Viewer`, µs.
    open_interval_us: a gate opens at once, but not within so many µs of another: then with all others that wait.
    send_times: of frames, each to all that it is for. ledger: of the viewers that have gone.
    """

    def __init__(
        self, name: str, streams: Collection[str], send: Callable[[str, Message], None],
        counters: Counters, clock: Callable[[], int], age_max_us: int,
        open_interval_us: int = OPEN_INTERVAL_US, is_far: Callable[[str], bool] = lambda _: False,
    ) -> None:  # fmt: skip
        self.streams: dict[tuple[str, Payload], LiveStream] = {}
        self._name = name
        self._send = send
        self._counters = counters
        self._clock = clock
        self._viewer_numbers = count(1)
        self._ticket_numbers = count(1)
        self._by_ticket: dict[int, Viewer] = {}
        self._queues = Queues(clock, age_max_us)
        self._waiting: dict[Viewer, int] = {}  # for their gates, though their sockets take data; until when
        self._open_interval_us = open_interval_us
        self._open_us = self._look_us = 0
        self.send_times = Histogram(SEND_BOUNDS_S)
        self.ledger = Ledger()
        self.adopt(streams, is_far)

    @property
    def due_us(self) -> int:
        """When `tick` has something to do, at the latest."""
        look_us = self._look_us + LOOK_LATE_US
        return min(self._open_us, look_us) if self._waiting else look_us

    # ---- what connections ask ---------------------------------------------------------------------------

    def add(
        self, stream: str, owner: Owner, outlet: Outlet, framing: Framing, channels: Channels,
        peer: str, user_agent: str, payload: Payload = Payload.TS,
    ) -> Viewer:  # fmt: skip
        """A new viewer of a stream there is; its gate is shut. channels: as in `Viewer`."""
        live_stream = self.streams[stream, payload]
        flow = Flow(next(self._viewer_numbers), stream, self._ticket_numbers, payload)
        viewer_id = f"{self._name}-{flow.viewer}"
        viewer = Viewer(
            viewer_id, flow, live_stream, owner, outlet, framing, channels, peer, user_agent, self._clock()
        )
        live_stream.viewers[viewer] = None
        self._queues.fit(viewer)
        return viewer

    def read_start(self, viewer: Viewer) -> None:
        """Open the viewer's gate."""
        if not viewer.flow.reading:
            self._settle(viewer, None, viewer.flow.read_start(viewer.position, None))
            self._ask_to_open(viewer)

    def read_stop(self, viewer: Viewer) -> None:
        """Shut the viewer's gate: no frame is begun after this."""
        viewer.paused = True
        ticket = viewer.flow.ticket
        self._settle(viewer, ticket, viewer.flow.read_stop(viewer.position))

    def key_frames_only(self, viewer: Viewer, wanted: bool) -> None:
        """Give the viewer key frames only of the video, as one that loses what it is sent; or everything again."""
        ticket = viewer.flow.ticket
        message = viewer.flow.lower(wanted, viewer.position, self._queues.room(viewer))
        if message is not None:
            self._settle(viewer, ticket, message)

    def drained(self, viewer: Viewer) -> None:
        """The viewer's socket takes data again."""
        if viewer.last is not None and self._clock() - viewer.last.came_us > LONG_US:
            self._queues.note_slow(viewer, True)
        self._ask_to_open(viewer)

    def remove(self, viewer: Viewer) -> None:
        """The viewer is gone."""
        if viewer in viewer.stream.viewers:
            del viewer.stream.viewers[viewer]
            self.ledger.close(viewer)
        ticket = viewer.flow.ticket
        viewer.flow.read_stop(None)
        self._settle(viewer, ticket, Forget(viewer.number))

    # ---- what muxers say --------------------------------------------------------------------------------

    def adopt(self, streams: Collection[str], is_far: Callable[[str], bool] = lambda _: False) -> None:
        """There are other streams; the viewers of one that has gone are told that it is over.

        is_far: whether a stream's source is on another host, with a clock of its own.
        """
        for name, payload in [key for key in self.streams if key[0] not in streams]:
            for viewer in list(self.streams[name, payload].viewers):
                viewer.owner.ended(viewer, "the stream has been removed")
            del self.streams[name, payload]
            self.ledger.forget(name)
        for key in [(name, payload) for name in streams for payload in Payload]:
            if key not in self.streams:
                self.streams[key] = LiveStream(*key)
            self.streams[key].place(is_far(key[0]))

    def moves(self, stream: str) -> None:
        """The stream is to have another muxer: the one that has it still can forget its viewers."""
        for viewer in [viewer for payload in Payload for viewer in self.streams[stream, payload].viewers]:
            self._send(stream, Forget(viewer.number))

    def muxer_is_new(self, streams: Iterable[str], replaced: bool) -> None:
        """The muxer of these streams may know nothing of our tickets, or (replaced) is another altogether."""
        for stream in [self.streams[name, payload] for name in streams for payload in Payload]:
            for viewer in list(stream.viewers):
                ticket, room = viewer.flow.ticket, self._queues.room(viewer)
                if replaced:
                    messages = viewer.flow.muxer_replaced(viewer.position, viewer.resume, room)
                else:
                    messages = viewer.flow.muxer_forgot(viewer.position, room)
                self._settle(viewer, ticket, *messages)

    def ended(self, message: Ended) -> None:
        """A ticket's stream is over."""
        viewer = self._by_ticket.get(message.ticket)
        if viewer is not None:
            viewer.owner.ended(viewer, message.reason)

    def is_at(self, head: Head) -> None:
        """A stream is this far, of which few frames come, or none: nobody here is live."""
        stream = self.streams.get((head.stream, head.payload))
        if stream is not None:
            stream.note_newest(head)

    def deliver(self, frame: FrameMessage, data: Buffer) -> None:
        """Send one frame to all it is for. Raises MessageError for one that is none of ours."""
        stream = self.streams.get((frame.stream, frame.payload))
        if stream is None:
            raise MessageError(f"a frame of the stream {frame.stream}")
        check_frame(frame, data)
        self._counters.frames_in += 1
        stream.has_video = stream.has_video or frame.kind == FrameKind.VIDEO
        if stream.rate.note(frame.epoch, frame.number, frame.time_us, len(data)):
            for one in stream.viewers:
                self._queues.fit(one)
        mark = stream.mark(frame, len(data), self._clock())
        stream.note_newest(mark)
        buffers = FrameBuffers(frame, data)
        broken: Failures = []
        started: list[Viewer] = []
        taken = self._counters.frames_sent
        for ticket in frame.parked:  # live ones are not meant by `to_live` any more
            viewer = self._by_ticket.get(ticket)
            if viewer is not None and viewer.lane is not None:
                self._park(viewer)
        if frame.to_live and stream.lanes:
            self._deliver_to_lanes(stream, frame, mark, buffers, broken)
        live = self._counters.frames_sent
        if frame.tickets:
            self._deliver_by_ticket(stream, frame, mark, buffers, broken, started)
        now_us, caught_up = self._clock(), self._counters.frames_sent
        self.send_times.note(now_us - mark.came_us)
        if live != taken:
            stream.live_ages.note(now_us - mark.born_us, live - taken)
        if caught_up != live:
            stream.catching_up_ages.note(now_us - mark.born_us, caught_up - live)
        for ticket in frame.live:
            self._go_live(ticket, stream, mark)
        for ticket in frame.parked:
            viewer = self._by_ticket.get(ticket)
            if viewer is not None:
                self._park(viewer)
        for viewer in started:
            viewer.owner.started(viewer)
        for viewer, error in broken:
            viewer.owner.broken(error)

    # ---- time -------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Look after those who are behind, or may be without anybody's having noticed."""
        now_us = self._clock()
        if self._waiting and now_us >= self._open_us:
            self._open_us = now_us + self._open_interval_us
            for viewer in [viewer for viewer, until_us in self._waiting.items() if now_us >= until_us]:
                self._open(viewer)
        if now_us >= self._look_us:
            self._look_us = now_us + LOOK_READING_US
            for viewer in [one for stream in self.streams.values() for one in stream.perhaps_slow()]:
                reads = viewer.flow.ticket is not None and not viewer.outlet.blocked
                if reads and not self._queues.are_short(viewer):
                    self._blocked(viewer)

    # ---- inside -----------------------------------------------------------------------------------------

    def _deliver_to_lanes(
        self, stream: LiveStream, frame: FrameMessage, mark: FrameMark, buffers: FrameBuffers, broken: Failures
    ) -> None:
        previous = stream.previous
        moved: list[tuple[Viewer, FrameMark | None]] = []
        if previous is None or not previous.is_followed_by(frame):
            if previous is not None and previous.epoch == frame.epoch and previous.number >= frame.number:
                self._counters.stale_frames += 1
                return
            moved = self._regroup(stream, frame)
        for lane in list(stream.lanes.values()):
            data = buffers.get(lane.form)
            if data is None:
                lane.count(mark, 0)
                continue
            for viewer in self._offer(lane.viewers, data, broken, lane):
                self._blocked(viewer)
            for viewer, _ in broken:
                viewer.leave_lane()
            lane.count(mark, len(data))
        for viewer, last in moved:
            if viewer.lane is not None:
                self._counters.frames_dropped += viewer.passed(last, frame, ())
        stream.previous = mark

    def _deliver_by_ticket(
        self, stream: LiveStream, frame: FrameMessage, mark: FrameMark, buffers: FrameBuffers,
        broken: Failures, started: list[Viewer],
    ) -> None:  # fmt: skip
        """To those with a ticket, all of one form at a time."""
        left_out = dict(frame.left_out)
        by_form: dict[Form, dict[Outlet, Viewer]] = {}
        offsets: dict[Viewer, Offset] = {}
        for ticket in frame.tickets:
            viewer = self._by_ticket.get(ticket)
            last = viewer.last if viewer is not None else None
            had = last is not None and last.epoch == frame.epoch and last.number >= frame.number
            if viewer is None or viewer.stream is not stream or viewer.lane is not None or had:
                self._counters.stale_frames += 1
                continue
            if viewer.slow and mark.came_us - viewer.opened_us > LONG_US and self._queues.room(viewer) is None:
                self._blocked(viewer)
                continue
            if last is None:
                viewer.owner.starting(viewer, frame, buffers.clock)
                if self._by_ticket.get(ticket) is not viewer:
                    continue  # its connection broke
            offset = offsets[viewer] = next_offset(last, viewer.offset, frame)
            viewer.new_clock = viewer.new_clock or (last is not None and last.has_other_clock(frame))
            wanted = viewer.form(offset, viewer.new_clock and buffers.has_clock)
            by_form.setdefault(wanted, {})[viewer.outlet] = viewer
        for wanted, viewers in by_form.items():
            data = buffers.get(wanted)
            late = self._offer(viewers, data, broken) if data is not None else ()
            for viewer in late:
                del viewers[viewer.outlet]
                self._blocked(viewer)
            for viewer, _ in broken:
                viewers.pop(viewer.outlet, None)
            for viewer in viewers.values():
                last = viewer.last
                told = left_out.get(viewer.flow.ticket or 0, ()) if left_out else ()
                self._counters.frames_dropped += viewer.passed(last, frame, told)
                viewer.flow.took()
                viewer.took(mark, len(data or b""), offsets[viewer])
                viewer.new_clock = viewer.new_clock and not wanted.new_clock and stream.payload is Payload.TS
                if last is None:
                    started.append(viewer)

    def _offer(
        self, viewers: dict[Outlet, Viewer], data: Buffer | Datagrams, broken: Failures, lane: Lane | None = None
    ) -> list[Viewer]:
        """Those who took nothing of it; who is broken is added to `broken`. All want it in the same form.

        lane: of which they are; None for those who catch up.
        """
        if isinstance(data, Datagrams):
            together = cast("DatagramTakers", lane.takers) if lane is not None else None
            offer_datagrams(cast("Collection[UdpOutlet]", viewers), data, together)
            late: list[TcpOutlet] = []
            faults: list[Broken] = []
        else:
            takers = cast("FileTakers", lane.takers) if lane is not None else FileTakers()
            late, faults = offer_to_all(cast("Collection[TcpOutlet]", viewers), data, takers)
        broken.extend((viewers[outlet], error) for outlet, error in faults)
        taken = len(viewers) - len(late) - len(faults)
        self._counters.frames_sent += taken
        self._counters.bytes_sent += taken * len(data)
        return [viewers[outlet] for outlet in late]

    def _go_live(self, ticket: int, stream: LiveStream, mark: FrameMark) -> None:
        viewer = self._by_ticket.get(ticket)
        if viewer is None or viewer.lane is not None:
            return  # it could not take this very frame, or the connection is gone
        others_here = not stream.lanes or (
            stream.previous is not None and stream.previous.position == mark.position
        )
        in_step = viewer.stream is stream and viewer.position == mark.position and others_here
        if not in_step or viewer.new_clock:
            self._park(viewer)  # it would get wrong numbers, a frame twice, or a clock that nobody told it of
            return
        stream.previous = mark
        viewer.spliced = False
        viewer.flow.live()
        viewer.join_lane()

    def _regroup(self, stream: LiveStream, frame: FrameMessage) -> list[tuple[Viewer, FrameMark | None]]:
        """`frame` does not follow the one before: every viewer's offset changes. Who took what last."""
        viewers = [viewer for lane in stream.lanes.values() for viewer in lane.viewers.values()]
        taken = [(viewer, viewer.last) for viewer in viewers]
        for viewer in viewers:
            viewer.leave_lane()
        for viewer in viewers:
            viewer.offset = next_offset(viewer.last, viewer.offset, frame)
            viewer.join_lane()
        return taken

    def _blocked(self, viewer: Viewer) -> None:
        self._queues.note_slow(viewer, True)
        if viewer.lane is not None:
            viewer.remember_given()
            viewer.room_bytes = 1  # one frame
        else:
            viewer.room_bytes = next_room_bytes(viewer.taken_bytes, False)
        self._settle(viewer, viewer.flow.ticket, viewer.flow.blocked(viewer.position))

    def _ask_to_open(self, viewer: Viewer) -> None:
        if viewer.flow.gate is Gate.WAITING and not viewer.outlet.blocked:
            now_us = self._clock()
            if now_us >= self._open_us:
                self._open_us = now_us + self._open_interval_us
                self._open(viewer)
            else:
                self._waiting[viewer] = now_us

    def _open(self, viewer: Viewer) -> None:
        self._settle(viewer, None, viewer.flow.drained(viewer.position, self._queues.room(viewer)))

    def _park(self, viewer: Viewer) -> None:
        used_up = viewer.taken_bytes > viewer.room_bytes // 2  # in its own form a frame may be smaller
        if viewer.lane is None and used_up:
            viewer.room_bytes = next_room_bytes(viewer.taken_bytes, True)
        self._settle(viewer, viewer.flow.ticket, viewer.flow.parked(viewer.position, None))
        self._ask_to_open(viewer)

    def _settle(self, viewer: Viewer, ticket: int | None, *messages: ReadStart | ReadStop | Forget | None) -> None:
        """The viewer's gate has changed, its ticket was `ticket`: lanes and tickets follow, the muxer is told."""
        flow = viewer.flow
        if flow.ticket != ticket:
            if ticket is not None:
                del self._by_ticket[ticket]
            if flow.ticket is not None:
                self._by_ticket[flow.ticket] = viewer
        if flow.gate is not Gate.LIVE:
            viewer.leave_lane()
        if flow.gate is Gate.WAITING and not viewer.outlet.blocked:
            self._waiting[viewer] = self._clock() + LOOK_WAITING_US
        else:
            self._waiting.pop(viewer, None)
        for message in messages:
            if isinstance(message, ReadStart):
                viewer.opened(self._clock())
            if message is not None:
                self._counters.read_starts += isinstance(message, ReadStart)
                self._counters.read_stops += isinstance(message, ReadStop)
                self._send(viewer.stream.name, message)
