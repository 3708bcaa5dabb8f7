"""An RTSP connection: the dialogue's steps, done."""

import secrets
import socket
from collections.abc import Callable
from functools import partial

from common.clock import now_us
from common.messages import FrameMessage
from common.sample import Payload
from server import tunnel_text
from server.auth import Login
from server.connections import REQUEST_US_MAX, Connection, Services
from server.frame_buffers import Framing
from server.frame_mark import first_numbers
from server.limits import peer_host
from server.multicast import Member
from server.rtsp_message import Response, encode
from server.rtsp_state import Dialogue
from server.rtsp_steps import Close, Describe, End, Feedback, Pause, Play, Reply, Session, Step
from server.rtsp_transport import Delivery, Interleaved, Multicast, Pair, Unicast
from server.tls import TlsChannel
from server.udp_outlet import UdpOutlet, UdpWay
from server.viewers import Viewer

REPLIES_QUEUED_BYTES_MAX = 64 << 10  # then requests wait until the client has read replies
INPUT_BYTES_MAX = 128 << 10  # then the socket waits; above every single message
REFUSAL = encode(Response(503, [("Retry-After", "5")]))


class RtspConnection(Connection):
    """One control connection, and the viewers on it. may_be_http: it has said too little to tell."""

    interleaved_as = Framing.INTERLEAVED.value
    may_be_http = True

    def __init__(
        self, services: Services, sock: socket.socket, peer: str, on_closed: Callable[[Connection], None],
        tls: TlsChannel | None = None,
    ) -> None:  # fmt: skip
        super().__init__(services, sock, peer, on_closed, tls)
        host, port = sock.getsockname()[:2]
        scheme = "rtsp" if tls is None else "rtsps"
        root = f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
        login = None
        if services.accounts is not None:
            login = Login(
                services.accounts, peer_host(peer), peer, now_us, secure=tls is not None, protected=False
            )
        self._dialogue = Dialogue(
            services.streams,
            root,
            services.config.rtsp.session_timeout_s,
            lambda: secrets.token_hex(8),
            peer_host(peer),
            self,
            login,
        )
        self._ways: dict[Pair, UdpWay] = {}  # by the client's ports
        self._viewers: dict[str, Viewer] = {}  # by session
        self._question: int | None = None
        self._starting: Viewer | None = None  # whose PLAY waits for its first frame
        self._heard_us = now_us()
        self._events_seen = 0
        self._first_bytes = b""
        self._incomplete_since_us = 0

    def received(self, data: bytes) -> None:
        """Bytes came."""
        self._heard_us = now_us()
        if self.may_be_http and not self.secure:
            self._first_bytes += data
            is_http = tunnel_text.is_http(self._first_bytes)
            if is_http:
                self.services.tunnels.http_came(self.give_away(), self.peer, self._first_bytes)
            if is_http is not False:
                return
            self.may_be_http = False
            data = self._first_bytes
        self._dialogue.receive(data)
        self._go_on()

    @property
    def buffered_bytes(self) -> int:
        """Received, and not acted on."""
        return self._dialogue.buffered_bytes

    def drained(self) -> None:
        """The outlet is not blocked any more."""
        for viewer in list(self._viewers.values()):
            self.services.fanout.drained(viewer)
        self._go_on()

    def overdue(self, now: int) -> bool:
        """Whether a request does not come to its end, or none comes, or in the end no session."""
        dialogue = self._dialogue
        if not dialogue.incomplete or dialogue.events != self._events_seen:
            self._events_seen = dialogue.events
            self._incomplete_since_us = now
        since_us = self._incomplete_since_us if dialogue.requests else self.connected_us
        if now - since_us >= REQUEST_US_MAX:
            return True
        idle_us = self.services.config.rtsp.session_timeout_s * 1_000_000
        return not dialogue.sessions and not dialogue.waiting and now - self._heard_us >= idle_us

    def cleared(self) -> None:
        """Let go of the viewers."""
        for viewer in self._viewers.values():
            self._remove(viewer)
        self._viewers.clear()
        self._starting = None
        for session in self._dialogue.sessions:
            self.services.multicast.leave(session)
        for way in self._ways.values():
            way.close()
        self._ways.clear()
        if self._question is not None:
            self.services.muxers.cancel(self._question)
            self._question = None

    def goodbye(self) -> None:
        """The process stops: say BYE for every viewer, and close."""
        for viewer in list(self._viewers.values()):
            self.services.reports.stop(viewer)
        self.close("the server stops")

    # ---- as the owner of viewers ------------------------------------------------------------------------

    def starting(self, viewer: Viewer, frame: FrameMessage, clock: int) -> None:
        """The viewer is about to be sent its first frame: the answer to its PLAY comes before that."""
        if viewer is self._starting:
            self._starting = None
            # A way that is blocked does not take this very frame.
            known = not viewer.outlet.blocked
            self._dialogue.played(dict(enumerate(first_numbers(frame, clock))) if known else {})
            step = self._dialogue.next_step()
            assert isinstance(step, Reply)
            self._do(step)

    def started(self, viewer: Viewer) -> None:
        """The viewer took its first frame."""
        self.services.reports.start(viewer)
        self._go_on()  # with what was asked behind its PLAY

    def ended(self, viewer: Viewer, reason: str) -> None:
        """The viewer's stream is over."""
        self.log_viewer("viewer_ended", viewer, reason=reason)
        self._not_started(viewer)  # its PLAY has an answer even so
        for session in [name for name, other in self._viewers.items() if other is viewer]:
            self._over(session)  # unless a TEARDOWN stood behind the PLAY

    # ---- as the owner of UDP ports ----------------------------------------------------------------------

    def claim(self, client_ports: Pair) -> Pair | None:
        """Our ports for the client's; None where another viewer has these, or what goes there must be secret."""
        if self.secure:
            return None
        udp = self.services.udp
        try:
            way = udp.open(self._socket.getpeername(), self._socket.getsockname(), client_ports)
        except OSError:
            return None  # the connection has just been reset
        if way is None:
            return None
        self._ways[client_ports] = way
        return udp.ports

    def release(self, client_ports: Pair) -> None:
        """The session has another way now."""
        self._ways.pop(client_ports).close()

    def group(self, stream: str, payload: Payload, track: int) -> Multicast | None:
        """Where this is sent to all; None also where what goes there must be secret."""
        return None if self.secure else self.services.multicast.of(stream, payload, track)

    # ---- inside -----------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Do what the dialogue says, until it has nothing more, or replies pile up."""
        requests = self._dialogue.requests
        while not (self.closed or self.finishing_us is not None or self.held):
            if self.outlet.queued_bytes >= REPLIES_QUEUED_BYTES_MAX:
                self.services.counters.reply_queues_full += 1
                break
            before = self._dialogue.requests
            step = self._dialogue.next_step()
            self.spend(self._dialogue.requests - before)
            if step is None:
                break
            self._do(step)
        self.services.counters.rtsp_requests += self._dialogue.requests - requests
        if not self.closed and self.finishing_us is None:
            self.read_on(self._dialogue.buffered_bytes < INPUT_BYTES_MAX)

    def _do(self, step: Step) -> None:
        services = self.services
        match step:
            case Reply(data, fault, late):
                services.counters.rtsp_errors += fault
                if late:
                    self.refuse_login(data)
                else:
                    self.send(data)
            case Describe(stream, payload):
                deadline_us = now_us() + services.config.viewer.source_wait_ms * 1000
                self._question = services.muxers.describe(stream, payload, deadline_us, self._answered)
            case Play(session, user_agent):
                self._play(session, user_agent)
            case Pause(session):
                if session.id in self._viewers:
                    services.fanout.read_stop(self._viewers[session.id])
                services.multicast.leave(session.id)
            case End(session):
                self._end(session)
            case Feedback(session, _, data):
                viewer = self._viewers.get(session.id)
                if viewer is None:
                    services.counters.rtcp_ignored += 1
                else:
                    services.receiver_reports.heard(viewer, data)
            case Close(reason, fault):
                services.counters.rtsp_errors += fault
                services.log.debug("connection_refused", peer=self.peer, reason=reason)
                self.finish()

    def _answered(self, sdp: str, error: str, unsuited: bool) -> None:
        self._question = None
        if error:
            self._dialogue.refused(error, unsuited)
        else:
            self._dialogue.described(sdp)
        self._go_on()

    def _play(self, session: Session, user_agent: str) -> None:
        if session.stream not in self.services.streams:
            self.finish()  # it has been removed since the SETUP
            return
        if any(isinstance(way, Multicast) for way in session.ways):
            self._dialogue.played({})
            member = Member(peer_host(self.peer), partial(self._over, session.id))
            self.services.multicast.join(session.stream, session.payload, session.id, member)
            return
        viewer = self._viewers.get(session.id)
        ways = tuple(self._ways[way.client_ports] if isinstance(way, Unicast) else None for way in session.ways)
        udp = any(way is not None for way in ways)
        channels = tuple(_channels(way) for way in session.ways)
        if viewer is not None:
            former = viewer.outlet.ways if isinstance(viewer.outlet, UdpOutlet) else ()
            if former != (ways if udp else ()):
                self._remove(viewer)  # a SETUP while it was paused: it begins anew
                viewer = None
        if viewer is None:
            outlet = UdpOutlet(self.services.udp, ways) if udp else self.outlet
            framing = Framing.UDP if udp else Framing.INTERLEAVED
            viewer = self._viewers[session.id] = self.services.fanout.add(
                session.stream, self, outlet, framing, channels, self.peer, user_agent, session.payload
            )
            viewer.transport = framing.value if udp else self.interleaved_as
            self.log_viewer("viewer_started", viewer, transport=viewer.transport, user_agent=user_agent)
            for way in ways:
                if way is not None:
                    way.on_report = partial(self.services.receiver_reports.heard, viewer)
        viewer.channels = channels
        if viewer.last is None:
            self._starting = viewer
            self.services.patience.wait(partial(self._not_started, viewer))
        else:
            self._dialogue.played({})
        self.services.fanout.read_start(viewer)

    def _not_started(self, viewer: Viewer) -> None:
        """The first frame has had its time."""
        if viewer is self._starting:
            self._starting = None
            self._dialogue.played({})
            self._go_on()

    def _over(self, session: str) -> None:
        """The session's stream has ended, and with the last one the connection."""
        self._end(self._dialogue.sessions.pop(session))
        if not self._dialogue.sessions:
            self.finish()

    def _end(self, session: Session) -> None:
        """No frame is begun any more; the one that is unfinished goes out before the BYE."""
        self.services.multicast.leave(session.id)
        viewer = self._viewers.pop(session.id, None)
        if viewer is not None:
            self._remove(viewer)
            self.services.reports.stop(viewer)
        for way in session.tracks.values():
            if isinstance(way, Unicast):
                self.release(way.client_ports)

    def _remove(self, viewer: Viewer) -> None:
        self.services.fanout.remove(viewer)
        if isinstance(viewer.outlet, UdpOutlet):
            viewer.outlet.close()
        self.log_viewer("viewer_gone", viewer, frames_sent=viewer.frames_sent)


def _channels(way: Delivery | None) -> Pair | None:
    """The `$` channels of a track, or what stands for them in a viewer that has none."""
    match way:
        case Interleaved(channels):
            return channels
        case Unicast() | Multicast():
            return 0, 1
        case None:
            return None
