"""How bytes leave over TCP: the only place that writes to viewers' connections.

An outlet takes whole frames by `offer` and everything else (replies, RTCP, heads) by `write`. What the kernel
takes in part is finished before anything else goes out, so that no frame or reply is ever cut by another.

A frame for many goes out by `offer_to_all`: from memory that the sockets share with us, where that is cheaper.
"""

import fcntl
import os
import socket
import sys
import termios
from array import array
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import ClassVar

from common.wire import Buffer

KEEPALIVE_IDLE_S = 30
KEEPALIVE_INTERVAL_S = 10
KEEPALIVE_PROBES = 3
USER_TIMEOUT_MARGIN_MS = 10_000  # our own closing of a stalled viewer comes first, and says so in the log

# A file in memory costs some 15 µs a frame and more per page than a copy of a page that the cache still holds: it
# pays above both. (100 viewers break even at 17 kB, 16 at 100 kB; 400 at 3 kB do not.)
SHARED_FRAME_BYTES_MIN = 8 << 10
SHARED_TOTAL_BYTES_MIN = 1536 << 10

# struct tcp_info, linux/tcp.h
TCP_INFO_BYTES = 232
SND_MSS = slice(16, 20)
BYTES_ACKED = slice(120, 128)
MIN_RTT = slice(148, 152)
SND_WND = slice(228, 232)  # since Linux 5.4; before, nothing comes
ROUND_TRIP_US_MAX = 100_000_000
WINDOW_BYTES_MAX = 1 << 30

TCP_NOTSENT_LOWAT = 25  # linux/tcp.h; the socket module has no name for it before Python 3.12

_ANSWER = array("i", [0])  # of ioctl(2), which costs three times as much where Python makes bytes of it


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
    what is unfinished. on_blocked: called when it becomes blocked. times_blocked: of all outlets together.

    `offer`, `write` and `flush` raise OSError when the connection is broken.
    """

    __slots__ = ("_on_blocked", "_queue", "_socket", "_tail", "blocked", "fd", "queued_bytes")

    times_blocked: ClassVar[int] = 0
    frames_lost = queue_overflows = 0  # what is taken arrives
    sends_files = True  # from the very pages that hold a frame

    def __init__(self, sock: socket.socket, on_blocked: Callable[[], None]) -> None:
        self._socket = sock
        self.fd = sock.fileno()
        self._on_blocked = on_blocked
        self._tail: memoryview | None = None
        self._queue: deque[bytes] | None = None  # most connections never need one
        self.blocked = False
        self.queued_bytes = 0

    def fit(self, buffer_bytes: int, unsent_bytes: int) -> None:
        """What the kernel may hold: in all, and of it not even sent, for want of a window."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes // 2)  # the kernel doubles it
        self._socket.setsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, unsent_bytes)

    def offer(self, frame: Buffer) -> bool:
        """Take a frame, all of it though perhaps not at once; False: not one byte of it.

        With MSG_EOR the next frame is not put into the same buffer of the kernel, of up to 64 kB, which would be
        done without a look at TCP_NOTSENT_LOWAT.
        """
        if self.blocked:
            return False
        try:
            sent = self._socket.send(frame, socket.MSG_EOR)
        except BlockingIOError:
            self.block(None)
            return False
        if sent != len(frame):
            self.block(memoryview(frame)[sent:])
        return True

    def write(self, data: bytes) -> None:
        """Send this, or keep it behind what is unfinished; the caller minds `queued_bytes`."""
        if self.blocked:
            if self._queue is None:
                self._queue = deque()
            self._queue.append(data)
            self.queued_bytes += len(data)
            return
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        if sent != len(data):
            self.block(memoryview(data)[sent:])

    def flush(self) -> None:
        """Send what is unfinished and queued; `blocked` says whether anything is left."""
        while self._tail is not None or self._queue:
            if self._tail is None:
                assert self._queue is not None
                self._tail = memoryview(b"".join(self._queue))
                self._queue = None
                self.queued_bytes = 0
            try:
                sent = self._socket.send(self._tail, socket.MSG_EOR)
            except BlockingIOError:
                return
            self._tail = self._tail[sent:] if sent < len(self._tail) else None
        self.blocked = False

    @property
    def kernel_bytes(self) -> int:
        """What the kernel holds: not sent yet, or sent and not acknowledged."""
        return _kernel_bytes(self.fd)

    @property
    def unfinished_bytes(self) -> int:
        """What the kernel has not taken yet of what was begun."""
        return 0 if self._tail is None else len(self._tail)

    @property
    def frames_unfinished(self) -> int:
        """Taken, and not yet handed to the kernel whole."""
        return 0 if self._tail is None else 1

    @property
    def acknowledged_bytes(self) -> int:
        """What the peer has acknowledged since the connection was made."""
        return int.from_bytes(self._tcp_info[BYTES_ACKED], sys.byteorder)

    @property
    def round_trip_us(self) -> int:
        """The shortest that the kernel has seen lately: what the way takes when nothing waits on it."""
        found = int.from_bytes(self._tcp_info[MIN_RTT], sys.byteorder)
        return found if found < ROUND_TRIP_US_MAX else 0  # none has been seen

    @property
    def window_bytes(self) -> int:
        """How much may be on its way to the peer when a segment is sent: of one segment no part is sent, but
        where it is most of the window, as on the loopback interface. 0: the window is shut."""
        info = self._tcp_info
        window, segment = (int.from_bytes(info[field], sys.byteorder) for field in (SND_WND, SND_MSS))
        return window - min(segment, window // 2) if info[SND_WND] else WINDOW_BYTES_MAX

    @property
    def _tcp_info(self) -> bytes:
        return self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES)

    def block(self, tail: memoryview | None) -> None:
        """The socket took less than it was given; tail: what is left of what was begun."""
        self._tail = tail
        self.blocked = True
        TcpOutlet.times_blocked += 1
        self._on_blocked()


Broken = tuple[TcpOutlet, OSError]


class FileTakers:
    """Which outlets of a lane can be sent a frame from its file, by descriptor: close together in memory.

    To look at each outlet of a thousand, for every frame, is to wait for memory that no cache holds: 0.2 µs of the
    6 that sending takes. So it is done once, and again after `forget`, for who comes or goes, and after any outlet
    at all has become blocked.
    """

    __slots__ = ("_fds", "_others", "_times_blocked")

    def __init__(self) -> None:
        self._fds = array("i")
        self._others: list[TcpOutlet] = []
        self.forget()

    def forget(self) -> None:
        """They are others now."""
        self._times_blocked = -1

    def among(self, outlets: Collection[TcpOutlet]) -> tuple[Sequence[int], Sequence[TcpOutlet]]:
        """Of these, the same as before unless told to `forget`: whose descriptors, and the others."""
        if self._times_blocked != TcpOutlet.times_blocked:
            self._times_blocked = TcpOutlet.times_blocked
            self._fds = array("i", [one.fd for one in outlets if one.sends_files and not one.blocked])
            self._others = [one for one in outlets if one.blocked or not one.sends_files]
        return self._fds, self._others

    def holding(self, outlets: Collection[TcpOutlet]) -> Collection[TcpOutlet]:
        """Of these, as in `among`: for whom the kernel holds something. As a rule everything has arrived."""
        fds, others = self.among(outlets)
        held = {fd for fd in fds if _kernel_bytes(fd)}
        holding = [one for one in others if one.kernel_bytes]
        return holding + [one for one in outlets if one.fd in held] if held else holding


def offer_to_all(
    outlets: Collection[TcpOutlet], frame: Buffer, takers: FileTakers
) -> tuple[list[TcpOutlet], list[Broken]]:
    """`offer` the frame to each; those that took not one byte of it, and those that are broken."""
    size = len(frame)
    if size >= SHARED_FRAME_BYTES_MIN and size * len(outlets) >= SHARED_TOTAL_BYTES_MIN:
        file = _in_memory(frame)
        if file is not None:
            try:
                return _send_file(outlets, file, frame, takers)
            finally:
                os.close(file)  # what sockets still hold of it lives on
    return _offer_to_each(outlets, frame)


def _kernel_bytes(fd: int) -> int:
    fcntl.ioctl(fd, termios.TIOCOUTQ, _ANSWER)
    return _ANSWER[0]


def _offer_to_each(outlets: Iterable[TcpOutlet], frame: Buffer) -> tuple[list[TcpOutlet], list[Broken]]:
    late: list[TcpOutlet] = []
    broken: list[Broken] = []
    for outlet in outlets:
        try:
            if not outlet.offer(frame):
                late.append(outlet)
        except OSError as error:
            broken.append((outlet, error))
    return late, broken


def _in_memory(frame: Buffer) -> int | None:
    """A new file with the frame in it. Never written again: sockets send from its very pages."""
    try:
        file = os.memfd_create("frame")
    except OSError:
        return None  # no descriptor left
    if os.write(file, frame) == len(frame):
        return file
    os.close(file)
    return None


def _send_file(
    outlets: Collection[TcpOutlet], file: int, frame: Buffer, takers: FileTakers
) -> tuple[list[TcpOutlet], list[Broken]]:
    size = len(frame)
    fds, others = takers.among(outlets)
    partly: dict[int, int | OSError] = {}  # by descriptor: what was taken, or why nothing
    sendfile = os.sendfile
    for fd in fds:  # the hot loop: once a viewer and frame
        try:
            sent = sendfile(fd, file, 0, size)
        except OSError as error:
            partly[fd] = error
        else:
            if sent != size:
                partly[fd] = sent
    late, broken = _offer_to_each(others, frame)
    for outlet in outlets if partly else ():
        said = partly.get(outlet.fd)
        if isinstance(said, BlockingIOError):
            outlet.block(None)
            late.append(outlet)
        elif isinstance(said, OSError):
            broken.append((outlet, said))
        elif said is not None:
            outlet.block(memoryview(frame)[said:])
    return late, broken
