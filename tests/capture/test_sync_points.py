"""Sync points are whole wherever the parameter sets come from."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.sync_points import SyncPoints
from common.errors import MediaError
from common.sample import CONFIG_BYTES_MAX, Codec

LONG, SHORT = b"\0\0\0\1", b"\0\0\1"
SPS, PPS = LONG + b"\x67sps", LONG + b"\x68pps"
IDR, SLICE, SEI, AUD = SHORT + b"\x65idr", SHORT + b"\x41p", SHORT + b"\x06sei", LONG + b"\x09\xf0"
VPS_265, SPS_265, PPS_265 = LONG + b"\x40\1v", LONG + b"\x42\1s", LONG + b"\x44\1p"
CRA_265, TRAIL_265, AUD_265 = SHORT + b"\x2a\1c", SHORT + b"\x02\1t", LONG + b"\x46\1\x50"


def test_sets_in_the_picture_are_kept_and_remembered() -> None:
    points = SyncPoints(Codec.H264)
    assert points.feed(SPS + PPS + IDR) == (SPS + PPS + IDR, True)
    assert points.config == SPS + PPS
    assert points.feed(SLICE) == (SLICE, False)


def test_sets_that_came_once_stand_at_every_sync_point() -> None:
    points = SyncPoints(Codec.H264)
    points.feed(SPS + PPS + IDR)
    assert points.feed(SEI + IDR) == (SPS + PPS + SEI + IDR, True)


def test_they_go_behind_the_delimiter() -> None:
    points = SyncPoints(Codec.H264, config=SPS + PPS)
    assert points.feed(AUD + SEI + IDR) == (AUD + SPS + PPS + SEI + IDR, True)
    points = SyncPoints(Codec.H265, config=VPS_265 + SPS_265 + PPS_265)
    assert points.feed(AUD_265 + CRA_265) == (AUD_265 + VPS_265 + SPS_265 + PPS_265 + CRA_265, True)


def test_sets_in_a_buffer_of_their_own_go_with_the_next_picture() -> None:
    points = SyncPoints(Codec.H264)
    assert points.feed(SPS) is None
    assert points.feed(PPS) is None
    assert points.feed(IDR) == (SPS + PPS + IDR, True)
    assert points.config == SPS + PPS
    assert points.feed(SLICE) == (SLICE, False)


def test_new_sets_replace_the_old() -> None:
    points = SyncPoints(Codec.H265)
    points.feed(VPS_265 + SPS_265 + PPS_265 + CRA_265)
    points.feed(VPS_265 + SPS_265 + b"2" + PPS_265 + CRA_265)
    assert points.config == VPS_265 + SPS_265 + b"2" + PPS_265
    assert points.feed(CRA_265) == (points.config + CRA_265, True)
    assert points.feed(TRAIL_265) == (TRAIL_265, False)


def test_without_any_sets_nobody_can_start() -> None:
    assert SyncPoints(Codec.H264).feed(IDR) == (IDR, False)


@pytest.mark.parametrize("data", [b"", b"\0\0\0\5\x65idr!", b"\xff\xd8jpeg", b"\0\0\0"])
def test_what_is_no_byte_stream_is_refused(data: bytes) -> None:
    with pytest.raises(MediaError, match="no H264 byte stream"):
        SyncPoints(Codec.H264).feed(data)


def test_sets_beyond_the_limit_are_refused() -> None:
    with pytest.raises(MediaError, match=f"at most {CONFIG_BYTES_MAX}"):
        SyncPoints(Codec.H264).feed(SPS + b"x" * CONFIG_BYTES_MAX + PPS + IDR)


def test_what_comes_without_a_picture_is_bounded() -> None:
    points = SyncPoints(Codec.H264)
    for _ in range(CONFIG_BYTES_MAX // len(SEI)):
        points.feed(SEI)
    with pytest.raises(MediaError, match="without a picture"):
        points.feed(SEI)
    assert points.feed(SPS + PPS + IDR) is not None


@given(st.sampled_from([Codec.H264, Codec.H265]), st.lists(st.binary(max_size=60), max_size=10))
def test_any_bytes_give_an_access_unit_or_an_error(codec: Codec, units: list[bytes]) -> None:
    points = SyncPoints(codec)
    for unit in units:
        try:
            whole = points.feed(SHORT + unit)
        except MediaError:
            continue
        assert whole is None or whole.data.endswith(unit)
        assert len(points.config) <= CONFIG_BYTES_MAX
