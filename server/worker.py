"""The server process: the only event loop of the package."""

import secrets
import socket
import time
from collections.abc import Callable

import msgspec

from common.clock import now_us
from common.config import Config
from common.errors import SettingsError
from common.figures import VIEWERS_REPORTED_MAX, DeliveryFigures, RoleFigures, ViewerFigures
from common.poller import READ, Poller, wake
from common.role import Role
from server.auth import Accounts
from server.connections import Connection, Services
from server.counters import Counters
from server.fanout import Fanout
from server.figures_desk import FiguresDesk
from server.http_connection import REFUSAL as HTTP_REFUSAL
from server.http_connection import HttpConnection
from server.ledger import histograms, viewer_figures
from server.listening import Listener, listen, resolve
from server.multicast import MulticastGroups
from server.muxer_client import MuxerClient
from server.receiver_reports import ReceiverReports
from server.rtsp_connection import REFUSAL as RTSP_REFUSAL
from server.rtsp_connection import RtspConnection
from server.sender_reports import SenderReports
from server.tls import Certificate, TlsChannel
from server.tunnels import Tunnels
from server.udp_backlog import Pacing
from server.udp_outlet import UdpPorts

REFUSALS = {"rtsp": RTSP_REFUSAL, "http": HTTP_REFUSAL, "rtsps": b"", "https": b""}  # before a handshake: nothing
SWEEP_INTERVAL_US = 1_000_000
SWEEP_LATE_US = 50_000  # it waits so long for a turn that there is anyway: to wake up costs as much as a frame
WAIT_US_MAX = 1_000_000
VIEWER_FIGURES_US = 5_000  # apart from those of the next viewer: of a thousand, each viewer's are new every 5 s


class Worker:
    """One server process."""

    def __init__(self, role: Role, index: int) -> None:
        config = role.config
        if index < 0:
            raise SettingsError(f"--index {index}: servers are counted from 0")
        sockets = {"rtsp": listen(config.host, config.rtsp.port), "http": listen(config.host, config.http.port)}
        for scheme, port in (("rtsps", config.rtsp.tls_port), ("https", config.http.tls_port)):
            if port:
                sockets[scheme] = listen(config.host, port)
        ports = {scheme: sock.getsockname()[1] for scheme, sock in sockets.items()}
        self._certificate = (
            Certificate(config.tls.certificate, config.tls.key, role.log) if len(sockets) > 2 else None
        )
        self._role = role
        self._counters = Counters()
        self._poller = Poller()
        self._muxers = MuxerClient(
            role.context, self._poller, role.lines, role.name, config.streams, self._counters, role.log, now_us,
            role,
        )  # fmt: skip
        self._age_max_us = config.viewer.age_max_ms * 1000
        self._fanout = Fanout(
            role.name, config.streams, self._muxers.send, self._counters, now_us, self._age_max_us,
            is_far=role.lines.is_far,
        )  # fmt: skip
        self._reports = SenderReports(self._counters, now_us, _wall_us, f"framegate@{socket.gethostname()}")
        receiver_reports = ReceiverReports(self._fanout, self._counters, role.log, now_us)
        self._figures_desk = FiguresDesk(role, now_us)
        udp_port = config.rtsp.udp_port + 2 * index if config.rtsp.udp_port else 0
        pacing = Pacing(config.rtsp.udp_pace_bps // 8, config.rtsp.udp_burst_bytes)
        self._udp = UdpPorts(*resolve(config.host), udp_port, pacing, self._poller, self._counters, now_us)
        ports["udp"] = self._udp.ports[0]
        places = 2 * config.processes.servers  # while one is replaced, both have groups
        self._multicast = MulticastGroups(
            config.rtsp, config.streams, index % places, places, self._poller, self._udp, self._fanout,
            self._reports, receiver_reports,
        )  # fmt: skip
        self._accounts = None
        if config.users:
            secret = config.auth.secret or secrets.token_hex()
            self._accounts = Accounts(config, secret.encode())
        self._services = Services(
            config, self._poller, self._counters, self._fanout, self._muxers, self._reports, receiver_reports,
            self._figures_desk, self._udp, self._multicast, ports, role.log, self._accounts,
        )  # fmt: skip
        listeners = {
            scheme: Listener(self._services, sock, self._maker(scheme), REFUSALS[scheme])
            for scheme, sock in sockets.items()
        }
        self._listeners = list(listeners.values())
        self._tunnels = Tunnels(self._services, index, listeners["http"], listeners["rtsp"])
        self._services.tunnels = self._tunnels
        self._poller.add(role.wake_fd, READ, wake)
        self._poller.add(role.control.fileno(), READ, self._figures_desk.woken)
        self._sweep_us = 0
        self._viewer_figures_us = 0

    def run(self) -> None:
        """Work until the role is to stop."""
        self._role.ready(self._services.ports)
        try:
            busy = False
            while not (self._role.stopping or self._drained()):
                self._poller.poll(0 if busy else self._wait_us())
                self._muxers.tick()
                self._reports.tick()
                self._fanout.tick()
                self._udp.tick()
                self._services.patience.tick()
                now = now_us()
                if now >= self._sweep_us:
                    self._sweep_us = now + SWEEP_INTERVAL_US
                    self._sweep(now)
                self._role.tick(now, self._figures)
                if self._role.take_changes():
                    self._adopt(self._role.config)
                self._figures_desk.poll()
                busy = self._muxers.drain(self._fanout)  # last: nothing is sent to a muxer after it found nothing
        finally:
            self._close()

    # ---- inside -----------------------------------------------------------------------------------------

    def _adopt(self, config: Config) -> None:
        """Serve these streams, from these muxers; for what else may be new there will be another process."""
        self._services.take(config)
        self._fanout.adopt(config.streams, self._role.lines.is_far)
        self._muxers.adopt(self._role.lines, config.streams, self._fanout)
        self._role.reconfigured()

    def _drained(self) -> bool:
        """Whether this server was to take no one new, and the last one has gone."""
        if not self._role.draining:
            return False
        self._tunnels.leave()
        for listener in self._listeners:
            listener.drain(now_us())
        return not any(listener.listening or listener.connections for listener in self._listeners)

    def _wait_us(self) -> int:
        due = [
            self._muxers.due_us, self._fanout.due_us, self._sweep_us + SWEEP_LATE_US, self._reports.due_us,
            self._figures_desk.due_us, self._udp.due_us, self._services.patience.due_us,
        ]  # fmt: skip
        return min(WAIT_US_MAX, min(at for at in due if at is not None) - now_us())

    def _sweep(self, now: int) -> None:
        if self._certificate is not None:
            self._certificate.refresh()
        for listener in self._listeners:
            listener.sweep(now)
        self._counters.connections = sum(len(listener.connections) for listener in self._listeners)
        self._counters.muxers_up = self._muxers.up
        if self._accounts is not None:
            self._counters.logins_failed = self._accounts.failures.failures
            self._counters.logins_barred = self._accounts.failures.barred
            self._counters.login_addresses_forgotten = self._accounts.failures.forgotten
        for stream in self._fanout.streams.values():
            for viewer in stream.viewers:
                if not (viewer.unlogged_drops or viewer.behind):
                    continue
                age_us = viewer.age_us(now)
                if viewer.unlogged_drops or age_us > self._age_max_us:
                    self._role.log.info(
                        "viewer_slow", viewer=viewer.id, stream=stream.name, peer=viewer.peer,
                        dropped=viewer.unlogged_drops, behind=viewer.frames_behind, age_ms=age_us // 1000,
                    )  # fmt: skip
                    viewer.unlogged_drops = 0

    def _figures(self) -> RoleFigures:
        now = now_us()
        streams = self._fanout.streams.values()
        told: list[ViewerFigures] = []
        deliveries: list[DeliveryFigures] = []
        same_viewers = now < self._viewer_figures_us
        if not same_viewers:
            viewers = [viewer for stream in streams for viewer in stream.viewers]
            self._viewer_figures_us = now + len(viewers) * VIEWER_FIGURES_US
            told = [viewer_figures(viewer, now) for viewer in viewers[:VIEWERS_REPORTED_MAX]]
            deliveries = self._fanout.ledger.figures(streams)
        return RoleFigures(
            counters=msgspec.structs.asdict(self._counters) | self._muxers.refusals.counters,
            viewers=told,
            same_viewers=same_viewers,
            deliveries=deliveries,
            histograms=histograms(self._fanout.send_times, streams),
        )

    def _maker(self, scheme: str) -> Callable[[socket.socket, str, Callable[[Connection], None]], Connection]:
        """What makes the connections of a port."""
        kind = RtspConnection if scheme.startswith("rtsp") else HttpConnection

        def make(sock: socket.socket, peer: str, on_closed: Callable[[Connection], None]) -> Connection:
            tls = None
            if scheme in ("rtsps", "https"):
                assert self._certificate is not None
                tls = TlsChannel(self._certificate.context)
            return kind(self._services, sock, peer, on_closed, tls)

        return make

    def _close(self) -> None:
        for listener in self._listeners:
            listener.close()
            for connection in list(listener.connections):
                connection.goodbye()
        self._tunnels.close()
        self._multicast.close()
        self._udp.close()
        self._muxers.close()
        self._poller.close()


def _wall_us() -> int:
    """The wall clock, µs since 1970."""
    return time.time_ns() // 1000
