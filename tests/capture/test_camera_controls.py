"""Controls of a camera: what settings may ask for, and what the driver is told."""

import pytest

from capture.camera_controls import OfferedControl, Value, in_words, plain, settings_of
from common.errors import SettingsError

BRIGHTNESS = OfferedControl("brightness", 1, "number", -64, 64, 1, 0)
ZOOM = OfferedControl("zoom", 2, "number", 100, 200, 25, 100)
MIRROR = OfferedControl("mirror", 3, "switch", 0, 1, 1, 1)
MAINS = OfferedControl("power_line_frequency", 4, "menu", 0, 2, 1, 1, {0: "Disabled", 1: "50 Hz", 2: "60 Hz"})
RESET = OfferedControl("reset", 5, "button")
ALL = [BRIGHTNESS, ZOOM, MIRROR, MAINS, RESET]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Brightness", "brightness"),
        ("White Balance, Automatic", "white_balance_automatic"),
        ("Exposure (Absolute)", "exposure_absolute"),
        ("H264 I-Frame Period", "h264_i_frame_period"),
        ("", ""),
    ],
)
def test_names_are_plain(name: str, expected: str) -> None:
    assert plain(name) == expected


@pytest.mark.parametrize(
    ("name", "value", "number"),
    [
        ("brightness", -64, -64), ("brightness", 64, 64), ("zoom", 150, 150), ("mirror", True, 1),
        ("mirror", False, 0), ("power_line_frequency", "60 Hz", 2), ("reset", True, 1),
    ],
)  # fmt: skip
def test_what_the_driver_is_told(name: str, value: Value, number: int) -> None:
    ((control, told),) = settings_of(ALL, {name: value})
    assert (control.name, told) == (name, number)
    assert type(told) is int


def test_the_order_is_that_of_the_settings() -> None:
    settings = settings_of(ALL, {"zoom": 100, "mirror": False, "brightness": 3})
    assert [one.control.name for one in settings] == ["zoom", "mirror", "brightness"]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("brightness", 65, "brightness -64 to 64; default 0"),
        ("brightness", True, "brightness -64 to 64; default 0"),
        ("brightness", "much", "brightness -64 to 64; default 0"),
        ("zoom", 110, "zoom 100 to 200 in steps of 25; default 100"),
        ("mirror", 1, "mirror true, false; default true"),
        ("power_line_frequency", 1, 'power_line_frequency "Disabled", "50 Hz", "60 Hz"; default "50 Hz"'),
        ("power_line_frequency", "70 Hz", 'power_line_frequency "Disabled", "50 Hz", "60 Hz"; default "50 Hz"'),
        ("reset", False, "reset true"),
    ],
)
def test_what_cannot_be_is_said_with_what_can(name: str, value: Value, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings_of(ALL, {name: value})
    assert str(caught.value) == f"its control {name} cannot be {value!r}; there is: {words}"


def test_a_name_that_is_not_there_is_said_with_those_that_are() -> None:
    with pytest.raises(SettingsError, match=r"^it has no control 'gain'; it has mirror, zoom$"):
        settings_of([ZOOM, MIRROR], {"gain": 1})
    with pytest.raises(SettingsError, match=r"it has none$"):
        settings_of([], {"gain": 1})


def test_a_menu_without_its_default_is_still_said() -> None:
    assert in_words(OfferedControl("mode", 1, "menu", default=7, menu={0: "a"})) == 'mode "a"'
