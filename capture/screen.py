"""The `screen:` source: an X display, encoded. A thread takes its pictures; only the newest one is encoded."""

import os
import threading
from collections import deque
from collections.abc import Callable, Mapping

import av
from av.container import InputContainer
from av.error import FFmpegError

from capture.encode import PictureEncoder
from common import clock, config
from common.errors import SettingsError, SourceError
from common.sample import Sample, Track
from common.source_spec import ScreenSpec

DEFAULT_FPS = 25.0
STALL_US = 5_000_000  # without a picture
CLOSE_S = 1.0  # a picture later the thread has heard of it


class ScreenSource:
    """See `capture.source.Source`."""

    due_us = 0

    def __init__(
        self, spec: ScreenSpec, settings: config.Stream, now_us: Callable[[], int] = clock.now_us
    ) -> None:
        self._display = spec.display or os.environ.get("DISPLAY", "")
        self._settings = settings
        self._now_us = now_us
        self._fps = settings.fps or DEFAULT_FPS
        self._encoder = PictureEncoder(settings.encode, self._fps)
        self._changed = threading.Condition()
        self._newest: tuple[av.VideoFrame, int] | None = None  # not yet fetched, and when it was taken, µs
        self._fault = ""
        self._closed = False
        self._heard_us = self._newest_us = 0
        self._dropped_raw = 0
        self._thread: threading.Thread | None = None
        self._ready: deque[Sample] = deque()

    @property
    def tracks(self) -> tuple[Track, ...]:
        return (self._encoder.track,) if self._encoder.track is not None else ()

    @property
    def counters(self) -> Mapping[str, int]:
        return {"dropped_raw": self._dropped_raw}

    @property
    def notes(self) -> tuple[str, ...]:
        return self._encoder.notes

    def open(self) -> None:
        if not self._display:
            raise SettingsError("screen: there is no DISPLAY in the environment: name one, as in screen::0")
        options = {"framerate": f"{self._fps:g}"}
        if self._settings.width and self._settings.height:
            options["video_size"] = f"{self._settings.width}x{self._settings.height}"
        try:
            container = av.open(self._display, "r", "x11grab", options)
        except (FFmpegError, OSError) as error:
            reason = "no X display, or not for this user" if error.errno == 5 else error.strerror
            raise SourceError(f"screen:{self._display}: {reason}") from None
        self._heard_us = self._now_us()
        self._thread = threading.Thread(target=self._take, args=(container,), name="screen", daemon=True)
        self._thread.start()

    def read(self, timeout_s: float) -> Sample | None:
        if not self._ready:
            with self._changed:
                self._changed.wait_for(lambda: self._newest is not None or self._fault, timeout_s)
                taken, self._newest = self._newest, None
            if taken is None:
                self._check()
                return None
            picture, time_us = taken
            self._heard_us = time_us
            self._newest_us = max(time_us, self._newest_us + 1)
            self._ready.extend(self._encoder.encode(picture, self._newest_us))
        return self._ready.popleft() if self._ready else None

    def request_key_frame(self) -> None:
        self._encoder.request_key_frame()

    def close(self) -> None:
        self._closed = True
        if self._thread is not None:
            self._thread.join(CLOSE_S)
        self._encoder.close()
        self._ready.clear()

    def _check(self) -> None:
        if self._fault:
            raise SourceError(f"screen:{self._display}: {self._fault}")
        if self._now_us() - self._heard_us > STALL_US:
            raise SourceError(f"screen:{self._display}: no picture for {STALL_US // 1_000_000} s")

    def _take(self, container: InputContainer) -> None:
        fault = "it has ended"
        try:
            with container:
                for picture in container.decode(video=0):
                    with self._changed:
                        self._dropped_raw += self._newest is not None
                        self._newest = picture, self._now_us()
                        self._changed.notify()
                    if self._closed:
                        return
        except (FFmpegError, OSError) as error:
            fault = error.strerror or fault
        with self._changed:
            self._fault = fault
            self._changed.notify()
