"""Muxing one stream, against a copy of the same bytes in memory and against libavformat.

    python -m tests.bench.mux [--kilobytes 1,17,100] [--kept 0,60] [--rounds 200]

µs of CPU a picture, for H.264 pictures of those sizes at 30 a second, one in 60 a sync point with parameter sets.
A round is those 60 pictures, by each of the three in turn; the figures are medians over the rounds, the ratios
medians of each round's ratios. So they hold on a machine that is busy with other things, too.

    ours         muxer.mpegts.TsMuxer: TS, in RTP packets, with RTSP's `$` headers
    copy         the same picture copied into a new `bytes`
    libavformat  PyAV, format mpegts: TS alone, flushed every frame, with PCRs and tables as often as ours

kept: how many of its last results each of them keeps. With none each writes to the memory that it has just given
back, which is in the CPU's nearest cache: no muxer can, its viewers have yet to be sent the frame. With 60 they
are kept for 2 seconds, as a ring keeps them.
"""

import argparse
import io
import re
import time
from collections import deque
from collections.abc import Callable, Sequence
from fractions import Fraction
from statistics import median

import av
import numpy as np

from common.sample import Codec, Sample, Track
from muxer.mpegts import TABLES_JOIN_US, TsMuxer
from tests.bench.media import FPS, HEIGHT, WIDTH

SYNC_EVERY = FPS * 2
WARM_ROUNDS = 5
PARAMETER_SETS = bytes.fromhex(  # those of the clip: SPS and PPS
    "000000016764001facb402802dd080000003008000001e3240007a12000f425251007c60ca80" + "0000000168ef3cb0"
)
IDR_START, SLICE_START = bytes.fromhex("0000000165888400"), bytes.fromhex("00000001419a2400")
H264 = Codec.H264

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
    muxer = TsMuxer((Track(H264, WIDTH, HEIGHT, float(FPS), config=PARAMETER_SETS),), ssrc=1)

    def work(number: int) -> object:
        time_us = number * 1_000_000 // FPS
        place = number % SYNC_EVERY
        return muxer.write(Sample(pictures[place], time_us, H264, place == 0), time_us)

    return work


def _copy(pictures: Sequence[bytes]) -> Work:
    views = [memoryview(picture) for picture in pictures]

    def work(number: int) -> object:
        return bytes(views[number % SYNC_EVERY])

    return work


class _Taken(io.RawIOBase):
    """A file that takes what is written as it is."""

    def __init__(self) -> None:
        self.chunks: list[object] = []

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        self.chunks.append(data)
        return len(data) if isinstance(data, bytes | bytearray | memoryview) else 0


def _libavformat(pictures: Sequence[bytes]) -> Work:
    file = _Taken()
    options = {
        "flush_packets": "1",
        "pcr_period": str(1000 // FPS - 1),  # with every picture
        "pat_period": str(TABLES_JOIN_US / 1e6),  # with every second one
    }
    container = av.open(file, "w", format="mpegts", options=options)
    stream = container.add_stream("libx264", rate=FPS)
    stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    base = Fraction(1, FPS)

    def work(number: int) -> object:
        place = number % SYNC_EVERY
        packet = av.Packet(pictures[place])
        packet.stream, packet.time_base = stream, base
        packet.pts = packet.dts = number
        packet.is_keyframe = place == 0
        container.mux_one(packet)
        chunks, file.chunks = file.chunks, []
        return chunks

    return work


def _us_a_picture(work: Work, first: int, kept: deque[object]) -> float:
    keep = kept.append
    begin_ns = time.thread_time_ns()
    for number in range(first, first + SYNC_EVERY):
        keep(work(number))
    return (time.thread_time_ns() - begin_ns) / 1000 / SYNC_EVERY


def _measure(pictures: Sequence[bytes], kept_max: int, rounds: int) -> list[tuple[float, float, float]]:
    """What each of `ours`, `copy` and `libavformat` took in each round, µs a picture."""
    ours, copy, libavformat = (
        (work(pictures), deque[object](maxlen=kept_max)) for work in (_ours, _copy, _libavformat)
    )
    return [
        (_us_a_picture(ours[0], first, ours[1]), _us_a_picture(copy[0], first, copy[1]),
         _us_a_picture(libavformat[0], first, libavformat[1]))
        for first in range(0, (WARM_ROUNDS + rounds) * SYNC_EVERY, SYNC_EVERY)
    ][WARM_ROUNDS:]  # fmt: skip


def ratios(size_bytes: int, kept_max: int, rounds: int) -> tuple[float, float]:
    """What a picture of that size costs us, in copies of it and in libavformat's time; medians over the rounds."""
    times = _measure(_pictures(size_bytes), kept_max, rounds)
    return median(ours / copy for ours, copy, _ in times), median(ours / theirs for ours, _, theirs in times)


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.mux", description="µs of CPU to mux a picture.")
    parser.add_argument("--kilobytes", type=_numbers, default=[1, 17, 100], help="sizes of a picture; 1,17,100")
    parser.add_argument("--kept", type=_numbers, default=[0, SYNC_EVERY], help="results that are kept; 0,60")
    parser.add_argument("--rounds", type=int, default=200, help="of 60 pictures; 200")
    options = parser.parse_args()
    print("| picture, kB | kept | ours, µs | copy, µs | libavformat, µs | × copy | × libavformat |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for kilobytes in options.kilobytes:
        pictures = _pictures(kilobytes * 1000)
        for kept_max in options.kept:
            times = _measure(pictures, kept_max, options.rounds)
            ours, copy, libavformat = (median(column) for column in zip(*times, strict=True))
            by_copy = median(mine / theirs for mine, theirs, _ in times)
            by_libavformat = median(mine / theirs for mine, _, theirs in times)
            print(
                f"| {kilobytes} | {kept_max} | {ours:.1f} | {copy:.2f} | {libavformat:.1f} "
                f"| {by_copy:.1f} | {by_libavformat:.2f} |"
            )


if __name__ == "__main__":
    main()
