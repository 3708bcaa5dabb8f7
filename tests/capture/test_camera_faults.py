"""A camera source whose camera is absent, unplugged, silent or in trouble: one line, and nothing left open."""

import errno
import os
from pathlib import Path

import pytest

from capture.camera import STALL_US
from common.errors import SourceError
from tests.capture.camera_sources import NOW_US, Clock, h264_pictures, read_all, source_of
from tests.capture.fake_camera import PATH, FakeCamera


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
