"""Muxing one stream, against a copy of the same bytes in memory and against libavformat.

    python -m tests.bench.mux [--kilobytes 1,17,100] [--frames 2000] [--repeats 7]

µs a frame for H.264 pictures of those sizes at 30 a second, one in 60 a sync point. Each repetition times all
three in turn; the median of the repetitions is printed, the ratios are medians of each repetition's ratios.

    ours         muxer.mpegts.TsMuxer: TS, in RTP packets, with RTSP's `$` headers
    copy         the same picture copied into a new `bytes`
    libavformat  PyAV, format mpegts, into a file object that throws all away: TS alone, flushed every frame
"""

import argparse
import io
import re
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from statistics import median

import av
import numpy as np

from common.sample import Codec, Sample, Track
from muxer.mpegts import TsMuxer
from tests.bench.media import FPS, HEIGHT, WIDTH

SYNC_EVERY = FPS * 2
PARAMETER_SETS = bytes.fromhex(  # those of the clip: SPS and PPS
    "000000016764001facb402802dd080000003008000001e3240007a12000f425251007c60ca80" + "0000000168ef3cb0"
)
IDR_START, SLICE_START = bytes.fromhex("0000000165888400"), bytes.fromhex("00000001419a2400")

Work = Callable[[int], object]


def _pictures(size_bytes: int) -> list[bytes]:
    """Annex B access units of about that size, the first a sync point; bytes as random as coded ones are."""
    rng = np.random.default_rng(size_bytes)
    starts = [PARAMETER_SETS + IDR_START, *[SLICE_START] * (SYNC_EVERY - 1)]
    bodies = (rng.bytes(max(1, size_bytes - len(start))) for start in starts)
    # What an encoder does so that no start code stands in a slice, ITU-T H.264 7.4.1.
    safe = (re.sub(rb"\0\0(?=[\0-\3])", b"\0\0\3", body) + b"\x80" for body in bodies)
    return [start + body for start, body in zip(starts, safe, strict=True)]


def _ours(pictures: Sequence[bytes]) -> Work:
    muxer = TsMuxer((Track(Codec.H264, WIDTH, HEIGHT, float(FPS), config=PARAMETER_SETS),), ssrc=1)

    def work(number: int) -> object:
        time_us = number * 1_000_000 // FPS
        sample = Sample(pictures[number % SYNC_EVERY], time_us, Codec.H264, number % SYNC_EVERY == 0)
        return muxer.write(sample, time_us)

    return work


def _copy(pictures: Sequence[bytes]) -> Work:
    views = [memoryview(picture) for picture in pictures]

    def work(number: int) -> object:
        return bytes(views[number % SYNC_EVERY])

    return work


class _Nothing(io.RawIOBase):
    """A file that throws away what is written."""

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        return len(data) if isinstance(data, bytes | bytearray | memoryview) else 0


def _libavformat(pictures: Sequence[bytes]) -> Work:
    container = av.open(_Nothing(), "w", format="mpegts", options={"flush_packets": "1"})
    stream = container.add_stream("libx264", rate=FPS)
    stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    base = Fraction(1, FPS)

    def work(number: int) -> object:
        packet = av.Packet(pictures[number % SYNC_EVERY])
        packet.stream, packet.time_base = stream, base
        packet.pts = packet.dts = number
        packet.is_keyframe = number % SYNC_EVERY == 0
        container.mux_one(packet)
        return None

    return work


def _us_a_frame(work: Work, first: int, frames: int) -> float:
    begin_ns = time.perf_counter_ns()
    for number in range(first, first + frames):
        work(number)
    return (time.perf_counter_ns() - begin_ns) / 1000 / frames


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.mux", description="µs to mux a frame.")
    parser.add_argument("--kilobytes", default="1,17,100", help="sizes of a picture; default 1,17,100")
    parser.add_argument("--frames", type=int, default=2000, help="a repetition; default 2000")
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    print("| picture, kB | ours, µs | copy, µs | libavformat, µs | × copy | × libavformat |")
    print("| --- | --- | --- | --- | --- | --- |")
    for kilobytes in map(int, options.kilobytes.split(",")):
        pictures = _pictures(kilobytes * 1000)
        works = (_ours(pictures), _copy(pictures), _libavformat(pictures))
        times = [
            [_us_a_frame(work, repeat * options.frames, options.frames) for work in works]
            for repeat in range(options.repeats + 1)
        ][1:]  # the first one warms up
        ours, copy, libavformat = (median(column) for column in zip(*times, strict=True))
        by_copy = median(mine / theirs for mine, theirs, _ in times)
        by_libavformat = median(mine / theirs for mine, _, theirs in times)
        print(
            f"| {kilobytes} | {ours:.1f} | {copy:.2f} | {libavformat:.1f} | {by_copy:.1f} | {by_libavformat:.2f} |"
        )


if __name__ == "__main__":
    main()
