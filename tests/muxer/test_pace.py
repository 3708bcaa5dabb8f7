"""Who cannot keep up, and when he is tried again."""

from muxer.pace import KEPT_UP_US, PAUSE_US, PAUSE_US_MAX, SPLICES_MAX, WINDOW_US, Pace


def splice_until_slow(pace: Pace, now_us: int) -> int:
    """Splice a second apart until it is key frames only; returns when that was."""
    for _ in range(SPLICES_MAX):
        assert not pace.key_frames_only(now_us)
        pace.spliced(now_us)
        now_us += 1_000_000
    assert pace.key_frames_only(now_us - 1_000_000)
    return now_us - 1_000_000


def test_a_few_splices_far_apart_are_nothing() -> None:
    pace = Pace()
    for i in range(20):
        pace.spliced(i * WINDOW_US)
        assert not pace.key_frames_only(i * WINDOW_US)


def test_the_pause_ends_and_doubles_up_to_its_limit() -> None:
    pace, now_us, pauses_us = Pace(), 0, []
    for _ in range(6):
        slow_at_us = splice_until_slow(pace, now_us)
        now_us = slow_at_us
        while pace.key_frames_only(now_us):
            now_us += 1_000_000
        pauses_us.append(now_us - slow_at_us)
    assert pauses_us == [PAUSE_US, 2 * PAUSE_US, 4 * PAUSE_US, PAUSE_US_MAX, PAUSE_US_MAX, PAUSE_US_MAX]


def test_who_kept_up_for_long_begins_anew() -> None:
    pace = Pace()
    slow_at_us = splice_until_slow(pace, 0)
    slow_at_us = splice_until_slow(pace, slow_at_us + PAUSE_US)
    now_us = slow_at_us + 2 * PAUSE_US
    assert not pace.key_frames_only(now_us)
    pace.spliced(now_us)
    slow_at_us = splice_until_slow(pace, now_us + KEPT_UP_US + 1)
    assert pace.key_frames_only(slow_at_us + PAUSE_US - 1)
    assert not pace.key_frames_only(slow_at_us + PAUSE_US)
