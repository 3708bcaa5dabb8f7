"""Tracks are told when all that are expected are known, and again on a change; not for each sample."""

from capture.known_tracks import KnownTracks
from common.sample import Codec, Track

PICTURE = Track(Codec.H264, 320, 240)
SOUND = Track(Codec.AAC, sample_rate_hz=48000, channels=2)


def test_none_are_told_until_all_are_known_and_pictures_come_first() -> None:
    known = KnownTracks({False, True})
    known.note(SOUND)
    assert not known.tracks
    assert True in known
    assert False not in known
    known.note(PICTURE)
    assert known.tracks == (PICTURE, SOUND)


def test_a_change_is_told_and_the_same_again_is_not() -> None:
    known = KnownTracks({False})
    known.note(PICTURE)
    told = known.tracks
    known.note(Track(Codec.H264, 320, 240))
    assert known.tracks is told
    larger = Track(Codec.H264, 640, 480)
    known.note(larger)
    assert known.tracks == (larger,)


def test_where_none_is_expected_the_first_is_told() -> None:
    known = KnownTracks()
    known.note(SOUND)
    assert known.tracks == (SOUND,)
