"""The layout of a TS frame as muxer and server share it, and the few things done to all its packets at once.

A *frame* of payload TS is one sample muxed to MPEG-TS and packetised to RTP (RFC 2250: up to 7 TS packets a
packet) with RTSP's interleaving header (RFC 2326 10.12) before each: one contiguous buffer, so that it is one
system call. (`common.rtp_rows` has the layout of native payloads.)

    row     $ channel length | RTP header | 7 × (TS header, 184 bytes)      16 + 7·188 = 1332 bytes
    frame   rows, the last one short (1 to 7 TS packets)

Channel 0 stands in every `$` header. A viewer on other terms (own numbers after a splice, another channel,
plain TS, RTP over UDP) gets a copy patched by the functions below; everyone else shares the one buffer.
Pure; numpy does the per-packet work.
"""

from collections.abc import Iterator
from enum import IntEnum
from functools import lru_cache

import msgspec
import numpy as np
import numpy.typing as npt

from common.sample import Payload

TS_BYTES = 188
TS_BODY_BYTES = 184
TS_PER_RTP = 7  # 7 · 188 + 12 = 1328 bytes: within an Ethernet MTU with IP and UDP headers
RTP_HEADER_BYTES = 12
INTERLEAVE_BYTES = 4
LEAD_BYTES = INTERLEAVE_BYTES + RTP_HEADER_BYTES
ROW_BYTES = LEAD_BYTES + TS_PER_RTP * TS_BYTES
RTP_PAYLOAD_TYPE = 33  # MP2T, RFC 3551
RATES_HZ = (90_000,)  # of its one RTP clock (RFC 2250 section 2)

PAT_PID = 0x0000
PMT_PID = 0x1000
VIDEO_PID = 0x0100
AUDIO_PID = 0x0101
PIDS = (PAT_PID, PMT_PID, VIDEO_PID, AUDIO_PID)  # the order of every `counters` and `counts`

Counters = tuple[int, int, int, int]
Buffer = bytes | bytearray | memoryview

COUNTER_MASK = 0x0F

PACKETS_MAX = 1 << 17  # TS packets in one frame: twice the largest sample
# Sequence numbers of the RTP packets of a frame, from any first one on: a slice needs no arithmetic.
SEQUENCES = np.arange((1 << 16) + PACKETS_MAX // TS_PER_RTP + 1).astype(">u2")

# pid: 3 flags and its 13 bits, but read with the second byte as the high one, which numpy does faster.
# control: 4 bits, then the continuity counter.
_PACKET_LAYOUT = np.dtype(
    {"names": ["pid", "control"], "formats": ["<u2", "u1"], "offsets": [1, 3], "itemsize": TS_BYTES}
)
_ROW_LAYOUT = np.dtype(
    {
        "names": ["channel", "sequence", "clock_ssrc", "packets"],
        "formats": ["u1", ">u2", ">u8", (_PACKET_LAYOUT, TS_PER_RTP)],
        "offsets": [1, 6, 8, LEAD_BYTES],
        "itemsize": ROW_BYTES,
    }
)
_CLOCK = slice(8, 12)
# _MOVED[added << 8 | control]: the control byte with `added` added to its counter.
_MOVED = np.array(
    [control & 0xF0 | control + added & COUNTER_MASK for added in range(16) for control in range(256)], np.uint8
)
_TS_ROW, _RTP_ROW = (
    np.dtype({"names": ["kept"], "formats": [f"V{ROW_BYTES - lead}"], "offsets": [lead], "itemsize": ROW_BYTES})
    for lead in (LEAD_BYTES, INTERLEAVE_BYTES)
)
_DISCONTINUITY_FLAG, _PCR_FLAG = 0x80, 0x10  # of an adaptation field (2.4.3.4)
_NOTHING = bytearray()
_ROW_OF_ZEROS = bytes(ROW_BYTES)


class FrameKind(IntEnum):
    """What a frame carries. CLOCK is a PCR (and tables when due) with no sample: always droppable."""

    VIDEO = 0
    AUDIO = 1
    CLOCK = 2


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One packetised sample, whole: of all tracks in TS, or of one track natively.

    sync: a viewer can start with it (a CLOCK frame never is one, nor is an audio frame beside video).
    time_us: the sample's decoding time, µs; of a CLOCK frame, that of a sample that would be on time.
    sequences, clocks, ssrcs: of each RTP stream, by track (TS has one): the sequence number that its next packet
    has, from this frame on; its clock at `time_us` (the RTP timestamp of a TS frame); its SSRC. rates_hz: of the
    clocks.
    counters: the continuity counter that its first packet with payload has, or would have, on each of PIDS.
    counts: how many packets with payload it has on each. (Zeros in a native frame.)
    disposable: no other picture refers to this one. packets: how many RTP packets, or rows, `data` has.
    track: whose RTP stream they are of; 0 in TS.
    """

    kind: FrameKind
    sync: bool
    disposable: bool
    time_us: int
    sequences: tuple[int, ...]
    clocks: tuple[int, ...]
    ssrcs: tuple[int, ...]
    rates_hz: tuple[int, ...]
    counters: Counters
    counts: Counters
    packets: int
    data: bytes | memoryview
    payload: Payload = Payload.TS
    track: int = 0

    @property
    def sequence(self) -> int:
        """Of its first RTP packet."""
        return self.sequences[self.track]

    @property
    def clock(self) -> int:
        """Of its RTP stream at `time_us`."""
        return self.clocks[self.track]

    @property
    def ssrc(self) -> int:
        """Of its RTP packets."""
        return self.ssrcs[self.track]


def rtp_packets(size: int) -> int:
    """How many rows, which is RTP packets, a frame of `size` bytes has."""
    return -(-size // ROW_BYTES)


def renumber(
    data: Buffer, *, sequence: int, clock_offset: int, ssrc: int, delta: Counters, channel: int = 0
) -> memoryview:
    """A copy of the frame for a viewer with its own header numbers.

    sequence: of the first RTP packet; those behind it count on, modulo 65536. clock_offset: added to the RTP
    timestamp, which all packets of a frame share, modulo 2^32. delta: added to the continuity counters of each of
    PIDS, modulo 16, also in packets without payload, which repeat a counter; other PIDs stay. channel: the `$`
    header's.
    """
    size = len(data)
    # Whole rows, so that numpy can take them as such; what stands behind `size` is nobody's.
    out = _NOTHING.join((data, _ROW_OF_ZEROS[: -size % ROW_BYTES]))
    rows = np.frombuffer(out, _ROW_LAYOUT)
    sequence &= 0xFFFF
    rows["sequence"] = SEQUENCES[sequence : sequence + len(rows)]
    clock = int.from_bytes(out[_CLOCK], "big") + clock_offset & 0xFFFF_FFFF
    rows["clock_ssrc"].fill(clock << 32 | ssrc)
    if channel:
        rows["channel"].fill(channel)
    if any(delta):
        packets = rows["packets"]
        control = packets["control"]
        control[...] = _MOVED.take(_added(delta).take(packets["pid"]) | control.astype(np.uint16))
    return memoryview(out)[:size]


def pcr_flags(data: Buffer) -> int | None:
    """Where the frame's first PCR is: the place of the flags of its adaptation field; None: it has none."""
    for start in range(0, len(data), ROW_BYTES):
        for at in range(start + LEAD_BYTES, min(start + ROW_BYTES, len(data)), TS_BYTES):
            has_field = data[at + 3] & 0x20 and data[at + 4]
            if has_field and data[at + 5] & _PCR_FLAG:
                return at + 5
    return None


def signal_discontinuity(data: Buffer, flags: int) -> bytearray:
    """A copy that says of its PCR, the one with its flags there, that it is of a new clock (13818-1 2.4.3.5)."""
    out = bytearray(data)
    out[flags] |= _DISCONTINUITY_FLAG
    return out


def without_rtp(data: Buffer) -> bytes:
    """The frame's TS packets alone, 188 bytes each."""
    return _without_leads(data, _TS_ROW, LEAD_BYTES)


def rtp_rows(data: Buffer) -> bytes:
    """The frame's RTP packets without `$` headers: segments of 1328 bytes, the last one 200 to 1328."""
    return _without_leads(data, _RTP_ROW, INTERLEAVE_BYTES)


def packets(data: Buffer) -> Iterator[memoryview]:
    """Each RTP packet of the frame, without `$` header; views of `data`, no copies."""
    view = memoryview(data)
    for start in range(0, len(view), ROW_BYTES):
        yield view[start + INTERLEAVE_BYTES : start + ROW_BYTES]


def _without_leads(data: Buffer, row: np.dtype[np.void], lead_bytes: int) -> bytes:
    whole = len(data) // ROW_BYTES
    kept = np.frombuffer(data, row, whole)["kept"].tobytes()
    return kept + data[whole * ROW_BYTES + lead_bytes :]


@lru_cache(maxsize=64)
def _added(delta: Counters) -> npt.NDArray[np.uint16]:
    """What is added to a packet's counter, times 256, by its `pid` as in the layout."""
    table = np.zeros((256, 8, 32), np.uint16)  # low byte of the PID, flags, high bits of the PID
    for pid, added in zip(PIDS, delta, strict=True):
        table[pid & 0xFF, :, pid >> 8] = (added & COUNTER_MASK) << 8
    return table.ravel()
