"""The ports that a server listens on, shared with the other servers of the machine.

A listening socket that is closed resets whoever is still shaking hands with it. So before that it turns a deaf ear
to who begins (`shut_out`): his first packet is lost, the second, a second later, reaches another server. Who has
begun is taken in.
"""

import ctypes
import errno
import socket
import struct
from collections.abc import Callable

from common.errors import SettingsError
from common.poller import READ
from server.connections import Connection, Services
from server.limits import peer_host
from server.tcp_outlet import configure_tcp

BACKLOG = 1024
ACCEPTS_A_TURN_MAX = 256
REFUSED_MAX = 64  # connections beyond the limit that are still being told so
HANDSHAKE_US = 500_000  # what a handshake that has begun may take; a lost SYN is repeated after a second

_NO_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_SO_ATTACH_FILTER = 26  # asm-generic/socket.h; the socket module has no name for it
# Classic BPF (socket filters), over the TCP header: code, jump if true, jump if false, operand.
_NO_SYN = b"".join(
    struct.pack("HBBI", *instruction)
    for instruction in (
        (0x30, 0, 0, 13),  # load the byte of the flags
        (0x54, 0, 0, 0x12),  # of which SYN and ACK matter
        (0x15, 0, 1, 0x02),  # SYN alone?
        (0x06, 0, 0, 0),  # then drop
        (0x06, 0, 0, 0xFFFFFFFF),  # else keep all of it
    )
)


Maker = Callable[[socket.socket, str, Callable[[Connection], None]], Connection]


def listen(host: str, port: int) -> socket.socket:
    """A listening socket that other servers may share the port with; port 0: a free one. Raises SettingsError."""
    family, address = resolve(host)
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind((address, port))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise SettingsError(f"port {port} of {host}: {error.strerror}: choose another") from None
    sock.setblocking(False)
    return sock


def shut_out(sock: socket.socket) -> None:
    """Let nobody begin a handshake with this listening socket any more; those that have begun end well."""
    program = ctypes.create_string_buffer(_NO_SYN, len(_NO_SYN))
    instructions = len(_NO_SYN) // 8
    sock.setsockopt(
        socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", instructions, ctypes.addressof(program))
    )


def resolve(host: str) -> tuple[socket.AddressFamily, str]:
    """The numeric address of `host`, IPv4 where it has both. Raises SettingsError."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise SettingsError(f"$.host: {host} is neither an address nor a name that can be looked up") from None
    family, _, _, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    return family, str(address[0])


class Listener:
    """One listening socket, and the connections that came by it.

    make: a connection of an accepted socket. refusal: what one beyond `connections_max` is told.
    """

    def __init__(self, services: Services, sock: socket.socket, make: Maker, refusal: bytes) -> None:
        self._services = services
        self._socket = sock
        self._make = make
        self._refusal = refusal
        self._paused = False
        self.listening = True
        self._drained_us: int | None = None  # when it is to listen no more
        self.connections: dict[Connection, None] = {}
        self._refused: dict[Connection, None] = {}
        services.poller.add(sock.fileno(), READ, self._on_events)

    def sweep(self, now: int) -> None:
        """Once a second: accept again after a pause, and look after every connection."""
        if self._paused and self.listening:
            self._paused = False
            self._services.poller.modify(self._socket.fileno(), READ)
        for connection in [*self.connections, *self._refused]:
            connection.sweep(now)

    def drain(self, now: int) -> None:
        """Take in who is at the door already, and after a while listen no more. Call it again and again."""
        if self._drained_us is None:
            shut_out(self._socket)
            self._drained_us = now + HANDSHAKE_US
        elif self.listening and now >= self._drained_us:
            while self._accept():
                pass
            self.close()

    def close(self) -> None:
        """Listen no more; the connections stay."""
        if self.listening:
            self.listening = False
            self._services.poller.remove(self._socket.fileno())
            self._socket.close()

    def _on_events(self, _events: int) -> None:
        for _ in range(ACCEPTS_A_TURN_MAX):
            if not self._accept():
                return

    def _accept(self) -> bool:
        """Take in the next connection; whether there may be another."""
        try:
            sock, address = self._socket.accept()
        except BlockingIOError:
            return False
        except OSError as error:
            self._services.counters.accept_errors += 1
            if error.errno in _NO_RESOURCES:
                self._services.log.warning("accept_failed", reason=error.strerror)
                self._paused = True  # trying again at once would only spin
                self._services.poller.modify(self._socket.fileno(), 0)
                return False
            return True  # the client has gone again
        self._accepted(sock, address)
        return True

    def _accepted(self, sock: socket.socket, address: tuple[str, int]) -> None:
        counters, limits = self._services.counters, self._services.config.rtsp
        host, port = address[:2]
        crowded = self._services.addresses.count(host) >= limits.connections_per_address_max
        counters.addresses_crowded += crowded
        refused = crowded or len(self.connections) >= limits.connections_max
        try:
            if refused and len(self._refused) >= REFUSED_MAX:
                raise OSError(errno.EUSERS, "too many connections")
            configure_tcp(sock, self._services.config.viewer.stalled_close_ms)
        except OSError:
            counters.connections_refused += refused
            sock.close()
            return
        peer = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        if refused:
            counters.connections_refused += 1
            connection = self._make(sock, peer, lambda closed: self._refused.pop(closed, None))
            self._refused[connection] = None
            connection.send(self._refusal)
            connection.finish()
        else:
            counters.connections_accepted += 1
            self.adopt(sock, peer)

    def adopt(self, sock: socket.socket, peer: str, make: Maker | None = None) -> Connection:
        """A connection of this socket, as those that come by ours; make: of another kind."""
        connection = (make or self._make)(sock, peer, self._gone)
        self.connections[connection] = None
        self._services.addresses.add(peer_host(peer))
        return connection

    def _gone(self, connection: Connection) -> None:
        if self.connections.pop(connection, connection) is None:
            self._services.addresses.remove(peer_host(connection.peer))
