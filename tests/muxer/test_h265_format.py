"""H.265 in RTP."""

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import MediaError
from common.rtp_rows import PAYLOAD_BYTES_MAX
from common.sample import Codec, Track
from muxer.h265_format import H265Format
from tests.muxer.depacketise import h265, payloads
from tests.muxer.test_h264_format import annex_b

VPS, SPS, PPS = b"\x40\x01\x0c\x01", b"\x42\x01\x01\x02\x03", b"\x44\x01\xc1\x72"
AUD, SEI, IDR, TRAIL, DISPOSABLE = b"\x46\x01\x50", b"\x4e\x01\x05\x80", b"\x26\x01", b"\x02\x01", b"\x00\x01"


def h265_format(config: bytes = b"") -> H265Format:
    return H265Format(Track(Codec.H265, config=config), 96)


def split(data: bytes, sync: bool = False, config: bytes = b"") -> list[bytes]:
    return payloads(h265_format(config).split(data, sync).packets)


@pytest.mark.parametrize("size", [*range(1, 40), *range(1300, 1330), 2628, 2629, 17_000])
def test_units_of_any_size(size: int) -> None:
    unit = TRAIL + b"\x55" * size
    packets = split(annex_b(unit))
    assert h265(packets) == [unit]
    assert (len(packets) == 1) is (len(unit) <= PAYLOAD_BYTES_MAX)
    assert {len(packet) for packet in packets[:-1]} <= {PAYLOAD_BYTES_MAX}


UNITS = st.builds(
    lambda header, size, fill: header + bytes((fill,)) * size,
    st.sampled_from([VPS[:2], SPS[:2], PPS[:2], SEI[:2], IDR, TRAIL, b"\x02\x0a", DISPOSABLE]),
    st.sampled_from([1, 2, 10, 600, 700, 1311, 1312, 1313, 1314, 2626, 5000]),
    st.integers(1, 255),
)


@given(st.lists(UNITS, min_size=1, max_size=8))
def test_what_goes_in_comes_out(units: list[bytes]) -> None:
    packets = split(annex_b(*units))
    assert h265(packets) == units
    assert max(map(len, packets)) <= PAYLOAD_BYTES_MAX


def test_parameter_sets_stand_before_each_sync_point() -> None:
    fmt = h265_format(annex_b(VPS, SPS, PPS))
    for data in (annex_b(AUD, IDR + b"\x77"), annex_b(IDR + b"\x77")):
        assert h265(payloads(fmt.split(data, True).packets)) == [VPS, SPS, PPS, IDR + b"\x77"]
    assert fmt.split(annex_b(DISPOSABLE + b"\x77"), False).disposable
    assert not fmt.split(annex_b(TRAIL + b"\x77"), False).disposable


def test_the_description() -> None:
    assert h265_format().parameters == ""
    named = zip(("sprop-vps", "sprop-sps", "sprop-pps"), (VPS, SPS, PPS), strict=True)
    expected = ";".join(f"{name}={b64encode(unit).decode()}" for name, unit in named)
    assert h265_format(annex_b(VPS, SPS, PPS)).parameters == expected
    assert h265_format().encoding == "H265/90000"


@pytest.mark.parametrize("data", [b"\x26\x01", b"\0", annex_b(AUD), annex_b(b"\x26")])
def test_what_is_nothing_is_refused(data: bytes) -> None:
    with pytest.raises(MediaError, match="H265 sample"):
        split(data)
