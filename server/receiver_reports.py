"""What becomes of the RTCP that viewers send: their reports are kept, and one that keeps losing gets less."""

from collections.abc import Callable, Collection, Iterator

from common.logs import Logger
from server.counters import Counters
from server.fanout import Fanout
from server.frame_buffers import Framing
from server.reception import Members, Reception
from server.rtcp import ReportBlock, ntp_time, parse_reports
from server.viewers import Viewer


class ReceiverReports:
    """clock: monotonic, µs, that of our sender reports."""

    def __init__(self, fanout: Fanout, counters: Counters, log: Logger, clock: Callable[[], int]) -> None:
        self._fanout = fanout
        self._counters = counters
        self._log = log
        self._clock = clock

    def heard(self, viewer: Viewer, data: bytes) -> None:
        """Something came from the viewer on its way for RTCP."""
        for _, block, rate_hz in self._blocks([viewer], data):
            reception = viewer.reception
            if not isinstance(reception, Reception):
                reception = viewer.reception = Reception()
            now_us = self._clock()
            reception.note(block, rate_hz, ntp_time(now_us + viewer.wall_ahead_us), now_us)
            if viewer.framing is Framing.UDP:  # over TCP nothing is lost: `Fanout` sees what is late
                self._lower(viewer, reception)

    def member_heard(self, groups: Collection[Viewer], peer: str, data: bytes) -> None:
        """Something came from "address:port", where a member of these groups is."""
        now_us = self._clock()
        for group, block, rate_hz in self._blocks(groups, data):
            members = group.reception
            if not isinstance(members, Members):
                members = group.reception = Members()
            reception = members.of(peer, now_us)
            if reception is None:
                self._counters.members_unheard += 1
            else:
                reception.note(block, rate_hz, ntp_time(now_us + group.wall_ahead_us), now_us)

    def _blocks(self, viewers: Collection[Viewer], data: bytes) -> Iterator[tuple[Viewer, ReportBlock, int]]:
        """What is reported on RTP streams of these viewers: whose, what, and the rate of its clock, Hz."""
        blocks = parse_reports(data)
        if blocks is None:
            self._counters.rtcp_ignored += 1
            return
        self._counters.reports_received += 1
        known = {
            ssrc: (viewer, rate_hz)
            for viewer in viewers
            if viewer.last is not None
            for ssrc, rate_hz in zip(viewer.ssrcs, viewer.last.rates_hz, strict=True)
        }
        for block in blocks:
            if block.ssrc in known:
                viewer, rate_hz = known[block.ssrc]
                yield viewer, block, rate_hz
            else:
                self._counters.reports_of_others += 1

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
