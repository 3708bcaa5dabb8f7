"""A viewer, and how the viewers of a stream stand together: who gets the very same bytes stands in one lane.

What a lane is sent is counted once for all in it. A viewer's own figures are what it had before it came, and what
the lane was sent since: so that a frame for a thousand viewers touches none of them but for its socket.
"""

from collections.abc import Collection, Iterator
from typing import Protocol, cast

from common.drops import Drop
from common.grid import FrameKind
from common.header_numbers import NONE, Offset
from common.histogram import AGE_BOUNDS_S, Histogram
from common.messages import FrameMessage, Head
from common.sample import TRACKS_MAX, Payload
from server.books import Books
from server.far_clock import FarClock
from server.flow import Flow, Gate, Position, Resume
from server.frame_buffers import Form, Framing, form
from server.frame_mark import FrameMark, is_newer
from server.pacing import ROOM_BYTES_MAX, Given, StreamRate
from server.reception import Members, Reception
from server.rtsp_message import encode_interleaved
from server.tcp_outlet import FileTakers, TcpOutlet
from server.udp_outlet import DatagramTakers, UdpOutlet

Outlet = TcpOutlet | UdpOutlet

Channels = tuple[tuple[int, int] | None, ...]

USER_AGENT_MAX = 200  # characters of it that are kept; Windows players send 150


class Owner(Protocol):
    """The connection of a viewer."""

    def broken(self, error: OSError) -> None:
        """Sending to the viewer failed."""

    def starting(self, viewer: "Viewer", frame: FrameMessage, clock: int) -> None:
        """The viewer is about to be sent its first frame. clock: the RTP timestamp of its first packet."""

    def started(self, viewer: "Viewer") -> None:
        """The viewer took its first frame."""

    def ended(self, viewer: "Viewer", reason: str) -> None:
        """The viewer's stream is over."""


class Lane:
    """The live viewers that get their frames in one form.

    last: the frame that all of them took last. frames, bytes: how much has gone through it; rtp: likewise, RTP
    packets and bytes of their payload by track. unwanted: frames of tracks that they have not set up. given: when.
    takers: how a frame goes to all of them.
    """

    __slots__ = ("bytes", "form", "frames", "given", "last", "rtp", "takers", "unwanted", "viewers")

    def __init__(self, wanted: Form) -> None:
        self.form = wanted
        self.viewers: dict[Outlet, Viewer] = {}
        self.takers = DatagramTakers() if wanted.framing is Framing.UDP else FileTakers()
        self.last: FrameMark | None = None
        self.given = Given()
        self.frames = 0
        self.unwanted = 0
        self.bytes = 0
        self.rtp = [(0, 0)] * TRACKS_MAX

    @property
    def holding(self) -> Collection[Outlet]:
        """Those for whom the kernel holds something that they were sent, as far as it can be asked."""
        if isinstance(self.takers, DatagramTakers):
            return ()
        return self.takers.holding(cast("Collection[TcpOutlet]", self.viewers))

    def count(self, mark: FrameMark, size: int) -> None:
        """All in it have taken this frame, of `size` bytes in its form; 0: of a track that they do not want."""
        self.last = mark
        if size:
            self.frames += 1
            self.bytes += size
            packets, octets = self.rtp[mark.track]
            self.rtp[mark.track] = packets + mark.packets, octets + mark.octets
            self.given.note(self.bytes, mark.came_us)
        else:
            self.unwanted += 1


class LiveStream:
    """One stream's viewers on this server, of one payload.

    clock: of its source's host, where that is another one. previous: the frame that all in lanes took last.
    newest: of all frames that have come, for whomever, or that its muxer has told of (`Welcome.heads`).
    live_ages, catching_up_ages: of what has been sent.
    """

    __slots__ = (
        "catching_up_ages", "clock", "has_video", "lanes", "live_ages", "name", "newest", "payload", "previous",
        "rate", "viewers",
    )  # fmt: skip

    def __init__(self, name: str, payload: Payload = Payload.TS) -> None:
        self.name = name
        self.clock: FarClock | None = None
        self.payload = payload
        self.viewers: dict[Viewer, None] = {}  # a set that keeps its order
        self.lanes: dict[Form, Lane] = {}
        self.previous: FrameMark | None = None
        self.newest: FrameMark | Head | None = None
        self.has_video = False
        self.rate = StreamRate()
        self.live_ages = Histogram(AGE_BOUNDS_S)
        self.catching_up_ages = Histogram(AGE_BOUNDS_S)

    def place(self, is_far: bool) -> None:
        """Whether its source is on another host."""
        if is_far is (self.clock is None):
            self.clock = FarClock() if is_far else None

    def mark(self, frame: FrameMessage, size: int, now_us: int) -> FrameMark:
        """A frame that comes now."""
        if self.clock is None or frame.sample is None:
            return FrameMark(frame, size, now_us)
        return FrameMark(frame, size, now_us, self.clock.here_us(frame.sample[0], frame.time_us, now_us))

    def perhaps_slow(self) -> "Iterator[Viewer]":
        """All viewers that may not take in time what they are given."""
        holding = {outlet for lane in self.lanes.values() for outlet in lane.holding}
        for viewer in self.viewers:
            if viewer.slow or (viewer.lane is None and viewer.outlet.kernel_bytes) or viewer.outlet in holding:
                yield viewer

    def note_newest(self, frame: FrameMark | Head) -> None:
        """A frame came, perhaps an old one, for one who is behind; or its muxer says that it is there."""
        if self.newest is None or is_newer(frame, self.newest):
            self.newest = frame


class Viewer:
    """One connection's use of one stream.

    id: short, for figures and log. channels: of RTP and RTCP in `$` frames, by track; None for one that it did not
    set up. offset: of its numbers at the frame it took last. books: what passed, and why it was not sent all;
    unlogged_drops: not yet in the log. room_bytes: how much it is to be given at once when it is behind.
    new_clock: the next PCR that it is given is of another clock than the last, which it must be told.
    opened_us: when its ticket was asked for. slow: it has been behind, and has not kept up since.
    reception: what it has reported. transport: as figures name it. wall_ahead_us: of our clock, how far the wall
    clock was when it got its first sender report: setting that must not move what it has been told.
    """

    __slots__ = (
        "_bytes", "_frames", "_given", "_last", "_opened_bytes", "_rtp", "_unwanted", "books", "channels",
        "connected_us", "flow", "framing", "id", "lane", "new_clock", "number", "offset", "opened_us", "outlet",
        "owner", "paused", "peer", "reception", "room_bytes", "slow", "spliced", "splices", "stream", "transport",
        "unlogged_drops", "user_agent", "wall_ahead_us",
    )  # fmt: skip

    def __init__(
        self, viewer_id: str, flow: Flow, stream: LiveStream, owner: Owner, outlet: Outlet,
        framing: Framing, channels: Channels, peer: str, user_agent: str, now_us: int,
    ) -> None:  # fmt: skip
        self.id = viewer_id
        self.number = flow.viewer
        self.flow = flow
        self.stream = stream
        self.owner = owner
        self.outlet = outlet
        self.framing = framing
        self.transport = framing.value
        self.channels = channels
        self.peer = peer
        self.user_agent = user_agent[:USER_AGENT_MAX]
        self.connected_us = now_us
        self.wall_ahead_us = 0
        self.lane: Lane | None = None
        self.offset: Offset = NONE
        self.room_bytes = ROOM_BYTES_MAX
        self.paused = False
        self.spliced = False
        self.new_clock = False
        self.books = Books()
        self.unlogged_drops = 0
        self.splices = 0
        self.reception: Reception | Members | None = None
        self._last: FrameMark | None = None
        self._given = Given()  # by ticket
        self._opened_bytes = 0
        self.opened_us = now_us
        self.slow = False
        self._frames = self._bytes = self._unwanted = 0  # less what its lane had been sent when it came
        self._rtp = [(0, 0)] * TRACKS_MAX  # likewise

    @property
    def last(self) -> FrameMark | None:
        """The frame it took last, sent or in its socket's care."""
        return self._last if self.lane is None else self.lane.last

    @property
    def position(self) -> Position | None:
        """Of the last frame it took."""
        last = self.last
        return None if last is None else last.position

    @property
    def resume(self) -> Resume | None:
        """From where another muxer can go on."""
        last = self.last
        return None if last is None or last.sample is None else (*last.sample, not self.spliced)

    @property
    def ssrcs(self) -> tuple[int, ...]:
        """Of its RTP packets, by track; none before the first frame."""
        last = self.last
        if last is None:
            return ()
        if not self.offset.rtp:
            return last.ssrcs
        own = (self.offset.of(track).ssrc for track in range(len(last.ssrcs)))
        return tuple(theirs if ours is None else ours for ours, theirs in zip(own, last.ssrcs, strict=True))

    @property
    def frames_taken(self) -> int:
        """By its outlet: sent, but for those that this has lost."""
        return self._frames if self.lane is None else self._frames + self.lane.frames

    @property
    def frames_sent(self) -> int:
        """Handed to the kernel, or about to be."""
        return self.frames_taken - self.outlet.frames_lost

    @property
    def frames_due(self) -> int:
        """What has passed of the stream since its first frame, up to the one it took last."""
        return self.books.due(self.last)

    @property
    def frames_dropped(self) -> int:
        """What it was to have, and was not sent."""
        return self.books.dropped + self.outlet.frames_lost

    @property
    def drops(self) -> dict[Drop, int]:
        """What it was not sent, by reason; with `frames_sent` it makes up `frames_due`."""
        drops = {reason: frames for reason, frames in self.books.drops.items() if frames}
        unwanted = self._unwanted if self.lane is None else self._unwanted + self.lane.unwanted
        if unwanted:
            drops[Drop.TRACK] = unwanted
        if self.outlet.frames_lost:
            overflows = self.outlet.queue_overflows
            lost = {Drop.UDP_QUEUE: overflows, Drop.UDP_KERNEL: self.outlet.frames_lost - overflows}
            drops |= {reason: frames for reason, frames in lost.items() if frames}
        return drops

    def rtp_sent(self, track: int) -> tuple[int, int]:
        """The RTP packets of a track that it took, and the bytes of their payload."""
        packets, octets = self._rtp[track]
        if self.lane is None:
            return packets, octets
        more_packets, more_octets = self.lane.rtp[track]
        return packets + more_packets, octets + more_octets

    @property
    def bytes_sent(self) -> int:
        """Of frames, framing included."""
        return self._bytes if self.lane is None else self._bytes + self.lane.bytes

    @property
    def backlog_bytes(self) -> int:
        """Taken, and not acknowledged."""
        return self.outlet.unfinished_bytes + self.outlet.kernel_bytes

    @property
    def taken_bytes(self) -> int:
        """Of what its ticket has brought."""
        return self.bytes_sent - self._opened_bytes

    @property
    def frames_behind(self) -> int:
        """How many frames the stream has had, as far as this server knows, since the last one it took.

        If that was another muxer's: how many samples, as its books will count them when it goes on.
        """
        last, newest = self.last, self.stream.newest
        if last is None or newest is None:
            return 0
        if last.epoch != newest.epoch:
            return last.samples_to(newest)
        return max(newest.number - last.number, 0)

    @property
    def behind(self) -> bool:
        """Whether it wants to read and cannot be given anything for now."""
        return self.flow.gate is Gate.WAITING

    def age_us(self, now_us: int) -> int:
        """How old the newest frame that it took was then; while it is behind, is now. 0 before its first."""
        last = self.last
        if last is None:
            return 0
        return now_us - last.born_us if self.behind else last.age_us

    def opened(self, now_us: int) -> None:
        """It has a new ticket."""
        self._opened_bytes = self.bytes_sent
        self.opened_us = now_us

    def given_since_us(self, arrived_bytes: int) -> int | None:
        """When it was given the first byte behind these; None if it was given none."""
        since_us = self._given.since_us(arrived_bytes)
        if since_us is None and self.lane is not None:
            since_us = self.lane.given.since_us(arrived_bytes - self._bytes)
        return since_us

    def remember_given(self) -> None:
        """It is about to leave its lane with something on its way."""
        if self.lane is not None:
            self._given.take_over(self.lane.given, self.bytes_sent - self.backlog_bytes, self._bytes)

    def passed(self, last: FrameMark | None, frame: FrameMessage, told: tuple[int, ...]) -> int:
        """It takes `frame` behind `last`: how many of the stream it was to have and was not sent in between.

        told: as in `Books.took`. A splice lasts until the next sync point.
        """
        paused, self.paused = self.paused, False
        missing = self.books.took(last, frame, told, paused)
        if last is None:
            return 0
        if missing or (last.epoch != frame.epoch and not last.is_resumed_by(frame)):
            self.splices += not self.spliced
            self.spliced = True
        if frame.sync and (frame.kind == FrameKind.VIDEO or not self.stream.has_video):
            self.spliced = False
        dropped = 0 if paused else missing
        self.unlogged_drops += dropped
        return dropped

    def took(self, mark: FrameMark, size: int, offset: Offset) -> None:
        """It took a frame that was for it by ticket, of `size` bytes in its form (0 as in `Lane.count`)."""
        self.offset = offset
        self._last = mark
        if size:
            self._frames += 1
            self._bytes += size
            packets, octets = self._rtp[mark.track]
            self._rtp[mark.track] = packets + mark.packets, octets + mark.octets
            self._given.note(self._bytes, mark.came_us)
        else:
            self._unwanted += 1

    def report(self, track: int, data: bytes) -> None:
        """Send it a compound RTCP packet of one track. Raises OSError where its connection is broken."""
        pair = self.channels[track]
        if pair is not None:
            if isinstance(self.outlet, UdpOutlet):
                self.outlet.report(track, data)
            else:
                self.outlet.write(encode_interleaved(pair[1], data))

    def form(self, offset: Offset, new_clock: bool = False) -> Form:
        """The form of a frame for it at this offset."""
        channels = tuple(pair and pair[0] for pair in self.channels)
        return form(self.framing, channels, offset, new_clock)

    def join_lane(self) -> None:
        """Stand with those who get their frames in the same form."""
        wanted = self.form(self.offset)
        lane = self.stream.lanes.get(wanted)
        if lane is None:
            lane = self.stream.lanes[wanted] = Lane(wanted)
        lane.last = self._last
        lane.viewers[self.outlet] = self
        lane.takers.forget()
        self._frames -= lane.frames
        self._unwanted -= lane.unwanted
        self._bytes -= lane.bytes
        self._rtp = [(a - c, b - d) for (a, b), (c, d) in zip(self._rtp, lane.rtp, strict=True)]
        self.lane = lane

    def leave_lane(self) -> None:
        """Stand alone."""
        lane = self.lane
        if lane is None:
            return
        self._last = lane.last
        self._frames += lane.frames
        self._unwanted += lane.unwanted
        self._bytes += lane.bytes
        self._rtp = [(a + c, b + d) for (a, b), (c, d) in zip(self._rtp, lane.rtp, strict=True)]
        self.lane = None
        del lane.viewers[self.outlet]
        lane.takers.forget()
        if not lane.viewers:
            self.stream.lanes.pop(lane.form, None)
