"""A TS muxer for tests, pictures for it, and what the checkers say of what it wrote."""

from collections.abc import Sequence

from common import grid
from common.grid import Counters, Frame
from common.sample import Codec, Track
from muxer.mpegts import TsMuxer
from tests.support.rtp_check import RtpCheck, rtp_packets
from tests.support.ts_check import TsCheck
from tests.support.ts_report import Report

AAC = Track(Codec.AAC, sample_rate_hz=48_000, channels=2)
H264 = Track(Codec.H264)
START = b"\0\0\0\1"
H264_AUD = START + b"\x09\xf0"


def checked(frames: Sequence[Frame]) -> Report:
    """What the checkers say of frames that follow each other; the numbers in the frames must be the bytes' own."""
    ts, rtp = TsCheck(), RtpCheck()
    for frame in frames:
        packets = rtp_packets(frame.data)
        assert packets[0][2:4] == frame.sequence.to_bytes(2, "big")
        assert {packet[4:12] for packet in packets} == {
            frame.clock.to_bytes(4, "big") + frame.ssrc.to_bytes(4, "big")
        }
        counts, first = [0, 0, 0, 0], list(frame.counters)
        for packet in packets:
            rtp.feed(packet)
            ts.feed(packet[12:])
            for at in range(12, len(packet), 188):
                index = grid.PIDS.index((packet[at + 1] & 0x1F) << 8 | packet[at + 2])
                if packet[at + 3] & 0x10:
                    assert packet[at + 3] & 0x0F == (first[index] + counts[index]) & 0x0F
                    counts[index] += 1
        assert tuple(counts) == frame.counts
    assert not rtp.errors
    return ts.finish()


def picture(size: int, kind: int = 0x41, fill: int = 0x88) -> bytes:
    """An access unit of exactly `size` bytes (5 at least)."""
    return START + bytes((kind,)) + bytes([fill]) * (size - 5)


def h264_muxer(sequence: int = 0, counters: Counters = (0, 0, 0, 0), version: int = 0) -> TsMuxer:
    return TsMuxer((H264,), ssrc=0x12345678, sequence=sequence, counters=counters, version=version)
