"""Multicast: one send of a stream for all who want it so, however many they are (RFC 2326 12.39, by setting).

Every stream has a group of its own for each server process, and ports for each of its tracks that no other stream
has: a host that is in several groups hears them all on a port. A group is sent to while any session that has
chosen it plays. It is one viewer to everything else here. What its members report, to the group or to our own
port, is heard where it comes from a host that has such a session.
"""

import ipaddress
import socket
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

from common.config import Rtsp
from common.errors import SettingsError
from common.messages import FrameMessage
from common.poller import READ, Poller
from common.sample import TRACKS_MAX, Payload
from server.fanout import Fanout
from server.frame_buffers import Framing
from server.receiver_reports import ReceiverReports
from server.rtsp_transport import Multicast, Pair
from server.sender_reports import SenderReports
from server.udp_outlet import UdpOutlet, UdpPorts
from server.udp_sockets import join, received
from server.viewers import Viewer

PORTS_OF_STREAM = 2 * (1 + TRACKS_MAX)  # RTP and RTCP of MPEG-TS, and of each track in its own format

Ended = Callable[[], None]  # a session's stream is over


class Member(NamedTuple):
    """A session that plays. host: the client's address."""

    host: str
    ended: Ended


class Group:
    """One stream's group in one payload. viewer: None while no session plays. ears: where its RTCP is heard."""

    def __init__(self, stream: str, payload: Payload, address: str, ports: tuple[Pair, ...]) -> None:
        self.stream = stream
        self.payload = payload
        self.address = address
        self.ports = ports
        self.viewer: Viewer | None = None
        self.sessions: dict[str, Member] = {}
        self.ears: list[socket.socket] = []

    def has(self, host: str) -> bool:
        """Whether somebody there has asked for it."""
        return any(member.host == host for member in self.sessions.values())


class MulticastGroups:
    """All groups of this process. Raises SettingsError where the settings leave no room for them."""

    def __init__(
        self, config: Rtsp, streams: Iterable[str], index: int, servers: int, poller: Poller, udp: UdpPorts,
        fanout: Fanout, reports: SenderReports, receiver_reports: ReceiverReports,
    ) -> None:  # fmt: skip
        self._ttl = config.multicast_ttl
        self._udp = udp
        self._fanout = fanout
        self._reports = reports
        self._receiver_reports = receiver_reports
        self._poller = poller
        self._groups: dict[tuple[str, Payload], Group] = {}
        if not config.multicast_groups:
            return
        udp.allow_multicast(config.multicast_ttl)
        udp.on_stranger = self._stranger
        for number, stream in enumerate(streams):
            address, first_port = place(config, number * servers + index)
            for payload, count in ((Payload.TS, 1), (Payload.NATIVE, TRACKS_MAX)):
                ports = tuple((port, port + 1) for port in range(first_port, first_port + 2 * count, 2))
                self._groups[stream, payload] = Group(stream, payload, address, ports)
                first_port += 2 * count

    def of(self, stream: str, payload: Payload, track: int) -> Multicast | None:
        """Where a track of a stream is sent to all; None where multicast is not set up."""
        group = self._groups.get((stream, payload))
        if group is None or track >= len(group.ports):
            return None
        return Multicast(group.address, group.ports[track], self._ttl)

    def join(self, stream: str, payload: Payload, session: str, member: Member) -> None:
        """The session plays."""
        group = self._groups[stream, payload]
        group.sessions[session] = member
        if group.viewer is None:
            outlet = UdpOutlet(self._udp, tuple(self._udp.group(group.address, ports) for ports in group.ports))
            channels = ((0, 1),) * len(group.ports)
            group.viewer = self._fanout.add(
                stream, _Owner(self, group), outlet, Framing.UDP, channels, group.address, "", payload
            )
            group.viewer.transport = "rtsp-multicast"
            self._listen(group)
            self._fanout.read_start(group.viewer)
        _say_how_many(group)

    def leave(self, session: str) -> None:
        """The session does not play any more; nothing changes if it did not."""
        for group in self._groups.values():
            if group.sessions.pop(session, None) is not None:
                if not group.sessions:
                    self._stop(group)
                _say_how_many(group)

    def started(self, viewer: Viewer) -> None:
        """The group has been sent its first frame."""
        self._reports.start(viewer)

    def ended(self, group: Group) -> None:
        """The group's stream is over."""
        sessions = list(group.sessions.values())
        group.sessions.clear()
        self._stop(group)
        for member in sessions:
            member.ended()

    def close(self) -> None:
        """Say goodbye to every group."""
        for group in self._groups.values():
            self._stop(group)

    def _stop(self, group: Group) -> None:
        viewer, group.viewer = group.viewer, None
        if viewer is not None:
            self._fanout.remove(viewer)
            self._reports.stop(viewer)
            if isinstance(viewer.outlet, UdpOutlet):
                viewer.outlet.close()
        for sock in group.ears:
            self._poller.remove(sock.fileno())
            sock.close()
        group.ears.clear()

    def _listen(self, group: Group) -> None:
        for _, port in group.ports:
            try:
                sock = join(group.address, port, self._udp.local_address)
            except OSError:
                return  # then only what comes to our own port is heard
            group.ears.append(sock)
            self._poller.add(sock.fileno(), READ, partial(self._group_heard, group, sock))

    def _group_heard(self, group: Group, sock: socket.socket, _events: int) -> None:
        """Something came to the group; perhaps our own report."""
        for data, address in received(sock, lambda _: None):
            if group.viewer is None or int.from_bytes(data[4:8], "big") not in group.viewer.ssrcs:
                self._member_heard([group], data, address)

    def _stranger(self, data: bytes, address: tuple[str, int]) -> None:
        """Something came to our own port from nobody's way."""
        self._member_heard(self._groups.values(), data, address)

    def _member_heard(self, groups: Iterable[Group], data: bytes, address: tuple[str, int]) -> None:
        host, port = address
        viewers = [group.viewer for group in groups if group.viewer is not None and group.has(host)]
        if viewers:
            self._receiver_reports.member_heard(viewers, f"{host}:{port}", data)
        else:
            self._udp.ignore(data)


class _Owner:
    """Of a group's viewer."""

    def __init__(self, groups: MulticastGroups, group: Group) -> None:
        self._groups = groups
        self._group = group

    def broken(self, _error: OSError) -> None:
        """Sending failed: over UDP it never does."""
        self._groups.ended(self._group)

    def starting(self, viewer: Viewer, frame: FrameMessage, clock: int) -> None:
        """The group is about to be sent its first frame: nothing to say."""

    def started(self, viewer: Viewer) -> None:
        """The viewer took its first frame."""
        self._groups.started(viewer)

    def ended(self, _viewer: Viewer, _reason: str) -> None:
        """The viewer's stream is over."""
        self._groups.ended(self._group)


def place(config: Rtsp, number: int) -> tuple[str, int]:
    """The address and the first port of the group of this number. Raises SettingsError."""
    try:
        network = ipaddress.IPv4Network(config.multicast_groups)
    except ValueError:
        network = None
    if network is None or not network.is_multicast:
        raise SettingsError(
            f"{config.multicast_groups!r} is no range of IPv4 multicast addresses, like 239.192.7.0/24 - at "
            "`$.rtsp.multicast_groups`"
        )
    first_port = config.multicast_port + number * PORTS_OF_STREAM
    if number >= network.num_addresses:
        raise SettingsError(
            f"{network} has {network.num_addresses} addresses, and each stream of each server needs one - at "
            "`$.rtsp.multicast_groups`"
        )
    if first_port + PORTS_OF_STREAM > 1 << 16:
        raise SettingsError(
            f"each stream of each server needs {PORTS_OF_STREAM} ports from {config.multicast_port} on: choose a "
            "lower one - at `$.rtsp.multicast_port`"
        )
    return str(network[number]), first_port


def _say_how_many(group: Group) -> None:
    if group.viewer is not None:
        group.viewer.user_agent = f"{len(group.sessions)} sessions"
