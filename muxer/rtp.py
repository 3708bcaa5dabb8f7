"""MPEG-TS in RTP (RFC 2250 section 2) in the rows of `common.grid`. Pure."""

from struct import Struct
from typing import Any

import numpy as np
import numpy.typing as npt

from common.errors import MediaError
from common.grid import (
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
SMALL_PACKETS_MAX = 35  # up to here plain bytes are faster than numpy (measured)

CELL = np.dtype(f"V{TS_BODY_BYTES}")
_LEAD_CELL = np.dtype(f"V{LEAD_BYTES}")
_PAYLOAD_CELL = np.dtype(f"V{TS_PER_RTP * TS_BYTES}")
_PACKET = np.dtype({"names": ["head", "body"], "formats": ["<u4", CELL], "offsets": [0, 4]})
_ROW = np.dtype(
    {
        "names": ["lead", "sequence", "packets", "payload"],
        "formats": [_LEAD_CELL, ">u2", (_PACKET, TS_PER_RTP), _PAYLOAD_CELL],
        "offsets": [0, 6, LEAD_BYTES, LEAD_BYTES],
        "itemsize": ROW_BYTES,
    }
)
_LEAD = Struct(">BBHBBHII")  # `$`, channel, length | version, marker and type, sequence, timestamp, SSRC
_PAYLOAD_BYTES = TS_PER_RTP * TS_BYTES

Rows = npt.NDArray[Any]


def packetise_ts(
    packets: bytes | memoryview, *, clock: int, sequence: int, ssrc: int, marker: bool = False
) -> bytes | memoryview:
    """Whole TS packets as the rows of one frame.

    clock: of every RTP packet, 32 bits. sequence: of the first, counted on modulo 65536. marker: set on the
    first; the timestamp is discontinuous. Raises MediaError if `packets` is empty, no multiple of 188 bytes, or
    over PACKETS_MAX of them.
    """
    count, rest = divmod(len(packets), TS_BYTES)
    if rest or not 1 <= count <= PACKETS_MAX:
        raise MediaError(f"{len(packets)} bytes are not 1 to {PACKETS_MAX} TS packets of {TS_BYTES}")
    if count <= SMALL_PACKETS_MAX:
        parts: list[bytes | memoryview] = []
        for start in range(0, count, TS_PER_RTP):
            parts.append(lead(min(TS_PER_RTP, count - start), clock, sequence, ssrc, marker))
            parts.append(packets[start * TS_BYTES : (start + TS_PER_RTP) * TS_BYTES])
            sequence += 1
            marker = False
        return b"".join(parts)
    rows, frame = empty_rows(count, clock, sequence, ssrc, marker)
    whole = count // TS_PER_RTP
    rows["payload"][:whole] = np.frombuffer(packets, _PAYLOAD_CELL, whole)
    if whole < len(rows):
        frame[whole * ROW_BYTES + LEAD_BYTES :] = packets[whole * _PAYLOAD_BYTES :]
    return frame


def lead(packets: int, clock: int, sequence: int, ssrc: int, marker: bool) -> bytes:
    """The `$` and RTP headers before `packets` TS packets."""
    kind = RTP_PAYLOAD_TYPE | MARKER if marker else RTP_PAYLOAD_TYPE
    size = RTP_HEADER_BYTES + TS_BYTES * packets
    return _LEAD.pack(DOLLAR, 0, size, RTP_VERSION, kind, sequence & 0xFFFF, clock, ssrc)


def empty_rows(packets: int, clock: int, sequence: int, ssrc: int, marker: bool) -> tuple[Rows, memoryview]:
    """Rows for `packets` TS packets, at most PACKETS_MAX, and the same as the bytes of the frame.

    Their headers are set; `packets`, which is `payload`, is still to be.
    """
    count = -(-packets // TS_PER_RTP)
    rows = np.empty(count, _ROW)
    rows["lead"] = np.frombuffer(lead(TS_PER_RTP, clock, sequence, ssrc, False), _LEAD_CELL)
    rows["sequence"] = SEQUENCES[sequence : sequence + count]
    frame = rows.view(np.uint8).data[: count * LEAD_BYTES + packets * TS_BYTES]
    if marker:
        frame[5] |= MARKER
    last = packets - (count - 1) * TS_PER_RTP
    if last < TS_PER_RTP:
        at = (count - 1) * ROW_BYTES + 2
        frame[at : at + 2] = (RTP_HEADER_BYTES + TS_BYTES * last).to_bytes(2, "big")
    return rows, frame
