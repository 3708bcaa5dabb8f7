"""Sound of an ALSA device beside the pictures of a camera, as AAC or Opus, on the same clock.

The device counts samples by a clock of its own. Each block that comes tells where that clock lies on ours
(`capture.clock_follower`), so that sound and picture stay together however long that takes. When it was recorded
the driver says, by how much waits behind it. A device that is not there, or goes, leaves the picture alone: it is
tried again.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import av
import numpy as np
from av.audio.resampler import AudioResampler
from av.error import FFmpegError
from numpy.typing import NDArray

from capture.clock_follower import ClockFollower
from capture.encode import SoundEncoder
from capture.source import Source
from common import clock
from common.sample import Codec, Sample, Track

SAMPLE_RATE_HZ = 48_000
CHANNELS = 2
BITRATE_BPS = 128_000
BLOCKS_QUEUED_MAX = 100  # some two seconds: a loop that is held up for longer loses the oldest
RETRY_S = 10.0  # libasound says on stderr what it does not find, each time
ALSA_SETTINGS = "/usr/share/alsa/alsa.conf"  # the libasound in PyAV looks for them where it was built
READ_S = 5.0  # without a sample
CLOSE_S = 0.5
LATE_US_MAX = 500_000  # what is said to wait for longer has the time of another clock
GAP_US, GAP_US_MAX = 50_000, 60_000_000  # more than the driver's times are uneven; less than a clock that was set

Block = NDArray[np.float32]


class Recorded(NamedTuple):
    """A block, when its last sample was taken, µs of our clock, and how many samples are missing before it."""

    block: Block
    end_us: int
    missing: int = 0


Blocks = Callable[[int], Iterator[Recorded]]  # of so many samples


def alsa_blocks(device: str, block_samples: int, device_format: str = "alsa") -> Iterator[Recorded]:
    """What a device records: blocks of (CHANNELS, block_samples), -1 to 1. Raises OSError."""
    os.environ.setdefault("ALSA_CONFIG_PATH", ALSA_SETTINGS)
    resampler = AudioResampler("fltp", "stereo", SAMPLE_RATE_HZ, block_samples)
    with av.open(device, "r", device_format, timeout=(READ_S, READ_S)) as container:
        waiting = missing = 0  # samples in the resampler, and those that were lost
        said_us: int | None = None  # where the next frame begins, by the wall clock
        for frame in container.decode(audio=0):
            first_us = _wall_us(frame)
            if said_us is not None and first_us is not None and GAP_US < first_us - said_us < GAP_US_MAX:
                missing += (first_us - said_us) * SAMPLE_RATE_HZ // 1_000_000
            lasts_us = frame.samples * 1_000_000 // frame.sample_rate
            said_us = None if first_us is None else first_us + lasts_us
            end_us = _on_our_clock(said_us)
            waiting += lasts_us * SAMPLE_RATE_HZ // 1_000_000
            frame.pts = None
            for block in resampler.resample(frame):
                waiting = max(0, waiting - block_samples)
                yield Recorded(block.to_ndarray().astype(np.float32, copy=False), end_us - _us(waiting), missing)
                missing = 0


def _wall_us(frame: av.AudioFrame) -> int | None:
    """When the first sample of a frame was taken, by the wall clock, as libavdevice says it of ALSA."""
    return None if frame.pts is None or frame.time_base is None else int(frame.pts * frame.time_base * 1_000_000)


def _on_our_clock(wall_us: int | None) -> int:
    """A time of just now; now, where it is none: the wall clock was set, or the device says another one."""
    now_us = clock.now_us()
    ago_us = -1 if wall_us is None else time.time_ns() // 1000 - wall_us
    return now_us - ago_us if 0 <= ago_us < LATE_US_MAX else now_us


class SoundOnClock:
    """Blocks of a device to encoded frames on our clock."""

    def __init__(self, codec: Codec) -> None:
        self._encoder = SoundEncoder(codec, SAMPLE_RATE_HZ, CHANNELS, BITRATE_BPS)
        self.track = self._encoder.track
        self.block_samples = self._encoder.block_samples
        self._next = 0  # the first sample that it has not had
        self._follower: ClockFollower | None = None
        self._newest_us = -(1 << 62)

    def encode(self, first: int, block: Block, arrived_us: int) -> list[Sample]:
        """The frames that are complete now. first: the number of the block's first sample by the device."""
        end = first + block.shape[1]
        if self._follower is None or first != self._next:  # another life of the device, or blocks are lost
            self._follower = ClockFollower(arrived_us - _us(end), arrived_us)
        self._next = end
        offset_us = self._follower.offset_us(_us(end), arrived_us)
        samples = []
        for data, number in self._encoder.encode(block, first):
            time_us = offset_us + _us(number)
            if number >= 0 and time_us > self._newest_us:
                self._newest_us = time_us
                samples.append(Sample(data, time_us, self.track.codec))
        return samples


class SoundTrack:
    """The sound, recorded in a thread. lost: blocks not fetched in time. gaps: how often the device has lost some.
    fault: why there is none now."""

    def __init__(self, blocks: Blocks, codec: Codec) -> None:
        self.lost = self.gaps = self.faults = 0
        self.fault = ""
        self._blocks = blocks
        self._encoder = SoundOnClock(codec)
        self.track = self._encoder.track
        self._queue: deque[tuple[int, Block, int]] = deque(
            maxlen=BLOCKS_QUEUED_MAX
        )  # first sample, block, when it ended
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._record, name="sound", daemon=True)
        self._thread.start()

    def samples(self) -> list[Sample]:
        """What has come since the last call, encoded."""
        samples: list[Sample] = []
        while self._queue:
            samples += self._encoder.encode(*self._queue.popleft())
        return samples

    def close(self) -> None:
        """End it."""
        self._closed.set()
        self._thread.join(CLOSE_S)

    def _record(self) -> None:
        first = 0
        while not self._closed.is_set():
            try:
                for block, end_us, missing in self._blocks(self._encoder.block_samples):
                    self.fault = ""
                    self.gaps += missing > 0
                    first += missing
                    self.lost += len(self._queue) == BLOCKS_QUEUED_MAX
                    self._queue.append((first, block, end_us))
                    first += block.shape[1]
                    if self._closed.is_set():
                        return
                self.fault = "the device has ended"
            except (FFmpegError, OSError) as error:
                self.fault = error.strerror or type(error).__name__
            self.faults += 1
            first += SAMPLE_RATE_HZ  # so that what comes next does not seem to follow
            self._closed.wait(RETRY_S)


class WithSound:
    """A source of pictures, and sound beside it. See `capture.source.Source`."""

    due_us = 0

    def __init__(self, pictures: Source, device: str, codec: Codec, blocks: Blocks | None = None) -> None:
        self._pictures = pictures
        self._device = device
        self._codec = codec
        self._blocks = blocks or (lambda block_samples: alsa_blocks(device, block_samples))
        self._sound: SoundTrack | None = None
        self._ready: deque[Sample] = deque()
        self._tracks: tuple[Track, ...] = ()

    @property
    def tracks(self) -> tuple[Track, ...]:
        video = self._pictures.tracks
        if video != self._tracks[:1] and self._sound is not None:
            self._tracks = (*video, self._sound.track) if video else ()
        return self._tracks

    @property
    def counters(self) -> Mapping[str, int]:
        sound = self._sound
        if sound is None:
            return self._pictures.counters
        own = {"sound_lost": sound.lost, "sound_gaps": sound.gaps, "sound_faults": sound.faults}
        return {**self._pictures.counters, **own}

    @property
    def notes(self) -> tuple[str, ...]:
        fault = self._sound.fault if self._sound is not None else ""
        return (*self._pictures.notes, *([f"no sound from {self._device} yet: {fault}"] if fault else []))

    def open(self) -> None:
        self._pictures.open()
        self._sound = SoundTrack(self._blocks, self._codec)

    def read(self, timeout_s: float) -> Sample | None:
        if not self._ready and self._sound is not None:
            sounds = self._sound.samples()
            if self.tracks:
                self._ready.extend(sounds)
        return self._ready.popleft() if self._ready else self._pictures.read(timeout_s)

    def request_key_frame(self) -> None:
        self._pictures.request_key_frame()

    def close(self) -> None:
        if self._sound is not None:
            self._sound.close()
        self._pictures.close()


def _us(samples: int) -> int:
    return (samples * 1_000_000 + SAMPLE_RATE_HZ // 2) // SAMPLE_RATE_HZ
