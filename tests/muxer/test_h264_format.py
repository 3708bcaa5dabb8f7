"""H.264 in RTP."""

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import MediaError
from common.rtp_rows import PAYLOAD_BYTES_MAX
from common.sample import Codec, Track
from muxer.h264_format import H264Format
from tests.muxer.depacketise import h264, payloads

SPS, PPS = bytes.fromhex("6742c01eda0280bfe5c044"), bytes.fromhex("68ce3c80")
AUD, SEI, IDR, SLICE, DISPOSABLE = b"\x09\xf0", b"\x06\x05\x01\xaa\x80", b"\x65", b"\x41", b"\x01"
START = b"\0\0\0\1"


def annex_b(*units: bytes) -> bytes:
    return b"".join(START + unit for unit in units)


def h264_format(config: bytes = b"") -> H264Format:
    return H264Format(Track(Codec.H264, config=config), 96)


def split(data: bytes, sync: bool = False, config: bytes = b"") -> list[bytes]:
    return payloads(h264_format(config).split(data, sync).packets)


@pytest.mark.parametrize("size", [*range(1, 40), *range(1300, 1330), 2630, 2631, 17_000, 100_000])
def test_units_of_any_size(size: int) -> None:
    unit = SLICE + b"\x55" * size
    packets = split(annex_b(unit))
    assert h264(packets) == [unit]
    assert max(map(len, packets)) <= PAYLOAD_BYTES_MAX
    assert (len(packets) == 1) is (len(unit) <= PAYLOAD_BYTES_MAX)
    assert {len(packet) for packet in packets[:-1]} <= {PAYLOAD_BYTES_MAX}  # all of one size but the last


UNITS = st.builds(
    lambda header, size, fill: bytes((header,)) + bytes((fill,)) * size,
    st.sampled_from([0x67, 0x68, 0x06, 0x65, 0x41, 0x01]),
    st.sampled_from([1, 2, 10, 600, 700, 1313, 1314, 1315, 1316, 2628, 2629, 5000]),
    st.integers(1, 255),
)


@given(st.lists(UNITS, min_size=1, max_size=8), st.booleans())
def test_what_goes_in_comes_out(units: list[bytes], long_codes: bool) -> None:
    data = annex_b(*units) if long_codes else b"".join(b"\0\0\1" + unit for unit in units)
    packets = split(data)
    assert h264(packets) == units
    assert max(map(len, packets)) <= PAYLOAD_BYTES_MAX
    assert h264(payloads(h264_format().split(memoryview(data), False).packets)) == units


def test_delimiters_are_left_out_and_parameter_sets_stand_before_each_sync_point() -> None:
    fmt = h264_format(annex_b(SPS, PPS))
    first = payloads(fmt.split(annex_b(AUD, SEI, IDR + b"\x77" * 3000), True).packets)
    assert h264(first) == [SPS, PPS, SEI, IDR + b"\x77" * 3000]
    assert first[0][0] == 0x60 | 24  # together in one packet
    other = SPS[:-1] + b"\x45"
    assert h264(payloads(fmt.split(annex_b(other, PPS, IDR + b"\x77"), True).packets)) == [
        other,
        PPS,
        IDR + b"\x77",
    ]
    assert h264(payloads(fmt.split(annex_b(IDR + b"\x77"), True).packets)) == [other, PPS, IDR + b"\x77"]
    assert h264(payloads(fmt.split(annex_b(AUD, SLICE + b"\x77"), False).packets)) == [SLICE + b"\x77"]


def test_the_description() -> None:
    assert h264_format().parameters == "packetization-mode=1"
    sets = ",".join(b64encode(unit).decode() for unit in (SPS, PPS))
    expected = f"packetization-mode=1;profile-level-id=42C01E;sprop-parameter-sets={sets}"
    assert h264_format(annex_b(SPS, PPS)).parameters == expected
    assert (h264_format().encoding, h264_format().payload_type, h264_format().rate_hz) == (
        "H264/90000",
        96,
        90_000,
    )


def test_what_no_picture_refers_to() -> None:
    fmt = h264_format()
    assert fmt.split(annex_b(DISPOSABLE + b"\x77"), False).disposable
    assert fmt.split(annex_b(AUD, SEI, DISPOSABLE + b"\x77"), False).disposable
    assert not fmt.split(annex_b(SLICE + b"\x77"), False).disposable


@pytest.mark.parametrize("data", [b"\x65\x88", b"\0\0\0\x05\x65\x88", b"\0", START, annex_b(AUD)])
def test_what_is_no_annex_b_is_refused(data: bytes) -> None:
    with pytest.raises(MediaError, match="H264 sample"):
        split(data)
