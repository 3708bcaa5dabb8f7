"""Picture order of raw streams, against what the encoder says of the same pictures in MP4; and hostile bytes."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.demux import MediaFile
from capture.picture_order import WINDOW_PICTURES, Key, PictureOrderCounts, PresentationOrder
from common.sample import Codec
from tests.support.media_files import media_file

VARIANTS = [
    ("libx264", "", 0),
    ("libx264", "", 2),
    ("libx264", "b_strategy=0,b-pyramid=normal", 5),
    ("libx264", "b_strategy=0,x264-params=open-gop=1:bframes=3:b-pyramid=2:keyint=20", 3),
    ("libx264", "x264-params=interlaced=1", 2),
    ("libx265", "", 2),
    ("libx265", "x265-params=bframes=4:b-pyramid=1:keyint=20:open-gop=1:log-level=none:pools=1:radl=2", 4),
    ("libx265", "x265-params=bframes=4:b-pyramid=1:keyint=20:open-gop=0:radl=2:log-level=none:pools=1", 4),
    ("libx265", "x265-params=bframes=3:keyint=600:log-level=none:pools=1:temporal-layers=2", 3),
]


def units_of(path: Path) -> list[tuple[bytes, int]]:
    """(access unit, presentation time) in decoding order."""
    file = MediaFile(str(path))
    try:
        return [(sample.data, sample.stamp.time_us) for sample in file.samples()]
    finally:
        file.close()


def places(keys: list[Key]) -> list[int]:
    order = PresentationOrder()
    found = []
    for key in keys:
        found += order.push(key)
    return found + order.flush()


@pytest.mark.parametrize(("encoder", "options", "b_pictures"), VARIANTS)
def test_order_is_that_of_the_encoder(encoder: str, options: str, b_pictures: int) -> None:
    path = media_file("a.mp4", encoder, None, b_pictures=b_pictures, options=options, pictures=150)
    codec = Codec.H264 if encoder == "libx264" else Codec.H265
    units = units_of(path)
    counts = PictureOrderCounts(codec)
    found = places([counts.read(data) for data, _ in units])
    truth = [time_us for _, time_us in units]
    ranks = {time_us: rank for rank, time_us in enumerate(sorted(truth))}
    delay = found[0] - ranks[truth[0]]
    assert 0 <= delay <= 4
    assert found == [ranks[time_us] + delay for time_us in truth]
    assert all(place >= turn for turn, place in enumerate(found))
    assert (max(rank - turn for turn, rank in enumerate(ranks[time] for time in truth)) > 0) is (b_pictures > 0)


def test_long_sequences_without_idr_keep_counting_beyond_the_low_bits() -> None:
    path = media_file("long.mp4", "libx264", None, b_pictures=2, options="x264-params=keyint=1000", pictures=400)
    units = units_of(path)
    counts = PictureOrderCounts(Codec.H264)
    keys = [counts.read(data) for data, _ in units]
    assert {sequence for sequence, _ in keys} == {1}
    assert [key for key, _ in sorted(zip(keys, units, strict=True), key=lambda pair: pair[1][1])] == sorted(keys)


@given(st.lists(st.permutations(range(5)), min_size=1, max_size=40))
def test_places_are_a_permutation_that_never_comes_too_early(groups: list[list[int]]) -> None:
    keys = [(group, place) for group, order in enumerate(groups) for place in order]
    found = places(keys)
    assert len(found) == len(keys)
    assert all(place >= turn for turn, place in enumerate(found))
    if len(keys) <= WINDOW_PICTURES:
        in_order = [key for _, key in sorted(zip(found, keys, strict=True))]
        assert in_order == sorted(keys)
        assert sorted(found) == list(range(min(found), min(found) + len(found)))


def test_places_come_one_by_one_after_the_window() -> None:
    order = PresentationOrder()
    for turn in range(WINDOW_PICTURES - 1):
        assert order.push((1, turn)) == []
    assert order.push((1, WINDOW_PICTURES)) == list(range(WINDOW_PICTURES))
    assert order.push((1, WINDOW_PICTURES + 1)) == [WINDOW_PICTURES]
    assert order.flush() == []


@pytest.mark.parametrize("codec", [Codec.H264, Codec.H265])
def test_damaged_pictures_stay_in_decoding_order(codec: Codec) -> None:
    counts = PictureOrderCounts(codec)
    keys = [counts.read(data) for data in (b"", b"\0\0\1", b"\0\0\1\x65", b"\0\0\1\x26\x01\xff", b"no Annex B")]
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)


@given(st.sampled_from([Codec.H264, Codec.H265]), st.lists(st.binary(max_size=80), max_size=8))
def test_any_bytes_give_a_key(codec: Codec, units: list[bytes]) -> None:
    counts = PictureOrderCounts(codec)
    for unit in units:
        sequence, _ = counts.read(b"\0\0\1" + unit)
        assert sequence >= 0


@pytest.mark.parametrize("encoder", ["libx264", "libx265"])
def test_any_flipped_bit_gives_a_key(encoder: str) -> None:
    codec = Codec.H264 if encoder == "libx264" else Codec.H265
    data = units_of(media_file("one.mp4", encoder, None, pictures=3))[0][0]
    for bit in range(min(len(data), 160) * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 128 >> bit % 8
        sequence, _ = PictureOrderCounts(codec).read(bytes(flipped))
        assert sequence >= 0
