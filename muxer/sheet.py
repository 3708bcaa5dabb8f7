"""Where the rows of a frame (`common.grid`) are put together from one sample, in few and cheap steps. Pure.

numpy takes longer to make a view than to write 100 packets through it, and most of a header is the same from frame
to frame. So there are *sheets*: memory for the rows of a frame, with all that never changes in them, and the views
to write the rest. A frame is a copy of its sheet. Muxers that work in turn share theirs, which so stay in the
processor's cache.
"""

from struct import Struct
from typing import Any

import numpy as np
import numpy.typing as npt

from common.grid import (
    COUNTER_MASK,
    LEAD_BYTES,
    PACKETS_MAX,
    ROW_BYTES,
    RTP_HEADER_BYTES,
    RTP_PAYLOAD_TYPE,
    SEQUENCES,
    TS_BODY_BYTES,
    TS_BYTES,
    TS_PER_RTP,
)

RTP_VERSION = 0x80  # version 2, no padding, extension or contributing sources (RFC 3550 5.1)
MARKER = 0x80  # RFC 2250 section 2: the timestamp is discontinuous
DOLLAR = 0x24  # RFC 2326 10.12
ROWS_KEPT_MAX = 128  # a sheet and its heads take 9 kB; those of a larger frame are used once

_LEAD = Struct(">BBHBBHII")  # `$`, channel, length | version, marker and type, sequence, timestamp, SSRC
_SIZE_AT, _TYPE_AT = 2, 5
_CONTENT_BYTES = TS_PER_RTP * TS_BODY_BYTES
_SIZES = [(RTP_HEADER_BYTES + TS_BYTES * packets).to_bytes(2, "big") for packets in range(TS_PER_RTP + 1)]

_LEAD_CELL = np.dtype(f"V{LEAD_BYTES}")
_BODY = np.dtype(f"V{TS_BODY_BYTES}")
_PACKET = np.dtype({"names": ["head", "body"], "formats": ["<u4", _BODY], "offsets": [0, 4]})
_ROW = np.dtype(
    {
        "names": ["lead", "sequence", "clock_ssrc", "packets", "payload"],
        "formats": [_LEAD_CELL, ">u2", ">u8", (_PACKET, TS_PER_RTP), f"V{TS_PER_RTP * TS_BYTES}"],
        "offsets": [0, 6, 8, LEAD_BYTES, LEAD_BYTES],
        "itemsize": ROW_BYTES,
    }
)

_COUNTERS = ((np.arange(PACKETS_MAX + TS_PER_RTP + 16) & COUNTER_MASK) << 24).astype("<u4")

Heads = npt.NDArray[np.uint32]  # of TS packets, one little-endian number each
Rows = npt.NDArray[Any]
Content = npt.NDArray[np.uint8]


def lead(packets: int, clock: int, sequence: int, ssrc: int, marker: bool) -> bytes:
    """The `$` and RTP headers before `packets` TS packets."""
    kind = RTP_PAYLOAD_TYPE | MARKER if marker else RTP_PAYLOAD_TYPE
    size = RTP_HEADER_BYTES + TS_BYTES * packets
    return _LEAD.pack(DOLLAR, 0, size, RTP_VERSION, kind, sequence & 0xFFFF, clock, ssrc)


def empty_rows(count: int) -> Rows:
    """Rows with nothing in them but what never changes in their leads."""
    rows = np.empty(count, _ROW)
    rows["lead"] = np.frombuffer(lead(TS_PER_RTP, 0, 0, 0, False), _LEAD_CELL)
    return rows


class Sheet:
    """The memory for the rows of one frame, and the views of it to write through.

    rows: `empty_rows`. content: memory for the bodies of as many TS packets, one after the other.
    """

    def __init__(self, rows: Rows, content: Content) -> None:
        self._rows = len(rows)
        self._frame = rows.view(np.uint8).data
        self._sequences = rows["sequence"]
        self._clocks_ssrcs = rows["clock_ssrc"]
        self._heads = rows["packets"]["head"]
        self._bodies = rows["packets"]["body"]
        self._content = content.data
        self._cells = content.view(_BODY).reshape(self._bodies.shape)
        at = (self._rows - 1) * ROW_BYTES + _SIZE_AT
        self._last_size = slice(at, at + 2)

    def fill(
        self,
        packets: int,
        first: bytes,
        heads: Heads,
        last: bytes,
        begin: bytes,
        rest: bytes | memoryview,
        clock: int,
        sequence: int,
        ssrc: int,
        marker: bool,
    ) -> bytes:
        """The frame of `packets` TS packets.

        first: ready-made ones, and the head of the first of those that carry `begin` and `rest`. heads: of all,
        shape (rows, 7). last: head and adaptation field of the last one, where it has its own, else empty.
        clock, sequence, ssrc, marker: as for `muxer.rtp.packetise_ts`.
        """
        rows, frame, content = self._rows, self._frame, self._content
        start = len(first) // TS_BYTES * TS_BODY_BYTES
        middle = start + len(begin)
        end = middle + len(rest)
        content[start:middle] = begin
        try:
            content[middle:end] = rest
        except ValueError:  # a view of ctypes' memory says "<B" and fits into no other
            content[middle:end] = bytes(rest)
        self._bodies[...] = self._cells
        self._heads[...] = heads
        self._sequences[...] = SEQUENCES[sequence : sequence + rows]
        self._clocks_ssrcs.fill(clock << 32 | ssrc)
        frame[LEAD_BYTES : LEAD_BYTES + len(first)] = first
        size = rows * LEAD_BYTES + packets * TS_BYTES
        if last:
            frame[size - TS_BYTES : size] = last + content[end - TS_BYTES + len(last) : end]
        frame[self._last_size] = _SIZES[packets - (rows - 1) * TS_PER_RTP]
        if marker:
            frame[_TYPE_AT] = RTP_PAYLOAD_TYPE | MARKER
        data = frame[:size].tobytes()
        if marker:
            frame[_TYPE_AT] = RTP_PAYLOAD_TYPE
        return data


class Sheets(dict[int, Sheet]):
    """Sheets by their number of rows; for one frame at a time, and so for one thread.

    They share their memory and all end where it ends, so that the last row, which may be short, is the same.
    """

    def __init__(self) -> None:
        self._rows = empty_rows(ROWS_KEPT_MAX)
        self._content = _empty_content(ROWS_KEPT_MAX)

    def __missing__(self, count: int) -> Sheet:
        if count > ROWS_KEPT_MAX:
            return Sheet(empty_rows(count), _empty_content(count))
        sheet = self[count] = Sheet(self._rows[-count:], self._content[: count * _CONTENT_BYTES])
        return sheet


class PlainHeads(dict[int, list[Heads]]):
    """The heads of packets with nothing but payload that follow each other, by rows and the first one's counter.

    head: of the first such packet, with counter 0.
    """

    def __init__(self, head: bytes) -> None:
        self._head = np.uint32(int.from_bytes(head, "little"))

    def __missing__(self, rows: int) -> list[Heads]:
        cells = rows * TS_PER_RTP
        line = _COUNTERS[: cells + 16] | self._head
        heads = [line[counter : counter + cells].reshape(rows, TS_PER_RTP) for counter in range(16)]
        if rows <= ROWS_KEPT_MAX:
            self[rows] = heads
        return heads


def _empty_content(rows: int) -> Content:
    return np.empty(rows * _CONTENT_BYTES, np.uint8)
