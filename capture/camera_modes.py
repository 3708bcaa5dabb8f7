"""What a camera offers, and which of it to take. Pure.

A pixel format is named by its four characters, as V4L2 does. H.264 and H.265 are passed through; MJPEG and raw
pictures are encoded, raw ones at less cost.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import msgspec

from capture import raw_pictures
from capture.camera_controls import OfferedControl
from common.sample import Codec

Wanted = Literal["auto", "h264", "h265", "mjpeg", "raw"]
PASSED_THROUGH = {"H264": Codec.H264, "HEVC": Codec.H265}
JPEG = frozenset({"MJPG", "JPEG"})
DEFAULT_SIZE = (1280, 720)  # where none is asked for
DEFAULT_FPS = 30.0
FPS_SLACK = 0.1  # 29.97 will do for 30


class OfferedSize(msgspec.Struct, frozen=True):
    """One size of a format, in pixels. fps: the rates there; none where the driver does not say."""

    width: int
    height: int
    fps: tuple[float, ...] = ()


class OfferedRange(msgspec.Struct, frozen=True):
    """All sizes between two, as some drivers offer them."""

    width_min: int
    width_max: int
    width_step: int
    height_min: int
    height_max: int
    height_step: int

    def nearest(self, width: int, height: int) -> tuple[int, int]:
        """The size in the range that is nearest to width × height, no larger where it lies between two."""
        return (
            _nearest(width, self.width_min, self.width_max, self.width_step),
            _nearest(height, self.height_min, self.height_max, self.height_step),
        )


class OfferedFormat(msgspec.Struct, frozen=True):
    """One pixel format of a camera, with its sizes."""

    fourcc: str
    description: str
    sizes: tuple[OfferedSize, ...] = ()
    ranges: tuple[OfferedRange, ...] = ()


class Camera(msgspec.Struct, frozen=True):
    """One camera of this machine.

    links: names that stay its own after a replug. problem: why it cannot be asked for the rest.
    """

    device: str
    name: str = ""
    driver: str = ""
    bus: str = ""
    links: tuple[str, ...] = ()
    formats: tuple[OfferedFormat, ...] = ()
    controls: tuple[OfferedControl, ...] = ()
    problem: str = ""


class Mode(NamedTuple):
    """One thing that a camera can do. fps: its highest there; 0 is not known."""

    fourcc: str
    width: int
    height: int
    fps: float


def usable(fourcc: str, wanted: Wanted) -> bool:
    """Whether pictures of this format can be carried, and are what is wanted."""
    match wanted:
        case "auto":
            return fourcc in PASSED_THROUGH or fourcc in JPEG or fourcc in raw_pictures.FORMATS
        case "mjpeg":
            return fourcc in JPEG
        case "raw":
            return fourcc in raw_pictures.FORMATS
        case _:
            return PASSED_THROUGH.get(fourcc) == wanted


def choose(formats: Sequence[OfferedFormat], wanted: Wanted, width: int, height: int, fps: float) -> Mode | None:
    """The mode nearest to what is wanted, None if none is usable. A size or rate of 0 leaves it open.

    A size that is asked for counts most; then that nothing has to be encoded; then the rate.
    """
    target = (width or DEFAULT_SIZE[0], height or DEFAULT_SIZE[1])
    fps = fps or DEFAULT_FPS

    def badness(mode: Mode) -> tuple[float, ...]:
        off = 0
        if width or not height:
            off += abs(mode.width - target[0])
        if height or not width:
            off += abs(mode.height - target[1])
        asked = bool(width or height)
        missing_fps = fps - mode.fps if 0 < mode.fps < fps - FPS_SLACK else 0
        return (off if asked else 0, _cost(mode.fourcc), missing_fps, off, _raw_order(mode.fourcc), mode.fps)

    modes = [mode for offer in formats if usable(offer.fourcc, wanted) for mode in _modes(offer, target)]
    return min(modes, key=badness, default=None)


def _modes(offer: OfferedFormat, target: tuple[int, int]) -> Iterator[Mode]:
    for size in offer.sizes:
        yield Mode(offer.fourcc, size.width, size.height, max(size.fps, default=0.0))
    for sizes in offer.ranges:
        yield Mode(offer.fourcc, *sizes.nearest(*target), 0.0)
    if not offer.sizes and not offer.ranges:  # the driver does not say: it will adjust what it is asked for
        yield Mode(offer.fourcc, *target, 0.0)


def _cost(fourcc: str) -> int:
    if fourcc in PASSED_THROUGH:
        return 0 if PASSED_THROUGH[fourcc] is Codec.H264 else 1
    return 2


def _raw_order(fourcc: str) -> int:
    """MJPEG, which must be decoded too, comes last."""
    order = list(raw_pictures.FORMATS)
    return order.index(fourcc) if fourcc in order else len(order)


def _nearest(value: int, low: int, high: int, step: int) -> int:
    step = max(step, 1)
    return low + (max(low, min(value, high)) - low) // step * step
