"""What becomes of the RTCP that viewers send: their reports are kept, and one that keeps losing gets less."""

from collections.abc import Callable

from common.logs import Logger
from server.counters import Counters
from server.fanout import Fanout
from server.frame_buffers import Framing
from server.reception import Reception
from server.rtcp import ntp_time, parse_reports
from server.viewers import Viewer


class ReceiverReports:
    """clock: monotonic, wall: since 1970; both in µs, and the wall clock that of our sender reports."""

    def __init__(
        self, fanout: Fanout, counters: Counters, log: Logger, clock: Callable[[], int], wall: Callable[[], int]
    ) -> None:
        self._fanout = fanout
        self._counters = counters
        self._log = log
        self._clock = clock
        self._wall = wall

    def heard(self, viewer: Viewer, data: bytes) -> None:
        """Something came from the viewer on its way for RTCP."""
        blocks = parse_reports(data)
        if blocks is None:
            self._counters.rtcp_ignored += 1
            return
        self._counters.reports_received += 1
        last = viewer.last
        rates_hz = dict(zip(viewer.ssrcs, last.rates_hz, strict=True)) if last is not None else {}
        for block in blocks:
            rate_hz = rates_hz.get(block.ssrc)
            if rate_hz is None:
                self._counters.reports_of_others += 1
                continue
            reception = viewer.reception
            if reception is None:
                reception = viewer.reception = Reception()
            reception.note(block, rate_hz, ntp_time(self._wall()), self._clock())
            if viewer.framing is Framing.UDP:  # over TCP nothing is lost: `Fanout` sees what is late
                self._lower(viewer, reception)

    def _lower(self, viewer: Viewer, reception: Reception) -> None:
        wanted = reception.key_frames_only
        if wanted is viewer.flow.key_frames_only:
            return
        self._counters.viewers_lowered += wanted
        self._fanout.key_frames_only(viewer, wanted)
        self._log.info(
            "viewer_lowered" if wanted else "viewer_raised", viewer=viewer.id, stream=viewer.stream.name,
            peer=viewer.peer, loss_percent=round(reception.fraction_lost * 100, 1),
        )  # fmt: skip
