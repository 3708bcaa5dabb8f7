"""Native frames: rows of any sizes, found, renumbered and cut apart."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import MessageError
from common.rtp_rows import packets, renumber, walk

SIZES = st.lists(st.integers(0, 1500), min_size=1, max_size=20)


def row(payload: bytes, sequence: int, clock: int, ssrc: int) -> bytes:
    packet = struct.pack(">BBHII", 0x80, 96, sequence % 65536, clock % (1 << 32), ssrc) + payload
    return b"$\0" + len(packet).to_bytes(2, "big") + packet


def frame(sizes: list[int], sequence: int = 65_530, clock: int = 0xFFFF_FFF0, ssrc: int = 7) -> bytes:
    return b"".join(row(bytes([n]) * size, sequence + n, clock + n, ssrc) for n, size in enumerate(sizes))


@given(SIZES)
def test_rows_are_found(sizes: list[int]) -> None:
    assert walk(frame(sizes)) == [16 * n + sum(sizes[:n]) for n in range(len(sizes))]
    assert [len(packet) for packet in packets(frame(sizes))] == [12 + size for size in sizes]
    assert b"".join(packets(memoryview(frame([5, 6]))))[12:17] == bytes(5)


@given(SIZES, st.integers(1, 2000))
def test_what_does_not_end_where_it_should_is_refused(sizes: list[int], cut: int) -> None:
    data = frame(sizes)
    ends = {16 * n + sum(sizes[:n]) for n in range(1, len(sizes))}
    if len(data) - cut not in ends:
        with pytest.raises(MessageError):
            walk(data[: max(len(data) - cut, 0)])
    with pytest.raises(MessageError):
        walk(data + bytes(16))


@pytest.mark.parametrize(
    "data", [b"", b"$\1\0\x0c" + bytes(12), b"$\0\0\x0b" + bytes(12), b"%\0\0\x0c" + bytes(12)]
)
def test_what_is_no_row(data: bytes) -> None:
    with pytest.raises(MessageError):
        walk(data)


@given(SIZES, st.integers(0, 65535), st.integers(0, (1 << 32) - 1), st.integers(0, 255))
def test_renumbered(sizes: list[int], sequence: int, offset: int, channel: int) -> None:
    data = frame(sizes)
    out = renumber(data, walk(data), sequence=sequence, clock_offset=offset, ssrc=0xABCDEF01, channel=channel)
    expected = frame(sizes, sequence, 0xFFFF_FFF0 + offset, 0xABCDEF01)
    assert {bytes(out)[at + 1] for at in walk(data)} == {channel}
    unframed = bytearray(out)
    for at in walk(data):
        unframed[at + 1] = 0
    assert bytes(unframed) == expected
    assert data == frame(sizes)  # the original is untouched
