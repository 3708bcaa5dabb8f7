"""What RTSP and HTTP connections have in common: the socket, its life and its end."""

import socket
import ssl
import struct
from collections.abc import Callable
from typing import Protocol

from common.clock import now_us
from common.config import Config
from common.logs import Logger
from common.messages import TunnelEnd
from common.poller import BROKEN, READ, WRITE, Poller
from common.sample import Payload
from server.auth import Accounts
from server.counters import Counters
from server.fanout import Fanout
from server.figures_desk import FiguresDesk
from server.limits import Addresses, Allowance
from server.multicast import MulticastGroups
from server.muxer_client import MuxerClient
from server.patience import Patience
from server.receiver_reports import ReceiverReports
from server.sender_reports import SenderReports
from server.tcp_outlet import TcpOutlet
from server.tls import HANDSHAKE_US_MAX, TlsChannel, TlsOutlet
from server.udp_outlet import UdpPorts
from server.viewers import Viewer

RECEIVE_BYTES_MAX = 64 << 10  # at once
REQUEST_US_MAX = 10_000_000  # from the first byte of a request to its last
LOGIN_REFUSAL_US = 1_000_000  # at least: a wrong password is found out no faster on one connection
FIRST_FRAME_US_MAX = 250_000  # how long the answer to a PLAY waits for what it says of the first frame
LINGER_US = 1_000_000  # how long a last word may take to go out, and be read

_RESET = struct.pack("ii", 1, 0)  # struct linger: what is unsent is thrown away when the socket is closed


class Services:
    """What a connection needs of its process.

    ports: where it listens, by scheme: "rtsp", "http", and perhaps "rtsps", "https". accounts: of those who may
    log in; None: nobody has to. streams: the names there are, as they are now, with their payloads.
    """

    def __init__(
        self, config: Config, poller: Poller, counters: Counters, fanout: Fanout, muxers: MuxerClient,
        reports: SenderReports, receiver_reports: ReceiverReports, figures: FiguresDesk, udp: UdpPorts,
        multicast: MulticastGroups,
        ports: dict[str, int], log: Logger, accounts: Accounts | None = None,
    ) -> None:  # fmt: skip
        self.streams: dict[str, Payload] = {}
        self.take(config)
        self.poller = poller
        self.counters = counters
        self.fanout = fanout
        self.muxers = muxers
        self.reports = reports
        self.receiver_reports = receiver_reports
        self.figures = figures
        self.udp = udp
        self.multicast = multicast
        self.ports = ports
        self.log = log
        self.accounts = accounts
        self.addresses = Addresses()
        self.patience = Patience(now_us, FIRST_FRAME_US_MAX)
        self.tunnels: TunnelEnds

    def take(self, config: Config) -> None:
        """These are the settings now; connections that there are see other streams, too."""
        self.config = config
        self.streams.clear()
        self.streams.update((name, stream.payload) for name, stream in config.streams.items())


class TunnelEnds(Protocol):
    """What becomes of connections that are parts of RTSP tunnels: `tunnels.Tunnels`, there before any comes."""

    def end_came(self, end: TunnelEnd, sock: socket.socket, tls: TlsChannel | None) -> None:
        """A GET or a POST came in here."""

    def http_came(self, sock: socket.socket, peer: str, data: bytes) -> None:
        """A connection to the RTSP port speaks HTTP."""


class Connection:
    """One TCP connection of a client. Subclasses say what its bytes mean.

    peer: "address:port". tls: None for one that is not encrypted. Whatever goes wrong with it ends it, and nothing
    else.
    """

    def __init__(
        self, services: Services, sock: socket.socket, peer: str, on_closed: Callable[["Connection"], None],
        tls: TlsChannel | None = None,
    ) -> None:  # fmt: skip
        self.services = services
        self.peer = peer
        self.closed = False
        self.finishing_us: int | None = None  # since when it only waits for its last word to go out
        self._socket = sock
        self._fd = sock.fileno()
        self._on_closed = on_closed
        self._reading = True
        self._word_is_out = False
        self._acknowledged_bytes = 0
        self._progress_us = now_us()
        self._held_until_us: int | None = None
        self._held_word = b""
        self._allowance = Allowance()
        self.connected_us = self._progress_us
        self.outlet = TcpOutlet(sock, self._update) if tls is None else TlsOutlet(sock, self._update, tls)
        services.poller.add(self._fd, READ, self._on_events)

    # ---- for subclasses ---------------------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """Bytes came."""
        raise NotImplementedError

    def input_ended(self) -> None:
        """The client sends nothing more."""
        self.close("the client closed it")

    def drained(self) -> None:
        """The outlet is not blocked any more."""
        raise NotImplementedError

    def overdue(self, now: int) -> bool:
        """Whether the client has kept us waiting for too long; called once a second."""
        raise NotImplementedError

    def cleared(self) -> None:
        """It has been closed: let go of viewers and questions."""
        raise NotImplementedError

    def goodbye(self) -> None:
        """The process stops: close, with a last word where there is one."""
        self.close("the server stops")

    # ---- for all ----------------------------------------------------------------------------------------

    def read_on(self, wanted: bool) -> None:
        """Whether to read what the client sends, or leave it in the socket."""
        if wanted != self._reading:
            self._reading = wanted
            self._update()

    def send(self, data: bytes) -> None:
        """Send between frames. A broken connection is closed."""
        if data and not self.closed:
            try:
                self.outlet.write(data)
            except OSError as error:
                self.broken(error)

    @property
    def secure(self) -> bool:
        """Whether nobody else can read what goes over it."""
        return isinstance(self.outlet, TlsOutlet)

    @property
    def held(self) -> bool:
        """Whether nothing that the client says is acted on for a while."""
        return self._held_until_us is not None

    def spend(self, requests: int = 0, input_bytes: int = 0) -> None:
        """The client has said so much; what is too much for a second waits for the next."""
        self._allowance.spend(requests, input_bytes)
        if self._allowance.spent and not self.held:
            self.services.counters.connections_held += 1
            self._held_until_us = 0

    def refuse_login(self, answer: bytes) -> None:
        """Send this when the client has waited for LOGIN_REFUSAL_US, and act on nothing until then."""
        self.services.log.info("login_failed", peer=self.peer)
        self._held_until_us = now_us() + LOGIN_REFUSAL_US
        self._held_word = answer

    def finish(self) -> None:
        """Close when all is sent and the client has had LINGER_US to read it; what it still says is read over."""
        if self.finishing_us is None and not self.closed:
            self.finishing_us = now_us()
            self.cleared()
            self.read_on(True)
            try:
                if isinstance(self.outlet, TlsOutlet):
                    self.outlet.write_own(self.outlet.channel.end())
            except OSError:
                self.close("done")  # the client was first
            else:
                self._last_word()

    def broken(self, error: OSError) -> None:
        """Sending or receiving failed."""
        self.close(error.strerror or "broken")

    def close(self, reason: str) -> None:
        """Close it at once. reason: for the log."""
        if self.closed:
            return
        self.closed = True
        self.services.log.debug("connection_closed", peer=self.peer, reason=reason)
        self.services.poller.remove(self._fd)
        if self.finishing_us is None:
            self.cleared()
        self._socket.close()
        self._on_closed(self)

    def give_away(self) -> socket.socket:
        """Let go of the socket, which is another connection's from now on."""
        self.closed = True
        self.services.poller.remove(self._fd)
        self.cleared()
        self._on_closed(self)
        return self._socket

    def sweep(self, now: int) -> None:
        """Once a second: has anything been waited for too long?"""
        self._allowance.renew()
        outlet = self.outlet
        if not outlet.kernel_bytes:
            self._progress_us = now
        elif (acknowledged_bytes := outlet.acknowledged_bytes) != self._acknowledged_bytes:
            self._acknowledged_bytes = acknowledged_bytes
            self._progress_us = now
        if self.finishing_us is not None:
            if now - self.finishing_us >= LINGER_US:
                self.close("done")
        elif (
            isinstance(outlet, TlsOutlet)
            and not outlet.channel.established
            and now - self.connected_us >= HANDSHAKE_US_MAX
        ):
            self.services.counters.handshakes_failed += 1
            self.close("no handshake")
        elif now - self._progress_us >= self.services.config.viewer.stalled_close_ms * 1000:
            self.services.counters.connections_stalled += 1
            self.services.log.info(
                "connection_stalled", peer=self.peer, stalled_ms=(now - self._progress_us) // 1000
            )
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.close("stalled")
        elif self.overdue(now):
            self.services.counters.connections_overdue += 1
            self.finish()
        elif self._held_until_us is not None and now >= self._held_until_us:
            self._held_until_us = None
            self.send(self._held_word)
            self._held_word = b""
            if not self.closed:
                self.drained()  # or let go: in both cases there may be something to do now

    def log_viewer(self, event: str, viewer: Viewer, **fields: object) -> None:
        """One line on a viewer of this connection."""
        self.services.log.info(event, viewer=viewer.id, stream=viewer.stream.name, peer=self.peer, **fields)

    # ---- inside -----------------------------------------------------------------------------------------

    def _update(self) -> None:
        wanted = (READ if self._reading else 0) | (WRITE if self.outlet.blocked else 0)
        self.services.poller.modify(self._fd, wanted)

    def _on_events(self, events: int) -> None:
        try:
            if events & WRITE and self.outlet.blocked:
                self._flush()
            if events & (READ | BROKEN) and not self.closed:
                self._receive(events)
        except OSError as error:
            self.broken(error)

    def _flush(self) -> None:
        self.outlet.flush()
        if self.outlet.blocked:
            return
        self._update()
        if self.finishing_us is None:
            self.drained()
        else:
            self._last_word()

    def _receive(self, events: int) -> None:
        if not self._reading and not events & BROKEN:
            return
        try:
            data = self._socket.recv(RECEIVE_BYTES_MAX)
        except BlockingIOError:
            return
        self.spend(input_bytes=len(data))
        if self.finishing_us is not None:
            if not data:
                self.close("done")
        elif data and isinstance(self.outlet, TlsOutlet):
            self._decrypt(data, self.outlet)
        elif data:
            self.received(data)
        else:
            self.input_ended()

    def _decrypt(self, data: bytes, outlet: TlsOutlet) -> None:
        channel = outlet.channel
        try:
            said = channel.receive(data)
        except ssl.SSLError:
            self.services.counters.handshakes_failed += not channel.established
            outlet.write_own(channel.take())  # why
            raise
        outlet.write_own(channel.take())
        if said:
            self.received(said)
        if channel.ended and not self.closed and self.finishing_us is None:
            self.input_ended()

    def _last_word(self) -> None:
        if not self.outlet.blocked and not self._word_is_out:
            self._word_is_out = True
            try:
                self._socket.shutdown(socket.SHUT_WR)
            except OSError:
                self.close("done")  # the client was first
