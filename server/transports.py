"""How bytes leave: the only place that writes to viewers' sockets. TCP so far.

An outlet takes whole frames by `offer` and everything else (replies, RTCP, heads) by `write`. What the kernel
takes in part is finished before anything else goes out, so that no frame or reply is ever cut by another.
"""

import fcntl
import socket
import termios
from collections import deque
from collections.abc import Callable

from common.wire import Buffer

ROOM_BYTES_MIN = 64 << 10  # what a drained viewer is sent at least: a key frame goes through any buffer
KEEPALIVE_IDLE_S = 30
KEEPALIVE_INTERVAL_S = 10
KEEPALIVE_PROBES = 3
USER_TIMEOUT_MARGIN_MS = 10_000  # our own closing of a stalled viewer comes first, and says so in the log


def configure_tcp(sock: socket.socket, stalled_close_ms: int) -> None:
    """Set an accepted socket up: non-blocking, no Nagle, and a peer that is gone is noticed."""
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, stalled_close_ms + USER_TIMEOUT_MARGIN_MS)


class TcpOutlet:
    """The way out of one TCP connection.

    blocked: the socket took less than it was given; call `flush` when it is writable. queued_bytes: waiting behind
    what is unfinished. flushed_bytes: sent by `flush` so far. on_blocked: called when it becomes blocked.

    `offer`, `write` and `flush` raise OSError when the connection is broken.
    """

    __slots__ = ("_on_blocked", "_queue", "_send", "_socket", "_tail", "blocked", "flushed_bytes", "queued_bytes")

    def __init__(self, sock: socket.socket, on_blocked: Callable[[], None]) -> None:
        self._socket = sock
        self._send = sock.send
        self._on_blocked = on_blocked
        self._tail: memoryview | None = None
        self._queue: deque[bytes] = deque()
        self.blocked = False
        self.queued_bytes = 0
        self.flushed_bytes = 0

    def offer(self, frame: Buffer) -> bool:
        """Take a frame, all of it though perhaps not at once; False: not one byte of it."""
        if self.blocked:
            return False
        try:
            sent = self._send(frame)
        except BlockingIOError:
            self._block(None)
            return False
        if sent != len(frame):
            self._block(memoryview(frame)[sent:])
        return True

    def write(self, data: bytes) -> None:
        """Send this, or keep it behind what is unfinished; the caller minds `queued_bytes`."""
        if self.blocked:
            self._queue.append(data)
            self.queued_bytes += len(data)
            return
        try:
            sent = self._send(data)
        except BlockingIOError:
            sent = 0
        if sent != len(data):
            self._block(memoryview(data)[sent:])

    def flush(self) -> None:
        """Send what is unfinished and queued; `blocked` says whether anything is left."""
        while self._tail is not None or self._queue:
            if self._tail is None:
                self._tail = memoryview(b"".join(self._queue))
                self._queue.clear()
                self.queued_bytes = 0
            try:
                sent = self._send(self._tail)
            except BlockingIOError:
                return
            self.flushed_bytes += sent
            self._tail = self._tail[sent:] if sent < len(self._tail) else None
        self.blocked = False

    @property
    def room_bytes(self) -> int | None:
        """What the socket takes now, more or less; None while it takes nothing."""
        if self.blocked:
            return None
        unsent = int.from_bytes(fcntl.ioctl(self._socket, termios.TIOCOUTQ, bytes(4)), "little")
        return max(self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) - unsent, ROOM_BYTES_MIN)

    def _block(self, tail: memoryview | None) -> None:
        self._tail = tail
        self.blocked = True
        self._on_blocked()
