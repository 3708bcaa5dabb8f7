"""Ready-made MPEG-TS packets in RTP (RFC 2250 section 2), in the rows of `common.grid`. Pure."""

import numpy as np

from common.errors import MediaError
from common.grid import LEAD_BYTES, PACKETS_MAX, ROW_BYTES, SEQUENCES, TS_BYTES, TS_PER_RTP
from muxer.sheet import empty_rows, lead

SMALL_PACKETS_MAX = 35  # up to here plain bytes are faster than numpy (measured)
_PAYLOAD_BYTES = TS_PER_RTP * TS_BYTES


def packetise_ts(
    packets: bytes | memoryview, *, clock: int, sequence: int, ssrc: int, marker: bool = False
) -> bytes:
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
    rows = empty_rows(-(-count // TS_PER_RTP))
    rows["sequence"] = SEQUENCES[sequence : sequence + len(rows)]
    rows["clock_ssrc"] = clock << 32 | ssrc
    payloads = rows["payload"]
    payloads[...] = np.frombuffer(bytes(packets).ljust(len(rows) * _PAYLOAD_BYTES, b"\0"), payloads.dtype)
    frame = rows.view(np.uint8).data[: len(rows) * LEAD_BYTES + len(packets)]
    frame[:LEAD_BYTES] = lead(TS_PER_RTP, clock, sequence, ssrc, marker)
    last = len(rows) - 1
    at = last * ROW_BYTES
    frame[at : at + LEAD_BYTES] = lead(count - last * TS_PER_RTP, clock, sequence + last, ssrc, False)
    return frame.tobytes()
