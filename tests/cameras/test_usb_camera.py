"""The camera source over the kernel's USB video driver: an emulated camera, whose cable is pulled."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from capture import camera, devices
from capture.camera import CameraSource
from capture.v4l2 import cameras
from common.errors import SourceError
from common.sample import Codec, Sample
from tests.support import camera_formats, usb_camera
from tests.support.camera_formats import hevc, mjpeg, yuyv
from tests.support.camera_life import next_sample, opened, read_until, source_of, until_fault
from tests.support.usb_camera import UsbCamera
from tests.support.usb_descriptors import BRIGHTNESS, CONTRAST, Format
from tests.support.wait import until

UNBIND = Path("/sys/bus/usb/drivers/uvcvideo")
MB = 1 << 20


@pytest.fixture(scope="module")
def h264(tmp_path_factory: pytest.TempPathFactory) -> Format:
    """Check pictures, a sync point every 10."""
    return camera_formats.h264(camera_formats.check_clip(tmp_path_factory.mktemp("camera")))


@pytest.fixture
def webcam(h264: Format) -> Iterator[UsbCamera]:
    """A camera with all three formats, plugged in."""
    with UsbCamera([yuyv(), mjpeg(), h264]) as plugged:
        yield plugged


# ---- pictures -------------------------------------------------------------------------------------------


def test_h264_is_what_it_takes_and_passes_through_byte_for_byte(webcam: UsbCamera) -> None:
    sent = webcam.formats[2].pictures
    with opened(webcam.stable_name) as source:
        samples = [next_sample(source) for _ in range(60)]
        counters = source.counters
        track = source.tracks[0]
    assert [sent.index(bytes(sample.data)) for sample in samples] == list(range(60))
    assert [number for number, sample in enumerate(samples) if sample.sync] == list(range(0, 60, 10))
    assert set(counters.values()) == {0}
    assert (track.codec, track.width, track.height, track.fps) == (Codec.H264, 160, 128, 15)
    check_times(samples, 15)


def test_h265_comes_before_what_must_be_encoded_and_passes_through() -> None:
    with UsbCamera([yuyv(), mjpeg(), hevc()]) as webcam, opened(webcam.stable_name) as source:
        sent = webcam.formats[2].pictures
        samples = [next_sample(source) for _ in range(len(sent))]
        assert {bytes(sample.data) for sample in samples} <= set(sent)
        assert all(sample.sync is (sent.index(bytes(sample.data)) in (0, 10)) for sample in samples)
        track = source.tracks[0]
        assert (track.codec, track.width, track.height, track.fps) == (Codec.H265, 160, 120, 15)
        assert source.counters["damaged"] == 0


def check_times(samples: list[Sample], fps: int) -> None:
    """They rise at about the camera's rate, over all."""
    times = [sample.time_us for sample in samples]
    assert times == sorted(set(times))
    assert 0.7 < (times[-1] - times[0]) * fps / 1e6 / (len(times) - 1) < 1.5


@pytest.mark.parametrize("wanted", ["mjpeg", "raw"])
def test_other_formats_by_setting_are_encoded(webcam: UsbCamera, wanted: str) -> None:
    with opened(webcam.stable_name, format=wanted, fps=5.0) as source:
        samples = [next_sample(source) for _ in range(8)]
        track = source.tracks[0]
        assert source.notes == ()
    assert samples[0].sync
    assert (track.codec, track.width, track.height, track.fps) == (Codec.H264, 160, 120, 5)
    check_times(samples, 5)


def test_a_rate_that_it_does_not_have_is_said(webcam: UsbCamera) -> None:
    with opened(webcam.stable_name, format="raw", fps=60.0) as source:
        next_sample(source)
        assert "gives YUYV 160x120 at 15 fps, not all that was asked for" in source.notes[0]


def test_controls_reach_the_camera(webcam: UsbCamera) -> None:
    with opened(webcam.stable_name, controls={"brightness": -7, "contrast": 40}):
        assert webcam.controls == {BRIGHTNESS: -7, CONTRAST: 40}


def test_a_picture_that_was_damaged_on_the_way_is_a_gap_and_what_leans_on_it_is_left_out(
    webcam: UsbCamera,
) -> None:
    sent = webcam.formats[2].pictures
    with opened(webcam.stable_name) as source:
        assert bytes(next_sample(source).data) == sent[0]
        webcam.damage = 2
        read_until(source, lambda: source.counters["gaps"] > 0)
        sample = next_sample(source)
        assert sample.sync
        assert sent.index(bytes(sample.data)) % 10 == 0
        assert source.counters["gaps"] == 2


def test_who_has_no_pictures_is_told_from_a_camera(webcam: UsbCamera) -> None:
    with pytest.raises(SourceError, match="no camera"):
        source_of(webcam.stable_name.replace("index0", "index1")).open()


def test_the_list_has_its_stable_names(webcam: UsbCamera) -> None:
    found = {one.name: one for one in cameras()}["Test Camera: Test Camera"]
    assert found.driver == "uvcvideo"
    assert webcam.stable_name in found.links
    text = devices.as_text([found])
    assert "    also camera:/dev/v4l/by-path/platform-vhci_hcd.0-usb-0:1:1.0-video-index0\n" in text
    assert "    H264  H.264\n        160x128 at 15 fps\n" in text
    assert "        brightness -64 to 64; default 0\n" in text


# ---- the cable ------------------------------------------------------------------------------------------


def test_an_unplug_is_said_at_once_and_the_replugged_camera_is_the_same(webcam: UsbCamera) -> None:
    node = os.path.realpath(webcam.stable_name)
    with opened(webcam.stable_name) as source:
        next_sample(source)
        pulled_s = time.monotonic()
        webcam.unplug()
        assert not os.path.exists(node)
        assert "gone: unplugged?" in until_fault(source)
        assert time.monotonic() - pulled_s < 10
    with pytest.raises(SourceError, match="no such device"):
        source_of(webcam.stable_name).open()
    assert webcam.plug() == node  # nothing of ours holds the old one
    with opened(webcam.stable_name) as source:
        assert next_sample(source).sync


def test_two_of_a_kind_are_told_apart_whichever_is_plugged_in_first() -> None:
    first, second = UsbCamera([yuyv()], "A1"), UsbCamera([mjpeg()], "B2", port=1)
    for order in ([first, second], [second, first]):
        nodes = {one.serial: one.plug() for one in order}
        for one in order:
            assert os.path.realpath(one.stable_name) == nodes[one.serial]
        with opened(second.stable_name) as source:
            next_sample(source)
            assert "gives" not in str(source.notes)
        for one in order:
            one.unplug()


def test_a_driver_that_is_unbound_is_a_camera_that_is_gone(webcam: UsbCamera) -> None:
    interface = webcam.usb_interface
    with opened(webcam.stable_name) as source:
        next_sample(source)
        (UNBIND / "unbind").write_text(interface)
        assert "gone: unplugged?" in until_fault(source)
    (UNBIND / "bind").write_text(interface)
    until(lambda: os.path.exists(webcam.stable_name), usb_camera.NODE_WITHIN_S, "the node back")
    with opened(webcam.stable_name) as source:
        next_sample(source)


def test_a_camera_that_falls_silent_is_said_and_can_be_taken_again(
    webcam: UsbCamera, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(camera, "STALL_US", 2_000_000)
    with opened(webcam.stable_name) as source:
        next_sample(source)
        webcam.frozen = True
        assert until_fault(source).endswith("no picture for 2 s")
    webcam.frozen = False
    with opened(webcam.stable_name) as source:
        next_sample(source)


def test_a_hundred_unplugs_leave_nothing_behind() -> None:
    process = psutil.Process()

    def held() -> tuple[int, int]:
        return process.num_fds(), Path("/proc/self/maps").read_text().count("/dev/video")

    plugged = UsbCamera([yuyv(fps=30)])
    memory: list[int] = []
    for number in range(100):
        plugged.plug()
        source: CameraSource = source_of(plugged.stable_name)
        source.open()
        if number % 10 == 0:
            next_sample(source)
        plugged.unplug()
        until_fault(source)
        source.close()
        if number == 0:
            before = held()
        memory.append(process.memory_info().rss)
    assert held() == before
    assert memory[-1] - memory[20] < 10 * MB
