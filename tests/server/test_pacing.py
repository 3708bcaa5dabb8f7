"""How much a viewer's kernel may hold, and what a slow viewer is given."""

import pytest
from hypothesis import given as given_by
from hypothesis import strategies as st

from server.pacing import (
    BUFFER_BYTES_MAX,
    BUFFER_BYTES_MIN,
    GIVEN_MAX,
    GIVEN_STEP_US,
    ROOM_BYTES_MAX,
    STREAM_BPS_ASSUMED,
    UNSENT_BYTES_MAX,
    UNSENT_BYTES_MIN,
    Given,
    Room,
    StreamRate,
    is_in_time,
    next_room_bytes,
    slow_room,
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


@given_by(st.integers(0, 1 << 40), st.integers(1000, 3_600_000_000))
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


@given_by(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 50), st.integers(-S, 99 * S), st.integers(1, 1 << 24)))
)
def test_whatever_comes_is_no_fault(frames: list[tuple[int, int, int, int]]) -> None:
    rate = StreamRate()
    for epoch, number, time_us, size in frames:
        before = rate.bps
        assert rate.note(epoch, number, time_us, size) is (rate.bps != before)
        assert rate.bps >= 0


def given(*notes: tuple[int, int]) -> Given:
    """These given: bytes in all, and when (ms)."""
    found = Given()
    for given_bytes, at_ms in notes:
        found.note(given_bytes, at_ms * 1000)
    return found


def test_when_the_first_byte_that_has_not_arrived_was_given() -> None:
    found = given((1000, 0), (3000, 100), (6000, 200))
    ages = {arrived: found.since_us(arrived) for arrived in (-5, 0, 999, 1000, 2999, 3000, 5999, 6000, 7000)}
    assert ages == {
        -5: 0, 0: 0, 999: 0, 1000: 100_000, 2999: 100_000, 3000: 200_000, 5999: 200_000, 6000: None, 7000: None
    }  # fmt: skip
    assert Given().since_us(0) is None


def test_what_is_given_within_a_moment_has_the_time_of_the_first() -> None:
    found = given((1000, 0), (2000, 10), (3000, 19), (4000, 20))
    assert [found.since_us(arrived) for arrived in (0, 2999, 3000)] == [0, 0, 20_000]


def test_of_very_much_the_oldest_is_forgotten() -> None:
    found = given(*((n * 1000, n * 100) for n in range(1, GIVEN_MAX + 10)))
    assert found.since_us(0) == 10 * 100_000


def test_what_a_lane_was_given_goes_with_him_who_leaves_it() -> None:
    lane = given((1000, 0), (2000, 100), (3000, 200))
    own = given((50_500, 0))
    own.take_over(lane, 51_500, 50_000)  # he came when the lane had 500
    assert [own.since_us(arrived) for arrived in (51_500, 51_999, 52_000, 53_000)] == [
        100_000, 100_000, 200_000, None
    ]  # fmt: skip


@given_by(
    st.lists(st.tuples(st.integers(1, 9999), st.integers(0, 90_000)), max_size=200), st.integers(-9999, 2_000_000)
)
def test_the_age_is_never_understated_but_for_what_is_forgotten(
    steps: list[tuple[int, int]], arrived_bytes: int
) -> None:
    found, given_bytes, now_us = Given(), 0, 0
    exact = None
    marks = []
    for size, passed_us in steps:
        given_bytes, now_us = given_bytes + size, now_us + passed_us
        found.note(given_bytes, now_us)
        marks.append((given_bytes, now_us))
    for given_bytes, at_us in marks[-GIVEN_MAX:]:
        if given_bytes > arrived_bytes:
            exact = at_us
            break
    since_us = found.since_us(arrived_bytes)
    assert (since_us is None) is (exact is None)
    if since_us is not None and exact is not None:
        assert since_us <= exact
        assert len(steps) > GIVEN_MAX or exact - since_us < GIVEN_STEP_US


def test_who_has_old_bytes_before_him_is_given_nothing() -> None:
    assert is_in_time(0, AGE_MAX_US)
    assert is_in_time(400_000, AGE_MAX_US)
    assert not is_in_time(400_001, AGE_MAX_US)
    assert not is_in_time(300_000, AGE_MAX_US // 2)


def test_the_muxer_is_told_what_is_before_a_frame() -> None:
    assert slow_room(5000, 0, 0, AGE_MAX_US) == Room(5000, 0)
    assert slow_room(5000, 200_000, 300_000, AGE_MAX_US) == Room(5000, 350_000)
    assert slow_room(5000, 400_000, 900_000, AGE_MAX_US) == Room(5000, 500_000)  # what is new has a chance


def test_who_took_all_is_given_twice_as_much_and_who_did_not_what_he_took() -> None:
    assert next_room_bytes(0, False) == next_room_bytes(0, True) == 1
    assert next_room_bytes(17_000, True) == 34_000
    assert next_room_bytes(17_000, False) == 17_000
    assert next_room_bytes(ROOM_BYTES_MAX, True) == ROOM_BYTES_MAX
