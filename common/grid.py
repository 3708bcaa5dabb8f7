"""The layout of a frame as muxer and server share it, and the few things done to all its packets at once.

A *frame* is one sample muxed to MPEG-TS and packetised to RTP (RFC 2250: up to 7 TS packets a packet) with
RTSP's interleaving header (RFC 2326 10.12) before each: one contiguous buffer, so that it is one system call.

    row     $ channel length | RTP header | 7 × (TS header, 184 bytes)      16 + 7·188 = 1332 bytes
    frame   rows, the last one short (1 to 7 TS packets)

Channel 0 stands in every `$` header. A viewer on other terms (own numbers after a splice, another channel,
plain TS, RTP over UDP) gets a copy patched by the functions below; everyone else shares the one buffer.
Pure; numpy does the per-packet work.
"""

from enum import IntEnum

import msgspec

TS_BYTES = 188
TS_BODY_BYTES = 184
TS_PER_RTP = 7  # 7 · 188 + 12 = 1328 bytes: within an Ethernet MTU with IP and UDP headers
RTP_HEADER_BYTES = 12
INTERLEAVE_BYTES = 4
LEAD_BYTES = INTERLEAVE_BYTES + RTP_HEADER_BYTES
ROW_BYTES = LEAD_BYTES + TS_PER_RTP * TS_BYTES
RTP_PAYLOAD_TYPE = 33  # MP2T, RFC 3551

PAT_PID = 0x0000
PMT_PID = 0x1000
VIDEO_PID = 0x0100
AUDIO_PID = 0x0101
PIDS = (PAT_PID, PMT_PID, VIDEO_PID, AUDIO_PID)  # the order of every `counters` and `counts`

Counters = tuple[int, int, int, int]


class FrameKind(IntEnum):
    """What a frame carries. CLOCK is a PCR (and tables when due) with no sample: always droppable."""

    VIDEO = 0
    AUDIO = 1
    CLOCK = 2


class Frame(msgspec.Struct, frozen=True):
    """One muxed and packetised sample, whole.

    time_us: the sample's decoding time, µs. sequence, clock, ssrc: the RTP header of its first packet (every
    packet of a frame has the same clock). counters: the continuity counter that its first packet with payload
    has, or would have, on each of PIDS; counts: how many packets with payload it has on each.
    disposable: no other picture refers to this one. data: the rows.
    """

    kind: FrameKind
    sync: bool
    disposable: bool
    time_us: int
    sequence: int
    clock: int
    ssrc: int
    counters: Counters
    counts: Counters
    data: bytes | memoryview
