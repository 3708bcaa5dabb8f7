"""What a new subscriber is repeated: whole groups, within limits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture import recent
from capture.recent import GROUP_US_MAX, RECENT_US, Recent
from common.messages import SampleMessage
from common.sample import Codec, Sample, Track

VIDEO, AUDIO = Track(Codec.H264), Track(Codec.AAC)


def add(kept: Recent, number: int, time_us: int, codec: Codec = Codec.H264, sync: bool = False) -> None:
    data = bytes([number % 256]) * 10
    sample = Sample(data, time_us, codec, sync)
    kept.add(SampleMessage(1, number, time_us, None, codec, sync), sample)


def numbers(kept: Recent) -> list[int]:
    assert all(data == bytes([message.sequence % 256]) * 10 for message, data in kept)
    return [message.sequence for message, _ in kept]


def filled(letters: str, step_us: int, *tracks: Track) -> Recent:
    """A sample a letter: S a sync picture, v another, a sound."""
    kept = Recent()
    kept.begin(tracks or (VIDEO, AUDIO))
    for number, letter in enumerate(letters):
        codec = Codec.AAC if letter == "a" else Codec.H264
        add(kept, number, number * step_us, codec, letter in "Sa")
    return kept


@pytest.mark.parametrize(
    ("letters", "expected"),
    [
        ("", []),
        ("vav", []),
        ("vaSva", [2, 3, 4]),
        ("SvvSv", [0, 1, 2, 3, 4]),  # the second group is younger than RECENT_US
        ("SvvSvvvv", [3, 4, 5, 6, 7]),  # 2 s after its start
        ("SvSvSvSvSv", [4, 5, 6, 7, 8, 9]),
    ],
)
def test_it_holds_the_newest_groups(letters: str, expected: list[int]) -> None:
    assert numbers(filled(letters, RECENT_US // 4)) == expected


def test_without_pictures_each_sound_is_a_start() -> None:
    assert numbers(filled("aaaaaa", RECENT_US // 4, AUDIO)) == [1, 2, 3, 4, 5]


def test_other_tracks_make_the_past_useless() -> None:
    kept = filled("Svv", 1000)
    kept.begin((VIDEO,))
    assert numbers(kept) == []
    add(kept, 3, 9000)
    assert numbers(kept) == []
    add(kept, 4, 10_000, sync=True)
    assert numbers(kept) == [4]


def test_a_group_that_is_too_long_is_not_kept_at_all() -> None:
    kept = filled("Sv", GROUP_US_MAX)
    assert numbers(kept) == [0, 1]
    add(kept, 2, GROUP_US_MAX + 1)
    add(kept, 3, GROUP_US_MAX + 2)
    assert (numbers(kept), kept.cut) == ([], 1)
    add(kept, 4, GROUP_US_MAX + 3, sync=True)
    assert (numbers(kept), kept.cut) == ([4], 1)


@pytest.mark.parametrize(("limit", "value"), [("SAMPLES_MAX", 5), ("BYTES_MAX", 50)])
def test_limits_cost_the_oldest_group_first(monkeypatch: pytest.MonkeyPatch, limit: str, value: int) -> None:
    monkeypatch.setattr(recent, limit, value)
    kept = filled("SvSvv", 1000)
    assert numbers(kept) == [0, 1, 2, 3, 4]
    add(kept, 5, 5000)
    assert (numbers(kept), kept.cut) == ([2, 3, 4, 5], 0)
    add(kept, 6, 6000)
    add(kept, 7, 7000)
    assert (numbers(kept), kept.cut) == ([], 1)


@given(st.text("Sva", max_size=200), st.integers(1, RECENT_US))
def test_whatever_comes_it_is_a_tail_that_begins_with_a_sync_point(letters: str, step_us: int) -> None:
    kept = numbers(filled(letters, step_us))
    assert kept == list(range(len(letters)))[len(letters) - len(kept) :]
    assert not kept or letters[kept[0]] == "S"
    assert len(kept) * step_us <= GROUP_US_MAX + RECENT_US + step_us
