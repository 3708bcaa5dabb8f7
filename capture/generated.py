"""The `test:` source: a picture with a clock, a number and a flash, and a beep with the flash each second.

Picture and sound have one clock: picture n is captured at start + n / fps, sound sample k at start + k / rate,
and the flash begins with the second that the clock shows, as does the beep.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping

import av
import numpy as np
from numpy.typing import NDArray

from capture.card import Card
from capture.encode import PictureEncoder, SoundEncoder
from common import clock, config
from common.errors import SettingsError, SourceError
from common.sample import Codec, Sample, Track
from common.source_spec import GENERATED_SIDE_MAX, GENERATED_SIDE_MIN, GeneratedSpec

DEFAULT_SIZE = (1280, 720)
DEFAULT_FPS = 30.0
SAMPLE_RATE_HZ = 48_000
TONE_BPS = 64_000
TONE_HZ, TONE_US, TONE_LEVEL, TONE_EDGE_US = 1000, 100_000, 0.2, 5_000
HELD_UP_US_MAX = 1_000_000  # a process that stood still so long starts anew rather than catch up
_GRAIN_US = 100  # 9 ticks of 90 kHz


class GeneratedSource:
    """See `capture.source.Source`. wall_us: µs since the epoch, local clock time is made of it."""

    due_us = 0

    def __init__(
        self,
        spec: GeneratedSpec,
        settings: config.Stream,
        now_us: Callable[[], int] = clock.now_us,
        sleep_s: Callable[[float], None] = time.sleep,
        wall_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self._now_us, self._sleep_s, self._wall_us = now_us, sleep_s, wall_us
        self._fps = spec.fps or settings.fps or DEFAULT_FPS
        encode = settings.encode
        self._encoder = PictureEncoder(
            config.Encode(
                encode.bitrate_bps if spec.bitrate_bps is None else spec.bitrate_bps,
                encode.sync_interval_ms if spec.sync_interval_ms is None else spec.sync_interval_ms,
            ),
            self._fps,
        )
        self._card = Card(*(spec.size or _size(settings)))
        self._tone = _Tone(Codec(settings.sound_codec)) if spec.tone is not False else None
        self._start_us = self._start_wall_us = 0
        self._dropped_raw = 0
        self._ready: deque[Sample] = deque()
        self._number = 0

    @property
    def tracks(self) -> tuple[Track, ...]:
        video = self._encoder.track
        if video is None:
            return ()
        return (video,) if self._tone is None else (video, self._tone.track)

    @property
    def counters(self) -> Mapping[str, int]:
        return {"dropped_raw": self._dropped_raw}

    @property
    def notes(self) -> tuple[str, ...]:
        return ()

    def open(self) -> None:
        self._start_us = self._now_us() // _GRAIN_US * _GRAIN_US
        self._start_wall_us = self._wall_us()
        if self._tone is not None:
            self._tone.start(self._start_wall_us)
        self._make_picture()  # so that the tracks are known

    def read(self, timeout_s: float) -> Sample | None:
        if self._ready:
            return self._ready.popleft()
        sound_us = self._start_us + self._tone.due_us if self._tone is not None else None
        picture_us = self._picture_us(self._number)
        due_us = picture_us if sound_us is None else min(picture_us, sound_us)
        wait_us = due_us - self._now_us()
        if wait_us > 0:
            self._sleep_s(min(timeout_s, wait_us / 1e6))
            if wait_us > timeout_s * 1e6:
                return None
        elif wait_us < -HELD_UP_US_MAX:
            raise SourceError(f"the process was held up for {wait_us / -1e6:.1f} s: the picture starts anew")
        if self._tone is not None and due_us == sound_us:
            self._ready.extend(self._tone.make(self._start_us))
        else:
            self._skip_what_is_late()
            self._make_picture()
        return self._ready.popleft() if self._ready else None

    def request_key_frame(self) -> None:
        self._encoder.request_key_frame()

    def close(self) -> None:
        self._encoder.close()
        self._ready.clear()

    def _picture_us(self, number: int) -> int:
        return self._start_us + round(number * 1_000_000 / self._fps)

    def _skip_what_is_late(self) -> None:
        while self._picture_us(self._number + 1) <= self._now_us():
            self._number += 1
            self._dropped_raw += 1

    def _make_picture(self) -> None:
        time_us = self._picture_us(self._number)
        wall_us = self._start_wall_us + time_us - self._start_us
        local = time.localtime(wall_us // 1_000_000)
        text = f"{time.strftime('%H:%M:%S', local)}.{wall_us // 1000 % 1000:03}"
        self._card.paint(text, self._number, wall_us)
        self._number += 1
        picture = av.VideoFrame.from_ndarray(self._card.pixels, format="yuv420p")
        self._ready.extend(self._encoder.encode(picture, time_us))


class _Tone:
    """A beep each second of the wall clock."""

    def __init__(self, codec: Codec) -> None:
        self._encoder = SoundEncoder(codec, SAMPLE_RATE_HZ, 1, TONE_BPS)
        self.track = self._encoder.track
        self._second = _second()
        self._next = 0  # sample that is encoded next
        self._due = 0  # first sample of the frame that comes next
        self._phase = 0

    def start(self, wall_us: int) -> None:
        """Sample 0 is at `wall_us` of the wall clock."""
        self._phase = wall_us % 1_000_000 * SAMPLE_RATE_HZ // 1_000_000

    @property
    def due_us(self) -> int:
        """When the next frame begins, µs from sample 0."""
        return _us(self._due)

    def make(self, start_us: int) -> list[Sample]:
        """The next frame; sample 0 is at `start_us`."""
        frames: list[tuple[bytes, int]] = []
        block_samples = self._encoder.block_samples
        while not frames:  # the encoder looks ahead
            at = (np.arange(block_samples) + self._next + self._phase) % SAMPLE_RATE_HZ
            encoded = self._encoder.encode(self._second[None, at], self._next)
            frames = [(data, first) for data, first in encoded if first >= 0]  # without the lead-in
            self._next += block_samples
        self._due = frames[-1][1] + block_samples
        return [Sample(data, start_us + _us(first), self.track.codec) for data, first in frames]


def _us(samples: int) -> int:
    return (samples * 1_000_000 + SAMPLE_RATE_HZ // 2) // SAMPLE_RATE_HZ


def _second() -> NDArray[np.float32]:
    """One second of sound: the beep, then silence."""
    at_us = np.arange(SAMPLE_RATE_HZ) * 1e6 / SAMPLE_RATE_HZ
    edges = np.clip(np.minimum(at_us, TONE_US - at_us) / TONE_EDGE_US, 0, 1)
    return (TONE_LEVEL * edges * np.sin(2 * np.pi * TONE_HZ * at_us / 1e6)).astype(np.float32)


def _size(settings: config.Stream) -> tuple[int, int]:
    width, height = settings.width or DEFAULT_SIZE[0], settings.height or DEFAULT_SIZE[1]
    for key, side in (("width", width), ("height", height)):
        if side % 2 or not GENERATED_SIDE_MIN <= side <= GENERATED_SIDE_MAX:
            raise SettingsError(
                f"{key} {side}: a test picture has even sides from {GENERATED_SIDE_MIN} to {GENERATED_SIDE_MAX}"
            )
    return width, height
