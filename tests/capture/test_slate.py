"""The slate: a picture that decodes, of the source's kind, and says what it should."""

from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture.glyphs import DARK, WHITE
from capture.slate import SIZE, Slate, painted
from common import annexb
from common.sample import Codec, Sample, Track

DECODERS = {Codec.H264: "h264", Codec.H265: "hevc", Codec.MJPEG: "mjpeg"}


def decoded(samples: list[Sample]) -> list[av.VideoFrame]:
    context = av.CodecContext.create(DECODERS[samples[0].codec], "r")
    assert isinstance(context, av.VideoCodecContext)
    context.thread_count = 1
    context.options = {"err_detect": "explode"}
    frames: list[av.VideoFrame] = []
    packets: list[av.Packet[Any] | None] = [av.Packet(bytes(sample.data)) for sample in samples]
    for number, packet in enumerate([*packets, None]):
        if packet is not None:
            packet.pts = packet.dts = number
        frames += context.decode(packet)
    return frames


@pytest.mark.parametrize("codec", DECODERS)
@pytest.mark.parametrize("size", [(320, 240), (161, 121)])
def test_it_is_encoded_like_the_sources_pictures(codec: Codec, size: tuple[int, int]) -> None:
    like = Track(codec, *size, 30.0, config=b"of the source")
    slate = Slate(like, "no signal since", "12:34")
    samples = [slate.sample(number * 1_000_000) for number in range(5)]
    assert [sample.time_us for sample in samples] == [number * 1_000_000 for number in range(5)]
    assert all(sample.sync and sample.codec is codec for sample in samples)
    width, height = size[0] & ~1, size[1] & ~1
    assert (slate.track.codec, slate.track.width, slate.track.height) == (codec, width, height)
    assert slate.track.fps == 30.0
    if codec is Codec.MJPEG:
        assert slate.track.config == b"of the source"[:0]
    else:
        for sample in samples:
            assert annexb.is_sync(sample.data, codec)
            assert annexb.parameter_sets(sample.data, codec) == slate.track.config
    frames = decoded(samples)
    assert len(frames) == 5
    wanted = painted(width, height, "no signal since", "12:34")[:height].astype(int)
    for frame in frames:
        shown = frame.reformat(format="yuv420p", dst_color_range="MPEG").to_ndarray()[:height]
        assert np.abs(shown - wanted).mean() < 4


def test_neighbours_are_other_idr_pictures() -> None:
    slate = Slate(Track(Codec.H264, 160, 120, 25.0), "no signal since", "12:34")
    first, second, third = (bytes(slate.sample(number).data) for number in range(3))
    assert first != second  # ITU-T H.264 7.4.3, idr_pic_id
    assert first == third


def test_where_the_size_is_not_known_it_has_one_of_its_own() -> None:
    slate = Slate(Track(Codec.H264), "no signal since", "12:34")
    assert (slate.track.width, slate.track.height) == SIZE


@given(st.integers(1, 400), st.integers(1, 300), st.text("NO SIGNAL:?", min_size=1, max_size=40))
@settings(max_examples=50, deadline=None)
def test_the_words_fit_any_size(half_width: int, half_height: int, words: str) -> None:
    pixels = painted(2 * half_width, 2 * half_height, words, "23:59")
    assert pixels.shape == (3 * half_height, 2 * half_width)
    luma = pixels[: 2 * half_height]
    assert luma.min() == DARK
    if half_width > 50 and half_height > 20:
        assert luma.max() == WHITE


def test_the_time_shows() -> None:
    assert (painted(640, 360, "away", "12:34") != painted(640, 360, "away", "12:35")).any()
    assert (painted(640, 360, "away", "12:34") != painted(640, 360, "gone", "12:34")).any()
