"""How much a viewer's kernel may hold, and what a slow viewer is given."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.pacing import (
    BUFFER_BYTES_MAX,
    BUFFER_BYTES_MIN,
    DELAY_US_MAX,
    PACE_FIRST_US_MIN,
    PACE_SILENCE_US_MAX,
    PACE_US_MIN,
    PACE_WINDOW_US,
    ROOM_BYTES,
    STREAM_BPS_ASSUMED,
    UNSENT_BYTES_MAX,
    UNSENT_BYTES_MIN,
    Pace,
    Room,
    StreamRate,
    socket_buffers,
)

AGE_MAX_US = 1_000_000
MBPS = 1_000_000
S = 1_000_000  # µs


def test_buffers_of_a_camera() -> None:
    buffers = socket_buffers(4 * MBPS, AGE_MAX_US)
    assert buffers == (500_000 // 2 * 5 // 4, 16_384)
    assert buffers.buffer_bytes * 4 // 5 >= 500_000 * 3 // 10  # 300 ms of it may be on their way
    assert socket_buffers(20 * MBPS, AGE_MAX_US).unsent_bytes == 2_500_000 * 32 // 1000
    assert socket_buffers(4 * MBPS, AGE_MAX_US // 2).buffer_bytes == 500_000 // 4 * 5 // 4


@given(st.integers(0, 1 << 40), st.integers(1000, 3_600_000_000))
def test_buffers_have_limits(bps: int, age_max_us: int) -> None:
    buffer_bytes, unsent_bytes = socket_buffers(bps, age_max_us)
    assert BUFFER_BYTES_MIN <= buffer_bytes <= BUFFER_BYTES_MAX
    assert UNSENT_BYTES_MIN <= unsent_bytes <= UNSENT_BYTES_MAX


def play(rate: StreamRate, frames: int, size: int, epoch: int = 1, first: int = 0, since_us: int = 0) -> int:
    """So many frames, 25 a second; how often the rate moved."""
    return sum(rate.note(epoch, first + n, since_us + n * 40_000, size) for n in range(frames))


def test_a_streams_rate() -> None:
    rate = StreamRate()
    assert rate.bps == STREAM_BPS_ASSUMED
    assert play(rate, 50, 50_000) == 0  # not 2 s yet
    assert play(rate, 1, 50_000, first=50, since_us=2 * S) == 1
    assert rate.bps == 25 * 50_000 * 8
    assert play(rate, 500, 60_000, first=51, since_us=51 * 40_000) == 0  # not another by far
    assert rate.bps == 25 * 50_000 * 8


def test_frames_that_come_again_do_not_count() -> None:
    rate = StreamRate()
    for n in range(51):
        for again in range(3):
            assert rate.note(1, max(n - again, 0), n * 40_000, 50_000) is (n == 50 and not again)
    assert rate.bps == 25 * 50_000 * 8


@pytest.mark.parametrize(("epoch", "first", "since_us"), [(2, 0, 0), (1, 60, 60 * 40_000), (1, 40, -9 * S)])
def test_after_a_hole_or_a_jump_it_is_measured_anew(epoch: int, first: int, since_us: int) -> None:
    rate = StreamRate()
    play(rate, 40, 1_000_000)
    assert play(rate, 49, 50_000, epoch, first, since_us) == 0
    assert play(rate, 2, 50_000, epoch, first + 49, since_us + 49 * 40_000) == 1
    assert rate.bps == 25 * 50_000 * 8


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 50), st.integers(-S, 99 * S), st.integers(1, 1 << 24)))
)
def test_whatever_comes_is_no_fault(frames: list[tuple[int, int, int, int]]) -> None:
    rate = StreamRate()
    for epoch, number, time_us, size in frames:
        before = rate.bps
        assert rate.note(epoch, number, time_us, size) is (rate.bps != before)
        assert rate.bps >= 0


def measured(*notes: tuple[int, int, int]) -> Pace:
    """A pace with these noted: when (ms), delivered, backlog."""
    pace = Pace(AGE_MAX_US)
    for at_ms, delivered, backlog in notes:
        pace.note(at_ms * 1000, delivered, backlog)
    return pace


def test_a_pace_is_measured_while_something_waits() -> None:
    pace = measured((0, 0, 9000))
    assert pace.bytes_per_s is None
    assert pace.room(9000, 4 * MBPS) == Room(ROOM_BYTES, 0)
    pace.note(PACE_FIRST_US_MIN - 1, 5000, 9000)
    assert pace.bytes_per_s is None
    pace.note(200_000, 10_000, 9000)
    assert pace.bytes_per_s == 50_000
    pace.note(PACE_US_MIN - 1, 90_000, 9000)  # a step of the window: too soon to tell
    assert pace.bytes_per_s == 50_000
    pace.note(1_000_000, 40_000, 9000)
    assert pace.bytes_per_s == 40_000


def test_old_measurements_are_forgotten() -> None:
    pace = measured(*((ms, ms * 500, 9000) for ms in range(0, 5000, 100)))
    assert pace.bytes_per_s == 500_000
    for ms in range(5000, 8000, 100):
        pace.note(ms * 1000, 5000 * 500 + (ms - 5000) * 50, 9000)
    assert pace.bytes_per_s == 50_000


def test_a_pause_between_acknowledgements_is_no_stillness() -> None:
    pace = measured((0, 0, 9000), (400, 0, 9000))  # a round trip may take so long
    assert pace.bytes_per_s is None
    pace.note(PACE_WINDOW_US, 0, 9000)
    assert pace.bytes_per_s == 0
    assert pace.room(9000, 4 * MBPS) is None
    assert pace.drain_us(9000) == DELAY_US_MAX


def test_who_has_taken_all_is_faster_than_was_seen() -> None:
    pace = measured((0, 0, 9000), (1000, 50_000, 9000))
    assert pace.bytes_per_s == 50_000
    pace.note(1_100_000, 70_000, 0)
    assert pace.bytes_per_s == 100_000
    pace.note(1_200_000, 70_000, 0)  # once for each time that it had something before it
    assert pace.bytes_per_s == 100_000
    pace.note(9_000_000, 70_000, 9000)
    pace.note(10_000_000, 200_000, 9000)
    assert pace.bytes_per_s == 130_000


def test_nothing_is_concluded_from_a_time_when_nobody_looked() -> None:
    pace = measured((0, 0, 9000), (1000, 50_000, 9000))
    pace.note(S + PACE_SILENCE_US_MAX + 1, 50_001, 9000)
    assert pace.bytes_per_s == 50_000


def test_a_slow_viewer_is_given_what_arrives_in_time() -> None:
    half = measured((0, 0, 9000), (1000, 250_000, 9000))
    assert half.room(0, 4 * MBPS) == Room(12_500, 50_000)
    assert half.room(25_000, 4 * MBPS) == Room(12_500, 150_000)
    assert half.room(100_000, 4 * MBPS) == Room(12_500, 450_000)
    assert half.room(100_001, 4 * MBPS) is None  # 400 ms of it are before what would come now


def test_a_fast_viewer_is_given_much_and_its_delay_is_told() -> None:
    pace = measured((0, 0, 9000), (1000, 1_000_000, 9000))
    assert pace.room(300_000, 4 * MBPS) == Room(ROOM_BYTES, 300_000)
    assert pace.room(300_000, 5 * MBPS) == Room(50_000, 350_000)


@given(
    st.lists(st.tuples(st.integers(0, 2 * S), st.integers(0, 1 << 30), st.integers(0, 1 << 30)), max_size=20),
    st.integers(0, 1 << 30), st.integers(0, 1 << 32), st.integers(1000, 3_600_000_000),
)  # fmt: skip
def test_what_is_given_fits_the_wire_and_the_bound(
    steps: list[tuple[int, int, int]], backlog: int, bps: int, age_max_us: int
) -> None:
    pace = Pace(age_max_us)
    now_us = delivered = 0
    for passed_us, more, left in steps:
        now_us += passed_us
        delivered += more
        pace.note(now_us, delivered, left)
    room = pace.room(backlog, bps)
    if room is not None:
        assert 0 <= room.bytes <= ROOM_BYTES
        assert 0 <= room.delay_us <= DELAY_US_MAX
        assert room.delay_us <= age_max_us * 9 // 20 + 2  # 2/5 and 1/20 of it, and what rounding adds
