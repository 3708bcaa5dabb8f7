"""The times of a looped file: ticks kept, no seam, no drift, jumps taken up."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from capture.timeline import GRAIN_US, JUMP_US, OVERLAP_US_MAX, PASS_US_MIN, Timeline
from common.clock import ticks_90k

VIDEO, AUDIO = 0, 1
FRAME_US = 40_000


def play(timeline: Timeline, track: int, start_us: int, count: int, step_us: int = FRAME_US) -> list[int]:
    """Place `count` samples that follow each other; returns their decoding times."""
    placed = []
    for index in range(count):
        time_us = start_us + index * step_us
        sample = timeline.place(track, time_us, time_us, step_us)
        assert sample is not None
        placed.append(sample.decode_us)
    return placed


def test_the_first_sample_is_due_now_to_the_grain() -> None:
    timeline = Timeline(first_decode_us=1_400_033, now_us=777_777_777)
    placed = timeline.place(VIDEO, 1_480_033, 1_400_033, FRAME_US)
    assert placed == (777_777_700 + 80_033, 777_777_700 + 33)


@given(
    now_us=st.integers(0, 1 << 45),
    ticks=st.lists(st.integers(0, 1 << 33), min_size=2, max_size=20, unique=True).map(sorted),
)
def test_ticks_of_90_khz_keep_their_distances(now_us: int, ticks: list[int]) -> None:
    times_us = [(2 * tick * 100 + 9) // 18 for tick in ticks]  # as libavformat's, rounded
    timeline = Timeline(times_us[0], now_us)
    placed_ticks = []
    placed_times = []
    for tick, time_us in zip(ticks, times_us, strict=True):
        jumps = timeline.jumps
        placed = timeline.place(VIDEO, time_us, time_us, 1)
        if placed is None or timeline.jumps != jumps:
            return
        placed_ticks.append(ticks_90k(placed.decode_us) - tick)
        placed_times.append(placed.decode_us)
    assert len(set(placed_ticks)) == 1


def test_a_seam_is_like_any_other_step_with_b_pictures_too() -> None:
    timeline = Timeline(-2 * FRAME_US, 5_000_000)
    order = [0, 3, 1, 2, 6, 4, 5, 9, 7, 8]  # of presentation; each is decoded two pictures before its turn
    shown, decoded = [], []
    for _ in range(50):
        for turn, place in enumerate(order):
            placed = timeline.place(VIDEO, place * FRAME_US, (turn - 2) * FRAME_US, FRAME_US)
            assert placed is not None
            shown.append(placed.time_us)
            decoded.append(placed.decode_us)
        timeline.next_pass()
    assert {after - before for before, after in pairwise(decoded)} == {FRAME_US}
    shown.sort()
    assert {after - before for before, after in pairwise(shown)} == {FRAME_US}


def test_a_day_of_loops_does_not_drift() -> None:
    """Sound of 48 kHz beside pictures of 29.97 Hz, 10.01 s a pass: after 24 hours both are where they began."""
    timeline = Timeline(0, 0)
    passes = 24 * 3600 * 1000 // 10_010
    for index in range(passes):
        video = timeline.place(VIDEO, 0, 0, 9_000_000)
        audio = timeline.place(AUDIO, 0, 0, 9_000_000)
        assert video is not None
        assert video == audio
        assert video.time_us == index * 10_010_000
        timeline.place(VIDEO, 9_000_000, 9_000_000, 1_010_000)
        timeline.place(AUDIO, 9_000_000, 9_000_000, 1_009_987)
        timeline.next_pass()


def test_the_longest_track_sets_the_length_rounded_up_to_the_grain() -> None:
    timeline = Timeline(0, 0)
    timeline.place(VIDEO, 0, 0, 2_000_000)
    timeline.place(AUDIO, -21_333, -21_333, 2_026_667)
    timeline.next_pass()
    again = timeline.place(VIDEO, 0, 0, 2_000_000)
    assert again is not None
    assert again.time_us == 2_026_700
    assert again.time_us % GRAIN_US == 0


def test_tracks_that_start_far_apart_do_not_run_into_the_next_pass() -> None:
    timeline = Timeline(0, 0)
    play(timeline, VIDEO, 0, 100)
    play(timeline, AUDIO, 3_000_000, 100)
    timeline.next_pass()
    again = timeline.place(VIDEO, 0, 0, FRAME_US)
    assert again is not None
    assert again.time_us == 7_000_000 - OVERLAP_US_MAX


def test_a_file_of_one_picture_has_a_least_length() -> None:
    timeline = Timeline(0, 0)
    timeline.place(VIDEO, 0, 0, 1)
    timeline.next_pass()
    again = timeline.place(VIDEO, 0, 0, 1)
    assert again is not None
    assert again.time_us == PASS_US_MIN


def test_an_absurd_duration_does_not_set_the_length() -> None:
    timeline = Timeline(0, 0)
    timeline.place(VIDEO, 0, 0, 1 << 50)
    timeline.next_pass()
    again = timeline.place(VIDEO, 0, 0, 1)
    assert again is not None
    assert again.time_us == JUMP_US


def test_a_pass_without_samples_changes_nothing() -> None:
    timeline = Timeline(0, 1000)
    timeline.next_pass()
    assert timeline.place(VIDEO, 0, 0, 1) == (1000, 1000)


def test_a_decoding_time_that_does_not_rise_is_left_out() -> None:
    timeline = Timeline(0, 0)
    assert timeline.place(VIDEO, 100, 100, 50) is not None
    assert timeline.place(VIDEO, 300, 100, 50) is None
    assert timeline.place(VIDEO, 300, 90, 50) is None
    assert timeline.place(AUDIO, 90, 90, 50) is not None
    assert timeline.place(VIDEO, 300, 101, 50) is not None
    assert timeline.jumps == 0


def test_a_jump_forward_is_taken_up() -> None:
    timeline = Timeline(0, 0)
    before = play(timeline, VIDEO, 0, 10)
    after = play(timeline, VIDEO, 3_600_000_000, 10)
    assert after[0] - before[-1] == FRAME_US
    assert timeline.jumps == 1
    timeline.next_pass()
    assert play(timeline, VIDEO, 0, 2) == [20 * FRAME_US, 21 * FRAME_US]


def test_files_put_end_to_end_play_on() -> None:
    """The time of the second part begins at 0 again; sound of the first part comes after its first picture."""
    timeline = Timeline(0, 0)
    pictures = play(timeline, VIDEO, 0, 100)
    sound = play(timeline, AUDIO, 0, 98)
    pictures += play(timeline, VIDEO, 0, 3)
    sound += play(timeline, AUDIO, 98 * FRAME_US, 2)
    sound += play(timeline, AUDIO, 0, 50)
    pictures += play(timeline, VIDEO, 3 * FRAME_US, 50)
    assert timeline.jumps == 1
    for track in (pictures, sound):
        assert all(0 < after - before <= 2 * FRAME_US for before, after in pairwise(track))
    assert abs(pictures[-1] - sound[-1]) < 5 * FRAME_US


def test_a_gap_that_a_slow_film_may_have_is_no_jump() -> None:
    timeline = Timeline(0, 0)
    assert timeline.place(VIDEO, 0, 0, FRAME_US) is not None
    placed = timeline.place(VIDEO, JUMP_US, JUMP_US, FRAME_US)
    assert placed is not None
    assert placed.decode_us == JUMP_US
    assert timeline.jumps == 0


@given(
    st.lists(
        st.tuples(st.sampled_from([VIDEO, AUDIO]), st.integers(-(1 << 40), 1 << 40), st.integers(0, 1 << 20)),
        max_size=60,
    ),
    st.sets(st.integers(0, 60)),
)
def test_whatever_a_file_says_each_track_rises_and_stays_near_the_present(
    samples: list[tuple[int, int, int]], ends: set[int]
) -> None:
    timeline = Timeline(0, 0)
    newest: dict[int, int] = {}
    for index, (track, decode_us, duration_us) in enumerate(samples):
        placed = timeline.place(track, decode_us, decode_us, duration_us)
        if placed is not None:
            assert placed.decode_us > newest.get(track, -(1 << 62))
            newest[track] = placed.decode_us
            assert abs(placed.decode_us - max(newest.values())) <= JUMP_US + GRAIN_US
        if index in ends:
            timeline.next_pass()
