"""The `camera:` source: a V4L2 device as a source of samples.

Pictures are fetched without threads: the descriptor is polled, buffers are taken out and put back here. Of raw
and MJPEG pictures that wait only the newest is encoded; of a stream that leans on its past none is left out, and
after a loss all up to the next sync point.
"""

import select
from collections import deque
from collections.abc import Callable, Mapping

from capture import camera_controls, camera_modes
from capture.camera_modes import Mode
from capture.device_faults import in_words, is_gone
from capture.encode import JpegDecoder, PictureEncoder
from capture.raw_pictures import RawLayout
from capture.sync_points import SyncPoints
from capture.v4l2 import Device, Filled, Layout
from common import annexb, clock, config
from common.errors import MediaError, SettingsError, SourceError
from common.sample import Codec, Sample, Track
from common.source_spec import CameraSpec

JPEG_START = b"\xff\xd8"
BUFFERS = 4  # one being filled, one being read, two for a hiccup of ours
STALL_US = 5_000_000  # without a picture: the camera hangs; opening it again often helps
FORMATS_SAID_MAX = 8  # in one line
STALL_PICTURES = 5  # at its own rate, where that is longer
CLOCK_OFF_US_MAX = 1_000_000  # a time further from now is not of our clock


class CameraSource:
    """See `capture.source.Source`."""

    due_us = 0

    def __init__(
        self, spec: CameraSpec, settings: config.Stream, now_us: Callable[[], int] = clock.now_us
    ) -> None:
        self._path = spec.device
        self._settings = settings
        self._now_us = now_us
        self._device: Device | None = None
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
        return self._notes + (self._encoder.notes if self._encoder is not None else ())

    def open(self) -> None:
        try:
            self._device = device = Device(self._path)
            self._set_mode(device)
            self._set_controls(device)
            device.start(BUFFERS)
            self._poll.register(device.fileno(), select.POLLIN)
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
        assert self._device is not None, "open"
        try:
            events = self._poll.poll(timeout_s * 1000)
            buffer = self._take(self._device) if events else None
            if buffer is not None:
                self._heard_us = self._now_us()
                self._use(self._device, buffer)
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
        elif self._device is not None and self._forces_key_frames:
            try:
                self._device.force_key_frame()
            except OSError:
                self._forces_key_frames = False  # it has no such control: its next one comes when it comes

    def close(self) -> None:
        device, self._device = self._device, None
        if device is not None:
            device.close()
        if self._encoder is not None:
            self._encoder.close()
        self._ready.clear()

    def _set_mode(self, device: Device) -> None:
        wanted = self._settings
        formats = device.formats(lambda fourcc: camera_modes.usable(fourcc, wanted.format))
        mode = camera_modes.choose(formats, wanted.format, wanted.width, wanted.height, wanted.fps)
        if mode is None:
            offered = ", ".join(offer.fourcc for offer in formats[:FORMATS_SAID_MAX]) or "nothing that is known"
            offered += " and others" if len(formats) > FORMATS_SAID_MAX else ""
            kind = "H.264, H.265, MJPEG or raw" if wanted.format == "auto" else wanted.format
            raise SourceError(f"{self._path}: has no {kind} pictures; it offers {offered}")
        # Drivers adjust in silence: what counts is what can be read back.
        actual = device.set_format(mode.fourcc, mode.width, mode.height)
        if not camera_modes.usable(actual.fourcc, "auto"):
            raise SourceError(f"{self._path}: set itself to {actual.fourcc}, which cannot be used")
        fps = self._set_fps(device, wanted.fps or mode.fps)
        self._mode = Mode(actual.fourcc, actual.width, actual.height, fps)
        self._note_difference()
        self._begin(actual)

    def _begin(self, actual: Layout) -> None:
        """Make what turns its pictures into samples."""
        if actual.fourcc in camera_modes.PASSED_THROUGH:
            self._sync_points = SyncPoints(camera_modes.PASSED_THROUGH[actual.fourcc])
            return
        if actual.fourcc in camera_modes.JPEG and self._settings.mjpeg == "pass":
            self._tracks = (Track(Codec.MJPEG, actual.width, actual.height, self._mode.fps),)
            return
        self._encoder = PictureEncoder(self._settings.encode, self._mode.fps)
        if actual.fourcc in camera_modes.JPEG:
            self._jpeg = JpegDecoder()
        else:
            self._raw = RawLayout(*actual)

    def _set_fps(self, device: Device, fps: float) -> float:
        """Ask for a rate; returns what the driver says, 0 if it does not."""
        try:
            return device.set_fps(fps)
        except OSError as error:
            if is_gone(error):
                raise
            return 0.0  # many drivers have no rate to set

    def _set_controls(self, device: Device) -> None:
        wanted = self._settings.controls
        try:
            settings = camera_controls.settings_of(device.controls(), wanted) if wanted else ()
        except SettingsError as error:
            raise SettingsError(f"{self._path}: {error}") from None
        for control, value in settings:
            try:
                device.set_control(control.number, value)
            except OSError as error:
                if is_gone(error):
                    raise
                raise SourceError(
                    f"{self._path}: refuses {control.name} = {wanted[control.name]!r} ({in_words(error)});"
                    " is an automatic one on that must be off before?"
                ) from None

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

    def _take(self, device: Device) -> Filled | None:
        """The next buffer that is filled, None if there is none. Of pictures to encode the newest."""
        buffer = self._dequeue(device)
        while buffer is not None and self._encoder is not None:
            newer = self._dequeue(device)
            if newer is None:
                break
            self._dropped_raw += 1
            device.give_back(buffer)
            buffer = newer
        return buffer

    def _dequeue(self, device: Device) -> Filled | None:
        buffer = device.dequeue()
        if buffer is None:
            return None
        if self._sequence is not None and buffer.sequence > self._sequence + 1:
            self._gaps += buffer.sequence - self._sequence - 1
            self._wait_for_sync()
        self._sequence = buffer.sequence
        return buffer

    def _use(self, device: Device, buffer: Filled) -> None:
        """Make samples of a picture, and give its buffer back."""
        time_us = self._time_of(buffer)
        if buffer.damaged or not buffer.size:
            device.give_back(buffer)
            self._lost()
            return
        picture = None
        with device.view(buffer) as view:
            if self._raw is not None:
                picture = self._raw.picture(view)
            else:
                data = bytes(view)
        device.give_back(buffer)
        if self._sync_points is not None:
            self._pass_through(self._sync_points, data, time_us)
            return
        if self._raw is None and self._jpeg is None and data.startswith(JPEG_START):
            self._ready.append(Sample(data, time_us, Codec.MJPEG))
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

    def _time_of(self, buffer: Filled) -> int:
        """When the picture was taken, µs: the driver's word where it is on our clock. Rises always."""
        now_us, time_us = self._now_us(), buffer.time_us
        if time_us is None or abs(time_us - now_us) > CLOCK_OFF_US_MAX:
            time_us = now_us
        self._time_us = max(time_us, self._time_us + 1)
        return self._time_us

    def _stall_us(self) -> int:
        return max(STALL_US, round(STALL_PICTURES * 1_000_000 / self._mode.fps) if self._mode.fps else 0)

    def _fault(self, error: OSError) -> SourceError:
        return SourceError(f"{self._path}: {in_words(error)}")
