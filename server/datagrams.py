"""A frame as datagrams: runs of RTP packets that the kernel cuts apart by itself (UDP_SEGMENT). Pure.

A run is packets of one size one behind the other, of which the last may be shorter. Within these limits it is one
system call, whatever the number of its packets.
"""

from typing import NamedTuple

from common import grid, rtp_rows
from common.grid import INTERLEAVE_BYTES, ROW_BYTES
from common.wire import Buffer

RUN_BYTES_MAX = 65_507  # of UDP in IPv4
RUN_PACKETS_MAX = 64  # UDP_MAX_SEGMENTS, before Linux 6.9
_TS_SEGMENT = ROW_BYTES - INTERLEAVE_BYTES
_TS_RUN = min(RUN_BYTES_MAX // _TS_SEGMENT, RUN_PACKETS_MAX) * _TS_SEGMENT


class Run(NamedTuple):
    """So many bytes to a packet, but for the last. track: whose ports they go to."""

    segment_bytes: int
    data: Buffer
    track: int = 0


class Datagrams:
    """All runs of one frame. Its length is that of its packets, in bytes."""

    __slots__ = ("_size", "runs")

    def __init__(self, runs: tuple[Run, ...]) -> None:
        self.runs = runs
        self._size = sum(len(run.data) for run in runs)

    def __len__(self) -> int:
        return self._size


def ts_datagrams(frame: Buffer) -> Datagrams:
    """A frame of MPEG-TS in the layout of `common.grid`."""
    data = memoryview(grid.rtp_rows(frame))
    return Datagrams(
        tuple(Run(_TS_SEGMENT, data[start : start + _TS_RUN]) for start in range(0, len(data), _TS_RUN))
    )


def native_datagrams(frame: Buffer, track: int) -> Datagrams:
    """A frame in the layout of `common.rtp_rows`."""
    runs: list[Run] = []
    packets: list[memoryview] = []
    size = 0
    for packet in rtp_rows.packets(frame):
        if packets and not (
            len(packets[-1]) == len(packets[0]) >= len(packet)
            and len(packets) < RUN_PACKETS_MAX
            and size + len(packet) <= RUN_BYTES_MAX
        ):
            runs.append(Run(len(packets[0]), memoryview(b"".join(packets)), track))
            packets, size = [], 0
        packets.append(packet)
        size += len(packet)
    runs.append(Run(len(packets[0]), memoryview(b"".join(packets)), track))
    return Datagrams(tuple(runs))
