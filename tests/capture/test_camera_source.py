"""The camera source over a camera that does what real ones do only now and then."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from capture import v4l2
from capture.camera import BUFFERS, STALL_US, CameraSource
from capture.camera_modes import OfferedSize
from common import annexb, config
from common.errors import SettingsError, SourceError
from common.sample import Codec, Sample
from common.source_spec import CameraSpec
from tests.capture.fake_camera import BOOLEAN, ERROR, INTEGER, MONOTONIC, PATH, READ_ONLY, FakeCamera
from tests.support.media_files import media_file, packets

NOW_US = 50_000_000
STEP_US = 33_333
SIZES = [(160, 120, [30.0])]


class Clock:
    def __init__(self) -> None:
        self.us = NOW_US

    def now_us(self) -> int:
        return self.us


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCamera]:
    made = FakeCamera({"H264": SIZES})
    made.install(monkeypatch)
    yield made
    made.close()


def source_of(clock: Clock, path: str = PATH, **settings: object) -> CameraSource:
    stream = config.from_document({"streams": {"a": {"source": "camera:0", **settings}}}).streams["a"]
    return CameraSource(CameraSpec(path), stream, clock.now_us)


def read_all(source: CameraSource) -> list[Sample]:
    """All that can be read now. A picture that is left out gives a None of its own."""
    samples = []
    nothing = 0
    while nothing < 25:
        sample = source.read(0)
        if sample is None:
            nothing += 1
        else:
            samples.append(sample)
    return samples


def h264_pictures() -> list[bytes]:
    """Annex B, a sync point every 30, parameter sets in each."""
    return [packet.data for packet in packets(media_file("cam.ts", audio=None, b_pictures=0))]


def jpegs() -> list[bytes]:
    return [packet.data for packet in packets(media_file("a.mjpeg", "mjpeg", None))]


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


# ---- encoded --------------------------------------------------------------------------------------------


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


def test_what_the_driver_made_of_it_is_what_counts(camera: FakeCamera, clock: Clock) -> None:
    camera.modes = {"MJPG": SIZES}
    camera.adjusts_to = "YUYV"  # as vivid does, without a word
    camera.fps = 15.0
    source = source_of(clock, width=160, height=120, fps=30.0, format="mjpeg")
    source.open()
    assert len(source.notes) == 1
    assert "gives YUYV 160x120 at 15 fps, not all that was asked for" in source.notes[0]
    camera.give(b"\x80" * 160 * 120 * 2, NOW_US)
    assert len(read_all(source)) == 1
    assert source.tracks[0].fps == 15


def test_a_camera_without_a_rate_is_taken_as_it_is(camera: FakeCamera, clock: Clock) -> None:
    camera.has_fps = False
    source = source_of(clock, fps=25.0)
    source.open()
    camera.give(h264_pictures()[0], NOW_US)
    assert len(read_all(source)) == 1
    assert source.tracks[0].fps == 0


def test_controls_are_set_by_name_in_the_order_of_the_settings(camera: FakeCamera, clock: Clock) -> None:
    camera.add_control(1, "Brightness", INTEGER, -64, 64)
    camera.add_control(2, "White Balance, Automatic", BOOLEAN, 0, 1)
    camera.add_control(3, "Firmware", INTEGER, 0, 9, flags=READ_ONLY)
    source = source_of(clock, controls={"white_balance_automatic": False, "brightness": -7})
    source.open()
    assert camera.told == [(2, 0), (1, -7)]
    source.close()


@pytest.mark.parametrize(
    ("controls", "words"),
    [
        ({"sharpness": 3}, "it has no control 'sharpness'; it has brightness"),
        ({"brightness": 65}, "its control brightness cannot be 65; there is: brightness -64 to 64; default 0"),
    ],
)
def test_controls_that_the_camera_does_not_have_are_a_fault_of_the_settings(
    camera: FakeCamera, clock: Clock, controls: dict[str, int], words: str
) -> None:
    camera.add_control(1, "Brightness", INTEGER, -64, 64)
    with pytest.raises(SettingsError, match=f"^{PATH}: {words}$"):
        source_of(clock, controls=controls).open()
    assert camera.opened == 0


def test_a_control_that_the_driver_refuses_is_one_line(camera: FakeCamera, clock: Clock) -> None:
    camera.add_control(1, "Exposure", INTEGER, 0, 100)
    camera.faults["set_control"] = errno.EINVAL
    with pytest.raises(SourceError, match=f"{PATH}: refuses exposure = 5 .* is an automatic one on"):
        source_of(clock, controls={"exposure": 5}).open()
    camera.faults["set_control"] = errno.ENODEV
    with pytest.raises(SourceError, match="gone: unplugged"):
        source_of(clock, controls={"exposure": 5}).open()
    assert camera.opened == 0


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


# ---- faults ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "number", "words"),
    [
        ("open", errno.EACCES, "this user may not open it: add the user to the group video"),
        ("open", errno.ENODEV, "gone: unplugged?"),
        ("capabilities", errno.ENOTTY, "not a V4L2 device"),
        ("set_format", errno.EBUSY, "in use by another program"),
        ("request_buffers", errno.EBUSY, "in use by another program"),
        ("stream_on", errno.ENOSPC, "no room for its pictures on the USB bus"),
        ("stream_on", errno.EIO, "its driver reports a fault"),
        ("open", errno.EMFILE, "Too many open files"),
    ],
)
def test_what_cannot_be_opened_is_one_line_and_leaves_nothing_open(
    camera: FakeCamera, clock: Clock, call: str, number: int, words: str
) -> None:
    camera.faults[call] = number
    source = source_of(clock)
    with pytest.raises(SourceError) as caught:
        source.open()
    assert str(caught.value).startswith(f"{PATH}: {words}")
    assert "\n" not in str(caught.value)
    assert camera.opened == 0
    assert all(mapping.closed for mapping in camera.mappings)


def test_what_is_no_camera_is_one_line(camera: FakeCamera, clock: Clock, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"/dev/video9999: no such device: is it plugged in\?"):
        source_of(clock, "/dev/video9999").open()
    (tmp_path / "file").touch()
    with pytest.raises(SourceError, match="not a device"):
        source_of(clock, str(tmp_path / "file")).open()
    camera.capabilities = 0x04800000  # META_CAPTURE: the second device of uvcvideo
    with pytest.raises(SourceError, match="no camera"):
        source_of(clock).open()
    assert camera.opened == 0


def test_formats_that_cannot_be_used_are_named(camera: FakeCamera, clock: Clock) -> None:
    with pytest.raises(SourceError, match="has no mjpeg pictures; it offers H264"):
        source_of(clock, format="mjpeg").open()
    camera.modes = {"Z16 ": SIZES}
    with pytest.raises(SourceError, match=r"has no H\.264, H\.265, MJPEG or raw pictures; it offers Z16"):
        source_of(clock).open()
    camera.modes = {"H264": SIZES}
    camera.adjusts_to = "Z16 "
    with pytest.raises(SourceError, match="set itself to Z16 , which cannot be used"):
        source_of(clock).open()
    assert camera.opened == 0


def test_an_unplug_is_one_line_and_everything_is_closed(camera: FakeCamera, clock: Clock) -> None:
    source = source_of(clock)
    source.open()
    camera.give(h264_pictures()[0], NOW_US)
    assert len(read_all(source)) == 1
    camera.faults = {"dequeue": errno.ENODEV, "stream_off": errno.ENODEV}
    camera.wake()
    with pytest.raises(SourceError, match="gone: unplugged"):
        source.read(0)
    source.close()
    assert camera.opened == 0
    assert all(mapping.closed for mapping in camera.mappings)
    source.close()


def test_a_buffer_that_is_refused_ends_this_life(camera: FakeCamera, clock: Clock) -> None:
    source = source_of(clock)
    source.open()
    camera.give(h264_pictures()[0], NOW_US)
    camera.faults["enqueue"] = errno.EIO
    with pytest.raises(SourceError, match="its driver reports a fault"):
        source.read(0)
    source.close()
    assert all(mapping.closed for mapping in camera.mappings)


def test_a_driver_in_trouble_without_a_picture_is_not_asked_for_ever(camera: FakeCamera, clock: Clock) -> None:
    source = source_of(clock)
    source.open()
    os.close(camera.ready[1])  # poll says HUP
    camera.ready = (camera.ready[0], os.dup(0))
    with pytest.raises(SourceError, match="its driver reports a fault"):
        source.read(0.01)


def test_a_spurious_wake_up_is_nothing(camera: FakeCamera, clock: Clock) -> None:
    source = source_of(clock)
    source.open()
    camera.wake()
    assert source.read(0.01) is None


@pytest.mark.usefixtures("camera")
def test_silence_is_not_endless(clock: Clock) -> None:
    source = source_of(clock)
    source.open()
    clock.us += STALL_US
    assert source.read(0) is None
    clock.us += 1
    with pytest.raises(SourceError, match="no picture for 5 s"):
        source.read(0)


def test_a_slow_camera_may_be_silent_for_longer(camera: FakeCamera, clock: Clock) -> None:
    camera.modes = {"H264": [(160, 120, [0.5])]}
    source = source_of(clock, fps=0.5)
    source.open()
    clock.us += 10_000_000
    assert source.read(0) is None
    clock.us += 1
    with pytest.raises(SourceError, match="no picture for 10 s"):
        source.read(0)


@pytest.mark.parametrize("granted", [2, 4, 7])
def test_the_number_of_buffers_is_what_the_driver_grants(camera: FakeCamera, clock: Clock, granted: int) -> None:
    camera.granted = granted
    source = source_of(clock)
    source.open()
    assert camera.asked_buffers == BUFFERS
    assert len(camera.mappings) == granted
    source.close()


# ---- the list -------------------------------------------------------------------------------------------


def test_cameras_are_listed_with_their_lasting_names_and_what_hides_them(
    camera: FakeCamera, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    camera.modes = {"YUYV": [(640, 480, [15.0, 30.0])], "MJPG": [(1280, 720, [30.0])]}
    for name in ("video0", "video1", "video2", "video10", "vbi0"):
        (tmp_path / name).symlink_to(PATH)
    by_id = tmp_path / "v4l" / "by-id"
    by_id.mkdir(parents=True)
    (by_id / "usb-Fake-video-index0").symlink_to("../../video0")
    real = v4l2.Device

    def opens(path: str) -> v4l2.Device:
        if path.endswith("video1"):
            raise SourceError(f"{path}: no camera")
        if path.endswith("video2"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path)

    monkeypatch.setattr(v4l2, "Device", opens)
    monkeypatch.setattr(os.path, "realpath", lambda link: os.path.normpath(link.parent / os.readlink(link)))
    found = v4l2.cameras(tmp_path)
    assert [camera.device for camera in found] == [
        str(tmp_path / name) for name in ("video0", "video2", "video10")
    ]
    assert found[0].name == "Fake Camera"
    assert found[0].links == (str(by_id / "usb-Fake-video-index0"),)
    assert [offer.fourcc for offer in found[0].formats] == ["YUYV", "MJPG"]
    assert found[0].formats[0].sizes == (OfferedSize(640, 480, (15.0, 30.0)),)
    assert found[1].problem == "this user may not open it: add the user to the group video"
    assert found[2].links == ()
    assert camera.opened == 0
