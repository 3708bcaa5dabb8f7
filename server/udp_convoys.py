"""UDP viewers that have the same before them wait together, in one queue, and are sent the same at once. Pure.

A key frame that is to go out at a pace goes to all live viewers of a stream. So those that are given one stand in
a convoy from then on, which costs Python as much as one viewer does, until its queue is empty and the burst is
theirs again. Whoever is given something that the others are not, or loses something, goes on in one of his own.
"""

from collections.abc import Collection, Hashable
from typing import Generic, TypeVar

from server.datagrams import Datagrams
from server.udp_backlog import Backlog, Pacing

M = TypeVar("M", bound=Hashable)


class Convoy(Generic[M]):
    """Those who wait together; backlog: what each of them has not been sent yet."""

    __slots__ = ("backlog", "members")

    def __init__(self, backlog: Backlog) -> None:
        self.members: dict[M, None] = {}  # a set that keeps its order
        self.backlog = backlog


class Convoys(Generic[M]):
    """All who are paced, or were a moment ago. waiting: the convoys in whose queues there is something."""

    def __init__(self, pacing: Pacing) -> None:
        self._pacing = pacing
        self._of: dict[M, Convoy[M]] = {}
        self.waiting: dict[Convoy[M], None] = {}

    def queued_bytes(self, member: M) -> int:
        """How much has not been sent to one yet."""
        convoy = self._of.get(member)
        return 0 if convoy is None else convoy.backlog.queued_bytes

    def queued_frames(self, member: M) -> int:
        """How many frames have not been sent to one yet, or not whole."""
        convoy = self._of.get(member)
        return 0 if convoy is None else convoy.backlog.frames

    def add(self, members: Collection[M], frame: Datagrams, now_us: int) -> tuple[list[Convoy[M]], list[M]]:
        """Queue a frame for these; the convoys that they are in now, and those before whom there is too much."""
        parts: dict[Convoy[M] | None, list[M]] = {}
        for member in members:
            convoy = self._of.get(member)
            parts.setdefault(convoy, []).append(member)
        anew: list[M] = parts.pop(None, [])
        convoys: list[Convoy[M]] = []
        refused: list[M] = []
        for convoy, part in parts.items():
            assert convoy is not None
            if convoy.backlog.has_rested(now_us):
                anew += part
            elif len(part) == len(convoy.members):
                convoys.append(convoy)
            else:
                convoys.append(self._part(part, convoy.backlog.copy()))
        if anew:
            convoys.append(self._part(anew, Backlog(self._pacing, now_us)))
        for convoy in convoys:
            if not convoy.backlog.add(frame):
                refused += convoy.members
            self.settle(convoy)
        return convoys, refused

    def lost(self, member: M) -> None:
        """What it was sent last was lost: the rest of that frame is not sent to it."""
        convoy = self._of[member]
        if len(convoy.members) > 1:
            convoy = self._part([member], convoy.backlog.copy())
        convoy.backlog.drop_frame()
        self.settle(convoy)

    def settle(self, convoy: Convoy[M]) -> None:
        """Something has been put into its queue, or taken out."""
        if convoy.backlog.queued_bytes:
            self.waiting[convoy] = None
        else:
            self.waiting.pop(convoy, None)

    def drop(self, member: M) -> None:
        """It is gone."""
        convoy = self._of.pop(member, None)
        if convoy is not None:
            self._leave(member, convoy)

    @property
    def waiting_members(self) -> set[M]:
        """Those for whom what comes must queue behind what is there."""
        return {member for convoy in self.waiting for member in convoy.members}

    def _part(self, members: list[M], backlog: Backlog) -> Convoy[M]:
        """A convoy of their own for these."""
        own: Convoy[M] = Convoy(backlog)
        for member in members:
            former = self._of.get(member)
            if former is not None:
                self._leave(member, former)
            own.members[member] = None
            self._of[member] = own
        self.settle(own)
        return own

    def _leave(self, member: M, convoy: Convoy[M]) -> None:
        del convoy.members[member]
        if not convoy.members:
            self.waiting.pop(convoy, None)
