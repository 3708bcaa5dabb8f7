"""The muxer's end of the protocol in `common.messages`, as small as it can be: what the server is tested against.

Nothing is ever dropped here, but where `skips` says so: a viewer that is behind goes on at the newest sync point.
"""

from collections import deque
from dataclasses import dataclass, field

from common.messages import FrameMessage, Message, ReadStart, ReadStop
from tests.support.frame_source import FrameSource, SourceFrame


@dataclass
class _Reading:
    cursor: int | None  # None: at the next sync point
    room_bytes: int


@dataclass
class ModelMuxer:
    """One stream's frames since the start of the epoch, and where each open ticket is in them.

    out: what was said to the server and not fetched yet.
    """

    source: FrameSource
    skips: bool = False
    frames: list[SourceFrame] = field(default_factory=list)
    tickets: dict[int, _Reading] = field(default_factory=dict)
    live: set[int] = field(default_factory=set)
    by_viewer: dict[int, int] = field(default_factory=dict)
    out: deque[tuple[FrameMessage, bytes]] = field(default_factory=deque)

    @property
    def newest_sync(self) -> int | None:
        """The newest frame that a viewer can start at."""
        return next((f.message.number for f in reversed(self.frames) if f.message.sync), None)

    def produce(self, kind: int = 0, sync: bool = False, packets: int = 3, time_us: int | None = None) -> None:
        """One more frame, to everyone it is for."""
        frame = self.source.frame(kind, sync, packets, time_us)
        self.frames.append(frame)
        self._flush(new=frame)

    def hear(self, message: Message) -> None:
        """One message of the server's; Forget and all others that are not listed need no doing."""
        if isinstance(message, ReadStart):
            self._shut(self.by_viewer.get(message.viewer))
            self.by_viewer[message.viewer] = message.ticket
            self.tickets[message.ticket] = _Reading(self._start(message.after), message.room_bytes)
            self._flush()
        elif isinstance(message, ReadStop):
            self._shut(message.ticket)

    def park_all(self) -> None:
        """The way to the server is full: every ticket is parked, by a frame that is for none of them."""
        if self.frames and self.tickets:
            parked = tuple(self.tickets)
            self.tickets.clear()
            self.live.clear()
            self.out.append((self.frames[-1].addressed(parked=parked), self.frames[-1].data))

    def _start(self, after: tuple[int, int] | None) -> int | None:
        if after is None or after[0] != self.source.epoch:
            return self.newest_sync
        newest = self.newest_sync
        return max(after[1] + 1, newest) if self.skips and newest is not None else after[1] + 1

    def _shut(self, ticket: int | None) -> None:
        if ticket is not None:
            self.tickets.pop(ticket, None)
            self.live.discard(ticket)

    def _flush(self, new: SourceFrame | None = None) -> None:
        to_live = new is not None and bool(self.live)
        addressed: dict[int, tuple[list[int], list[int], list[int]]] = {}
        for ticket, reading in list(self.tickets.items()):
            if ticket in self.live:
                continue
            if reading.cursor is None:
                reading.cursor = self.newest_sync
            number = None
            while reading.cursor is not None and reading.cursor < len(self.frames) and reading.room_bytes > 0:
                number = reading.cursor
                addressed.setdefault(number, ([], [], []))[0].append(ticket)
                reading.room_bytes -= len(self.frames[number].data)
                reading.cursor += 1
            if number is None:
                continue
            if reading.cursor == len(self.frames):
                self.live.add(ticket)
                addressed[number][1].append(ticket)
            else:
                self._shut(ticket)
                addressed[number][2].append(ticket)
        if to_live:
            addressed.setdefault(len(self.frames) - 1, ([], [], []))
        for number in sorted(addressed):
            tickets, live, parked = map(tuple, addressed[number])
            frame = self.frames[number]
            is_new = to_live and number == len(self.frames) - 1
            self.out.append(
                (frame.addressed(to_live=is_new, tickets=tickets, live=live, parked=parked), frame.data)
            )
