"""A muxer's samples as they come in real life: at their times, with ticks between them."""

import random
from collections.abc import Callable, Iterable, Iterator

from common.grid import Frame
from common.sample import Codec, Sample
from muxer.mpegts import TsMuxer

Arrival = tuple[int, Sample]  # when, µs


def play(
    muxer: TsMuxer, arrivals: Iterable[Arrival], tick_late_us: Callable[[], int] = lambda: 500
) -> Iterator[tuple[int, Frame]]:
    """Every frame, and when it was made, as a worker's loop makes them. tick_late_us: how late its timer is."""
    for at_us, sample in arrivals:
        while (now_us := muxer.next_tick_us + tick_late_us()) < at_us:
            frame = muxer.tick(now_us)
            if frame is not None:
                yield now_us, frame
        yield at_us, muxer.write(sample, at_us)


def late(samples: Iterable[Sample], latency_us: Callable[[], int]) -> list[Arrival]:
    """When samples arrive: `latency_us` after their time, but never before one that was sent before them."""
    arrivals: list[Arrival] = []
    last_us: dict[Codec, int] = {}
    for sample in samples:
        at_us = max(sample.order_us + latency_us(), last_us.get(sample.codec, -(1 << 62)))
        last_us[sample.codec] = at_us
        arrivals.append((at_us, sample))
    return sorted(arrivals, key=lambda arrival: arrival[0])


def pictures(
    fps: float, seconds: float, *, start_us: int = 0, codec: Codec = Codec.H264, b_pictures: bool = False
) -> list[Sample]:
    """Made-up pictures of 100 to 90,000 bytes; a sync point every 2 seconds, over 65,535 bytes."""
    choose = random.Random(fps)
    samples = []
    step_us = 1e6 / fps
    every = max(round(2 * fps), 1)
    first, other = (b"\x65", b"\x41") if codec is Codec.H264 else (b"\x26\1", b"\x02\1")
    for number in range(round(fps * seconds)):
        order_us = start_us + round(number * step_us)
        sync = number % every == 0
        size = 90_000 if sync else choose.choice([100, 3000, 15_000, 70_000])
        data = b"\0\0\0\1" + (first if sync else other) + bytes([number % 255 + 1]) * size
        shift_us = round(choose.choice([1, 2, 3]) * step_us) if b_pictures else 0
        samples.append(Sample(data, order_us + shift_us, codec, sync, order_us if b_pictures else None))
    return samples


def sounds(
    seconds: float, *, start_us: int = 0, codec: Codec = Codec.AAC, rate_hz: int = 48_000, frame: int = 1024
) -> list[Sample]:
    """Made-up audio frames of 20 to 600 bytes."""
    choose = random.Random(rate_hz)
    return [
        Sample(
            bytes([number % 255 + 1]) * choose.randint(20, 600),
            start_us + round(number * frame * 1_000_000 / rate_hz),
            codec,
        )
        for number in range(round(seconds * rate_hz / frame))
    ]


def merged(*tracks: list[Sample]) -> list[Sample]:
    """The samples of several tracks in the order of their decoding times."""
    return sorted((sample for track in tracks for sample in track), key=lambda sample: sample.order_us)
