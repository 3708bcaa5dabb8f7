"""A viewer's gate: when to say ReadStart and ReadStop (`common.messages` has the protocol). Pure.

                     read_start                       live
            CLOSED ------------> CATCHING_UP ------------------> LIVE
                                  ^      |                        |
                                  |      |  blocked, parked       |  blocked, parked
                          drained |      v                        |
                                 WAITING <------------------------+
            CLOSED <-- read_stop -- any

CATCHING_UP: a ticket is open and frames come to it by number. LIVE: every frame of the stream is meant. WAITING:
the viewer wants to read, but has more before it than it can take in time; no ticket is open. A ticket that is not
the gate's present one is stale: what comes for it is ignored.

Each input returns the message to send, or None; or all messages, where a muxer has lost its viewers. `after` is
always the position of the last frame that the viewer took, and `room` what may be sent to it, None while that is
nothing.
"""

from collections.abc import Iterator
from enum import Enum

from common.messages import ReadStart, ReadStop
from common.sample import Payload
from server.pacing import Room

Position = tuple[int, int]  # epoch and number of a frame
Resume = tuple[int, int, bool]  # as in ReadStart
_LEAST = Room(1)  # a frame that comes before the gate is shut is in vain


class Gate(Enum):
    """The states; see the module's docstring."""

    CLOSED = "closed"
    CATCHING_UP = "catching up"
    LIVE = "live"
    WAITING = "waiting"


class Flow:
    """The gate of one viewer. tickets: gives numbers never used before on this server.

    key_frames_only: of video nothing else is asked for.
    """

    __slots__ = (
        "_resume", "_tickets", "gate", "key_frames_only", "payload", "stream", "ticket", "viewer",
    )  # fmt: skip

    def __init__(self, viewer: int, stream: str, tickets: Iterator[int], payload: Payload = Payload.TS) -> None:
        self.viewer = viewer
        self.stream = stream
        self.payload = payload
        self.gate = Gate.CLOSED
        self.ticket: int | None = None
        self.key_frames_only = False
        self._tickets = tickets
        self._resume: Resume | None = None

    @property
    def reading(self) -> bool:
        """Whether the viewer wants to read."""
        return self.gate is not Gate.CLOSED

    def read_start(self, after: Position | None, room: Room | None) -> ReadStart | None:
        """PLAY, or GET. Nothing changes if the gate is open."""
        return self._open(after, room) if self.gate is Gate.CLOSED else None

    def read_stop(self, after: Position | None) -> ReadStop | None:
        """PAUSE: not one more frame."""
        return self._shut(Gate.CLOSED, after)

    def blocked(self, after: Position | None) -> ReadStop | None:
        """A frame came that the socket does not take, or would not deliver in time. Only with an open ticket."""
        return self._shut(Gate.WAITING, after)

    def drained(self, after: Position | None, room: Room | None) -> ReadStart | None:
        """Perhaps the viewer takes data again."""
        return self._open(after, room) if self.gate is Gate.WAITING else None

    def took(self) -> None:
        """A frame came by ticket and was taken."""
        self._resume = None

    def live(self) -> None:
        """The ticket has caught up."""
        if self.gate is Gate.CATCHING_UP:
            self.gate = Gate.LIVE

    def parked(self, after: Position | None, room: Room | None) -> ReadStart | None:
        """The ticket gets nothing more. Only with an open ticket."""
        return self._open(after, room)

    def muxer_replaced(
        self, after: Position | None, resume: Resume | None, room: Room | None
    ) -> tuple[ReadStart | ReadStop | None, ...]:
        """Another muxer has the stream now: it knows of no ticket, and of no position unless it had it before."""
        self._resume = resume
        return self.muxer_forgot(after, room)

    def muxer_forgot(self, after: Position | None, room: Room | None) -> tuple[ReadStart | ReadStop | None, ...]:
        """The same muxer may have lost what was said, or we what it sent: open the ticket anew.

        A gate that is to stay shut is opened and shut again: so it knows that the viewer is there.
        """
        stays = Gate.WAITING if self.reading else Gate.CLOSED
        if stays is Gate.WAITING and room is not None:
            return (self._open(after, room),)
        if stays is Gate.CLOSED and after is None:
            return ()  # it has not begun: no muxer knew of it
        return self._open(after, _LEAST), self._shut(stays, after)

    def lower(self, key_frames_only: bool, after: Position | None, room: Room | None) -> ReadStart | None:
        """It shall get key frames only, or everything again: a ticket that is open is replaced, one to come is so.

        Without room that is when it has drained: the next frame finds it blocked.
        """
        if key_frames_only is self.key_frames_only:
            return None
        self.key_frames_only = key_frames_only
        return None if self.ticket is None or room is None else self._open(after, room)

    def _open(self, after: Position | None, room: Room | None) -> ReadStart | None:
        if room is None:
            self.gate = Gate.WAITING
            self.ticket = None
            return None
        self.gate = Gate.CATCHING_UP
        self.ticket = next(self._tickets)
        return ReadStart(
            self.viewer, self.ticket, self.stream, after, room.bytes, room.delay_us, self.key_frames_only,
            self._resume, self.payload,
        )  # fmt: skip

    def _shut(self, gate: Gate, after: Position | None) -> ReadStop | None:
        ticket, self.ticket = self.ticket, None
        self.gate = gate
        return None if ticket is None else ReadStop(ticket, after)
