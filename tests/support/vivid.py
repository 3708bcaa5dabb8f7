"""The kernel's virtual camera, vivid: its devices, and its faults to order. Inside a box only."""

from pathlib import Path
from typing import IO

from linuxpy.video import device as v4l2

DAMAGED = "Inject V4L2_BUF_FLAG_ERROR"
NO_BUFFERS = "Inject VIDIOC_REQBUFS Error"
REFUSED_BUFFER = "Inject VIDIOC_QBUF Error"
NO_START = "Inject VIDIOC_STREAMON Error"
FATAL = "Inject Fatal Streaming Error"
DROPPED_PERCENT = "Percentage of Dropped Buffers"

OVERLAY, NO_OVERLAY = "OSD Text Mode", 2


def devices() -> list[str]:
    """The paths of all vivid cameras."""
    names = sorted(Path("/sys/class/video4linux").glob("video*/name"))
    return [f"/dev/{path.parent.name}" for path in names if path.read_text().startswith("vivid")]


def control(path: str, name: str, value: int = 1) -> None:
    """Set a control by its full name. A fault's control is a button: it takes effect once."""
    with open(path, "rb", buffering=0) as device:
        v4l2.set_control(device.fileno(), _number(device, name), value)


def value(path: str, name: str) -> int:
    """What a control is set to."""
    with open(path, "rb", buffering=0) as device:
        number: int = v4l2.get_control(device.fileno(), _number(device, name))
        return number


def _number(device: IO[bytes], name: str) -> int:
    found = [item.id for item in v4l2.iter_read_controls(device.fileno()) if item.name.decode() == name]
    assert len(found) == 1, f"{name!r} is {len(found)} controls"
    number: int = found[0]
    return number
