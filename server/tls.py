"""TLS between a connection and its socket: in memory, so that a frame is one call of TLS and one of the socket.

`Certificate` follows the files that it is made of. `TlsChannel` is one connection's, between the bytes of the
network and its own. `TlsOutlet` is the way out: what it has taken is encrypted, and cannot be taken back any more,
so that it takes a whole frame whenever it is not blocked.
"""

import os
import socket
import ssl
from collections.abc import Callable

from common import certificate
from common.errors import SettingsError
from common.logs import Logger
from common.wire import Buffer
from server.tcp_outlet import TcpOutlet

HANDSHAKE_US_MAX = 10_000_000
_READ_BYTES = 64 << 10


class Certificate:
    """A pair of files, and the TLS made of them, anew when they change. Raises SettingsError."""

    def __init__(self, certificate_file: str, key_file: str, log: Logger) -> None:
        self._files = certificate_file, key_file
        self._log = log
        self._seen = self._look()
        self.context = certificate.load(certificate_file, key_file)

    def refresh(self) -> None:
        """Look whether the files have changed. A pair that makes no sense changes nothing, and is logged once."""
        seen = self._look()
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self.context = certificate.load(*self._files)
        except SettingsError as error:
            self._log.warning("certificate_refused", reason=str(error))
        else:
            self._log.info("certificate_loaded", file=self._files[0])

    def _look(self) -> list[tuple[int, int, int] | None]:
        return [_state(file) for file in self._files]


def _state(file: str) -> tuple[int, int, int] | None:
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


class TlsChannel:
    """The TLS of one connection. established: the handshake is over. ended: the client has said its last."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.established = False
        self.ended = False

    def receive(self, data: bytes) -> bytes:
        """What the client says in `data`, off the network. Raises ssl.SSLError, an OSError."""
        self._incoming.write(data)
        said = bytearray()
        try:
            if not self.established:
                self._object.do_handshake()
                self.established = True
            while piece := self._object.read(_READ_BYTES):
                said += piece
            self.ended = True
        except ssl.SSLWantReadError:
            pass  # the rest has not come yet
        except ssl.SSLZeroReturnError:
            self.ended = True
        return bytes(said)

    def encrypt(self, data: Buffer) -> bytes:
        """`data` for the network, behind what TLS itself has to say. Raises ssl.SSLError."""
        self._object.write(data)
        return self._outgoing.read()

    def take(self) -> bytes:
        """What TLS itself has to say: the handshake's part, or why it failed."""
        return self._outgoing.read()

    def end(self) -> bytes:
        """The last word, after which the client knows that nothing is missing."""
        try:
            self._object.unwrap()
        except ssl.SSLError:
            pass  # it is not waited for the client's
        return self._outgoing.read()


class TlsOutlet(TcpOutlet):
    """The way out of one TLS connection."""

    __slots__ = ("channel",)

    sends_files = False

    def __init__(self, sock: socket.socket, on_blocked: Callable[[], None], channel: TlsChannel) -> None:
        super().__init__(sock, on_blocked)
        self.channel = channel

    def offer(self, frame: Buffer) -> bool:
        """Take a frame, all of it though perhaps not at once; False: not one byte of it."""
        if self.blocked:
            return False
        data = self.channel.encrypt(frame)
        if not super().offer(data):
            self._tail = memoryview(data)
        return True

    def write(self, data: bytes) -> None:
        """Send this, or keep it behind what is unfinished."""
        super().write(self.channel.encrypt(data))

    def write_own(self, data: bytes) -> None:
        """Send what TLS itself has to say."""
        if data:
            super().write(data)
