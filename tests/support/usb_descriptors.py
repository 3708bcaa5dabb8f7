"""What an emulated USB camera says of itself: descriptors of USB 2.0, chapter 9, and of USB Video Class 1.1. Pure.

One video function with two interfaces: control (a camera terminal, a processing unit with brightness and contrast,
an output terminal) and streaming, over one bulk endpoint.
"""

import struct
from collections.abc import Sequence
from typing import Literal, NamedTuple

STREAM_ENDPOINT = 1  # bulk, in
CONTROL_INTERFACE, STREAM_INTERFACE = 0, 1
PROCESSING_UNIT = 2
BRIGHTNESS, CONTRAST = 2, 3  # control selectors of the processing unit, UVC A.9.5
PAYLOAD_BYTES = 16384  # of one bulk transfer, as uvcvideo likes them
CLOCK_HZ = 1_000_000
_INTERFACE, _CLASS_SPECIFIC = 4, 0x24
_GUIDS = {"YUYV": b"YUY2", "H264": b"H264", "HEVC": b"H265"}


class Format(NamedTuple):
    """One format in one size. pictures: are sent over and over, at `fps` a second or one of `other_fps`."""

    fourcc: Literal["YUYV", "MJPG", "H264", "HEVC"]
    width: int
    height: int
    fps: int
    pictures: Sequence[bytes]
    other_fps: tuple[int, ...] = ()

    @property
    def picture_bytes_max(self) -> int:
        """The largest, in whole kilobytes."""
        return (max(map(len, self.pictures)) // 1024 + 1) * 1024

    @property
    def intervals(self) -> list[int]:
        """Between two pictures, in 100 ns, as UVC counts."""
        return [10_000_000 // fps for fps in (self.fps, *self.other_fps)]


def _descriptor(kind: int, layout: str, *values: int | bytes) -> bytes:
    """With its length before it. layout: as of struct, little-endian."""
    body = struct.pack(f"<{layout}", *values)
    return bytes([2 + len(body), kind]) + body


def device() -> bytes:
    """The device descriptor. Its strings are 1, 2 and 3."""
    return _descriptor(1, "HBBBBHHHBBBB", 0x0200, 0xEF, 2, 1, 64, 0x1D6B, 0x0102, 0x0100, 1, 2, 3, 1)


def configuration(formats: Sequence[Format]) -> bytes:
    """The one configuration, with all that is in it."""
    control, stream = _control_interface(), _stream_interface(formats)
    association = _descriptor(11, "BBBBBB", CONTROL_INTERFACE, 2, 0x0E, 3, 0, 2)
    body = (
        association
        + _descriptor(_INTERFACE, "BBBBBBB", CONTROL_INTERFACE, 0, 0, 0x0E, 1, 0, 2)
        + control
        + _descriptor(_INTERFACE, "BBBBBBB", STREAM_INTERFACE, 0, 1, 0x0E, 2, 0, 0)
        + stream
        + _descriptor(5, "BBHB", 0x80 | STREAM_ENDPOINT, 2, 512, 0)
    )
    return _descriptor(2, "HBBBBB", 9 + len(body), 2, 1, 0, 0x80, 250) + body


def _control_interface() -> bytes:
    """Camera terminal 1 → processing unit 2 → output terminal 3, UVC 3.7.2."""
    camera = _descriptor(_CLASS_SPECIFIC, "BBHBBHHHB3s", 2, 1, 0x0201, 0, 0, 0, 0, 0, 3, bytes(3))
    processing = _descriptor(_CLASS_SPECIFIC, "BBBHBHBB", 5, PROCESSING_UNIT, 1, 0, 2, 0b11, 0, 0)
    output = _descriptor(_CLASS_SPECIFIC, "BBHBBB", 3, 3, 0x0101, 0, PROCESSING_UNIT, 0)
    units = camera + processing + output
    return (
        _descriptor(_CLASS_SPECIFIC, "BHHIBB", 1, 0x0110, 13 + len(units), CLOCK_HZ, 1, STREAM_INTERFACE) + units
    )


def _stream_interface(formats: Sequence[Format]) -> bytes:
    """Each format with one frame size, UVC 3.9.2."""
    body = b"".join(_format(number, one) for number, one in enumerate(formats, 1))
    head = 13 + len(formats)
    return (
        _descriptor(
            _CLASS_SPECIFIC, f"BBHBBBBBBB{len(formats)}s",
            1, len(formats), head + len(body), 0x80 | STREAM_ENDPOINT, 0, 3, 0, 0, 0, 1, bytes(len(formats)),
        )
        + body
    )  # fmt: skip


def _format(number: int, one: Format) -> bytes:
    rates = [fps * one.picture_bytes_max * 8 for fps in (min((one.fps, *one.other_fps)), one.fps)]
    intervals = struct.pack(f"<{len(one.intervals)}I", *one.intervals)
    frame = f"BBBHHII{{}}{len(intervals)}s"
    size, default, count = (one.width, one.height), one.intervals[0], len(one.intervals)
    guid = _GUIDS.get(one.fourcc, b"") + bytes.fromhex("0000 1000 8000 00aa00389b71")
    if one.fourcc == "YUYV":
        head = _descriptor(_CLASS_SPECIFIC, "BBB16sBBBBBB", 4, number, 1, guid, 16, 1, 0, 0, 0, 0)
        frame_kind, tail = 5, ("IIB", one.picture_bytes_max, default, count)
    elif one.fourcc == "MJPG":
        head = _descriptor(_CLASS_SPECIFIC, "BBBBBBBBB", 6, number, 1, 1, 1, 0, 0, 0, 0)
        frame_kind, tail = 7, ("IIB", one.picture_bytes_max, default, count)
    else:  # frame based, of variable size
        head = _descriptor(_CLASS_SPECIFIC, "BBB16sBBBBBBB", 0x10, number, 1, guid, 16, 1, 0, 0, 0, 0, 1)
        frame_kind, tail = 0x11, ("IBI", default, count, 0)
    layout, *values = tail
    matching = _descriptor(_CLASS_SPECIFIC, "BBBB", 0x0D, 1, 1, 4)  # BT.709 primaries, BT.601 matrix
    return head + _descriptor(
        _CLASS_SPECIFIC, frame.format(layout), frame_kind, 1, 0, *size, *rates, *values, intervals
    ) + matching  # fmt: skip


def probe(number: int, one: Format, interval: int) -> bytes:
    """The probe and commit control of 34 bytes, UVC 4.3.1.1: format `number` at an interval."""
    return struct.pack(
        "<HBBIHHHHHIIIBBBB",
        1, number, 1, interval, 0, 0, 0, 0, 0, one.picture_bytes_max, PAYLOAD_BYTES, CLOCK_HZ, 3, 0, 0, 0,
    )  # fmt: skip
