"""RTCP, there and back."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.rtcp import ReportBlock, goodbye, ntp_time, parse_reports, sender_report

BLOCK = struct.pack(">IIIIII", 7, 0x40_000005, 99, 1234, 77, 88)
RECEIVER_REPORT = struct.pack(">BBHI", 0x81, 201, 7, 42) + BLOCK
EMPTY_REPORT = struct.pack(">BBHI", 0x80, 201, 1, 42)
SDES = struct.pack(">BBHI", 0x81, 202, 3, 42) + b"\x01\x05hello\0"
SENDER_REPORT = struct.pack(">BBHI", 0x81, 200, 12, 42) + bytes(20) + BLOCK
VALUE = ReportBlock(7, 0.25, 5, 99, 1234, 77, 88)


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (RECEIVER_REPORT, [VALUE]),
        (EMPTY_REPORT, []),
        (SENDER_REPORT, [VALUE]),
        (RECEIVER_REPORT + SDES, [VALUE]),
        (RECEIVER_REPORT + RECEIVER_REPORT, [VALUE, VALUE]),
        (struct.pack(">BBH", 0x80, 203, 0), []),
        (b"", None),
        (b"\xce\xfa\xed\xfe", None),  # what some clients send to find their way through a NAT
        (bytes(200), None),
        (RECEIVER_REPORT[:-1], None),
        (RECEIVER_REPORT + b"\x80", None),
        (struct.pack(">BBHI", 0x82, 201, 7, 42) + BLOCK, None),  # two blocks promised, one there
        (EMPTY_REPORT * 33, None),
    ],
)
def test_parse(data: bytes, value: list[ReportBlock] | None) -> None:
    assert parse_reports(data) == value


@pytest.mark.parametrize(("bits", "lost"), [(0, 0), (0x7FFFFF, 0x7FFFFF), (0x800000, -0x800000), (0xFFFFFF, -1)])
def test_what_is_lost_in_all_has_a_sign(bits: int, lost: int) -> None:
    data = struct.pack(">BBHIIIIIII", 0x81, 201, 7, 42, 7, 0xFF << 24 | bits, 0, 0, 0, 0)
    assert parse_reports(data) == [ReportBlock(7, 255 / 256, lost, 0, 0, 0, 0)]


@given(st.binary(max_size=300))
def test_any_bytes_do_no_harm(data: bytes) -> None:
    blocks = parse_reports(data)
    assert blocks is None or all(0 <= block.fraction_lost < 1 for block in blocks)


@pytest.mark.parametrize(
    ("wall_us", "ntp"),
    [
        (0, 2_208_988_800 << 32),
        (500_000, (2_208_988_800 << 32) + (1 << 31)),
        (1_700_000_000_000_001, (3_908_988_800 << 32) + 4294),
        ((4_294_967_296 - 2_208_988_800) * 1_000_000, 0),  # February 2036: the era ends
    ],
)
def test_ntp_time(wall_us: int, ntp: int) -> None:
    assert ntp_time(wall_us) == ntp


@given(st.integers(0, 1 << 40), st.text(max_size=300))
def test_a_report_is_a_compound_with_our_name(count: int, name: str) -> None:
    data = sender_report(5, 6 << 32, 7, count, count, name)
    assert len(data) % 4 == 0
    assert parse_reports(data) == []
    first, kind, words, ssrc, ntp, clock, packets, octets = struct.unpack_from(">BBHIQIII", data)
    assert (first, kind, words) == (0x80, 200, 6)
    assert (ssrc, ntp, clock, packets, octets) == (5, 6 << 32, 7, count % (1 << 32), count % (1 << 32))
    first, kind, words, ssrc, item, length = struct.unpack_from(">BBHIBB", data, 28)
    assert (first, kind, ssrc, item) == (0x81, 202, 5, 1)
    assert 28 + 4 + 4 * words == len(data)
    encoded = name.encode()[:255]
    assert length == len(encoded)
    assert data[38 : 38 + length] == encoded
    assert data[38 + length :].strip(b"\0") == b""
    assert 1 <= len(data) - 38 - length <= 4


def test_goodbye_comes_last() -> None:
    report = sender_report(5, 6, 7, 8, 9, "me")
    assert goodbye(5, 6, 7, 8, 9, "me") == report + struct.pack(">BBHI", 0x81, 203, 1, 5)
