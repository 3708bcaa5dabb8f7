"""Many RTSP viewers in one thread, each as fast or slow as it is told, every byte kept with its time.

Nothing is looked at while it runs, so that watching costs the machine little: `tests.support.received` reads what
was recorded afterwards.
"""

import fcntl
import select
import sys
import termios
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import TracebackType

from tests.support.rtsp_client import RtspClient

READ_BYTES = 1 << 18
TICK_S = 0.01  # viewers with a rate read this often
PIECES_AT_ONCE_MAX = 40  # then those who read at once have their turn, or their pictures would seem late
KEEPALIVE_S = 20.0  # gst-rtsp-server ends sessions that say nothing for 60 s


@dataclass(frozen=True)
class Manner:
    """How a viewer reads; by default all there is, at once.

    rate_bps: at most so much. piece_bytes: by one call. stall_s: not at all between these two times, in seconds
    from its PLAY. receive_buffer_bytes: asked of the kernel, so that what waits does so at the server.
    """

    rate_bps: int | None = None
    piece_bytes: int = READ_BYTES
    stall_s: tuple[float, float] = (0.0, 0.0)
    receive_buffer_bytes: int | None = None


@dataclass(eq=False)
class Recording:
    """What one viewer was sent from PLAY on. ended: why the connection is no more, empty as long as it is.

    data: the bytes of the connection; times_s, ends: when they were read, and how many there were then. came_s,
    came_ends: the same of their coming into the receive buffer, of viewers that do not read at once.
    """

    name: str
    manner: Manner
    sdp: str
    played_s: float = 0.0
    ended: str = ""
    ended_s: float = 0.0
    data: bytearray = field(default_factory=bytearray)
    times_s: list[float] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    came_s: list[float] = field(default_factory=list)
    came_ends: list[int] = field(default_factory=list)

    def arrived_s(self, at: int) -> float:
        """When the byte `at` was there to be read, at most TICK_S late."""
        place = bisect_right(self.came_ends, at)
        read_s = self.read_s(at)
        return min(self.came_s[place], read_s) if place < len(self.came_s) else read_s

    def read_s(self, at: int) -> float:
        """When the byte `at` was read."""
        return self.times_s[bisect_right(self.ends, at)]


class _Reader:
    def __init__(self, client: RtspClient, recording: Recording) -> None:
        self.client = client
        self.recording = recording
        self.polled = False
        self._budget = 0.0
        self._budget_s = 0.0

    def play(self) -> None:
        self.client.send("PLAY", Range="npt=0.000-")
        self.client.socket.setblocking(False)
        self.recording.played_s = self._budget_s = time.monotonic()

    @property
    def wants_poll(self) -> bool:
        """Whether it reads whatever comes, at once."""
        manner, recording = self.recording.manner, self.recording
        since_s = time.monotonic() - recording.played_s
        stalls = manner.stall_s[0] <= since_s < manner.stall_s[1]
        return manner.rate_bps is None and not stalls and not recording.ended

    def read(self, bytes_max: int) -> int:
        """Read once; how many bytes."""
        recording = self.recording
        try:
            got = self.client.socket.recv(bytes_max)
        except BlockingIOError:
            return 0
        except OSError as error:
            self._end(f"broken: {error.strerror}")
            return 0
        if not got:
            self._end("closed by the server")
            return 0
        recording.data += got
        recording.times_s.append(time.monotonic())
        recording.ends.append(len(recording.data))
        return len(got)

    def read_at_rate(self) -> bool:
        """Read what its rate has room for, or PIECES_AT_ONCE_MAX of it; whether there may be more."""
        manner = self.recording.manner
        if manner.rate_bps is None or self.recording.ended:
            return False
        now_s = time.monotonic()
        rate = manner.rate_bps / 8
        self._budget = min(self._budget + (now_s - self._budget_s) * rate, max(rate * TICK_S * 10, 1.0))
        self._budget_s = now_s
        for _ in range(PIECES_AT_ONCE_MAX):
            if self._budget < 1:
                return False
            got = self.read(min(manner.piece_bytes, int(self._budget)))
            self._budget -= got
            if not got:
                return False
        return True

    def note_arrived(self) -> None:
        """What waits in the receive buffer has arrived, though it is not read yet."""
        recording = self.recording
        waiting = int.from_bytes(fcntl.ioctl(self.client.socket, termios.FIONREAD, bytes(4)), sys.byteorder)
        came = len(recording.data) + waiting
        if came > (recording.came_ends[-1] if recording.came_ends else 0):
            recording.came_s.append(time.monotonic())
            recording.came_ends.append(came)

    def keep_alive(self) -> None:
        try:
            self.client.send("OPTIONS")
        except OSError:
            pass  # its own reading tells why

    def _end(self, why: str) -> None:
        self.recording.ended = why
        self.recording.ended_s = time.monotonic()


class Recorder:
    """The viewers. `add` connects them (in another thread, too), `play` has media sent, `run` reads."""

    def __init__(self) -> None:
        self._readers: dict[str, _Reader] = {}
        self._by_fd: dict[int, _Reader] = {}
        self._poll = select.epoll()
        self._keepalive_s = time.monotonic() + KEEPALIVE_S

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for reader in self._readers.values():
            reader.client.close()
        self._poll.close()

    def add(self, name: str, url: str, manner: Manner | None = None) -> None:
        """DESCRIBE and SETUP; waits for the answers."""
        manner = manner or Manner()
        client = RtspClient(url, receive_buffer_bytes=manner.receive_buffer_bytes, user_agent=name)
        self._readers[name] = _Reader(client, Recording(name, manner, ""))
        self._by_fd[client.socket.fileno()] = self._readers[name]
        self._readers[name].recording.sdp = client.describe()
        client.setup()

    def play(self, names: Iterable[str]) -> None:
        """PLAY; the answer is part of what is recorded."""
        for name in names:
            self._readers[name].play()

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Read for so long."""
        tick_s = time.monotonic()
        end_s = tick_s + seconds
        reading: list[_Reader] = []  # those of a rate, as long as they have something to read
        while (now_s := time.monotonic()) < end_s:
            if now_s >= tick_s:
                self._tick()
                reading = [reader for reader in list(self._by_fd.values()) if reader.recording.played_s]
                tick_s = time.monotonic() + TICK_S
                if until():
                    return
            for fd, _ in self._poll.poll(0.0 if reading else max(0.0, tick_s - time.monotonic())):
                self._by_fd[fd].read(READ_BYTES)
            reading = [reader for reader in reading if reader.read_at_rate()]

    def recordings(self) -> list[Recording]:
        """What was recorded so far, in the order of `add`."""
        return [reader.recording for reader in self._readers.values()]

    def _tick(self) -> None:
        keep_alive = time.monotonic() >= self._keepalive_s
        if keep_alive:
            self._keepalive_s += KEEPALIVE_S
        for fd, reader in list(self._by_fd.items()):
            if not reader.recording.played_s:
                continue
            if reader.wants_poll != reader.polled:
                reader.polled = not reader.polled
                if reader.polled:
                    self._poll.register(fd, select.EPOLLIN)
                else:
                    self._poll.unregister(fd)
            if not reader.wants_poll and not reader.recording.ended:
                reader.note_arrived()
            if keep_alive and not reader.recording.ended:
                reader.keep_alive()
