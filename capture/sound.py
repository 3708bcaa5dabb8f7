"""Sound of an ALSA device beside the pictures of a camera, as AAC, on the same clock.

The device counts samples by a clock of its own. Each block that comes tells where that clock lies on ours
(`capture.clock_follower`), so that sound and picture stay together however long that takes. A device that is not
there, or goes, leaves the picture alone: it is tried again.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping

import av
import numpy as np
from av.audio.resampler import AudioResampler
from av.error import FFmpegError
from numpy.typing import NDArray

from capture.clock_follower import ClockFollower
from capture.encode import AacEncoder
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

Block = NDArray[np.float32]
Blocks = Callable[[], Iterator[Block]]


def alsa_blocks(device: str, device_format: str = "alsa") -> Iterator[Block]:
    """What a device records: blocks of (CHANNELS, AacEncoder.BLOCK_SAMPLES), -1 to 1. Raises OSError."""
    os.environ.setdefault("ALSA_CONFIG_PATH", ALSA_SETTINGS)
    resampler = AudioResampler("fltp", "stereo", SAMPLE_RATE_HZ, AacEncoder.BLOCK_SAMPLES)
    with av.open(device, "r", device_format, timeout=(READ_S, READ_S)) as container:
        for frame in container.decode(audio=0):
            frame.pts = None
            for block in resampler.resample(frame):
                yield block.to_ndarray().astype(np.float32, copy=False)


class SoundEncoder:
    """Blocks of a device to AAC frames on our clock."""

    def __init__(self) -> None:
        self._encoder = AacEncoder(SAMPLE_RATE_HZ, CHANNELS, BITRATE_BPS)
        self.track = self._encoder.track
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
                samples.append(Sample(data, time_us, Codec.AAC))
        return samples


class SoundTrack:
    """The sound, recorded in a thread. lost: blocks not fetched in time. fault: why there is none now."""

    def __init__(self, blocks: Blocks, now_us: Callable[[], int] = clock.now_us) -> None:
        self.lost = self.faults = 0
        self.fault = ""
        self._blocks = blocks
        self._now_us = now_us
        self._encoder = SoundEncoder()
        self.track = self._encoder.track
        self._queue: deque[tuple[int, Block, int]] = deque(
            maxlen=BLOCKS_QUEUED_MAX
        )  # first sample, block, arrived
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
                for block in self._blocks():
                    self.fault = ""
                    self.lost += len(self._queue) == BLOCKS_QUEUED_MAX
                    self._queue.append((first, block, self._now_us()))
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

    def __init__(self, pictures: Source, device: str, blocks: Blocks | None = None) -> None:
        self._pictures = pictures
        self._device = device
        self._blocks = blocks or (lambda: alsa_blocks(device))
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
        own = {"sound_lost": sound.lost, "sound_faults": sound.faults} if sound is not None else {}
        return {**self._pictures.counters, **own}

    @property
    def notes(self) -> tuple[str, ...]:
        fault = self._sound.fault if self._sound is not None else ""
        return (*self._pictures.notes, *([f"no sound from {self._device} yet: {fault}"] if fault else []))

    def open(self) -> None:
        self._pictures.open()
        self._sound = SoundTrack(self._blocks)

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
