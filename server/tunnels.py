"""RTSP over HTTP (see `tunnel_text`): the two connections of a tunnel are brought together, wherever they came in.

The kernel gives the GET to one server process and the POST to another as it likes. Every cookie has a home, one of
the processes, and a connection that came in elsewhere is handed over to it, descriptor and all, by a socket in the
runtime directory. There the GET becomes an RTSP connection that hears what its POST says.

What is encrypted cannot be handed over. Over HTTPS a GET is at home where it came in, and a POST that came in
elsewhere stays there, too: what it says goes through a pair of sockets, of which every process is handed the other
end, and the one that knows the cookie keeps it.
"""

import array
import hashlib
import os
import re
import socket
from collections.abc import Callable
from functools import partial

from common import wire
from common.clock import now_us
from common.endpoints import tunnel_path
from common.errors import MessageError
from common.messages import TunnelEnd
from common.poller import READ
from server.connections import REQUEST_US_MAX, Connection, Services
from server.limits import peer_host
from server.listening import Listener
from server.rtsp_connection import INPUT_BYTES_MAX, RtspConnection
from server.tls import TlsChannel
from server.tunnel_text import HEAD, Base64Reader

HANDOVERS_A_TURN_MAX = 64
_TUNNELS = re.compile(r"server-(\d+)-tunnels")  # `tunnel_path`
HANDOVER_BYTES_MAX = 256 << 10
REFUSAL = b"HTTP/1.0 %d %s\r\nServer: framegate\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class Tunnels:
    """The tunnels that are at home in this process. http, rtsp: where their connections are counted."""

    def __init__(self, services: Services, index: int, http: Listener, rtsp: Listener) -> None:
        self._services = services
        self._index = index
        self._http = http
        self._rtsp = rtsp
        self._tunnels: dict[tuple[bool, str], TunnelConnection] = {}  # by whether it is encrypted, and cookie
        self._directory = services.config.runtime_dir
        self._path = tunnel_path(self._directory, index)
        self._socket = _bind(self._path)
        services.poller.add(self._socket.fileno(), READ, self._on_handovers)

    def end_came(self, end: TunnelEnd, sock: socket.socket, tls: TlsChannel | None) -> None:
        """A GET or a POST came in here: take it, or hand it over to its home."""
        if tls is not None:
            if end.post and (True, end.cookie) not in self._tunnels:
                self._relay(end, sock, tls)
            else:
                self._take(end, sock, tls)
            return
        for home in self._homes(end.cookie):
            if home == self._index:
                self._take(end, sock)
                return
            try:
                self._hand_over(end, sock, home)
                break
            except (ConnectionRefusedError, FileNotFoundError):
                continue  # that process has died, or has gone since: the next is the home
            except OSError as error:  # it has too much to do
                self._services.log.info("tunnel_refused", peer=end.peer, reason=error.strerror)
                self._refuse(sock, 503, b"Service Unavailable")
                break
        sock.close()

    def http_came(self, sock: socket.socket, peer: str, data: bytes) -> None:
        """A connection to the RTSP port speaks HTTP."""
        self._http.adopt(sock, peer).received(data)

    def close(self) -> None:
        """Take no more."""
        self._services.poller.remove(self._socket.fileno())
        self._socket.close()
        self.leave()

    def leave(self) -> None:
        """Be the home of no more tunnels."""
        if os.path.exists(self._path):
            os.unlink(self._path)

    # ---- inside -----------------------------------------------------------------------------------------

    def _homes(self, cookie: str) -> list[int]:
        """The servers that there are, the same order for a cookie in all of them."""
        numbers = [int(found[1]) for name in os.listdir(self._directory) if (found := _TUNNELS.fullmatch(name))]
        return sorted(numbers, key=lambda number: hashlib.blake2b(f"{cookie}\0{number}".encode()).digest())

    def _hand_over(self, end: TunnelEnd, sock: socket.socket, home: int) -> None:
        """Raises OSError where that process has gone, or has too much to do."""
        descriptors = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [sock.fileno()]))]
        self._socket.sendmsg([bytes(wire.encode(end)[0])], descriptors, 0, tunnel_path(self._directory, home))
        self._services.counters.tunnel_ends_handed_over += 1

    def _relay(self, end: TunnelEnd, sock: socket.socket, tls: TlsChannel) -> None:
        """Let all other processes hear what an encrypted POST says, for whichever has its tunnel."""
        near, far = socket.socketpair()
        near.setblocking(False)
        self._http.adopt(sock, end.peer, partial(RelayConnection, self._services, tls=tls, way=near))
        with far:
            for home in self._homes(end.cookie):
                if home != self._index:
                    try:
                        self._hand_over(end, far, home)
                    except OSError as error:
                        self._services.log.debug("tunnel_refused", peer=end.peer, reason=error.strerror)

    def _on_handovers(self, _events: int) -> None:
        for _ in range(HANDOVERS_A_TURN_MAX):
            try:
                data, descriptors, _, _ = socket.recv_fds(self._socket, HANDOVER_BYTES_MAX, 1)
            except BlockingIOError:
                return
            ends = [socket.socket(fileno=descriptor) for descriptor in descriptors]
            for end in ends:
                end.setblocking(False)
            try:
                message, _ = wire.decode([data])
                if not isinstance(message, TunnelEnd) or len(ends) != 1:
                    raise MessageError(f"{type(message).__name__} with {len(ends)} descriptors")
            except MessageError as error:
                self._services.muxers.refusals.note("a server", error)
                for end in ends:
                    end.close()
            else:
                self._take(message, ends[0])

    def _take(self, end: TunnelEnd, sock: socket.socket, tls: TlsChannel | None = None) -> None:
        tunnel = self._tunnels.get((end.secure, end.cookie))
        if not end.post and tunnel is None:
            self._begin(end, sock, tls)
        elif end.post and tunnel is not None and peer_host(tunnel.peer) == peer_host(end.peer):
            post = self._http.adopt(sock, end.peer, partial(PostConnection, self._services, tls=tls))
            assert isinstance(post, PostConnection)
            post.speaks_for(tunnel, end.data)
        elif end.secure and tls is None:
            sock.close()  # another process knows it, or nobody, which its own finds out
        else:
            self._services.counters.tunnels_refused += 1
            self._refuse(sock, 404, b"Not Found", tls)
            sock.close()

    def _begin(self, end: TunnelEnd, sock: socket.socket, tls: TlsChannel | None) -> None:
        tunnel = self._rtsp.adopt(sock, end.peer, partial(TunnelConnection, self._services, tls=tls))
        assert isinstance(tunnel, TunnelConnection)
        key = end.secure, end.cookie
        self._tunnels[key] = tunnel
        tunnel.on_cleared = lambda: self._tunnels.pop(key, None)
        tunnel.send(HEAD)
        self._services.counters.tunnels += 1

    def _refuse(self, sock: socket.socket, status: int, reason: bytes, tls: TlsChannel | None = None) -> None:
        text = REFUSAL % (status, reason)
        try:
            sock.send(text if tls is None else tls.encrypt(text) + tls.end())
        except OSError:
            self._services.counters.accept_errors += 1  # the client has gone


class TunnelConnection(RtspConnection):
    """An RTSP connection whose own socket is the GET's: what the client says comes by its POST."""

    interleaved_as = "rtsp-tunnel"
    may_be_http = False

    def __init__(
        self, services: Services, sock: socket.socket, peer: str, on_closed: Callable[[Connection], None],
        tls: TlsChannel | None = None,
    ) -> None:  # fmt: skip
        super().__init__(services, sock, peer, on_closed, tls)
        self.on_cleared: Callable[[], object] = lambda: None
        self.posts: set[PostConnection] = set()

    def received(self, data: bytes) -> None:
        """Nothing is to be said here."""

    def said(self, data: bytes) -> None:
        """The client said this by a POST."""
        super().received(data)

    def cleared(self) -> None:
        """Let go of viewers and POSTs."""
        super().cleared()
        self.on_cleared()
        for post in list(self.posts):
            post.close("its tunnel has ended")


class PostConnection(Connection):
    """The other half of a tunnel. Its end is not the tunnel's: clients may make another."""

    def __init__(
        self, services: Services, sock: socket.socket, peer: str, on_closed: Callable[[Connection], None],
        tls: TlsChannel | None = None,
    ) -> None:  # fmt: skip
        super().__init__(services, sock, peer, on_closed, tls)
        self._reader = Base64Reader()
        self._tunnel: TunnelConnection | None = None
        self._since_us = now_us()

    def speaks_for(self, tunnel: TunnelConnection, data: bytes) -> None:
        """What it says is that tunnel's. data: what has come of it already."""
        self._tunnel = tunnel
        tunnel.posts.add(self)
        self.received(data)

    def received(self, data: bytes) -> None:
        """Bytes came."""
        if self._tunnel is None or self._tunnel.closed:
            self.close("its tunnel has ended")
            return
        try:
            said = self._reader.read(data)
        except ValueError:
            self.services.counters.tunnels_refused += 1
            self._tunnel.close("no base64")
            return
        self._tunnel.said(said)
        if self._tunnel.buffered_bytes >= INPUT_BYTES_MAX:
            self.services.counters.tunnels_refused += 1
            self._tunnel.close("it says more than is answered")

    def drained(self) -> None:
        """Nothing is sent to it."""

    def overdue(self, now: int) -> bool:
        """Whether it belongs to nobody."""
        return self._tunnel is None and now - self._since_us >= REQUEST_US_MAX

    def cleared(self) -> None:
        """It has been closed."""
        if self._tunnel is not None:
            self._tunnel.posts.discard(self)


class RelayConnection(Connection):
    """An encrypted POST whose tunnel is another process's. way: what is written to it, that process hears.

    Where no process knows the tunnel, all have closed the other end.
    """

    def __init__(
        self, services: Services, sock: socket.socket, peer: str, on_closed: Callable[[Connection], None],
        *, tls: TlsChannel, way: socket.socket,
    ) -> None:  # fmt: skip
        super().__init__(services, sock, peer, on_closed, tls)
        self._way = way
        services.poller.add(way.fileno(), READ, self._way_ended)

    def received(self, data: bytes) -> None:
        """Bytes came."""
        try:
            whole = self._way.send(data) == len(data)
        except BlockingIOError:
            whole = False
        except OSError:
            return  # it has ended, as the poller is about to say
        if not whole:
            self.services.counters.tunnels_refused += 1
            self.close("it says more than is heard")

    def drained(self) -> None:
        """Nothing is sent to it but that it has ended."""

    def overdue(self, now: int) -> bool:  # noqa: ARG002
        """Never: it ends with its tunnel."""
        return False

    def cleared(self) -> None:
        """It has been closed."""
        self.services.poller.remove(self._way.fileno())
        self._way.close()

    def _way_ended(self, _events: int) -> None:
        self.services.counters.tunnels_refused += 1
        self.send(REFUSAL % (404, b"Not Found"))
        self.finish()


def _bind(path: str) -> socket.socket:
    """Only we have this name: what is there is of a process that was killed."""
    if os.path.exists(path):
        os.unlink(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind(path)
    return sock
