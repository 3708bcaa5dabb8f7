"""What the kernel is asked about a viewer, and what that makes of it: `server.pacing` has the theory."""

from collections.abc import Callable

from server.pacing import LONG_US, Room, is_in_time, slow_room, socket_buffers
from server.udp_outlet import UdpOutlet
from server.viewers import Viewer

FIRST_FRAME = Room(1)  # its first picture alone: those of all who join come before what others have to catch up


class Queues:
    """Of all viewers. age_max_us: as in `common.config.Viewer`, µs."""

    def __init__(self, clock: Callable[[], int], age_max_us: int) -> None:
        self._clock = clock
        self._age_max_us = age_max_us

    def fit(self, viewer: Viewer) -> None:
        """Have the viewer's kernel hold as much as it should."""
        viewer.outlet.fit(*socket_buffers(viewer.stream.rate.bps, self._age_max_us, viewer.slow))

    def note_slow(self, viewer: Viewer, slow: bool) -> None:
        """It has been found slow; or not so any more."""
        if slow is not viewer.slow:
            viewer.slow = slow
            self.fit(viewer)

    def room(self, viewer: Viewer) -> Room | None:
        """What the viewer may be given now; None for nothing."""
        if viewer.outlet.blocked:
            return None
        if viewer.last is None:
            return FIRST_FRAME
        if isinstance(viewer.outlet, UdpOutlet):
            return Room(viewer.outlet.room_bytes)
        backlog_bytes = viewer.backlog_bytes
        queued_us = self._queued_us(viewer, backlog_bytes)
        if not is_in_time(queued_us, self._age_max_us):
            return None
        now_us = self._clock()
        # Where nothing is unsent the kernel does not ask for a window again: now and then a frame has it do so.
        asked = not backlog_bytes and now_us - viewer.last.came_us >= self._age_max_us
        if viewer.slow and not asked and viewer.outlet.window_bytes <= backlog_bytes:
            return None
        if now_us - viewer.connected_us < self._age_max_us:
            # What it starts with is older than that, and of a thousand who come at once all may be late.
            return Room(viewer.room_bytes)
        return slow_room(viewer.room_bytes, queued_us, viewer.outlet.round_trip_us, self._age_max_us)

    def are_short(self, viewer: Viewer) -> bool:
        """Whether a viewer that reads may be given more: ask now and then, nobody tells when a path slows.

        One that has kept up for as long as the bound is not slow any more.
        """
        queued_us = self._queued_us(viewer, viewer.backlog_bytes)
        if viewer.slow and viewer.lane is not None and queued_us <= LONG_US:
            self.note_slow(viewer, self._clock() - viewer.opened_us <= self._age_max_us)
        return is_in_time(queued_us, self._age_max_us)

    def _queued_us(self, viewer: Viewer, backlog_bytes: int) -> int:
        """For how long what the viewer is sent stands in queues; of one that is not slow 0 up to LONG_US."""
        since_us = viewer.given_since_us(viewer.bytes_sent - backlog_bytes) if backlog_bytes else None
        if since_us is None:
            return 0
        waited_us = self._clock() - since_us
        if waited_us <= LONG_US and not viewer.slow:
            return 0
        return max(waited_us - viewer.outlet.round_trip_us, 0)
