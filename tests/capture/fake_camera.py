"""A camera at the boundary of v4l2py: what the module gives, with its real constants and its real buffer struct.

Only for what real drivers cannot be made to do on every machine; they have tests of their own.
"""

import errno
import mmap
import os
from collections import deque
from dataclasses import dataclass, field
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest

from capture import v4l2 as module

PATH = "/dev/null"  # a character device that is always there
BUFFER_BYTES = 1 << 17
MONOTONIC = 0x2000
ERROR = 0x40

constants: Any = vars(module)["v4l2py"]
raw_buffer = constants.raw.v4l2_buffer
INTEGER, BOOLEAN = constants.ControlType.INTEGER, constants.ControlType.BOOLEAN
READ_ONLY = constants.ControlFlag.READ_ONLY


@dataclass
class FakeCamera:
    """State of the driver. modes: fourcc → sizes with their rates."""

    modes: dict[str, list[tuple[int, int, list[float]]]]
    granted: int = 4
    stride: int = 0
    adjusts_to: str = ""  # the format that it takes, whatever it was asked for
    capabilities: int = 0x04000001  # VIDEO_CAPTURE, STREAMING
    has_fps: bool = True
    forces_key_frames: bool = True
    faults: dict[str, int] = field(default_factory=dict)  # errno by call
    format: tuple[str, int, int] = ("", 0, 0)
    fps: float = 30.0
    asked_buffers: int = 0
    key_frames_forced: int = 0
    requeued: int = 0
    opened: int = 0
    mappings: list[mmap.mmap] = field(default_factory=list)
    frames: deque[tuple[bytes, int, int, int]] = field(default_factory=deque)  # data, sequence, time, flags
    ready: tuple[int, int] = field(default_factory=os.pipe)
    sequence: int = -1
    controls: list[Any] = field(default_factory=list)
    told: list[tuple[int, int]] = field(default_factory=list)  # numbers of controls, and values

    def add_control(self, number: int, name: str, kind: int, low: int, high: int, *, flags: int = 0) -> None:
        """One more control, with its default at 0."""
        control = constants.raw.v4l2_query_ext_ctrl()
        control.id, control.name, control.type, control.flags = number, name.encode(), kind, flags
        control.minimum, control.maximum, control.step = low, high, 1
        self.controls.append(control)

    def give(self, data: bytes, time_us: int, *, skip: int = 0, flags: int = MONOTONIC) -> None:
        """The camera has taken a picture, after losing `skip` others."""
        self.sequence += 1 + skip
        self.frames.append((data, self.sequence, time_us, flags))
        os.write(self.ready[1], b"x")

    def wake(self) -> None:
        """Make its descriptor readable with no picture behind it, as a driver in trouble does."""
        os.write(self.ready[1], b"x")

    def fail(self, call: str) -> None:
        if call in self.faults:
            raise OSError(self.faults[call], os.strerror(self.faults[call]))

    def close(self) -> None:
        for descriptor in self.ready:
            os.close(descriptor)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Put it in the place of v4l2py."""
        monkeypatch.setattr(constants, "Device", lambda path: FakeDevice(self, path))
        monkeypatch.setattr(constants, "VideoCapture", FakeCapture)
        monkeypatch.setattr(constants, "set_control", lambda device, *rest: device.set_control(*rest))
        monkeypatch.setattr(constants, "iter_read_controls", lambda device: device.camera.controls)


class FakeDevice:
    def __init__(self, camera: FakeCamera, path: str) -> None:
        self.camera, self.path = camera, path
        self.info = FakeInfo(camera)

    def open(self) -> None:
        self.camera.fail("open")
        self.camera.opened += 1

    def close(self) -> None:
        self.camera.opened -= self.camera.opened > 0

    def fileno(self) -> int:
        return self.camera.ready[0]

    def set_format(self, _kind: Any, width: int, height: int, fourcc: str) -> None:
        self.camera.fail("set_format")
        self.camera.format = (self.camera.adjusts_to or fourcc, width, height)

    def get_format(self, _kind: Any) -> Any:
        fourcc, width, height = self.camera.format
        return SimpleNamespace(
            width=width, height=height, pixel_format=_pixel_format(fourcc), bytes_per_line=self.camera.stride
        )

    def set_fps(self, _kind: Any, fps: float) -> None:
        self._has_fps()
        self.camera.fps = min(fps, self.camera.fps)

    def get_fps(self, _kind: Any) -> Fraction:
        self._has_fps()
        return Fraction(self.camera.fps)

    def _has_fps(self) -> None:
        if not self.camera.has_fps:
            raise OSError(errno.ENOTTY, "Inappropriate ioctl for device")

    def request_buffers(self, _kind: Any, _memory: Any, count: int) -> Any:
        self.camera.fail("request_buffers")
        self.camera.asked_buffers = count
        return SimpleNamespace(count=self.camera.granted)

    def free_buffers(self, _kind: Any, _memory: Any) -> None:
        pass

    def set_control(self, control: Any, value: int) -> None:
        if control != constants.ControlID.MPEG_VIDEO_FORCE_KEY_FRAME:
            self.camera.fail("set_control")
            self.camera.told.append((control, value))
            return
        assert value == 1
        if not self.camera.forces_key_frames:
            raise OSError(errno.EINVAL, "Invalid argument")
        self.camera.key_frames_forced += 1


class FakeInfo:
    card, driver, bus_info = "Fake Camera", "fake", "usb-0000:00:14.0-1"

    def __init__(self, camera: FakeCamera) -> None:
        self.camera = camera

    @property
    def device_capabilities(self) -> Any:
        self.camera.fail("capabilities")
        return constants.Capability(self.camera.capabilities)

    def buffer_formats(self, kind: Any) -> list[Any]:
        assert kind == constants.BufferType.VIDEO_CAPTURE
        return [
            SimpleNamespace(pixel_format=_pixel_format(fourcc), description=f"a {fourcc}")
            for fourcc in self.camera.modes
        ]

    def format_frame_sizes(self, pixel_format: Any) -> list[Any]:
        discrete = constants.FrameSizeType.DISCRETE
        return [
            SimpleNamespace(type=discrete, info=SimpleNamespace(width=width, height=height))
            for width, height, _ in self.camera.modes[pixel_format.human_str()]
        ]

    def fps_intervals(self, pixel_format: Any, width: int, height: int) -> list[Any]:
        return [
            SimpleNamespace(min_fps=fps, max_fps=fps)
            for offered_width, offered_height, rates in self.camera.modes[pixel_format.human_str()]
            if (offered_width, offered_height) == (width, height)
            for fps in rates
        ]


class FakeCapture:
    def __init__(self, device: FakeDevice, size: int, buffer_type: Any) -> None:
        assert buffer_type is constants.MemoryMap
        self.camera, self.size = device.camera, size
        self.buffer: Any = None

    def open(self) -> None:
        assert self.size == self.camera.granted, "the number of buffers that was granted"
        self.camera.mappings = [mmap.mmap(-1, BUFFER_BYTES) for _ in range(self.size)]
        self.buffer = SimpleNamespace(buffers=self.camera.mappings, queue=FakeQueue(self.camera))
        self.camera.fail("stream_on")

    def stream_off(self) -> None:
        self.camera.fail("stream_off")

    def close(self) -> None:
        raise AssertionError("v4l2py's own close leaks after an unplug")


class FakeQueue:
    def __init__(self, camera: FakeCamera) -> None:
        self.camera = camera
        self.free = deque(range(camera.granted))

    def dequeue(self) -> Any:
        self.camera.fail("dequeue")
        if not self.camera.frames:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        os.read(self.camera.ready[0], 1)
        data, sequence, time_us, flags = self.camera.frames.popleft()
        buffer = raw_buffer()
        buffer.index = self.free.popleft()
        buffer.bytesused, buffer.sequence, buffer.flags = len(data), sequence, flags
        buffer.timestamp.secs, buffer.timestamp.usecs = divmod(time_us, 1_000_000)
        self.camera.mappings[buffer.index][: len(data)] = data
        return buffer

    def enqueue(self, buffer: Any) -> None:
        self.camera.fail("enqueue")
        self.free.append(buffer.index)
        self.camera.requeued += 1


def _pixel_format(fourcc: str) -> Any:
    return next(known for known in constants.PixelFormat if known.human_str() == fourcc)
