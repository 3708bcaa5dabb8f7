"""How bytes leave over UDP: one pair of ports of this process, for all viewers that want their media as datagrams.

A frame, or as much of it as one system call can hold, is handed to the kernel whole and cut into packets there
(UDP_SEGMENT). The sockets are not connected: a viewer costs no descriptor, and who sends to our ports from
anywhere but a viewer's own is not heard. (Connected ones would save 0.3 of some 4.5 µs a frame and viewer.)

A viewer never blocks: what the kernel does not take is lost, as it is for whatever else happens on the way, and
is counted. What is too much at once waits here, and goes out at a pace (`udp_backlog`).
"""

import errno
import socket
import struct
from collections.abc import Callable, Collection, Sequence

from common.errors import SettingsError
from common.poller import READ, Poller
from server.counters import Counters
from server.datagrams import Datagrams, Run
from server.rtsp_transport import Pair
from server.send_many import Address, Ancillary, Company, ManySender
from server.udp_backlog import SLICE_US, Pacing
from server.udp_convoys import Convoy, Convoys
from server.udp_sockets import UDP_SEGMENT, bind_pair, can_segment, enlarge, received, source

_UNSEGMENTABLE = (errno.EMSGSIZE, errno.EINVAL, errno.EIO)  # a small MTU, or a device without checksums
_FULL = (errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM)

_UNSEGMENTED = (socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("H", 0))


class UdpWay:
    """The way to one pair of a client's ports: of one track.

    on_report: called with each datagram that comes from the client's RTCP port.
    """

    __slots__ = ("_ports", "ancillary", "media", "on_report", "rtcp", "rtp")

    def __init__(self, ports: "UdpPorts", rtp: Address, rtcp: Address, ancillary: Sequence[Ancillary]) -> None:
        self.rtp = rtp
        self.rtcp = rtcp
        self.ancillary = ancillary
        self.media = ports.many.receiver(rtp, ancillary)
        self.on_report: Callable[[bytes], None] = ports.ignore
        self._ports = ports

    def close(self) -> None:
        """Nothing is heard from there any more."""
        self._ports.forget(self)


class UdpOutlet:
    """The way out to one viewer. ways: of its tracks, None for one that it did not set up; one at least is.

    frames_lost: not, or not whole, taken by the kernel; queue_overflows: of these, not even queued for it.
    """

    __slots__ = ("_ports", "frames_lost", "queue_overflows", "receivers", "segmented", "ways")

    blocked = False  # it never is
    kernel_bytes = 0  # that are known of
    unfinished_bytes = 0
    round_trip_us = 0
    window_bytes = 1 << 30

    def __init__(self, ports: "UdpPorts", ways: tuple[UdpWay | None, ...]) -> None:
        self.ways = ways
        self.receivers = {track: way.media for track, way in enumerate(ways) if way is not None}
        self.frames_lost = self.queue_overflows = 0
        self.segmented = ports.segments  # until the path is seen not to bear it
        self._ports = ports

    @property
    def frames_unfinished(self) -> int:
        """Taken, and not yet handed to the kernel whole."""
        return self._ports.queued_frames(self)

    @property
    def room_bytes(self) -> int:
        """How much of the past it may be given now; at least one frame."""
        return max(self._ports.pacing.room_bytes - self._ports.queued_bytes(self), 1)

    def fit(self, buffer_bytes: int, unsent_bytes: int) -> None:
        """Nothing waits here for one viewer."""

    def report(self, track: int, data: bytes) -> None:
        """Send a compound RTCP packet of one track."""
        way = self.ways[track]
        if way is not None:
            self._ports.send_report(way, data)

    def close(self) -> None:
        """What waits here is not sent any more."""
        self._ports.drop(self)


class DatagramTakers:
    """The viewers of a lane, put together once for each track, and again after `forget`, for who comes or goes."""

    __slots__ = ("_companies",)

    def __init__(self) -> None:
        self._companies: dict[int, Company] = {}

    def forget(self) -> None:
        """They are others now."""
        self._companies.clear()

    def company(self, outlets: Collection[UdpOutlet], track: int) -> Company:
        """Of these, the same as before unless told to `forget`."""
        found = self._companies.get(track)
        if found is None:
            found = self._companies[track] = Company([outlet.receivers[track] for outlet in outlets])
        return found


class UdpPorts:
    """The pair of sockets, and who is at the other end. Raises SettingsError where it cannot be bound.

    address: to bind, numeric. port: of RTP, the next one is RTCP's; 0: any even one that is free. on_stranger:
    called with what comes to the RTCP port from nobody's way, and its address.
    """

    def __init__(
        self, family: socket.AddressFamily, address: str, port: int, pacing: Pacing, poller: Poller,
        counters: Counters, clock: Callable[[], int],
    ) -> None:  # fmt: skip
        self.pacing = pacing
        self._clock = clock
        self._convoys: Convoys[UdpOutlet] = Convoys(pacing)
        self._pump_us = 0
        self._family = family
        self._counters = counters
        self._poller = poller
        self._by_rtp: dict[tuple[str, int], UdpWay] = {}
        self._by_rtcp: dict[tuple[str, int], UdpWay] = {}
        self._any_address = address in ("0.0.0.0", "::")
        self.on_stranger: Callable[[bytes, tuple[str, int]], None] = lambda data, _: self.ignore(data)
        self._rtp, self._rtcp = bind_pair(family, address, port)
        self.many = ManySender(self._rtp)
        self.ports: Pair = (self._rtp.getsockname()[1], self._rtcp.getsockname()[1])
        self._segment_bytes = 0
        self.segments = can_segment(self._rtp)
        self._all_segmented = self.segments
        for sock, handler in ((self._rtp, self._on_rtp), (self._rtcp, self._on_rtcp)):
            sock.setblocking(False)
            poller.add(sock.fileno(), READ, handler)
        enlarge(self._rtp)

    def open(self, peer: Address, local: Address, client_ports: Pair) -> UdpWay | None:
        """The way to a client's ports; None where one of them is another viewer's.

        peer, local: the ends of its control connection: media goes to the one, from the other.
        """
        host, rest = peer[0], peer[2:]
        keys = [(host, port) for port in client_ports]
        if not self._by_rtp.keys().isdisjoint(keys) or not self._by_rtcp.keys().isdisjoint(keys):
            return None
        rtp, rtcp = ((host, port, *rest) for port in client_ports)
        ancillary = [source(self._family, local)] if self._any_address else []
        way = UdpWay(self, rtp, rtcp, ancillary)
        self._by_rtp[keys[0]] = self._by_rtcp[keys[1]] = way
        return way

    def allow_multicast(self, ttl: int) -> None:
        """Groups may be sent to, so many routers far. Raises SettingsError where they cannot."""
        if self._family != socket.AF_INET:
            raise SettingsError("multicast goes by IPv4: choose such an address - at `$.host`")
        for sock in (self._rtp, self._rtcp):
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, ttl)
            if not self._any_address:
                local = socket.inet_aton(sock.getsockname()[0])
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, local)

    def group(self, address: str, ports: Pair) -> UdpWay:
        """The way to a multicast group; what is heard from there comes by another socket."""
        return UdpWay(self, (address, ports[0]), (address, ports[1]), [])

    @property
    def local_address(self) -> str:
        """What the ports are bound to."""
        return str(self._rtp.getsockname()[0])

    @property
    def due_us(self) -> int | None:
        """When `tick` has something to do."""
        return self._pump_us if self._convoys.waiting else None

    def forget(self, way: UdpWay) -> None:
        """The way is closed."""
        self._by_rtp.pop(way.rtp[:2], None)
        self._by_rtcp.pop(way.rtcp[:2], None)

    def drop(self, outlet: UdpOutlet) -> None:
        """The outlet is closed."""
        self._convoys.drop(outlet)

    def queued_bytes(self, outlet: UdpOutlet) -> int:
        """What waits here for one."""
        return self._convoys.queued_bytes(outlet)

    def queued_frames(self, outlet: UdpOutlet) -> int:
        """Likewise, the one that has left in part included."""
        return self._convoys.queued_frames(outlet)

    def ignore(self, _data: bytes) -> None:
        """A datagram that is nobody's."""
        self._counters.udp_ignored += 1

    def close(self) -> None:
        """Release the ports."""
        for sock in (self._rtp, self._rtcp):
            self._poller.remove(sock.fileno())
            sock.close()

    def send_report(self, way: UdpWay, data: bytes) -> None:
        """Send RTCP; what the kernel does not take is lost."""
        try:
            self._rtcp.sendmsg((data,), way.ancillary, 0, way.rtcp)
        except OSError as error:
            self._note(error)

    def offer_to_all(
        self, outlets: Collection[UdpOutlet], frame: Datagrams, takers: DatagramTakers | None
    ) -> None:
        """Send a frame to each, run by run, or queue it."""
        paced = self.pacing.bytes_per_s > 0
        if paced and (takers is None or len(frame) > self.pacing.burst_bytes):
            self._queue(outlets, frame)
            return
        if self._convoys.waiting:
            waiting = self._convoys.waiting_members
            behind = [outlet for outlet in outlets if outlet in waiting]
            if behind:
                outlets, takers = [outlet for outlet in outlets if outlet not in waiting], None
            self._queue(behind, frame)
        lost: set[UdpOutlet] = set()
        for run in frame.runs:
            if lost:
                outlets, takers = [outlet for outlet in outlets if outlet not in lost], None
            lost.update(self._send(outlets, run, takers))
        for outlet in lost:
            self._lost(outlet)

    def tick(self) -> None:
        """Send what may leave now of what has been queued."""
        now_us = self._clock()
        if not self._convoys.waiting or now_us < self._pump_us:
            return
        for convoy in list(self._convoys.waiting):
            self._pump(convoy, now_us)
        self._pump_us = now_us + SLICE_US

    # ---- inside -----------------------------------------------------------------------------------------

    def _queue(self, outlets: Collection[UdpOutlet], frame: Datagrams) -> None:
        now_us = self._clock()
        if not self._convoys.waiting:
            self._pump_us = now_us + SLICE_US
        convoys, refused = self._convoys.add(outlets, frame, now_us)
        for outlet in refused:
            self._counters.udp_queues_full += 1
            outlet.queue_overflows += 1
            self._lost(outlet)
        for convoy in convoys:
            self._pump(convoy, now_us)

    def _pump(self, convoy: Convoy[UdpOutlet], now_us: int) -> None:
        """Send to all in it what may leave now; who cannot be sent it goes on alone, from the next time on."""
        while convoy.members and (run := convoy.backlog.take(now_us)) is not None:
            for outlet in self._send(convoy.members, run, None):
                self._convoys.lost(outlet)
                self._lost(outlet)
        self._convoys.settle(convoy)

    def _lost(self, outlet: UdpOutlet) -> None:
        """One frame, or a part of it."""
        outlet.frames_lost += 1
        self._counters.udp_frames_lost += 1

    def _segment(self, size: int) -> None:
        """What the kernel is given from now on is cut into packets of this size."""
        if self.segments and size != self._segment_bytes:
            self._rtp.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, size)
            self._segment_bytes = size

    def _send(self, outlets: Collection[UdpOutlet], run: Run, takers: DatagramTakers | None) -> list[UdpOutlet]:
        """Send a run to each; those whom it could not be sent, or not whole. takers: of these very outlets."""
        self._segment(run.segment_bytes)
        together, alone = list(outlets), []
        if not self._all_segmented:
            together = [outlet for outlet in outlets if outlet.segmented]
            alone = [outlet for outlet in outlets if not outlet.segmented]
        if takers is None or alone:
            takers = DatagramTakers()
        refused = self.many.send(takers.company(together, run.track), run.data)
        for at, error in refused:
            if error.errno in _UNSEGMENTABLE:
                together[at].segmented = self._all_segmented = False
                self._counters.udp_unsegmented += 1
                alone.append(together[at])
            else:
                self._note(error)
        lost = [together[at] for at, _ in refused if together[at].segmented]
        return lost + [outlet for outlet in alone if not self._sent_packets(outlet, run)]

    def _sent_packets(self, outlet: UdpOutlet, run: Run) -> bool:
        """Send each with a system call of its own, and in fragments where the path's MTU is small."""
        way = outlet.ways[run.track]
        assert way is not None
        ancillary = [*way.ancillary, *([_UNSEGMENTED] if self.segments else [])]
        try:
            for start in range(0, len(run.data), run.segment_bytes):
                packet = run.data[start : start + run.segment_bytes]
                self._rtp.sendmsg((packet,), ancillary, 0, way.rtp)
        except OSError as error:
            self._note(error)
            return False
        return True

    def _note(self, error: OSError) -> None:
        if error.errno in _FULL:
            self._counters.udp_sends_refused += 1
        else:
            self._counters.udp_errors += 1

    def _on_rtp(self, _events: int) -> None:
        """Clients send something here to open their NAT."""
        for _data, address in received(self._rtp, self._note):
            if address not in self._by_rtp:
                self._counters.udp_ignored += 1

    def _on_rtcp(self, _events: int) -> None:
        for data, address in received(self._rtcp, self._note):
            way = self._by_rtcp.get(address)
            if way is None:
                self.on_stranger(data, address)
            else:
                way.on_report(data)


def offer_datagrams(
    outlets: Collection[UdpOutlet], frame: Datagrams, takers: DatagramTakers | None = None
) -> None:
    """Send a frame to each of one process's outlets. takers: of the lane that they are; None for those who catch
    up, to whom others come right behind it."""
    ports = next((outlet._ports for outlet in outlets), None)
    if ports is not None:
        ports.offer_to_all(outlets, frame, takers)
