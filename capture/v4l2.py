"""A V4L2 camera by v4l2py. The only module that imports it.

What v4l2py does not do well stays unused: its read loops hang after an unplug, its own closing fails then and
leaves memory and descriptor behind, its lists of formats and controls fail on some devices.
"""

import logging
import os
import stat
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from capture import camera_controls
from capture.camera_controls import Kind, OfferedControl
from capture.camera_modes import Camera, OfferedFormat, OfferedRange, OfferedSize
from capture.device_faults import in_words
from common.errors import SourceError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # that it is no longer maintained, at each start
    from v4l2py import device as v4l2py

BUFFERS_MAX = 32  # V4L2's own
CONTROLS_MAX = 200  # of a device: vivid has 60
_FLAG, _BUFFER = v4l2py.ControlFlag, v4l2py.BufferFlag
_CAPTURE, _MMAP = v4l2py.BufferType.VIDEO_CAPTURE, v4l2py.Memory.MMAP
_KINDS: dict[int, Kind] = {
    v4l2py.ControlType.INTEGER: "number",
    v4l2py.ControlType.BOOLEAN: "switch",
    v4l2py.ControlType.MENU: "menu",
    v4l2py.ControlType.INTEGER_MENU: "menu",
    v4l2py.ControlType.BUTTON: "button",
}

logging.getLogger("linuxpy").addHandler(logging.NullHandler())  # what it has to say is said here
logging.getLogger("linuxpy").propagate = False


class Layout(NamedTuple):
    """What a camera has set itself to. stride: bytes from row to row, 0 where there are none."""

    fourcc: str
    width: int
    height: int
    stride: int


class Filled(NamedTuple):
    """A buffer that the driver has filled.

    time_us: when, on the monotonic clock; None where the driver has another clock. sequence: counts all
    pictures, also those that were lost. raw: v4l2py's own.
    """

    size: int
    time_us: int | None
    sequence: int
    damaged: bool
    raw: Any


class Device:
    """An open camera. Its methods raise OSError, as the driver says."""

    def __init__(self, path: str) -> None:
        """Raises OSError, SourceError if it is no camera."""
        if not stat.S_ISCHR(os.stat(path).st_mode):
            raise SourceError(f"{path}: not a device")
        self._path = path
        self._capture: Any = None
        self._device = v4l2py.Device(path)
        try:
            self._device.open()
            capabilities = self._device.info.device_capabilities
            has = v4l2py.Capability
            if has.VIDEO_CAPTURE not in capabilities or has.STREAMING not in capabilities:
                raise SourceError(
                    f"{path}: no camera (it has no video capture): cameras often have a second device"
                )
        except BaseException:
            self._device.close()
            raise

    def close(self) -> None:
        """Free all, piece by piece, also after an unplug. A second time does nothing."""
        capture, self._capture = self._capture, None
        if capture is not None and capture.buffer is not None:
            try:
                capture.stream_off()
            except OSError:
                pass  # the device is gone
            for mapping in capture.buffer.buffers or ():
                mapping.close()
        self._device.close()

    def fileno(self) -> int:
        """Its descriptor, to be polled."""
        number: int = self._device.fileno()
        return number

    # ---- what it can do ----------------------------------------------------------------------------------

    def described(self, links: tuple[str, ...]) -> Camera:
        """All that it can do."""
        info = self._device.info
        return Camera(
            self._path, info.card, info.driver, info.bus_info, links,
            tuple(self.formats()), controls=tuple(self.controls()),
        )  # fmt: skip

    def formats(self, wanted: Callable[[str], bool] = lambda _: True) -> list[OfferedFormat]:
        """Its pixel formats; those that are `wanted` with sizes and rates, which a driver takes long to say."""
        formats = self._device.info.buffer_formats(_CAPTURE)  # not info.formats, which fails on some devices
        return [self._offer(one, wanted(one.pixel_format.human_str())) for one in formats]

    def controls(self) -> list[OfferedControl]:
        """Its controls that can be set, of kinds that settings can name."""
        found: list[OfferedControl] = []
        for info in v4l2py.iter_read_controls(self._device):
            kind = _KINDS.get(info.type)
            if (
                kind is not None
                and not info.flags & (_FLAG.READ_ONLY | _FLAG.DISABLED)
                and len(found) < CONTROLS_MAX
            ):
                found.append(
                    OfferedControl(
                        camera_controls.plain(info.name.decode(errors="replace")), info.id, kind,
                        info.minimum, info.maximum, info.step, info.default_value,
                        self._menu(info) if kind == "menu" else {},
                    )
                )  # fmt: skip
        return found

    def _menu(self, info: Any) -> dict[int, str]:
        named = info.type == v4l2py.ControlType.MENU
        items = v4l2py.iter_read_menu(self._device, SimpleNamespace(id=info.id, _info=info))
        return {item.index: item.name.decode(errors="replace") if named else str(item.value) for item in items}

    def _offer(self, image_format: Any, whole: bool) -> OfferedFormat:
        pixel_format = image_format.pixel_format
        sizes: list[OfferedSize] = []
        ranges: list[OfferedRange] = []
        for size in self._device.info.format_frame_sizes(pixel_format) if whole else ():
            info = size.info
            if size.type == v4l2py.FrameSizeType.DISCRETE:
                rates = self._rates(pixel_format, info.width, info.height)
                sizes.append(OfferedSize(info.width, info.height, rates))
            else:
                ranges.append(
                    OfferedRange(
                        info.min_width, info.max_width, info.step_width,
                        info.min_height, info.max_height, info.step_height,
                    )
                )  # fmt: skip
        return OfferedFormat(pixel_format.human_str(), image_format.description, tuple(sizes), tuple(ranges))

    def _rates(self, pixel_format: Any, width: int, height: int) -> tuple[float, ...]:
        try:
            intervals = self._device.info.fps_intervals(pixel_format, width, height)
        except (OSError, ZeroDivisionError):
            return ()
        rates = {round(float(fps), 3) for one in intervals for fps in (one.min_fps, one.max_fps) if fps}
        return tuple(sorted(rates))

    # ---- how it is set -----------------------------------------------------------------------------------

    def set_format(self, fourcc: str, width: int, height: int) -> Layout:
        """Ask for a format and size; returns what the driver made of it, which can be another one."""
        self._device.set_format(_CAPTURE, width, height, fourcc)
        try:
            actual = self._device.get_format(_CAPTURE)
        except ValueError:
            raise SourceError(f"{self._path}: set itself to a pixel format that is not known") from None
        return Layout(actual.pixel_format.human_str(), actual.width, actual.height, actual.bytes_per_line)

    def set_fps(self, fps: float) -> float:
        """Ask for a rate, if it is not 0; returns what the driver says, 0 if it says nothing of use."""
        if fps:
            self._device.set_fps(_CAPTURE, fps)
        try:
            return float(self._device.get_fps(_CAPTURE))
        except ZeroDivisionError:
            return 0.0

    def set_control(self, number: int, value: int) -> None:
        """Tell it."""
        v4l2py.set_control(self._device, number, value)

    def force_key_frame(self) -> None:
        """Ask a camera that encodes for a key frame."""
        self.set_control(v4l2py.ControlID.MPEG_VIDEO_FORCE_KEY_FRAME, 1)

    # ---- its pictures ------------------------------------------------------------------------------------

    def start(self, buffers: int) -> None:
        """Begin to take pictures, into about so many buffers."""
        # v4l2py takes the number that it asked for, not the one that it was given: ask beforehand.
        granted = min(self._device.request_buffers(_CAPTURE, _MMAP, buffers).count, BUFFERS_MAX)
        self._device.free_buffers(_CAPTURE, _MMAP)
        self._capture = v4l2py.VideoCapture(self._device, size=granted, buffer_type=v4l2py.MemoryMap)
        self._capture.open()

    def dequeue(self) -> Filled | None:
        """The oldest buffer that is filled, None if there is none. It must be given back."""
        try:
            raw = self._capture.buffer.queue.dequeue()
        except BlockingIOError:
            return None
        monotonic = raw.flags & _BUFFER.TIMESTAMP_MASK == _BUFFER.TIMESTAMP_MONOTONIC
        time_us = raw.timestamp.secs * 1_000_000 + raw.timestamp.usecs if monotonic else None
        return Filled(raw.bytesused, time_us, raw.sequence, bool(raw.flags & _BUFFER.ERROR), raw)

    @contextmanager
    def view(self, filled: Filled) -> Iterator[memoryview]:
        """Its bytes, until it is given back."""
        with memoryview(self._capture.buffer.buffers[filled.raw.index]) as memory, memory[: filled.size] as view:
            yield view

    def give_back(self, filled: Filled) -> None:
        """The driver may fill it again. After an OSError it is lost for good, and with the last one the camera."""
        self._capture.buffer.queue.enqueue(filled.raw)


def cameras(root: Path = Path("/dev")) -> list[Camera]:
    """All cameras of this machine, also those that this user may not open."""
    links: dict[str, list[str]] = {}
    for link in sorted([*root.glob("v4l/by-id/*"), *root.glob("v4l/by-path/*")]):
        links.setdefault(os.path.realpath(link), []).append(str(link))
    found = []
    for path in sorted(root.glob("video[0-9]*"), key=lambda path: (len(path.name), path.name)):
        camera = _described(str(path), tuple(links.get(str(path), ())))
        if camera is not None:
            found.append(camera)
    return found


def _described(path: str, links: tuple[str, ...]) -> Camera | None:
    try:
        device = Device(path)
    except SourceError:
        return None  # no camera
    except OSError as error:
        return Camera(path, links=links, problem=in_words(error))
    try:
        return device.described(links)
    except OSError as error:
        return Camera(path, links=links, problem=in_words(error))
    finally:
        device.close()
