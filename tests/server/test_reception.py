"""What a viewer's reports say, and when it is given less."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.reception import (
    GOOD_REPORTS,
    GOOD_REPORTS_MAX,
    LATE_US,
    MEMBER_SILENT_US,
    MEMBERS_MAX,
    REPORT_US_MIN,
    Members,
    Reception,
)
from server.rtcp import ReportBlock, ntp_time

INTERVAL_US = 5_000_000


def block(
    fraction: float = 0.0, ssrc: int = 1, lost: int = 0, jitter: int = 0, last_report: int = 0, delay: int = 0
) -> ReportBlock:
    return ReportBlock(ssrc, fraction, lost, 0, jitter, last_report, delay)


class Reporter:
    """A viewer that reports every five seconds."""

    def __init__(self) -> None:
        self.reception = Reception()
        self.now_us = 0

    def report(self, fraction: float, after_us: int = INTERVAL_US) -> bool:
        self.now_us += after_us
        self.reception.note(block(fraction), 90_000, ntp_time(self.now_us), self.now_us)
        return self.reception.key_frames_only


def test_the_figures_are_of_the_newest_reports() -> None:
    reception = Reception()
    assert (reception.fraction_lost, reception.packets_lost, reception.jitter_us) == (0.0, 0, 0)
    reception.note(block(0.25, ssrc=1, lost=10, jitter=900), 90_000, 0, 0)
    reception.note(block(0.5, ssrc=2, lost=-3, jitter=480), 48_000, 0, 0)
    assert (reception.fraction_lost, reception.packets_lost, reception.jitter_us) == (0.5, 7, 10_000)
    reception.note(block(0.0, ssrc=2, lost=0, jitter=48), 48_000, 0, 0)
    assert (reception.fraction_lost, reception.packets_lost, reception.jitter_us) == (0.25, 10, 10_000)
    reception.note(block(0.0, ssrc=3), 90_000, 0, 0)
    assert reception.fraction_lost == 0.0


@pytest.mark.parametrize("wall_us", [0, 1_700_000_000_000_000, (1 << 32) * 1_000_000 - 100_000])
@pytest.mark.parametrize("round_trip_us", [0, 1000, 250_000, 59_000_000])
def test_the_round_trip(wall_us: int, round_trip_us: int) -> None:
    reception = Reception()
    sent = ntp_time(wall_us) >> 16 & 0xFFFFFFFF
    if not sent:
        sent = 1
    now = ntp_time(wall_us + round_trip_us + 2_000_000)
    reception.note(block(last_report=sent, delay=2 << 16), 90_000, now, 0)
    assert reception.round_trip_us == pytest.approx(round_trip_us, abs=50)


def test_no_round_trip_from_nonsense() -> None:
    reception = Reception()
    reception.note(block(), 90_000, ntp_time(0), 0)
    reception.note(block(last_report=5, delay=0), 90_000, ntp_time(10**15), 0)
    assert reception.round_trip_us is None


def test_one_bad_report_is_forgiven_and_two_are_not() -> None:
    viewer = Reporter()
    assert not viewer.report(0.3)
    assert not viewer.report(0.03)
    assert not viewer.report(0.3)
    assert viewer.report(0.3)


def test_it_gets_everything_again_when_all_has_arrived_for_a_while() -> None:
    viewer = Reporter()
    assert [viewer.report(0.1), viewer.report(0.1)] == [False, True]
    assert all(viewer.report(0.0) for _ in range(GOOD_REPORTS - 1))
    assert viewer.report(0.02)  # not good enough, and it begins anew
    assert all(viewer.report(0.0) for _ in range(GOOD_REPORTS - 1))
    assert not viewer.report(0.0)


def test_each_relapse_makes_it_wait_for_longer() -> None:
    viewer = Reporter()
    waited = []
    for _ in range(6):
        while not viewer.report(0.1):
            pass
        reports = 1
        while viewer.report(0.0):
            reports += 1
        waited.append(reports)
    assert waited == [3, 6, 12, 24, 24, 24]
    assert max(waited) == GOOD_REPORTS_MAX
    viewer.report(0.0, after_us=LATE_US)
    assert [viewer.report(0.1), viewer.report(0.1)] == [False, True]
    assert all(viewer.report(0.0) for _ in range(GOOD_REPORTS - 1))
    assert not viewer.report(0.0)


def test_a_storm_of_reports_counts_as_one() -> None:
    viewer = Reporter()
    assert not any(viewer.report(0.5, after_us=1) for _ in range(1000))
    assert viewer.report(0.5, after_us=REPORT_US_MIN)


@given(
    st.lists(
        st.builds(
            ReportBlock, st.integers(0, 5), st.floats(0, 1), st.integers(-(1 << 23), 1 << 23),
            st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 32) - 1),
            st.integers(0, (1 << 32) - 1),
        )
    )
)  # fmt: skip
def test_any_report_is_taken(blocks: list[ReportBlock]) -> None:
    reception = Reception()
    for number, one in enumerate(blocks):
        reception.note(one, 90_000, ntp_time(number * INTERVAL_US), number * INTERVAL_US)
        assert 0 <= reception.fraction_lost <= 1
        assert reception.jitter_us >= 0


def test_members_are_judged_each_by_itself_and_the_worst_is_shown() -> None:
    members = Members()
    assert (members.fraction_lost, members.packets_lost, members.jitter_us, members.round_trip_us) == (
        0,
        0,
        0,
        None,
    )
    for peer, fraction, lost in (("a:1", 0.25, 7), ("b:1", 0.5, 3)):
        reception = members.of(peer, 0)
        assert reception is not None
        reception.note(ReportBlock(1, fraction, lost, 0, 90, 0, 0), 90_000, ntp_time(0), 0)
    assert (members.fraction_lost, members.packets_lost, members.jitter_us) == (0.5, 7, 1000)
    assert not members.key_frames_only
    assert members.of("a:1", 1) is members.lately(1)["a:1"]


def test_members_are_so_many_at_most_and_who_is_silent_makes_room() -> None:
    members = Members()
    for number in range(MEMBERS_MAX):
        assert members.of(f"{number}", number) is not None
    assert members.of("more", MEMBERS_MAX) is None
    assert members.of("0", MEMBERS_MAX) is not None, "one of them"
    assert members.of("more", 1 + MEMBER_SILENT_US) is not None, "1 has been silent"
    assert list(members.lately(2 + MEMBER_SILENT_US))[-2:] == ["0", "more"]
    assert len(members.lately(2 + MEMBER_SILENT_US)) == MEMBERS_MAX - 1
