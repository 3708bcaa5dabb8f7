"""An HTTP connection: the dialogue's steps, done; and, behind a stream's head, one viewer."""

import json
import socket
from collections.abc import Callable
from functools import partial

from common.clock import now_us
from common.messages import FrameMessage, TunnelEnd
from common.sample import Payload
from server.auth import Login
from server.connections import REQUEST_US_MAX, Connection, Services
from server.frame_buffers import Framing
from server.http_requests import Ask, Close, HttpDialogue, Send, Step, Topic, Tunnel, index_page
from server.limits import peer_host
from server.tls import TlsChannel, TlsOutlet
from server.viewers import Viewer

JSON = "application/json"
METRICS = "text/plain; version=0.0.4; charset=utf-8"  # Prometheus' text format
RETRY = ("Retry-After", "2")
REFUSAL = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 5\r\nConnection: close\r\n\r\n"


class HttpConnection(Connection):
    """One HTTP connection."""

    def __init__(
        self, services: Services, sock: socket.socket, peer: str, on_closed: Callable[[Connection], None],
        tls: TlsChannel | None = None,
    ) -> None:  # fmt: skip
        super().__init__(services, sock, peer, on_closed, tls)
        ports = services.ports
        shown = ("rtsps", "https") if self.secure else ("rtsp", "http")
        login = None
        if services.accounts is not None:
            host = peer_host(peer)  # a client that is asked to log in may come again by another connection
            login = Login(services.accounts, host, host, now_us, secure=self.secure, protected=True)
        self._dialogue = HttpDialogue(
            services.streams,
            lambda streams, host: index_page(
                streams, host, {scheme: ports[scheme] for scheme in shown if scheme in ports}
            ),
            login,
        )
        self._viewer: Viewer | None = None
        self._question: int | None = None
        self._input_has_ended = False
        self._waited_for_since_us = now_us()

    def received(self, data: bytes) -> None:
        """Bytes came."""
        self._dialogue.receive(data)
        self._go_on()

    def input_ended(self) -> None:
        """The client sends nothing more; perhaps it still reads."""
        if self._input_has_ended:
            self.close("the client closed it")
            return
        self._input_has_ended = True
        self.read_on(False)
        self.received(b"")

    def drained(self) -> None:
        """The outlet is not blocked any more."""
        if self._viewer is not None:
            self.services.fanout.drained(self._viewer)
        self._go_on()

    def overdue(self, now: int) -> bool:
        """Whether a request does not come to its end, or none comes."""
        dialogue = self._dialogue
        if dialogue.waiting or dialogue.streaming:
            self._waited_for_since_us = now
        if now - self._waited_for_since_us < REQUEST_US_MAX:
            return False
        if not dialogue.idle:
            self.send(dialogue.time_out())
        return True

    def cleared(self) -> None:
        """Let go of the viewer."""
        if self._viewer is not None:
            self.services.fanout.remove(self._viewer)
            self.log_viewer("viewer_gone", self._viewer, frames_sent=self._viewer.frames_sent)
            self._viewer = None
        if self._question is not None:
            self.services.muxers.cancel(self._question)
            self._question = None

    # ---- as the owner of a viewer -----------------------------------------------------------------------

    def starting(self, viewer: Viewer, frame: FrameMessage, clock: int) -> None:
        """The viewer is about to be sent its first frame: nothing to say."""

    def started(self, viewer: Viewer) -> None:
        """The viewer took its first frame: nothing to add."""

    def ended(self, viewer: Viewer, reason: str) -> None:
        """The viewer's stream is over."""
        self.log_viewer("viewer_ended", viewer, reason=reason)
        self.finish()

    # ---- inside -----------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Do what the dialogue says; while replies wait in the socket, requests wait too."""
        requests = self._dialogue.requests
        while not (self.closed or self.finishing_us is not None or self.outlet.blocked or self.held):
            before = self._dialogue.requests
            step = self._dialogue.next_step()
            self.spend(self._dialogue.requests - before)
            if step is None:
                break
            self._do(step)
        self.services.counters.http_requests += self._dialogue.requests - requests
        if not self.closed and self.finishing_us is None and not self._input_has_ended:
            waits = self._dialogue.waiting or self.outlet.blocked or self.held
            self.read_on(self._dialogue.streaming or not waits)

    def _do(self, step: Step) -> None:
        services = self.services
        match step:
            case Send(data, fault, late):
                services.counters.http_errors += fault
                self._waited_for_since_us = now_us()
                if late:
                    self.refuse_login(data)
                else:
                    self.send(data)
            case Close():
                self.finish()
            case Tunnel(post, cookie, data):
                tls = self.outlet.channel if isinstance(self.outlet, TlsOutlet) else None
                end = TunnelEnd(post, cookie, self.peer, data, tls is not None)
                services.tunnels.end_came(end, self.give_away(), tls)
            case Ask(topic=Topic.HEALTH):
                up, muxers = services.muxers.up, services.muxers.muxers
                status = "ok" if up else "no muxer answers"
                body = json.dumps({"status": status, "muxers_up": up, "muxers": muxers}).encode() + b"\n"
                self._dialogue.respond(200 if up else 503, JSON, body)
            case Ask(topic=Topic.STATS):
                services.figures.ask(self._figures_came)
            case Ask(topic=Topic.METRICS):
                services.figures.ask(partial(self._figures_came, content_type=METRICS), metrics=True)
            case Ask(topic=Topic.STREAM, stream=stream):
                deadline_us = now_us() + services.config.viewer.source_wait_ms * 1000
                self._question = services.muxers.describe(
                    stream, Payload.TS, deadline_us, lambda _, *why_not: self._described(step, *why_not)
                )

    def _figures_came(self, status: int, text: bytes, content_type: str = JSON) -> None:
        if self.closed or self.finishing_us is not None:
            return
        if status == 200:
            self._dialogue.respond(200, content_type, text)
        else:
            self._dialogue.fail(status, text.decode(), RETRY)
        self._go_on()

    def _described(self, step: Ask, error: str, unsuited: bool) -> None:
        self._question = None
        if error:
            self._dialogue.fail(415 if unsuited else 503, error, *([] if unsuited else [RETRY]))
        else:
            self.send(self._dialogue.stream_head())
            if not step.head_only and not self.closed:
                self._viewer = self.services.fanout.add(
                    step.stream, self, self.outlet, Framing.TS, ((0, 0),), self.peer, step.user_agent
                )
                self.log_viewer("viewer_started", self._viewer, user_agent=step.user_agent)
                self.services.fanout.read_start(self._viewer)
        self._go_on()
