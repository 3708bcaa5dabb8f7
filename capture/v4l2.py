"""The `camera:` source, a V4L2 device by v4l2py. The only module that imports it.

Pictures are fetched without threads: the descriptor is polled, buffers are taken out and put back here, since
v4l2py's own loops hang after an unplug. Of raw and MJPEG pictures that wait only the newest is encoded; of a
stream that leans on its past none is left out, and after a loss all up to the next sync point.
"""

import logging
import os
import select
import stat
import warnings
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from capture import camera_modes
from capture.camera_modes import Camera, Mode, OfferedFormat, OfferedRange, OfferedSize
from capture.device_faults import in_words, is_gone
from capture.encode import JpegDecoder, PictureEncoder
from capture.raw_pictures import RawLayout
from capture.sync_points import SyncPoints
from common import annexb, clock, config
from common.errors import MediaError, SourceError
from common.sample import Sample, Track
from common.source_spec import CameraSpec

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # that it is no longer maintained, at each start
    from v4l2py import device as v4l2

BUFFERS = 4  # one being filled, one being read, two for a hiccup of ours
BUFFERS_MAX = 32  # V4L2's own
STALL_US = 5_000_000  # without a picture: the camera hangs; opening it again often helps
STALL_PICTURES = 5  # at its own rate, where that is longer
CLOCK_OFF_US_MAX = 1_000_000  # a time further from now is not of our clock

logging.getLogger("linuxpy").addHandler(logging.NullHandler())  # what it has to say is said here
logging.getLogger("linuxpy").propagate = False


class CameraSource:
    """See `capture.source.Source`."""

    def __init__(
        self, spec: CameraSpec, settings: config.Stream, now_us: Callable[[], int] = clock.now_us
    ) -> None:
        self._path = spec.device
        self._settings = settings
        self._now_us = now_us
        self._device: Any = None
        self._capture: Any = None
        self._poll = select.poll()
        self._mode = Mode("", 0, 0, 0.0)
        self._raw: RawLayout | None = None
        self._sync_points: SyncPoints | None = None  # where pictures are passed through
        self._encoder: PictureEncoder | None = None  # where they are not
        self._jpeg: JpegDecoder | None = None
        self._whole = False  # passed through: nothing is missing since the last sync point
        self._tracks: tuple[Track, ...] = ()
        self._notes: tuple[str, ...] = ()
        self._ready: deque[Sample] = deque()
        self._sequence: int | None = None
        self._time_us = self._heard_us = 0
        self._forces_key_frames = True
        self._damaged = self._gaps = self._skipped = self._dropped_raw = 0

    @property
    def tracks(self) -> tuple[Track, ...]:
        return self._tracks

    @property
    def counters(self) -> Mapping[str, int]:
        return {
            "damaged": self._damaged,
            "gaps": self._gaps,
            "skipped": self._skipped,
            "dropped_raw": self._dropped_raw,
        }

    @property
    def notes(self) -> tuple[str, ...]:
        return self._notes

    def open(self) -> None:
        try:
            self._device = open_device(self._path)
            self._set_mode()
            self._start()
        except OSError as error:
            self.close()
            raise self._fault(error) from None
        except BaseException:
            self.close()
            raise
        self._heard_us = self._now_us()

    def read(self, timeout_s: float) -> Sample | None:
        if self._ready:
            return self._ready.popleft()
        try:
            events = self._poll.poll(timeout_s * 1000)
            buffer = self._take() if events else None
            if buffer is not None:
                self._heard_us = self._now_us()
                self._use(buffer)
                return self._ready.popleft() if self._ready else None
        except OSError as error:
            raise self._fault(error) from None
        if events and events[0][1] & (select.POLLERR | select.POLLHUP | select.POLLNVAL):
            raise SourceError(f"{self._path}: its driver reports a fault, and has no picture")
        if self._now_us() - self._heard_us > self._stall_us():
            raise SourceError(f"{self._path}: no picture for {self._stall_us() // 1_000_000} s")
        return None

    def request_key_frame(self) -> None:
        if self._encoder is not None:
            self._encoder.request_key_frame()
        elif self._forces_key_frames:
            try:
                v4l2.set_control(self._device, v4l2.ControlID.MPEG_VIDEO_FORCE_KEY_FRAME, 1)
            except OSError:
                self._forces_key_frames = False  # it has no such control: its next one comes when it comes

    def close(self) -> None:
        # Piece by piece: v4l2py's own close fails after an unplug, and leaves memory and descriptor behind.
        capture, self._capture = self._capture, None
        if capture is not None and capture.buffer is not None:
            try:
                capture.stream_off()
            except OSError:
                pass  # the device is gone
            for mapping in capture.buffer.buffers or ():
                mapping.close()
        device, self._device = self._device, None
        if device is not None:
            device.close()
        if self._encoder is not None:
            self._encoder.close()
        self._ready.clear()

    def _set_mode(self) -> None:
        wanted = self._settings
        formats = _formats(self._device)
        mode = camera_modes.choose(formats, wanted.format, wanted.width, wanted.height, wanted.fps)
        if mode is None:
            offered = ", ".join(offer.fourcc for offer in formats) or "nothing that is known"
            kind = "H.264, H.265, MJPEG or raw" if wanted.format == "auto" else wanted.format
            raise SourceError(f"{self._path}: has no {kind} pictures; it offers {offered}")
        self._device.set_format(v4l2.BufferType.VIDEO_CAPTURE, mode.width, mode.height, mode.fourcc)
        # Drivers adjust in silence: what counts is what can be read back.
        try:
            actual = self._device.get_format(v4l2.BufferType.VIDEO_CAPTURE)
        except ValueError:
            raise SourceError(f"{self._path}: set itself to a pixel format that is not known") from None
        fourcc = actual.pixel_format.human_str()
        if not camera_modes.usable(fourcc, "auto"):
            raise SourceError(f"{self._path}: set itself to {fourcc}, which cannot be used")
        self._mode = Mode(fourcc, actual.width, actual.height, self._set_fps(wanted.fps or mode.fps))
        self._note_difference()
        if fourcc in camera_modes.PASSED_THROUGH:
            self._sync_points = SyncPoints(camera_modes.PASSED_THROUGH[fourcc])
            return
        self._encoder = PictureEncoder(wanted.encode, self._mode.fps)
        if fourcc in camera_modes.JPEG:
            self._jpeg = JpegDecoder()
        else:
            self._raw = RawLayout(fourcc, actual.width, actual.height, actual.bytes_per_line)

    def _set_fps(self, fps: float) -> float:
        """Ask for a rate; returns what the driver says, 0 if it does not."""
        try:
            if fps:
                self._device.set_fps(v4l2.BufferType.VIDEO_CAPTURE, fps)
            return float(self._device.get_fps(v4l2.BufferType.VIDEO_CAPTURE))
        except (OSError, ZeroDivisionError) as error:
            if isinstance(error, OSError) and is_gone(error):
                raise
            return 0.0  # many drivers have no rate to set

    def _note_difference(self) -> None:
        wanted, mode = self._settings, self._mode
        different = (
            wanted.width not in (0, mode.width)
            or wanted.height not in (0, mode.height)
            or (wanted.fps and mode.fps and abs(wanted.fps - mode.fps) > 0.1)
            or not camera_modes.usable(mode.fourcc, wanted.format)
        )
        if different:
            self._notes = (
                f"{self._path}: gives {mode.fourcc} {mode.width}x{mode.height} at {mode.fps:g} fps,"
                " not all that was asked for",
            )

    def _start(self) -> None:
        # v4l2py takes the number that it asked for, not the one that it was given: ask beforehand.
        kind, memory = v4l2.BufferType.VIDEO_CAPTURE, v4l2.Memory.MMAP
        granted = min(self._device.request_buffers(kind, memory, BUFFERS).count, BUFFERS_MAX)
        self._device.free_buffers(kind, memory)
        self._capture = v4l2.VideoCapture(self._device, size=granted, buffer_type=v4l2.MemoryMap)
        self._capture.open()
        self._poll.register(self._device.fileno(), select.POLLIN)

    def _take(self) -> Any:
        """The next buffer that is filled, None if there is none. Of pictures to encode the newest."""
        buffer = self._dequeue()
        while buffer is not None and self._encoder is not None:
            newer = self._dequeue()
            if newer is None:
                break
            self._dropped_raw += 1
            self._give_back(buffer)
            buffer = newer
        return buffer

    def _dequeue(self) -> Any:
        try:
            buffer = self._capture.buffer.queue.dequeue()
        except BlockingIOError:
            return None
        if self._sequence is not None and buffer.sequence > self._sequence + 1:
            self._gaps += buffer.sequence - self._sequence - 1
            self._wait_for_sync()
        self._sequence = buffer.sequence
        return buffer

    def _give_back(self, buffer: Any) -> None:
        # A buffer that is refused is lost for good, and with the last one the camera: better to start again.
        self._capture.buffer.queue.enqueue(buffer)

    def _use(self, buffer: Any) -> None:
        """Make samples of a picture, and give its buffer back."""
        time_us = self._time_of(buffer)
        used = buffer.bytesused
        if buffer.flags & v4l2.BufferFlag.ERROR or not used:
            self._give_back(buffer)
            self._lost()
            return
        picture = None
        with memoryview(self._capture.buffer.buffers[buffer.index]) as memory, memory[:used] as view:
            if self._raw is not None:
                picture = self._raw.picture(view)
            else:
                data = bytes(view)
        self._give_back(buffer)
        if self._sync_points is not None:
            self._pass_through(self._sync_points, data, time_us)
            return
        if self._jpeg is not None:
            picture = self._jpeg.decode(data)
        if picture is None:
            self._damaged += 1
            return
        assert self._encoder is not None
        self._ready.extend(self._encoder.encode(picture, time_us))
        track = self._encoder.track
        if track is not None and self._tracks != (track,):
            self._tracks = (track,)

    def _lost(self) -> None:
        self._damaged += 1
        self._wait_for_sync()

    def _wait_for_sync(self) -> None:
        """A picture is missing: the following ones would be broken, where each leans on the last."""
        if self._sync_points is not None and self._whole:
            self._whole = False
            self.request_key_frame()

    def _pass_through(self, sync_points: SyncPoints, data: bytes, time_us: int) -> None:
        try:
            unit = sync_points.feed(data)
        except MediaError:
            self._lost()
            return
        if unit is None:
            return
        if unit.sync:
            self._whole = True
            self._note_track(sync_points)
        if self._whole:
            self._ready.append(Sample(unit.data, time_us, sync_points.codec, unit.sync))
        else:
            self._skipped += 1

    def _note_track(self, sync_points: SyncPoints) -> None:
        if self._tracks and self._tracks[0].config == sync_points.config:
            return
        width, height = self._mode.width, self._mode.height
        try:
            width, height = annexb.picture_size(sync_points.config, sync_points.codec)
        except MediaError:
            pass  # the driver's word stands
        self._tracks = (Track(sync_points.codec, width, height, self._mode.fps, config=sync_points.config),)

    def _time_of(self, buffer: Any) -> int:
        """When the picture was taken, µs: the driver's word where it is on our clock. Rises always."""
        now_us = self._now_us()
        time_us: int = buffer.timestamp.secs * 1_000_000 + buffer.timestamp.usecs
        monotonic = buffer.flags & v4l2.BufferFlag.TIMESTAMP_MASK == v4l2.BufferFlag.TIMESTAMP_MONOTONIC
        if not monotonic or abs(time_us - now_us) > CLOCK_OFF_US_MAX:
            time_us = now_us
        self._time_us = max(time_us, self._time_us + 1)
        return self._time_us

    def _stall_us(self) -> int:
        return max(STALL_US, round(STALL_PICTURES * 1_000_000 / self._mode.fps) if self._mode.fps else 0)

    def _fault(self, error: OSError) -> SourceError:
        return SourceError(f"{self._path}: {in_words(error)}")


def open_device(path: str) -> Any:
    """The open device. Raises OSError, SourceError if it is no camera."""
    if not stat.S_ISCHR(os.stat(path).st_mode):
        raise SourceError(f"{path}: not a device")
    device = v4l2.Device(path)
    try:
        device.open()
        capabilities = device.info.device_capabilities
        if v4l2.Capability.VIDEO_CAPTURE not in capabilities or v4l2.Capability.STREAMING not in capabilities:
            raise SourceError(f"{path}: no camera (it has no video capture): cameras often have a second device")
    except BaseException:
        device.close()
        raise
    return device


def cameras(root: Path = Path("/dev")) -> list[Camera]:
    """All cameras of this machine, also those that this user may not open."""
    links: dict[str, list[str]] = {}
    for link in sorted([*root.glob("v4l/by-id/*"), *root.glob("v4l/by-path/*")]):
        links.setdefault(os.path.realpath(link), []).append(str(link))
    found = []
    for path in sorted(root.glob("video[0-9]*"), key=lambda path: (len(path.name), path.name)):
        camera = _describe(str(path), tuple(links.get(str(path), ())))
        if camera is not None:
            found.append(camera)
    return found


def _describe(path: str, links: tuple[str, ...]) -> Camera | None:
    try:
        device = open_device(path)
    except SourceError:
        return None  # no camera
    except OSError as error:
        return Camera(path, links=links, problem=in_words(error))
    try:
        info = device.info
        return Camera(path, info.card, info.driver, info.bus_info, links, tuple(_formats(device)))
    except OSError as error:
        return Camera(path, links=links, problem=in_words(error))
    finally:
        device.close()


def _formats(device: Any) -> list[OfferedFormat]:
    # Not info.formats, which fails on some devices.
    return [
        _offer(device, image_format) for image_format in device.info.buffer_formats(v4l2.BufferType.VIDEO_CAPTURE)
    ]


def _offer(device: Any, image_format: Any) -> OfferedFormat:
    pixel_format = image_format.pixel_format
    sizes: list[OfferedSize] = []
    ranges: list[OfferedRange] = []
    for size in device.info.format_frame_sizes(pixel_format):
        info = size.info
        if size.type == v4l2.FrameSizeType.DISCRETE:
            sizes.append(
                OfferedSize(info.width, info.height, _rates(device, pixel_format, info.width, info.height))
            )
        else:
            ranges.append(
                OfferedRange(
                    info.min_width, info.max_width, info.step_width,
                    info.min_height, info.max_height, info.step_height,
                )
            )  # fmt: skip
    return OfferedFormat(pixel_format.human_str(), image_format.description, tuple(sizes), tuple(ranges))


def _rates(device: Any, pixel_format: Any, width: int, height: int) -> tuple[float, ...]:
    try:
        intervals = device.info.fps_intervals(pixel_format, width, height)
    except (OSError, ZeroDivisionError):
        return ()
    rates = {round(float(fps), 3) for interval in intervals for fps in (interval.min_fps, interval.max_fps) if fps}
    return tuple(sorted(rates))
