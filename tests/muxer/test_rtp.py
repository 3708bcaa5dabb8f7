"""Ready-made TS packets in rows."""

import os

import pytest

from common import grid
from common.errors import MediaError
from muxer.rtp import SMALL_PACKETS_MAX, packetise_ts
from tests.support.rtp_check import RtpCheck, rtp_packets

BLOCK = b"".join(b"\x47\x01\x00" + bytes((0x10 | n & 15,)) + os.urandom(184) for n in range(300))


def ts(count: int) -> bytes:
    return (BLOCK * (count // 300 + 1))[: count * 188]


@pytest.mark.parametrize("marker", [False, True])
@pytest.mark.parametrize("sequence", [0, 7, 65_530])
@pytest.mark.parametrize("count", [*range(1, 100), 300, 6999, 7000, 7001])
def test_every_number_of_packets(count: int, sequence: int, marker: bool) -> None:
    packets = ts(count)
    data = packetise_ts(packets, clock=0xFEDCBA98, sequence=sequence, ssrc=0x01234567, marker=marker)
    assert len(data) == -(-count // 7) * 16 + count * 188
    rows = rtp_packets(data)
    check = RtpCheck()
    for number, packet in enumerate(rows):
        check.feed(packet)
        assert packet[0] == 0x80
        assert packet[1] == (0x80 | 33 if marker and not number else 33)
        assert packet[2:4] == (sequence + number & 0xFFFF).to_bytes(2, "big")
        assert packet[4:12].hex() == "fedcba9801234567"
    assert not check.errors
    assert [len(packet) for packet in rows[:-1]] == [1328] * (len(rows) - 1)
    assert b"".join(packet[12:] for packet in rows) == packets
    assert grid.without_rtp(data) == packets
    assert packetise_ts(
        memoryview(packets), clock=0xFEDCBA98, sequence=sequence, ssrc=0x01234567, marker=marker
    ) == bytes(data)


def test_both_ways_of_building_rows_are_tested() -> None:
    assert 7 < SMALL_PACKETS_MAX < 99


def test_what_are_no_packets_is_refused() -> None:
    for bad in (b"", b"\x47" * 187, b"\x47" * 189, b"\x47" * (188 * 100 + 1)):
        with pytest.raises(MediaError, match=f"{len(bad)} bytes are not"):
            packetise_ts(bad, clock=0, sequence=0, ssrc=0)


def test_the_number_of_packets_is_limited() -> None:
    most = bytes(188 * grid.PACKETS_MAX)
    assert grid.rtp_packets(len(packetise_ts(most, clock=0, sequence=65_535, ssrc=0))) == -(-grid.PACKETS_MAX // 7)
    with pytest.raises(MediaError):
        packetise_ts(most + bytes(188), clock=0, sequence=0, ssrc=0)
