"""Every viewer of this server, and each frame's way to those that it is for.

Viewers that have caught up are live: they stand in lanes, all in a lane get the very same bytes, and a frame costs
one `offer` for each. The others are given theirs by ticket. A peer's fault is caught here and ends that connection
alone. `flow` says when a gate opens and shuts, `header_numbers` what a viewer's numbers are.
"""

from collections.abc import Callable, Iterable
from itertools import count
from typing import Protocol

from common.errors import MessageError
from common.grid import FrameKind
from common.header_numbers import NONE, Offset, next_offset
from common.messages import Ended, Forget, FrameMessage, Message, ReadStart, ReadStop
from common.wire import Buffer
from server.counters import Counters
from server.flow import Flow, Gate, Position
from server.frame_buffers import Form, FrameBuffers, Framing, form, is_frame_size
from server.frame_mark import FrameMark
from server.transports import TcpOutlet

USER_AGENT_MAX = 200  # characters of it that are kept; Windows players send 150


class Owner(Protocol):
    """The connection of a viewer."""

    def broken(self, error: OSError) -> None:
        """Sending to the viewer failed."""

    def started(self, viewer: "Viewer") -> None:
        """The viewer took its first frame."""

    def ended(self, viewer: "Viewer", reason: str) -> None:
        """The viewer's stream is over."""


class Lane:
    """The live viewers that get their frames in one form."""

    __slots__ = ("form", "viewers")

    def __init__(self, wanted: Form) -> None:
        self.form = wanted
        self.viewers: dict[Viewer, None] = {}  # a set that keeps its order


class LiveStream:
    """One stream's viewers on this server. previous: the frame that all viewers in lanes took last."""

    __slots__ = ("has_video", "lanes", "name", "previous", "viewers")

    def __init__(self, name: str) -> None:
        self.name = name
        self.viewers: dict[Viewer, None] = {}
        self.lanes: dict[Form, Lane] = {}
        self.previous: FrameMark | None = None
        self.has_video = False


class Viewer:
    """One connection's use of one stream.

    id: short, for figures and log. channels: of RTP and RTCP in `$` frames. last: the frame it took last, sent or
    in its socket's care; offset: of its numbers then. frames_dropped: left out for it by drops; unlogged_drops: of
    these, not yet in the log. bytes_sent: of frames, framing included.
    """

    __slots__ = (
        "bytes_sent", "channels", "connected_us", "flow", "frames_dropped", "frames_sent", "framing", "id",
        "lane", "last", "number", "offset", "outlet", "owner", "packets_sent", "paused", "peer", "spliced",
        "splices", "stream", "unlogged_drops", "user_agent",
    )  # fmt: skip

    def __init__(
        self, viewer_id: str, flow: Flow, stream: LiveStream, owner: Owner, outlet: TcpOutlet,
        framing: Framing, channels: tuple[int, int], peer: str, user_agent: str, now_us: int,
    ) -> None:  # fmt: skip
        self.id = viewer_id
        self.number = flow.viewer
        self.flow = flow
        self.stream = stream
        self.owner = owner
        self.outlet = outlet
        self.framing = framing
        self.channels = channels
        self.peer = peer
        self.user_agent = user_agent[:USER_AGENT_MAX]
        self.connected_us = now_us
        self.lane: Lane | None = None
        self.last: FrameMark | None = None
        self.offset: Offset = NONE
        self.paused = False
        self.spliced = False
        self.frames_sent = 0
        self.packets_sent = 0
        self.bytes_sent = 0
        self.frames_dropped = 0
        self.unlogged_drops = 0
        self.splices = 0

    @property
    def position(self) -> Position | None:
        """Of the last frame it took."""
        return None if self.last is None else self.last.position


class Fanout:
    """All viewers of this server. name: the server's. send: a message to the muxer of a stream."""

    def __init__(
        self, name: str, streams: Iterable[str], send: Callable[[str, Message], None],
        counters: Counters, clock: Callable[[], int],
    ) -> None:  # fmt: skip
        self.streams = {stream: LiveStream(stream) for stream in streams}
        self._name = name
        self._send = send
        self._counters = counters
        self._clock = clock
        self._viewer_numbers = count(1)
        self._ticket_numbers = count(1)
        self._by_ticket: dict[int, Viewer] = {}

    # ---- what connections ask ---------------------------------------------------------------------------

    def add(
        self, stream: str, owner: Owner, outlet: TcpOutlet, framing: Framing, channels: tuple[int, int],
        peer: str, user_agent: str,
    ) -> Viewer:  # fmt: skip
        """A new viewer of a stream there is; its gate is shut."""
        live_stream = self.streams[stream]
        flow = Flow(next(self._viewer_numbers), stream, self._ticket_numbers)
        viewer_id = f"{self._name}-{flow.viewer}"
        viewer = Viewer(
            viewer_id, flow, live_stream, owner, outlet, framing, channels, peer, user_agent, self._clock()
        )
        live_stream.viewers[viewer] = None
        return viewer

    def read_start(self, viewer: Viewer) -> None:
        """Open the viewer's gate."""
        ticket = viewer.flow.ticket
        self._settle(viewer, ticket, viewer.flow.read_start(viewer.position, viewer.outlet.room_bytes))

    def read_stop(self, viewer: Viewer) -> None:
        """Shut the viewer's gate: no frame is begun after this."""
        viewer.paused = True
        ticket = viewer.flow.ticket
        self._settle(viewer, ticket, viewer.flow.read_stop(viewer.position))

    def drained(self, viewer: Viewer) -> None:
        """The viewer's socket takes data again."""
        room_bytes = viewer.outlet.room_bytes
        if room_bytes is not None:
            ticket = viewer.flow.ticket
            self._settle(viewer, ticket, viewer.flow.drained(viewer.position, room_bytes))

    def remove(self, viewer: Viewer) -> None:
        """The viewer is gone."""
        viewer.stream.viewers.pop(viewer, None)
        ticket = viewer.flow.ticket
        viewer.flow.read_stop(None)
        self._settle(viewer, ticket, Forget(viewer.number))

    # ---- what muxers say --------------------------------------------------------------------------------

    def muxer_is_new(self, streams: Iterable[str], replaced: bool) -> None:
        """The muxer of these streams knows nothing of our tickets, or (replaced) is another altogether."""
        for name in streams:
            for viewer in list(self.streams[name].viewers):
                ticket, room_bytes = viewer.flow.ticket, viewer.outlet.room_bytes
                if replaced:
                    message = viewer.flow.muxer_replaced(room_bytes)
                else:
                    message = viewer.flow.muxer_forgot(viewer.position, room_bytes)
                self._settle(viewer, ticket, message)

    def ended(self, message: Ended) -> None:
        """A ticket's stream is over."""
        viewer = self._by_ticket.get(message.ticket)
        if viewer is not None:
            viewer.owner.ended(viewer, message.reason)

    def deliver(self, frame: FrameMessage, data: Buffer) -> None:
        """Send one frame to all it is for. Raises MessageError for one that is none of ours."""
        stream = self.streams.get(frame.stream)
        if stream is None or not is_frame_size(len(data)):
            raise MessageError(f"a frame of {len(data)} bytes of the stream {frame.stream}")
        self._counters.frames_in += 1
        stream.has_video = stream.has_video or frame.kind == FrameKind.VIDEO
        mark = FrameMark(frame, len(data), self._clock())
        buffers = FrameBuffers(frame, data)
        broken: list[tuple[Viewer, OSError]] = []
        for ticket in frame.parked:  # live ones are not meant by `to_live` any more
            viewer = self._by_ticket.get(ticket)
            if viewer is not None and viewer.lane is not None:
                self._park(viewer)
        if frame.to_live and stream.lanes:
            self._deliver_to_lanes(stream, frame, mark, buffers, broken)
        for ticket in frame.tickets:
            self._deliver_by_ticket(ticket, stream, frame, mark, buffers, broken)
        for ticket in frame.live:
            self._go_live(ticket, stream, mark)
        for ticket in frame.parked:
            viewer = self._by_ticket.get(ticket)
            if viewer is not None:
                self._park(viewer)
        for viewer, error in broken:
            viewer.owner.broken(error)

    # ---- inside -----------------------------------------------------------------------------------------

    def _deliver_to_lanes(
        self, stream: LiveStream, frame: FrameMessage, mark: FrameMark, buffers: FrameBuffers,
        broken: list[tuple[Viewer, OSError]],
    ) -> None:  # fmt: skip
        previous = stream.previous
        if previous is None or not previous.is_followed_by(frame):
            if previous is not None and previous.epoch == frame.epoch and previous.number >= frame.number:
                self._counters.stale_frames += 1
                return
            self._regroup(stream, frame)
        packets = mark.packets
        sent = sent_bytes = 0
        for lane in list(stream.lanes.values()):
            data = buffers.get(lane.form)
            size = len(data)
            late: list[Viewer] = []
            not_broken = len(lane.viewers) + len(broken)
            for viewer in lane.viewers:  # the hot loop: once a viewer and frame
                try:
                    taken = viewer.outlet.offer(data)
                except OSError as error:
                    broken.append((viewer, error))
                    continue
                if taken:
                    viewer.last = mark
                    viewer.frames_sent += 1
                    viewer.packets_sent += packets
                    viewer.bytes_sent += size
                else:
                    late.append(viewer)
            taken_by = not_broken - len(broken) - len(late)
            sent += taken_by
            sent_bytes += taken_by * size
            for viewer in late:
                self._blocked(viewer)
        stream.previous = mark
        self._counters.frames_sent += sent
        self._counters.bytes_sent += sent_bytes

    def _deliver_by_ticket(
        self, ticket: int, stream: LiveStream, frame: FrameMessage, mark: FrameMark, buffers: FrameBuffers,
        broken: list[tuple[Viewer, OSError]],
    ) -> None:  # fmt: skip
        viewer = self._by_ticket.get(ticket)
        last = viewer.last if viewer is not None else None
        had = last is not None and last.epoch == frame.epoch and last.number >= frame.number
        if viewer is None or viewer.stream is not stream or viewer.lane is not None or had:
            self._counters.stale_frames += 1
            return
        offset = next_offset(last, viewer.offset, frame)
        data = buffers.get(form(viewer.framing, viewer.channels[0], offset))
        try:
            taken = viewer.outlet.offer(data)
        except OSError as error:
            broken.append((viewer, error))
            return
        if not taken:
            self._blocked(viewer)
            return
        self._note_gap(viewer, frame)
        viewer.flow.took()
        viewer.offset = offset
        viewer.last = mark
        viewer.frames_sent += 1
        viewer.packets_sent += mark.packets
        viewer.bytes_sent += len(data)
        self._counters.frames_sent += 1
        self._counters.bytes_sent += len(data)
        if last is None:
            viewer.owner.started(viewer)

    def _go_live(self, ticket: int, stream: LiveStream, mark: FrameMark) -> None:
        viewer = self._by_ticket.get(ticket)
        if viewer is None or viewer.lane is not None:
            return  # it could not take this very frame, or the connection is gone
        others_here = not stream.lanes or (
            stream.previous is not None and stream.previous.position == mark.position
        )
        if viewer.stream is not stream or viewer.position != mark.position or not others_here:
            self._park(viewer)  # not in step: it would get wrong numbers, or a frame twice
            return
        stream.previous = mark
        viewer.spliced = False
        viewer.flow.live()
        self._join_lane(viewer)

    def _regroup(self, stream: LiveStream, frame: FrameMessage) -> None:
        """`frame` does not follow the one before: every viewer's offset changes."""
        viewers = [viewer for lane in stream.lanes.values() for viewer in lane.viewers]
        stream.lanes.clear()
        for viewer in viewers:
            self._note_gap(viewer, frame)
            viewer.offset = next_offset(viewer.last, viewer.offset, frame)
            self._join_lane(viewer)

    def _join_lane(self, viewer: Viewer) -> None:
        wanted = form(viewer.framing, viewer.channels[0], viewer.offset)
        lane = viewer.stream.lanes.get(wanted)
        if lane is None:
            lane = viewer.stream.lanes[wanted] = Lane(wanted)
        lane.viewers[viewer] = None
        viewer.lane = lane

    def _blocked(self, viewer: Viewer) -> None:
        self._settle(viewer, viewer.flow.ticket, viewer.flow.blocked(viewer.position))

    def _park(self, viewer: Viewer) -> None:
        room_bytes = viewer.outlet.room_bytes
        self._settle(viewer, viewer.flow.ticket, viewer.flow.parked(viewer.position, room_bytes))

    def _settle(self, viewer: Viewer, ticket: int | None, message: ReadStart | ReadStop | Forget | None) -> None:
        """The viewer's gate has changed, its ticket was `ticket`: lanes and tickets follow, the muxer is told."""
        flow = viewer.flow
        if flow.ticket != ticket:
            if ticket is not None:
                del self._by_ticket[ticket]
            if flow.ticket is not None:
                self._by_ticket[flow.ticket] = viewer
        lane = viewer.lane
        if lane is not None and flow.gate is not Gate.LIVE:
            viewer.lane = None
            del lane.viewers[viewer]
            if not lane.viewers:
                del viewer.stream.lanes[lane.form]
        if message is not None:
            self._counters.read_starts += isinstance(message, ReadStart)
            self._counters.read_stops += isinstance(message, ReadStop)
            self._send(viewer.stream.name, message)

    def _note_gap(self, viewer: Viewer, frame: FrameMessage) -> None:
        """Count what was left out for the viewer before `frame`. A splice lasts until the next sync point."""
        last = viewer.last
        if last is None:
            return
        dropped = frame.number - last.number - 1 if last.epoch == frame.epoch else 0
        if dropped or last.epoch != frame.epoch:
            if not viewer.spliced:
                viewer.spliced = True
                viewer.splices += 1
            if not viewer.paused:
                viewer.frames_dropped += dropped
                viewer.unlogged_drops += dropped
                self._counters.frames_dropped += dropped
        viewer.paused = False
        if frame.sync and (frame.kind == FrameKind.VIDEO or not viewer.stream.has_video):
            viewer.spliced = False
