"""When each RTSP viewer gets its sender report, and what is in it (RFC 3550 section 6)."""

from collections import deque
from collections.abc import Callable

from common.clock import RTP_WRAP, ticks
from server.counters import Counters
from server.rtcp import goodbye, ntp_time, sender_report
from server.viewers import Viewer

INTERVAL_US = 5_000_000  # RFC 3550 6.2: the recommended minimum
AGE_MAX_US = 60_000_000  # a frame older than any queue lets one become has times of its own


class SenderReports:
    """The first report of each viewer at once, the others every INTERVAL_US; and the goodbyes.

    clock: monotonic, wall: since 1970; both in µs. cname: names this host's clock. For each viewer the wall
    clock is looked at once: players take what they are told for one clock, which nobody sets.
    """

    def __init__(self, counters: Counters, clock: Callable[[], int], wall: Callable[[], int], cname: str) -> None:
        self._counters = counters
        self._clock = clock
        self._wall = wall
        self._cname = cname
        self._due: deque[tuple[int, Viewer]] = deque()  # in order, for all wait equally long

    @property
    def due_us(self) -> int | None:
        """When `tick` has something to do."""
        return self._due[0][0] if self._due else None

    def start(self, viewer: Viewer) -> None:
        """Send the first report to a viewer that has its first frame; more come by `tick`."""
        now_us = self._clock()
        viewer.wall_ahead_us = self._wall() - now_us
        self._due.append((now_us + INTERVAL_US, viewer))
        self._send(viewer)

    def stop(self, viewer: Viewer) -> None:
        """Send the goodbye; nothing to a viewer that never had a frame."""
        if viewer.last is not None:
            self._report(viewer, goodbye)

    def tick(self) -> None:
        """Send the reports that are due. A viewer that is behind gets its next one instead."""
        now_us = self._clock()
        while self._due and self._due[0][0] <= now_us:
            _, viewer = self._due.popleft()
            if viewer not in viewer.stream.viewers:
                continue
            self._due.append((now_us + INTERVAL_US, viewer))
            if viewer.outlet.blocked or not viewer.flow.reading:
                continue
            self._send(viewer)

    def _send(self, viewer: Viewer) -> None:
        if self._report(viewer, sender_report):
            self._counters.reports_sent += 1

    def _report(self, viewer: Viewer, make: Callable[[int, int, int, int, int, str], bytes]) -> bool:
        """One of each track that the viewer has set up, of the same instant.

        Whether they could be sent: if not, the viewer's owner has been told.
        """
        last = viewer.last
        assert last is not None
        now_us = self._clock()
        passed_us = now_us - last.born_us  # since the frame, for the wall clock goes on
        if not 0 <= passed_us < AGE_MAX_US:
            passed_us = 0
        ntp = ntp_time(now_us + viewer.wall_ahead_us)
        try:
            for track, (channels, ssrc) in enumerate(zip(viewer.channels, viewer.ssrcs, strict=False)):
                if channels is None:
                    continue
                clock = (
                    last.clocks[track] + viewer.offset.of(track).clock + ticks(passed_us, last.rates_hz[track])
                ) % RTP_WRAP
                viewer.report(track, make(ssrc, ntp, clock, *viewer.rtp_sent(track), self._cname))
        except OSError as error:
            viewer.owner.broken(error)
            return False
        return True
