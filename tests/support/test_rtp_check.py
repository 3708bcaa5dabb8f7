"""The checker of RTP finds each fault, and interleaved bytes are taken apart."""

import pytest

from tests.support.rtp_check import RtpCheck, rtp_packets


def rtp(sequence: int, clock: int = 0, *, ssrc: int = 5, kind: int = 33, payload: bytes = b"\x47" * 188) -> bytes:
    return (
        bytes((0x80, kind))
        + sequence.to_bytes(2, "big")
        + clock.to_bytes(4, "big")
        + ssrc.to_bytes(4, "big")
        + payload
    )


def errors(*packets: bytes) -> list[str]:
    checker = RtpCheck()
    for one in packets:
        checker.feed(one)
    return checker.errors


def test_rtp() -> None:
    assert errors(rtp(65_535, 0xFFFFFFFF), rtp(0, 1), rtp(1, 1)) == []
    assert errors(rtp(0, 1000), rtp(1, 5, kind=0x80 | 33)) == []
    for bad in (
        rtp(2),
        rtp(0),
        rtp(1, ssrc=6),
        rtp(1, kind=96),
        rtp(1, payload=b""),
        rtp(1, payload=b"\x47" * 187),
        rtp(1, payload=b"\x48" * 188),
        rtp(1, payload=b"\x47" * 188 * 8),
        rtp(1, 0xFFFFFFFF),
        b"\x80\x21\0",
    ):
        assert len(errors(rtp(0), bad)) == 1


def test_interleaved_bytes_are_taken_apart() -> None:
    one, two = rtp(1), rtp(2, payload=b"\x47" * 376)
    data = b"".join(b"$\0" + len(each).to_bytes(2, "big") + each for each in (one, two))
    assert rtp_packets(data) == [one, two]
    for bad in (data[1:], data[:-1], b"$\1" + data[2:]):
        with pytest.raises(AssertionError):
            rtp_packets(bad)
