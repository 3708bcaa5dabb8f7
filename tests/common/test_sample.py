"""Samples and tracks."""

import pytest

from common.sample import Codec, Sample, Track


@pytest.mark.parametrize("codec", list(Codec))
def test_every_codec_is_audio_or_video(codec: Codec) -> None:
    video = {"h264", "h265", "mjpeg"}
    assert codec.audio == (codec.value not in video)
    assert Track(codec).audio == codec.audio
    assert Sample(b"x", 0, codec).audio == codec.audio


def test_the_decoding_time_is_the_order() -> None:
    assert Sample(b"x", 40, Codec.H264).order_us == 40
    assert Sample(b"x", 40, Codec.H264, decode_time_us=0).order_us == 0
    assert Sample(b"x", 40, Codec.H264, decode_time_us=-5).order_us == -5


def test_a_sample_cannot_be_changed() -> None:
    sample = Sample(b"x", 0, Codec.AAC)
    with pytest.raises(AttributeError):
        sample.time_us = 1  # type: ignore[misc]
