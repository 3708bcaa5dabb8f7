"""What the camera source makes of motion JPEG and raw pictures."""

import av
import numpy as np
import pytest

from common.sample import Codec
from tests.capture.camera_sources import NOW_US, SIZES, Clock, jpegs, read_all, source_of
from tests.capture.fake_camera import ERROR, MONOTONIC, FakeCamera


def test_motion_jpeg_is_encoded_and_only_the_newest_of_those_that_wait(camera: FakeCamera, clock: Clock) -> None:
    camera.modes = {"MJPG": SIZES}
    source = source_of(clock)
    source.open()
    for number, data in enumerate(jpegs()[:3]):
        camera.give(data, NOW_US + number)
    samples = read_all(source)
    assert [(sample.codec, sample.time_us, sample.sync) for sample in samples] == [(Codec.H264, NOW_US + 2, True)]
    assert source.counters["dropped_raw"] == 2
    assert camera.requeued == 3
    camera.give(jpegs()[3], NOW_US + 40_000)
    source.request_key_frame()
    assert [sample.sync for sample in read_all(source)] == [True]
    assert (source.tracks[0].codec, source.tracks[0].width, source.tracks[0].fps) == (Codec.H264, 160, 30)


def test_damaged_motion_jpeg_is_left_out_and_counted(camera: FakeCamera, clock: Clock) -> None:
    camera.modes = {"MJPG": SIZES}
    source = source_of(clock)
    source.open()
    whole = jpegs()[0]
    for number, (data, flags) in enumerate([(whole[: len(whole) // 3], MONOTONIC), (whole, MONOTONIC | ERROR)]):
        camera.give(data, NOW_US + number, flags=flags)
        assert read_all(source) == []
        assert source.counters["damaged"] == number + 1
    camera.give(whole, NOW_US + 9)
    assert len(read_all(source)) == 1
    assert camera.requeued == 3


def test_motion_jpeg_is_passed_through_by_setting(camera: FakeCamera, clock: Clock) -> None:
    camera.modes = {"MJPG": SIZES}
    source = source_of(clock, mjpeg="pass")
    source.open()
    assert [(track.codec, track.width, track.height) for track in source.tracks] == [(Codec.MJPEG, 160, 120)]
    given = jpegs()[:2]
    camera.give(given[0], NOW_US)
    assert [(sample.data, sample.sync) for sample in read_all(source)] == [(given[0], True)]
    camera.give(b"\0" * 100, NOW_US + 1)
    assert read_all(source) == []
    assert source.counters["damaged"] == 1
    camera.give(given[1], NOW_US + 2)
    assert [sample.codec for sample in read_all(source)] == [Codec.MJPEG]


@pytest.mark.parametrize("stride", [0, 320, 384])
def test_raw_pictures_are_encoded(camera: FakeCamera, clock: Clock, stride: int) -> None:
    camera.modes = {"YUYV": SIZES}
    camera.stride = stride
    source = source_of(clock)
    source.open()
    row = np.tile(np.array([90, 100, 90, 160], np.uint8), 80)
    line = np.pad(row, (0, (stride or 320) - 320), constant_values=255)
    camera.give(np.tile(line, 120).tobytes(), NOW_US)
    samples = read_all(source)
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    picture = decoder.decode(av.Packet(bytes(samples[0].data)))[0]
    assert abs(float(picture.to_ndarray()[:120].mean()) - 90) < 3
    camera.give(b"\x80" * 1000, NOW_US + 1)
    assert read_all(source) == []
    assert source.counters["damaged"] == 1
