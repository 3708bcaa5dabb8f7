"""Reads a live stream in a thread, since libavformat waits for the network; who fetches samples does not."""

import threading
from collections import deque
from typing import NamedTuple

from capture.demux import MediaFile
from capture.file_tracks import FileSample
from capture.live_input import LiveInput
from common import clock
from common.errors import SettingsError, SourceError

QUEUED_SAMPLES_MAX = 4000
QUEUED_BYTES_MAX = 64 << 20
CLOSE_S = 0.5  # a reader that waits for longer is left to itself: it comes back after the time-out of its input


class Arrived(NamedTuple):
    """One sample, and when it came, µs."""

    sample: FileSample
    at_us: int


class LiveReader:
    """One connection, from its opening to its end.

    damaged, notes, tracks_count, timed: as in MediaFile, once `is_open`. is_paced: it comes faster than real time,
    and is to be given out by its own times. waited: how often the queue was full.
    """

    def __init__(self, live: LiveInput) -> None:
        self.is_open = False
        self.is_paced = False
        self.timed = True
        self.notes: tuple[str, ...] = ()
        self.tracks_count = 0
        self.waited = 0
        self._live = live
        self._file: MediaFile | None = None
        self._queue: deque[Arrived] = deque()
        self._bytes = 0
        self._fault: str | None = None  # set at the end
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"reader of {live.name}", daemon=True)
        self._thread.start()

    @property
    def damaged(self) -> int:
        """Samples left out because they were not whole."""
        return self._file.damaged if self._file is not None else 0

    def next(self, timeout_s: float) -> Arrived | None:
        """The next sample, None if none comes in time. Raises SourceError at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._fault is not None, timeout_s)
            if self._queue:
                arrived = self._queue.popleft()
                self._bytes -= len(arrived.sample.data)
                self._changed.notify_all()
                return arrived
            if self._fault is not None:
                raise SourceError(self._fault)
        return None

    def close(self) -> None:
        """End it."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._live.close()
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        fault = ""
        try:
            self._read()
            assert self._file is not None
            fault = self._file.fault
        except (
            SourceError,
            SettingsError,
        ) as error:  # the latter too: tomorrow it may be another stream
            fault = str(error)
        finally:
            if self._file is not None:
                self._file.close()
        said = self._live.end() or fault.removeprefix(f"{self._live.name}: ") or "the stream has ended"
        with self._changed:
            self._fault = f"{self._live.name}: {said}"
            self._changed.notify_all()

    def _read(self) -> None:
        container = self._live.open()
        file = self._file = MediaFile(self._live.name, container)
        self.timed, self.notes, self.tracks_count = file.timed, file.notes, file.tracks_count
        has_end = container.format.name == "hls" or bool(container.duration) or container.size > 0
        self.is_paced = file.timed and has_end
        self.is_open = True
        for sample in file.samples():
            with self._changed:
                if self._is_full():
                    self.waited += 1
                    self._changed.wait_for(lambda: self._closed or not self._is_full())
                if self._closed:
                    return
                self._queue.append(Arrived(sample, clock.now_us()))
                self._bytes += len(sample.data)
                self._changed.notify_all()

    def _is_full(self) -> bool:
        return len(self._queue) >= QUEUED_SAMPLES_MAX or self._bytes > QUEUED_BYTES_MAX
