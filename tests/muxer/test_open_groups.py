"""Open groups, joined and spliced at each picture: what a viewer is given is decoded without a complaint.

H.264 has sync points at IDR pictures only, which nothing leads: decoders complain of those that start elsewhere.
"""

import functools

import av
import av.logging
import pytest

from common import annexb
from common.sample import Codec, Sample
from muxer.ring import DropQueue, Limits
from muxer.stream import Stream
from tests.support.media_files import media_file, packets

PICTURE_US = 33_333
AGE_MAX_US = 5 * PICTURE_US
GROUP = 12
OPEN = {
    Codec.H264: ("libx264", f"x264-params=open-gop=1:keyint={GROUP}:min-keyint={GROUP}:bframes=3:scenecut=0"),
    Codec.H265: (
        "libx265", f"x265-params=open-gop=1:keyint={GROUP}:min-keyint={GROUP}:bframes=3:scenecut=0:log-level=none"
    ),
}  # fmt: skip


@functools.cache
def pictures(codec: Codec) -> list[Sample]:
    encoder, options = OPEN[codec]
    path = media_file("open.ts", encoder, None, b_pictures=3, pictures=4 * GROUP, options=options)
    samples = [
        Sample(unit.data, int(unit.pts_us), codec, annexb.is_sync(unit.data, codec), int(unit.dts_us))
        for unit in packets(path)
    ]
    assert sum(sample.sync for sample in samples) == (1 if codec is Codec.H264 else 4)
    return samples


class Viewer:
    """A drop queue, and what it gave."""

    def __init__(self) -> None:
        self.stream = Stream("s", ssrc=1, age_max_us=AGE_MAX_US)
        self.queue: DropQueue | None = None
        self.given: list[Sample] = []

    def watch(self, number: int) -> None:
        self.queue = DropQueue(self.stream.ring, Limits(age_max_us=AGE_MAX_US), number * PICTURE_US)
        self.read(number)

    def write(self, sample: Sample, number: int) -> None:
        self.stream.write(sample, number * PICTURE_US)

    def read(self, number: int) -> None:
        assert self.queue is not None
        self.queue.enforce(number * PICTURE_US)
        while (taken := self.queue.next()) is not None:
            self.queue.take(taken)
            sample = self.stream.ring[taken].sample
            assert sample is not None
            self.given.append(sample)


def decoded(codec: Codec, samples: list[Sample]) -> int:
    """How many pictures a decoder makes of these, without a word."""
    decoder = av.CodecContext.create("h264" if codec is Codec.H264 else "hevc", "r")
    decoder.options = {"err_detect": "explode"}
    decoder.thread_count = 1
    av.logging.set_level(av.logging.WARNING)
    try:
        with av.logging.Capture(local=True) as complaints:
            frames = [frame for sample in samples for frame in decoder.decode(av.Packet(bytes(sample.data)))]
            frames += decoder.decode(None)
    finally:
        av.logging.set_level(None)
    assert complaints == []
    return len(frames)


@pytest.mark.parametrize("codec", OPEN)
def test_joined_at_each_picture(codec: Codec) -> None:
    for joined in range(3 * GROUP + 1):
        viewer = Viewer()
        for number, sample in enumerate(pictures(codec)):
            viewer.write(sample, number)
            if number == joined:
                viewer.watch(number)
            elif number > joined:
                viewer.read(number)
        assert viewer.given[0].sync
        assert decoded(codec, viewer.given) == len(viewer.given)
        assert viewer.given[-1] is pictures(codec)[-1]
        assert viewer.queue is not None
        assert (viewer.queue.dropped, viewer.queue.splices) == (0, 0)


def test_spliced_at_each_picture() -> None:
    codec = Codec.H265
    for stalled in range(1, 2 * GROUP):
        viewer = Viewer()
        for number, sample in enumerate(pictures(codec)):
            viewer.write(sample, number)
            if number == 0:
                viewer.watch(number)
            elif not stalled <= number < stalled + GROUP:
                viewer.read(number)
        assert decoded(codec, viewer.given) == len(viewer.given)
        assert viewer.queue is not None
        assert viewer.queue.splices == 1
        assert viewer.given[-1] == pictures(codec)[-1]
