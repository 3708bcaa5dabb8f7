"""What a viewer says of what it gets, and what follows from that. Pure.

A receiver reports every few seconds how much of what it was sent it has not got (RFC 3550 6.4.1). One over UDP
that keeps losing packets sees broken pictures, one after the other: it is better off with key frames only, each
whole or not there, until they have arrived for a while.
"""

from collections.abc import Mapping

from server.rtcp import ReportBlock

LOSS_BAD = 0.05  # of the packets: with some 10 to 100 a picture, most pictures are hit
LOSS_GOOD = 0.01
REPORT_US_MIN = 900_000  # what comes sooner after another is not counted
BAD_REPORTS = 2  # in a row: one may be a single burst
GOOD_REPORTS = 3
GOOD_REPORTS_MAX = 24  # it doubles with each relapse
LATE_US = 60_000_000  # a relapse is a loss within this of having everything again
ROUND_TRIP_US_MAX = 60_000_000  # more is no round trip but another clock
TRACKS_MAX = 2  # kept; a stream has no more
MEMBERS_MAX = 100  # of a multicast group, whose reports are kept
MEMBER_SILENT_US = 60_000_000  # then it has left, or cannot be heard


class Reception:
    """One viewer's reports.

    fraction_lost: 0 to 1, packets_lost: since its start, jitter_us: each of the worst of its tracks, as of their
    newest reports. round_trip_us: None as long as it is not known. key_frames_only: whether it should get no more.
    """

    __slots__ = ("_bad", "_good", "_good_needed", "_heard_us", "_newest", "_raised_us", "key_frames_only",
                 "round_trip_us")  # fmt: skip

    def __init__(self) -> None:
        self.round_trip_us: int | None = None
        self.key_frames_only = False
        self._newest: dict[int, tuple[float, int, int]] = {}  # by SSRC: fraction, lost in all, jitter in µs
        self._bad = 0
        self._good = 0
        self._good_needed = GOOD_REPORTS
        self._heard_us: int | None = None
        self._raised_us: int | None = None

    @property
    def fraction_lost(self) -> float:
        """0 to 1."""
        return max((fraction for fraction, _, _ in self._newest.values()), default=0.0)

    @property
    def packets_lost(self) -> int:
        """Of all tracks; packets that come twice count less."""
        return sum(lost for _, lost, _ in self._newest.values())

    @property
    def jitter_us(self) -> int:
        """µs."""
        return max((jitter for _, _, jitter in self._newest.values()), default=0)

    def note(self, block: ReportBlock, rate_hz: int, ntp: int, now_us: int) -> None:
        """A report on one of the viewer's own SSRCs has come.

        rate_hz: of its RTP clock. ntp: now, as in our sender reports.
        """
        if block.ssrc not in self._newest and len(self._newest) >= TRACKS_MAX:
            self._newest.clear()  # another muxer has other numbers
        jitter_us = block.jitter * 1_000_000 // rate_hz
        self._newest[block.ssrc] = (block.fraction_lost, block.packets_lost, jitter_us)
        if block.last_report:
            units = ((ntp >> 16) - block.last_report - block.delay) % (1 << 32)  # of 1/65536 s
            round_trip_us = units * 1_000_000 >> 16
            if round_trip_us <= ROUND_TRIP_US_MAX:
                self.round_trip_us = round_trip_us
        if self._heard_us is None or now_us - self._heard_us >= REPORT_US_MIN:
            self._heard_us = now_us
            self._judge(now_us)

    def _judge(self, now_us: int) -> None:
        self._bad = self._bad + 1 if self.fraction_lost >= LOSS_BAD else 0
        self._good = self._good + 1 if self.fraction_lost <= LOSS_GOOD else 0
        if not self.key_frames_only and self._bad >= BAD_REPORTS:
            relapse = self._raised_us is not None and now_us - self._raised_us < LATE_US
            self._good_needed = min(self._good_needed * 2, GOOD_REPORTS_MAX) if relapse else GOOD_REPORTS
            self.key_frames_only = True
        elif self.key_frames_only and self._good >= self._good_needed:
            self._raised_us = now_us
            self.key_frames_only = False


class Members:
    """The members of a multicast group, each with what it has reported: the figures are the worst of all.

    What one of them loses changes nothing for the others: nobody gets key frames only.
    """

    key_frames_only = False

    def __init__(self) -> None:
        self._heard: dict[str, tuple[int, Reception]] = {}  # by address, who has been silent for longest first

    def of(self, peer: str, now_us: int) -> Reception | None:
        """That of the member at this address, which is heard now; None where MEMBERS_MAX others have been."""
        self.lately(now_us)
        _, reception = self._heard.pop(peer, (0, None))
        if reception is None:
            if len(self._heard) >= MEMBERS_MAX:
                return None
            reception = Reception()
        self._heard[peer] = now_us, reception
        return reception

    def lately(self, now_us: int) -> Mapping[str, Reception]:
        """Those that have been heard in the last MEMBER_SILENT_US, by address; the others are forgotten."""
        for peer, (heard_us, _) in list(self._heard.items()):
            if now_us - heard_us < MEMBER_SILENT_US:
                break
            del self._heard[peer]
        return {peer: reception for peer, (_, reception) in self._heard.items()}

    @property
    def fraction_lost(self) -> float:
        """0 to 1."""
        return max((reception.fraction_lost for _, reception in self._heard.values()), default=0.0)

    @property
    def packets_lost(self) -> int:
        """Of the member that has lost most."""
        return max((reception.packets_lost for _, reception in self._heard.values()), default=0)

    @property
    def jitter_us(self) -> int:
        """µs."""
        return max((reception.jitter_us for _, reception in self._heard.values()), default=0)

    @property
    def round_trip_us(self) -> int | None:
        """µs."""
        known = [reception.round_trip_us for _, reception in self._heard.values()]
        return max((round_trip_us for round_trip_us in known if round_trip_us is not None), default=None)
