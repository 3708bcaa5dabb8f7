"""What the camera source asks of the driver, and what it makes of the answers: formats, rates, controls."""

import errno

import pytest

from capture.camera import BUFFERS
from common.errors import SettingsError, SourceError
from tests.capture.camera_sources import NOW_US, SIZES, Clock, h264_pictures, read_all, source_of
from tests.capture.fake_camera import BOOLEAN, INTEGER, PATH, READ_ONLY, FakeCamera


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


@pytest.mark.parametrize("granted", [2, 4, 7])
def test_the_number_of_buffers_is_what_the_driver_grants(camera: FakeCamera, clock: Clock, granted: int) -> None:
    camera.granted = granted
    source = source_of(clock)
    source.open()
    assert camera.asked_buffers == BUFFERS
    assert len(camera.mappings) == granted
    source.close()
