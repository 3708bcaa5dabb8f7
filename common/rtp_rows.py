"""The layout of a native frame as muxer and server share it: RTP packets of any sizes, each behind its `$`. Pure.

    row     $ channel length | RTP header | payload       4 + 12 + n bytes
    frame   rows back to back: one sample of one track, so that it is one system call

Channel 0 stands in every `$` header. Rows are found by walking the lengths, once a frame. A viewer on other terms
gets a copy patched by `renumber`; everyone else shares the one buffer.
"""

from collections.abc import Sequence
from struct import Struct

from common.errors import MessageError
from common.grid import INTERLEAVE_BYTES, LEAD_BYTES, Buffer

PACKET_BYTES_MAX = 1328  # of an RTP packet, header included: as of a TS frame's, within every common MTU
PAYLOAD_BYTES_MAX = PACKET_BYTES_MAX - (LEAD_BYTES - INTERLEAVE_BYTES)
DOLLAR = 0x24  # RFC 2326 10.12

_HEAD = Struct(">BBH")
_NUMBERS = Struct(">HII")  # sequence, timestamp, SSRC: bytes 2 to 12 of an RTP header
_NUMBERS_AT = INTERLEAVE_BYTES + 2
_CLOCK = Struct(">I")
_CLOCK_AT = INTERLEAVE_BYTES + 4


def walk(data: Buffer) -> list[int]:
    """Where each row of the frame starts. Raises MessageError unless the rows fill it exactly."""
    starts: list[int] = []
    at, size = 0, len(data)
    read = _HEAD.unpack_from
    while at + LEAD_BYTES <= size:
        dollar, channel, length = read(data, at)
        if dollar != DOLLAR or channel or length < LEAD_BYTES - INTERLEAVE_BYTES:
            break
        starts.append(at)
        at += INTERLEAVE_BYTES + length
    if at != size or not starts:
        raise MessageError(f"a native frame of {size} bytes whose rows end at {at}")
    return starts


def renumber(
    data: Buffer, starts: Sequence[int], *, sequence: int, clock_offset: int, ssrc: int, channel: int = 0
) -> memoryview:
    """A copy of the frame for a viewer with its own header numbers.

    starts: of its rows. sequence: of the first, counted on modulo 65536. clock_offset: added to each RTP
    timestamp, modulo 2^32. channel: the `$` header's.
    """
    out = bytearray(data)
    write, read = _NUMBERS.pack_into, _CLOCK.unpack_from
    for at in starts:
        (clock,) = read(out, at + _CLOCK_AT)
        write(out, at + _NUMBERS_AT, sequence & 0xFFFF, clock + clock_offset & 0xFFFF_FFFF, ssrc)
        sequence += 1
        out[at + 1] = channel
    return memoryview(out)


def packets(data: Buffer) -> list[memoryview]:
    """Each RTP packet of the frame, without `$` header; views of `data`, no copies."""
    view, starts = memoryview(data), walk(data)
    return [view[a + INTERLEAVE_BYTES : b] for a, b in zip(starts, [*starts[1:], len(view)], strict=True)]
