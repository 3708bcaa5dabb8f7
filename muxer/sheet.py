"""Where the rows of a frame are put together (`common.grid`), with few and cheap calls. Pure.

A *sheet* is memory for the rows of one frame and the views that write it: a view costs numpy more to make than to
write through, and headers are mostly the same from frame to frame. So a stream keeps its sheets, and a frame is a
copy of one: the sheet's bytes are nobody's but the next frame's.
"""

from struct import Struct
from typing import Any

import numpy as np
import numpy.typing as npt

from common.grid import (
    LEAD_BYTES,
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
ROWS_KEPT_MAX = 128  # 2.6 kB each in every stream, once touched; the sheet of a larger frame is used once

_LEAD = Struct(">BBHBBHII")  # `$`, channel, length | version, marker and type, sequence, timestamp, SSRC
_SIZE_AT, _TYPE_AT = 2, 5
_SIZES = [(RTP_HEADER_BYTES + TS_BYTES * packets).to_bytes(2, "big") for packets in range(TS_PER_RTP + 1)]

_LEAD_CELL = np.dtype(f"V{LEAD_BYTES}")
_BODY = np.dtype(f"V{TS_BODY_BYTES}")
_PACKET = np.dtype({"names": ["head", "body"], "formats": ["<u4", _BODY], "offsets": [0, 4]})
_ROW = np.dtype(
    {
        "names": ["lead", "sequence", "clock", "packets", "payload"],
        "formats": [_LEAD_CELL, ">u2", ">u4", (_PACKET, TS_PER_RTP), f"V{TS_PER_RTP * TS_BYTES}"],
        "offsets": [0, 6, 8, LEAD_BYTES, LEAD_BYTES],
        "itemsize": ROW_BYTES,
    }
)

_Array = npt.NDArray[Any]


def lead(packets: int, clock: int, sequence: int, ssrc: int, marker: bool) -> bytes:
    """The `$` and RTP headers before `packets` TS packets."""
    kind = RTP_PAYLOAD_TYPE | MARKER if marker else RTP_PAYLOAD_TYPE
    size = RTP_HEADER_BYTES + TS_BYTES * packets
    return _LEAD.pack(DOLLAR, 0, size, RTP_VERSION, kind, sequence & 0xFFFF, clock, ssrc)


class Sheet:
    """The rows of one frame in the making.

    heads: the TS headers as little-endian numbers, and bodies: what is behind each; shape (rows, 7). content: what
    the bodies are to be, one after the other, as bytes; cells: the same in the shape of `bodies`.
    payloads: the 7 packets of each row as one. frame: the rows as bytes.
    """

    __slots__ = ("_clocks", "_rows", "_sequences", "bodies", "cells", "content", "frame", "heads", "payloads")

    def __init__(self, rows: _Array, content: _Array, ssrc: int) -> None:
        rows["lead"] = np.frombuffer(lead(TS_PER_RTP, 0, 0, ssrc, False), _LEAD_CELL)
        self._rows = len(rows)
        self._sequences = rows["sequence"]
        self._clocks = rows["clock"]
        self.heads = rows["packets"]["head"]
        self.bodies = rows["packets"]["body"]
        self.payloads = rows["payload"]
        self.frame = rows.view(np.uint8).data
        self.content = content.view(np.uint8).data
        self.cells = content.view(_BODY).reshape(self.bodies.shape)

    def finish(
        self, packets: int, first: bytes, last: bytes | memoryview, clock: int, sequence: int, marker: bool
    ) -> bytes:
        """The frame, which has `packets` TS packets.

        first, last: what its TS packets begin and end with in place of what is there. The other arguments are as
        for `muxer.rtp.packetise_ts`.
        """
        rows, frame = self._rows, self.frame
        self._sequences[...] = SEQUENCES[sequence : sequence + rows]
        self._clocks.fill(clock)
        frame[_TYPE_AT] = RTP_PAYLOAD_TYPE | MARKER if marker else RTP_PAYLOAD_TYPE
        frame[LEAD_BYTES : LEAD_BYTES + len(first)] = first
        size = rows * LEAD_BYTES + packets * TS_BYTES
        frame[size - len(last) : size] = last
        at = (rows - 1) * ROW_BYTES + _SIZE_AT
        frame[at : at + 2] = _SIZES[packets - (rows - 1) * TS_PER_RTP]
        data = bytes(frame[:size])
        frame[at : at + 2] = _SIZES[TS_PER_RTP]  # in another sheet this row is not the last
        return data


class Sheets:
    """The sheets of one stream, by their number of rows. They share their memory: one frame at a time."""

    def __init__(self, ssrc: int) -> None:
        self._ssrc = ssrc
        self._memory = _memory(ROWS_KEPT_MAX)
        self._kept: dict[int, Sheet] = {}

    def get(self, packets: int) -> Sheet:
        """The sheet for a frame of `packets` TS packets."""
        count = -(-packets // TS_PER_RTP)
        sheet = self._kept.get(count)
        if sheet is None:
            if count > ROWS_KEPT_MAX:
                return Sheet(*_memory(count), self._ssrc)
            rows, content = self._memory
            sheet = self._kept[count] = Sheet(rows[:count], content[: count * TS_PER_RTP], self._ssrc)
        return sheet


def _memory(rows: int) -> tuple[_Array, _Array]:
    return np.empty(rows, _ROW), np.empty(rows * TS_PER_RTP, _BODY)
