"""When the slate is shown, and that times go on over it, whatever the source's are when it is back."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.standby import AFTER_US, EVERY_US, SQUEEZE, Standby
from common.sample import Codec, Sample, Track

VIDEO, AUDIO = Track(Codec.H264, 160, 120, 25.0), Track(Codec.AAC, sample_rate_hz=48_000, channels=1)
TRACKS = (VIDEO, AUDIO)
NOW_US = 5_000_000_000


def picture(time_us: int, decode_time_us: int | None = None) -> Sample:
    return Sample(b"v", time_us, Codec.H264, True, decode_time_us)


def sound(time_us: int) -> Sample:
    return Sample(b"a", time_us, Codec.AAC)


def was_live(enabled: bool = True, lag_us: int = 0, tracks: tuple[Track, ...] = TRACKS) -> Standby:
    standby = Standby(enabled)
    standby.passed(tracks, picture(NOW_US - lag_us) if VIDEO in tracks else sound(NOW_US - lag_us), NOW_US)
    return standby


def shown(standby: Standby, until_us: int) -> list[int]:
    """The times of all slate pictures until then."""
    times = []
    while standby.due_us is not None and standby.due_us <= until_us:
        times.append(standby.show(standby.due_us))
    return times


def test_it_comes_a_while_after_the_source_went_and_then_again_and_again() -> None:
    standby = was_live()
    assert standby.due_us is None
    standby.away("12:34", NOW_US + 1)
    standby.away("12:35", NOW_US + 500_000)  # tried again, in vain
    assert standby.since == "12:34"
    times = shown(standby, NOW_US + 1 + AFTER_US + 3 * EVERY_US)
    assert times == [NOW_US + 1 + AFTER_US + number * EVERY_US for number in range(4)]


def test_who_is_back_soon_has_not_been_away() -> None:
    standby = was_live()
    standby.away("12:34", NOW_US)
    sample = picture(NOW_US + 600_000)
    assert standby.passed(TRACKS, sample, NOW_US + 600_000) is sample
    assert standby.due_us is None


@pytest.mark.parametrize("why", ["off", "never there", "sound alone", "not wanted"])
def test_there_is_none(why: str) -> None:
    match why:
        case "off":
            standby = was_live(enabled=False)
        case "never there":
            standby = Standby(True)
        case "sound alone":
            standby = was_live(tracks=(AUDIO,))
        case _:
            standby = was_live()
    standby.away("12:34", NOW_US)
    if why == "not wanted":
        standby.rest()
    assert standby.due_us is None


def test_it_is_as_late_as_the_pictures_were() -> None:
    standby = was_live(lag_us=70_000)
    standby.away("12:34", NOW_US)
    assert standby.show(NOW_US + AFTER_US) == NOW_US + AFTER_US - 70_000


def test_it_never_comes_before_the_last_picture() -> None:
    standby = was_live()
    standby.passed(TRACKS, picture(NOW_US + 9_000_000, NOW_US), NOW_US)
    standby.away("12:34", NOW_US)
    assert standby.show(NOW_US + AFTER_US) > NOW_US + 9_000_000


def test_a_source_that_is_on_time_is_passed_on_as_it_is() -> None:
    standby = was_live()
    standby.away("12:34", NOW_US)
    last_us = shown(standby, NOW_US + 4_000_000)[-1]
    sample = picture(last_us + 1_000, last_us + 1_000)
    assert standby.passed(TRACKS, sample, last_us + 1_000) is sample


@given(
    st.integers(0, 3_000_000),
    st.integers(1_000, 1_000_000),
    st.lists(st.tuples(st.booleans(), st.integers(1_000, 60_000)), min_size=1, max_size=200),
    st.integers(0, 100_000),
)
def test_what_is_late_is_squeezed_in_behind_it(
    behind_us: int, after_us: int, steps: list[tuple[bool, int]], ahead_us: int
) -> None:
    """behind_us: how much older the first picture is than the slate's last, and after_us: how long after that it
    comes. ahead_us: from decoding to showing."""
    standby = was_live()
    standby.away("12:34", NOW_US)
    last_us = shown(standby, NOW_US + 4_000_000)[-1]
    now_us = last_us + after_us
    order_us = last_us - behind_us
    came, out = [], []
    for number, (audio, step_us) in enumerate(steps):
        sample = sound(order_us) if audio and number else picture(order_us + ahead_us, order_us)
        passed = standby.passed(TRACKS, sample, now_us)
        if passed is not None:
            came.append(sample)
            out.append(passed)
        else:
            assert sample.audio
            assert sample.order_us <= last_us
        order_us += step_us
        now_us = max(now_us, order_us)
    pictures = [sample for sample in out if not sample.audio]
    assert pictures[0].order_us == last_us + after_us  # as if it were on time
    assert all(one.order_us < other.order_us for one, other in pairwise(pictures))
    assert all(one.time_us < other.time_us for one, other in pairwise(pictures))
    assert all(sample.time_us >= sample.order_us > last_us for sample in out)
    late_us = behind_us + after_us
    right_us = last_us - behind_us + late_us * SQUEEZE // (SQUEEZE - 1) + SQUEEZE
    for sample, was in zip(out, came, strict=True):
        assert sample.order_us >= was.order_us
        if sample.audio or was.order_us >= right_us:
            assert sample.order_us == was.order_us


def test_a_camera_whose_picture_is_as_late_as_ever_keeps_the_drivers_time() -> None:
    standby = was_live(lag_us=40_000)
    standby.away("12:34", NOW_US)
    last_us = shown(standby, NOW_US + 4_000_000)[-1]
    sample = picture(last_us + 1)
    assert standby.passed(TRACKS, sample, last_us + 60_000) is sample


def test_a_second_time_is_as_the_first() -> None:
    standby = was_live()
    for _ in range(2):
        passed = standby.passed(TRACKS, picture(NOW_US), NOW_US)
        assert passed is not None
        now_us = max(NOW_US, passed.time_us)
        standby.away("12:34", now_us)
        last_us = shown(standby, now_us + 3_000_000)[-1]
        passed = standby.passed(TRACKS, picture(last_us - 100), last_us)
        assert passed is not None
        assert passed.time_us > last_us
