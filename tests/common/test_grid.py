"""Patched copies of frames, against the same done packet by packet."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import grid
from common.grid import Counters

PIDS = st.sampled_from([*grid.PIDS, 0x11, 0x1FFF, 0x1100, 0x0001, 0x1001, 0x0200])
U16, U32 = st.integers(0, (1 << 16) - 1), st.integers(0, (1 << 32) - 1)
DELTAS: st.SearchStrategy[Counters] = st.tuples(*[st.integers(0, 15)] * 4)


def ts_packet(pid: int, counter: int, flags: int, control: int, fill: int) -> bytes:
    return bytes((0x47, flags << 5 | pid >> 8, pid & 0xFF, control << 4 | counter)) + bytes([fill]) * 184


TS_PACKETS = st.builds(
    ts_packet,
    PIDS,
    counter=st.integers(0, 15),
    flags=st.integers(0, 7),
    control=st.integers(0, 15),
    fill=st.integers(0, 255),
)


def frame(packets: list[bytes], *, sequence: int, clock: int, ssrc: int, marker: bool = False) -> bytes:
    """The layout of the docstring of `common.grid`, row by row."""
    data = b""
    for number, at in enumerate(range(0, len(packets), 7)):
        payload = b"".join(packets[at : at + 7])
        kind = 0x80 | 33 if marker and not number else 33
        data += b"$\0" + (12 + len(payload)).to_bytes(2, "big") + bytes((0x80, kind))
        data += (
            (sequence + number & 0xFFFF).to_bytes(2, "big") + clock.to_bytes(4, "big") + ssrc.to_bytes(4, "big")
        )
        data += payload
    return data


FRAMES = st.builds(
    lambda packets, times, **numbers: (packets * times, numbers),
    st.lists(TS_PACKETS, min_size=1, max_size=9),
    st.integers(1, 9),
    sequence=U16,
    clock=U32,
    ssrc=U32,
    marker=st.booleans(),
)


@given(FRAMES, U16, st.integers(-(1 << 32), 1 << 32), U32, DELTAS, st.integers(0, 255))
def test_a_renumbered_frame_is_the_same_but_for_its_numbers(
    original: tuple[list[bytes], dict[str, int]],
    sequence: int,
    clock_offset: int,
    ssrc: int,
    delta: Counters,
    channel: int,
) -> None:
    packets, numbers = original
    data = frame(packets, **numbers)  # type: ignore[arg-type]
    before = bytes(data)
    out = grid.renumber(
        data, sequence=sequence, clock_offset=clock_offset, ssrc=ssrc, delta=delta, channel=channel
    )
    moved = []
    for packet in packets:
        pid = (packet[1] & 0x1F) << 8 | packet[2]
        added = dict(zip(grid.PIDS, delta, strict=True)).get(pid, 0)
        control = packet[3] & 0xF0 | (packet[3] + added) & 0x0F
        moved.append(packet[:3] + bytes((control,)) + packet[4:])
    numbers = numbers | {"sequence": sequence, "clock": numbers["clock"] + clock_offset & 0xFFFFFFFF, "ssrc": ssrc}
    expected = bytearray(frame(moved, **numbers))  # type: ignore[arg-type]
    for row in range(0, len(expected), grid.ROW_BYTES):
        expected[row + 1] = channel
    assert out == expected
    assert data == before, "the shared frame is untouched"
    assert grid.renumber(
        memoryview(bytearray(data)),
        sequence=sequence,
        clock_offset=clock_offset,
        ssrc=ssrc,
        delta=delta,
        channel=channel,
    ) == bytes(out)


@given(FRAMES)
def test_the_parts_of_a_frame(original: tuple[list[bytes], dict[str, int]]) -> None:
    packets, numbers = original
    data = frame(packets, **numbers)  # type: ignore[arg-type]
    rtp = [packet for at in range(0, len(packets), 7) for packet in [b"".join(packets[at : at + 7])]]
    assert grid.rtp_packets(len(data)) == len(rtp)
    for buffer in (data, bytearray(data), memoryview(data)):
        assert grid.without_rtp(buffer) == b"".join(packets)
        assert [bytes(packet[12:]) for packet in grid.packets(buffer)] == rtp
        assert grid.rtp_rows(buffer) == b"".join(grid.packets(buffer))
    assert [len(packet) for packet in grid.packets(data)][:-1] == [1328] * (len(rtp) - 1)
    assert [packet[2:4] for packet in grid.packets(data)] == [
        (numbers["sequence"] + n & 0xFFFF).to_bytes(2, "big") for n in range(len(rtp))
    ]


@pytest.mark.parametrize(("size", "rows"), [(0, 0), (204, 1), (1332, 1), (1333, 2), (1332 + 204, 2), (13320, 10)])
def test_the_rows_of_a_frame(size: int, rows: int) -> None:
    assert grid.rtp_packets(size) == rows


def test_sequence_numbers_wrap_inside_a_large_frame() -> None:
    data = frame([ts_packet(0x100, n & 15, 0, 1, 7) for n in range(7000)], sequence=0, clock=1, ssrc=1)
    out = grid.renumber(data, sequence=65_000, clock_offset=0, ssrc=1, delta=(0, 0, 0, 0))
    numbers = [int.from_bytes(packet[2:4], "big") for packet in grid.packets(out)]
    assert numbers == [n & 0xFFFF for n in range(65_000, 66_000)]


def test_the_layout_is_what_the_rest_relies_on() -> None:
    assert grid.LEAD_BYTES == 16
    assert grid.ROW_BYTES == 1332
    assert len(set(grid.PIDS)) == len(grid.PIDS) == 4
    assert all(0x10 <= pid < 0x1FFF for pid in grid.PIDS if pid)
