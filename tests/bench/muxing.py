"""What muxing costs, in µs a frame: `python -m tests.bench.muxing`."""

import timeit

from common import annexb, grid
from common.sample import Codec, Sample, Track
from muxer.mpegts import TsMuxer

SIZES = (200, 1000, 6000, 17_000, 100_000, 1_000_000)
PICTURE_US = 33_333


def cost_us(work: object, number: int) -> float:
    """The best of several runs, µs a call."""
    return min(timeit.repeat(work, number=number, repeat=7)) / number * 1e6  # type: ignore[arg-type]


def main() -> None:
    """Print one line a size."""
    print("bytes    write  inspect  renumber  without_rtp")
    for size in SIZES:
        data = b"\0\0\0\1\x41" + b"\x88" * (size - 5)
        muxer = TsMuxer((Track(Codec.H264),), ssrc=1)
        now_us = 0

        def write(data: bytes = data, muxer: TsMuxer = muxer) -> grid.Frame:
            nonlocal now_us
            now_us += PICTURE_US
            return muxer.write(Sample(data, now_us, Codec.H264, sync=False), now_us)

        frame = write()
        number = max(20_000_000 // (size + 10_000), 20)
        columns = (
            cost_us(write, number),
            cost_us(lambda data=data: annexb.leading_units(data, Codec.H264), number),
            cost_us(
                lambda data=frame.data: grid.renumber(
                    data, sequence=9, clock_offset=0, ssrc=2, delta=(1, 2, 3, 4)
                ),
                number,
            ),
            cost_us(lambda data=frame.data: grid.without_rtp(data), number),
        )
        print(f"{size:8}" + "".join(f"{value:9.1f}" for value in columns))


if __name__ == "__main__":
    main()
