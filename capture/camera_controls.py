"""The controls of a camera (brightness, exposure, ...) by name, as settings ask for them. Pure.

A name is the driver's own in small letters, with one _ for all else: "White Balance, Automatic" is
white_balance_automatic. A value is a whole number, true or false, or the text of one item of a menu.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

from common.errors import SettingsError

Value = bool | int | str
Kind = Literal["number", "switch", "menu", "button"]


class OfferedControl(msgspec.Struct, frozen=True):
    """One control. number: of the driver. menu: its items by number, only where it has a menu."""

    name: str
    number: int
    kind: Kind
    minimum: int = 0
    maximum: int = 0
    step: int = 1
    default: int = 0
    menu: dict[int, str] = {}


class Setting(NamedTuple):
    """What the driver is to be told."""

    control: OfferedControl
    value: int


def plain(name: str) -> str:
    """A driver's name as settings have it."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def settings_of(offered: Sequence[OfferedControl], wanted: Mapping[str, Value]) -> list[Setting]:
    """What to tell the driver, in the order of `wanted`: a manual exposure comes after the automatic one is off.

    Raises SettingsError, one line that says what there is instead.
    """
    by_name = {control.name: control for control in offered}
    settings = []
    for name, value in wanted.items():
        control = by_name.get(name)
        if control is None:
            raise SettingsError(f"it has no control {name!r}; it has {', '.join(sorted(by_name)) or 'none'}")
        settings.append(Setting(control, _number(control, value)))
    return settings


def in_words(control: OfferedControl) -> str:
    """What can be asked of it: `brightness -64 to 64, default 0`."""
    match control.kind:
        case "button":
            return f"{control.name} true"
        case "switch":
            return f"{control.name} true, false; default {'true' if control.default else 'false'}"
        case "menu":
            items = ", ".join(f'"{text}"' for text in control.menu.values())
            default = f'; default "{control.menu[control.default]}"' if control.default in control.menu else ""
            return f"{control.name} {items}{default}"
        case "number":
            steps = f" in steps of {control.step}" if control.step > 1 else ""
            return f"{control.name} {control.minimum} to {control.maximum}{steps}; default {control.default}"


def _number(control: OfferedControl, value: Value) -> int:
    """The value as the driver takes it."""
    match control.kind, value:
        case ("button", True) | ("switch", bool()):
            return int(value)
        case ("menu", str()):
            for number, text in control.menu.items():
                if text == value:
                    return number
        case ("number", int()) if not isinstance(value, bool):
            in_step = (value - control.minimum) % max(control.step, 1) == 0
            if control.minimum <= value <= control.maximum and in_step:
                return value
    raise SettingsError(f"its control {control.name} cannot be {value!r}; there is: {in_words(control)}")
