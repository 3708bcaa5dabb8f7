"""A fan-out with viewers on real sockets, whose other ends are read and judged here."""

import socket
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from common.messages import FrameMessage, Message, ReadStart
from server.counters import Counters
from server.fanout import Fanout
from server.frame_buffers import Framing
from server.frame_mark import first_numbers
from server.tcp_outlet import TcpOutlet
from server.viewers import Viewer
from tests.support.frame_source import FrameSource, Judge, SourceFrame

M = TypeVar("M", bound=Message)
AGE_MAX_US = 1_000_000
SEND_BUFFER_BYTES = 4608  # the kernel's least: every large frame is sent in part


class SmallOutlet(TcpOutlet):
    """Its buffer stays as it is; a socket pair takes no time, and its window is what a test says.

    fitted: what the kernel was to hold unsent.
    """

    __slots__ = ("fitted", "window")

    def __init__(self, sock: socket.socket, on_blocked: Callable[[], None]) -> None:
        super().__init__(sock, on_blocked)
        self.fitted: list[int] = []
        self.window = 1 << 30

    @property
    def round_trip_us(self) -> int:
        return 0

    @property
    def window_bytes(self) -> int:
        return self.window

    def fit(self, buffer_bytes: int, unsent_bytes: int) -> None:
        assert buffer_bytes > unsent_bytes > 0
        self.fitted.append(unsent_bytes)


class Peer:
    """A viewer's connection, both ends of it; the client's end is read by a `Judge`."""

    def __init__(self, framing: Framing = Framing.INTERLEAVED, channel: int = 0) -> None:
        self.near, self.far = socket.socketpair()
        self.near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self.near.setblocking(False)
        self.far.setblocking(False)
        self.outlet = SmallOutlet(self.near, self._note_blocked)
        self.judge = Judge(framed=framing is Framing.INTERLEAVED, channel=channel)
        self.framing = framing
        self.channel = channel
        self.blocks = 0
        self.starts = 0
        self.endings: list[str] = []
        self.errors: list[OSError] = []
        self.viewer: Viewer | None = None

    def _note_blocked(self) -> None:
        self.blocks += 1

    def add_to(self, fanout: Fanout, stream: str = "cam") -> Viewer:
        channels = ((self.channel, self.channel + 1),)
        self.viewer = fanout.add(stream, self, self.outlet, self.framing, channels, "peer:1", "agent" * 100)
        return self.viewer

    def read(self, fanout: Fanout, size: int = 1 << 20) -> int:
        """Read so much, then let the near end write on; returns the bytes read."""
        try:
            data = self.far.recv(size)
        except BlockingIOError:
            data = b""
        self.judge.receive(data)
        if self.outlet.blocked and self.viewer is not None and not self.errors:
            self.outlet.flush()
            if not self.outlet.blocked:
                fanout.drained(self.viewer)
        return len(data)

    def close(self) -> None:
        self.near.close()
        self.far.close()

    # as the owner of the viewer

    def broken(self, error: OSError) -> None:
        self.errors.append(error)
        assert self.viewer is not None
        self.fanout_of_broken.remove(self.viewer)

    fanout_of_broken: Fanout

    def starting(self, viewer: Viewer, frame: FrameMessage, clock: int) -> None:
        assert viewer is self.viewer
        self.promised = first_numbers(frame, clock)

    def started(self, viewer: Viewer) -> None:
        assert viewer is self.viewer
        self.starts += 1

    def ended(self, viewer: Viewer, reason: str) -> None:
        assert viewer is self.viewer
        self.endings.append(reason)


class Bench:
    """A fan-out with peers and what it says to the muxer."""

    def __init__(self, open_interval_us: int = 0) -> None:
        self.now_us = 0
        self.said: deque[Message] = deque()
        self.counters = Counters()
        self.fanout = Fanout(
            "server-0", ["cam", "two"], lambda _, message: self.said.append(message), self.counters, self.clock,
            AGE_MAX_US, open_interval_us,
        )  # fmt: skip
        self.source = FrameSource()
        self.peers: list[Peer] = []

    def clock(self) -> int:
        return self.now_us

    def peer(self, framing: Framing = Framing.INTERLEAVED, channel: int = 0, stream: str = "cam") -> Peer:
        peer = Peer(framing, channel)
        peer.fanout_of_broken = self.fanout
        peer.add_to(self.fanout, stream)
        self.peers.append(peer)
        return peer

    def reader(self, framing: Framing = Framing.INTERLEAVED, channel: int = 0) -> tuple[Peer, int]:
        """A peer whose gate is open, and its ticket."""
        peer = self.peer(framing, channel)
        assert peer.viewer is not None
        self.fanout.read_start(peer.viewer)
        start = self.heard(ReadStart)
        return peer, start.ticket

    def heard(self, kind: type[M]) -> M:
        """The oldest thing said, which is of this kind."""
        message = self.said.popleft()
        assert isinstance(message, kind), message
        return message

    def live(self, *tickets: int) -> SourceFrame:
        """A sync point by ticket, after which these are live."""
        frame = self.source.frame(sync=True)
        self.fanout.deliver(frame.addressed(tickets=tickets, live=tickets), frame.data)
        return frame

    def to_live(self, packets: int = 3, sync: bool = False) -> SourceFrame:
        frame = self.source.frame(packets=packets, sync=sync)
        self.fanout.deliver(frame.addressed(to_live=True), frame.data)
        return frame

    def close(self) -> None:
        for peer in self.peers:
            peer.close()


def viewer_of(peer: Peer) -> Viewer:
    assert peer.viewer is not None
    return peer.viewer
