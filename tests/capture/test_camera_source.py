"""The camera source: compressed pictures that pass through, and the times of all that it reads."""

import pytest

from common import annexb
from common.sample import Codec
from tests.capture.camera_sources import NOW_US, SIZES, STEP_US, Clock, h264_pictures, read_all, source_of
from tests.capture.fake_camera import ERROR, MONOTONIC, FakeCamera
from tests.support.media_files import media_file, packets

# ---- passed through -------------------------------------------------------------------------------------


def test_compressed_pictures_pass_through_with_the_drivers_times(camera: FakeCamera, clock: Clock) -> None:
    source = source_of(clock)
    source.open()
    assert camera.format == ("H264", 160, 120)
    assert not source.tracks
    pictures = h264_pictures()[:20]
    samples = []
    for number, data in enumerate(pictures):
        clock.us += STEP_US
        camera.give(data, clock.us - 7_001)
        sample = source.read(0)
        assert sample is not None
        assert sample.time_us == clock.us - 7_001
        assert sample.decode_time_us is None
        assert sample.sync is (number == 0)
        samples.append(sample)
    assert [bytes(sample.data) for sample in samples] == pictures
    track = source.tracks[0]
    assert (track.codec, track.width, track.height, track.fps) == (Codec.H264, 160, 120, 30)
    assert track.config == annexb.parameter_sets(pictures[0], Codec.H264)
    assert camera.requeued == 20
    assert set(source.counters.values()) == {0}
    source.close()


def test_h265_passes_through_too(camera: FakeCamera, clock: Clock) -> None:
    camera.modes = {"MJPG": SIZES, "YUYV": SIZES, "HEVC": SIZES}
    source = source_of(clock)
    source.open()
    assert camera.format == ("HEVC", 160, 120), "what needs no encoding comes first"
    pictures = [packet.data for packet in packets(media_file("cam.ts", "libx265", None, b_pictures=0))]
    damaged = 5
    for number, data in enumerate(pictures[:40]):
        camera.give(data, NOW_US + number, flags=MONOTONIC | (ERROR if number == damaged else 0))
    samples = read_all(source) + read_all(source)
    assert [bytes(sample.data) for sample in samples] == [*pictures[:damaged], *pictures[30:40]]
    assert [number for number, sample in enumerate(samples) if sample.sync] == [0, damaged]
    assert {sample.codec for sample in samples} == {Codec.H265}
    track = source.tracks[0]
    assert (track.codec, track.width, track.height, track.fps) == (Codec.H265, 160, 120, 30)
    assert track.config == annexb.parameter_sets(pictures[0], Codec.H265)
    assert camera.key_frames_forced == 1
    source.close()


def test_it_begins_at_a_sync_point(camera: FakeCamera, clock: Clock) -> None:
    source = source_of(clock)
    source.open()
    for number, data in enumerate(h264_pictures()[20:40]):
        camera.give(data, NOW_US + number)
    samples = read_all(source)
    assert [sample.sync for sample in samples] == [True] + [False] * 9
    assert source.counters["skipped"] == 10


def test_none_that_wait_are_left_out_where_each_leans_on_the_last(camera: FakeCamera, clock: Clock) -> None:
    source = source_of(clock)
    source.open()
    for number, data in enumerate(h264_pictures()[:4]):
        camera.give(data, NOW_US + number)
    assert len(read_all(source)) == 4
    assert source.counters["dropped_raw"] == 0


@pytest.mark.parametrize("damage", ["gap", "error", "empty", "junk"])
def test_after_a_loss_it_waits_for_a_sync_point_and_asks_for_one(
    camera: FakeCamera, clock: Clock, damage: str
) -> None:
    source = source_of(clock)
    source.open()
    pictures = h264_pictures()
    for number in range(5):
        camera.give(pictures[number], NOW_US + number)
    assert len(read_all(source)) == 5
    lost = {"gap": pictures[7], "error": pictures[5], "empty": b"", "junk": b"\x12\x34" * 50}[damage]
    flags = MONOTONIC | (ERROR if damage == "error" else 0)
    camera.give(lost, NOW_US + 5, skip=2 if damage == "gap" else 0, flags=flags)
    assert read_all(source) == []
    camera.give(pictures[8], NOW_US + 8)
    assert read_all(source) == []
    camera.give(pictures[30], NOW_US + 30)
    camera.give(pictures[31], NOW_US + 31)
    assert [bytes(sample.data) for sample in read_all(source)] == pictures[30:32]
    assert source.counters["gaps"] == (2 if damage == "gap" else 0)
    assert source.counters["damaged"] == (0 if damage == "gap" else 1)
    assert source.counters["skipped"] == (2 if damage == "gap" else 1)
    assert camera.key_frames_forced == 1


def test_parameter_sets_that_came_once_stand_at_every_sync_point(camera: FakeCamera, clock: Clock) -> None:
    source = source_of(clock)
    source.open()
    pictures = h264_pictures()
    sets = annexb.parameter_sets(pictures[0], Codec.H264)
    aud = annexb.AUD[Codec.H264]

    def without_sets(data: bytes) -> bytes:
        return aud + b"".join(
            annexb.LONG_START_CODE + data[start:end]
            for start, end in annexb.nal_units(data)
            if data[start] & 31 in (1, 5)
        )

    camera.give(sets, NOW_US)  # a buffer without a picture
    camera.give(without_sets(pictures[0]), NOW_US + 1)
    camera.give(without_sets(pictures[30]), NOW_US + 2)
    samples = read_all(source)
    assert [sample.sync for sample in samples] == [True, True]
    for sample in samples:
        assert annexb.parameter_sets(sample.data, Codec.H264) == sets
    assert source.tracks[0].config == sets


def test_a_camera_that_cannot_be_asked_for_key_frames_is_asked_once(camera: FakeCamera, clock: Clock) -> None:
    camera.forces_key_frames = False
    source = source_of(clock)
    source.open()
    source.request_key_frame()
    camera.forces_key_frames = True
    source.request_key_frame()
    assert camera.key_frames_forced == 0


# ---- times ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "time_us", "expected_us"),
    [
        (MONOTONIC, NOW_US - 40_001, NOW_US - 40_001),
        (MONOTONIC, NOW_US + 30_000, NOW_US + 30_000),  # vivid's are ahead
        (MONOTONIC, NOW_US - 5_000_000, NOW_US),  # stale
        (MONOTONIC, 0, NOW_US),
        (0, NOW_US - 40_000, NOW_US),  # of a clock that is not said
        (0x4000, 1_700_000_000_000_000, NOW_US),  # copied from who writes into a loopback device
    ],
)
def test_times_are_the_drivers_where_they_are_of_our_clock(
    camera: FakeCamera, clock: Clock, flags: int, time_us: int, expected_us: int
) -> None:
    source = source_of(clock)
    source.open()
    camera.give(h264_pictures()[0], time_us, flags=flags)
    assert [sample.time_us for sample in read_all(source)] == [expected_us]


def test_times_rise_whatever_the_driver_says(camera: FakeCamera, clock: Clock) -> None:
    source = source_of(clock)
    source.open()
    for data, time_us in zip(h264_pictures()[:4], (NOW_US, NOW_US, NOW_US - 10, NOW_US + 10), strict=True):
        camera.give(data, time_us)
    assert [sample.time_us for sample in read_all(source)] == [NOW_US, NOW_US + 1, NOW_US + 2, NOW_US + 10]
