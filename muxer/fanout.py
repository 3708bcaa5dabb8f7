"""One stream's viewers in all server processes: who is sent which frame. Pure.

Viewers that keep up are *live*: a frame goes to each server once, for all its live tickets, and costs the muxer
nothing per viewer. The others are *waiting*: behind, spliced, or new; each has a `ViewerSession` whose drop queue
says what it is sent. A session's gate and cursor move as told by `ReadStart` and `ReadStop`; see
`common.messages` for the protocol.
"""

from collections.abc import Callable

import msgspec

from common.messages import TICKETS_MAX, ReadStart, ReadStop
from muxer.ring import Entry, Limits, Tally
from muxer.session import MediaSession
from muxer.stream import Stream

VIEWERS_MAX = 20_000  # of one stream on one server

Position = tuple[int, int]  # epoch, number


class Parcel(msgspec.Struct):
    """One frame for one server: the addresses of a FrameMessage, within TICKETS_MAX; left_out is by ticket."""

    server: bytes
    number: int
    to_live: bool = False
    tickets: list[int] = []
    live: list[int] = []
    parked: list[int] = []
    left_out: dict[int, Tally] = {}


class ViewerSession(MediaSession):
    """A media session whose reader is in a server process: whole frames, as far as its room goes."""

    def __init__(self, stream: Stream, limits: Limits, clock: Callable[[], int]) -> None:
        super().__init__(stream, limits, clock)
        self.ticket = 0
        self.sent: list[tuple[int, Tally]] = []  # in the newest flush, and what was left out before each
        self.sent_from = 0  # what was settled before that
        self.turn = -1  # when that was
        self._room_bytes = 0

    def open(self, message: ReadStart) -> None:
        """Open the gate; `flush_queue` sends."""
        self.ticket = message.ticket
        self.queue.delay_us = message.delay_us
        self.queue.lowered = message.key_frames_only
        self._room_bytes = message.room_bytes
        self._reading = True

    @property
    def reading(self) -> bool:
        """Whether the gate is open."""
        return self._reading

    def on_send_entry(self, number: int, entry: Entry) -> None:
        """Note the frame; shut the gate when the room is used up."""
        self.sent.append((number, self.queue.left_before))
        self._room_bytes -= len(entry.frame.data)
        if self._room_bytes <= 0 and not self.queue.caught_up:
            self.read_stop()


class _Server:
    """One server process's viewers of the stream."""

    def __init__(self) -> None:
        self.sessions: dict[int, ViewerSession] = {}  # by viewer
        self.readers: dict[int, ViewerSession] = {}  # by ticket: those whose gate is open
        self.live: set[int] = set()  # tickets
        self.waiting: set[int] = set()  # tickets
        self.unparked: list[int] = []  # tickets that the server must be told are parked

    def shut(self, ticket: int) -> ViewerSession | None:
        """Take the ticket out; its session."""
        self.live.discard(ticket)
        self.waiting.discard(ticket)
        return self.readers.pop(ticket, None)


class Fanout:
    """The viewers of one stream. epoch: the muxer's, named in every position."""

    def __init__(self, stream: Stream, epoch: int, limits: Limits, clock: Callable[[], int]) -> None:
        self._stream = stream
        self._epoch = epoch
        self._limits = limits
        self._clock = clock
        self._servers: dict[bytes, _Server] = {}
        self._live_from = 0  # the next frame that live tickets have not been sent
        self._turn = 0  # of `parcels`

    @property
    def viewers(self) -> int:
        """How many there are, reading or not."""
        return sum(len(server.sessions) for server in self._servers.values())

    @property
    def awaits_sync(self) -> bool:
        """Whether a viewer with an open gate can only go on at a sync point."""
        return any(
            server.readers[ticket].queue.waits_for_sync
            for server in self._servers.values()
            for ticket in server.waiting
        )

    @property
    def has_waiting(self) -> bool:
        """Whether `parcels` may have something though no frame has come."""
        return any(server.waiting or server.unparked for server in self._servers.values())

    def is_unsent(self, identity: bytes) -> bool:
        """Whether this server has viewers, and is not sent every frame: none of them is live."""
        server = self._servers.get(identity)
        return server is not None and not server.live and bool(server.sessions)

    def read_start(self, identity: bytes, message: ReadStart) -> bool:
        """Open a viewer's gate; False where VIEWERS_MAX are there already."""
        server = self._servers.setdefault(identity, _Server())
        number = self._number_behind(message.after)
        session = server.sessions.get(message.viewer)
        if session is None:
            if len(server.sessions) >= VIEWERS_MAX:
                return False
            session = server.sessions[message.viewer] = ViewerSession(self._stream, self._limits, self._clock)
            if number is not None:  # its server was taken to be dead, or the stream had moved
                session.queue.go_on(number)
        else:
            self._seek(server, session, number)
        if number is None and message.resume is not None:
            *had, is_whole = message.resume
            session.queue.resume((had[0], had[1]), is_whole, self._clock())
        session.open(message)
        server.readers[message.ticket] = session
        server.waiting.add(message.ticket)
        return True

    def read_stop(self, identity: bytes, message: ReadStop) -> None:
        """Shut a ticket's gate; its cursor goes back to behind what was taken."""
        server = self._servers.get(identity)
        session = server.readers.get(message.ticket) if server is not None else None
        if server is not None and session is not None:
            self._seek(server, session, self._number_behind(message.after))

    def forget(self, identity: bytes, viewer: int) -> None:
        """The viewer is gone."""
        server = self._servers.get(identity)
        session = server.sessions.pop(viewer, None) if server is not None else None
        if server is not None and session is not None:
            server.shut(session.ticket)
            if not server.sessions:
                del self._servers[identity]

    def forget_server(self, identity: bytes) -> None:
        """The server process is gone, with all its viewers."""
        self._servers.pop(identity, None)

    def end(self) -> list[tuple[bytes, int]]:
        """Forget all viewers; the servers and tickets that must be told so."""
        tickets = [
            (identity, ticket)
            for identity, server in self._servers.items()
            for ticket in (*server.readers, *server.unparked)
        ]
        self._servers.clear()
        return tickets

    def parcels(self) -> list[Parcel]:
        """What to send now, oldest frame first for each server. Say `refused` for each that could not be sent."""
        first, head = self._stream.ring.first, self._stream.ring.head
        self._turn += 1
        parcels: list[Parcel] = []
        for identity, server in self._servers.items():
            by_number: dict[int, Parcel] = {}
            if self._live_from < first:  # this process stood still: frames are gone unsent
                self._park(server, self._live_from)
            if server.live:
                for number in range(self._live_from, head):
                    by_number[number] = Parcel(identity, number, to_live=True)
            for ticket in list(server.waiting):
                self._flush_waiting(identity, server, server.readers[ticket], by_number)
            # With the first frame, whoever it is for: the next may be for all that the server takes to be live.
            if server.unparked and (by_number or head > max(self._live_from, first)):
                told = min(by_number, default=head - 1)
                by_number.setdefault(told, Parcel(identity, told)).parked.extend(server.unparked)
                server.unparked.clear()
            for number in sorted(by_number):
                parcels += _split(by_number[number])
        self._live_from = head
        return parcels

    def refused(self, parcel: Parcel) -> None:
        """`parcel` could not be sent, and none of this round after it is: its readers are parked there."""
        server = self._servers.get(parcel.server)
        if server is None:
            return
        self._park(server, parcel.number)
        server.unparked.extend(parcel.parked)

    def enforce(self) -> None:
        """Hold every queue that is not empty to its limits."""
        now_us = self._clock()
        for server in self._servers.values():
            if len(server.live) == len(server.sessions):
                continue  # as a rule
            for session in server.sessions.values():
                if session.ticket not in server.live:
                    session.queue.enforce(now_us)

    def _park(self, server: _Server, number: int) -> None:
        """Shut the gates of all that were, or would be, sent the frame `number`: they did not get it."""
        for ticket, session in list(server.readers.items()):
            if ticket in server.live or session.queue.position > number:
                session.queue.seek(self._unsent_from(session, number, ticket in server.live))
                server.shut(ticket)
                session.read_stop()
                server.unparked.append(ticket)

    def _unsent_from(self, session: ViewerSession, number: int, is_live: bool) -> int:
        """What the session is to be sent next, where nothing from `number` on could be."""
        if session.turn != self._turn:
            return number if is_live else session.queue.settled
        sent = [before for before, _ in session.sent if before < number]
        return sent[-1] + 1 if sent else session.sent_from

    def _flush_waiting(
        self, identity: bytes, server: _Server, session: ViewerSession, by_number: dict[int, Parcel]
    ) -> None:
        session.sent.clear()
        session.turn, session.sent_from = self._turn, session.queue.settled
        session.flush_queue()
        if not session.sent:
            return
        for number, left_out in session.sent:
            parcel = by_number.setdefault(number, Parcel(identity, number))
            parcel.tickets.append(session.ticket)
            if left_out:
                parcel.left_out[session.ticket] = left_out
        last = by_number[session.sent[-1][0]]
        if not session.reading:
            server.shut(session.ticket)
            last.parked.append(session.ticket)
        elif session.queue.caught_up:
            server.waiting.discard(session.ticket)
            server.live.add(session.ticket)
            last.live.append(session.ticket)

    def _number_behind(self, after: Position | None) -> int | None:
        """The number of the frame behind this one; None if there is none, or it is another muxer's."""
        return after[1] + 1 if after is not None and after[0] == self._epoch else None

    def _seek(self, server: _Server, session: ViewerSession, number: int | None) -> None:
        server.shut(session.ticket)
        session.read_stop()
        if number is not None:
            session.queue.seek(number)
        else:
            session.queue.restart(self._clock())


def _split(parcel: Parcel) -> list[Parcel]:
    """The parcel as messages of at most TICKETS_MAX tickets each."""
    tickets, live, parked = parcel.tickets, parcel.live, parcel.parked
    most = max(len(tickets), len(live), len(parked))
    if most <= TICKETS_MAX:
        return [parcel]
    parts = []
    for i in range(0, most, TICKETS_MAX):
        part = slice(i, i + TICKETS_MAX)
        left_out = {ticket: parcel.left_out[ticket] for ticket in tickets[part] if ticket in parcel.left_out}
        parts.append(
            Parcel(
                parcel.server, parcel.number, parcel.to_live and i == 0,
                tickets[part], live[part], parked[part], left_out,
            )
        )  # fmt: skip
    return parts
