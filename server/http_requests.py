"""The server's end of one HTTP connection, over h11: bytes in, steps out. Pure.

Theory of operation
-------------------
The shell gives `receive` what came off the network and calls `next_step` until it returns None. `Ask` wants an
answer from elsewhere: nothing more comes until `respond`, or, for a stream, `stream_head`, after which the
connection is the stream's: its bytes go past h11 straight to the socket, without a length or chunks, until it is
closed (RFC 9112 6.3). `Tunnel` makes it RTSP's. Everything else is kept alive.
"""

import html
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from enum import Enum
from urllib.parse import unquote

import h11
import msgspec

from server.auth import DENIALS, GRANTED, Login, Outcome, Verdict
from server.tunnel_text import COOKIE_CHARACTERS_MAX

HEAD_BYTES_MAX = 16 << 10
BODY_BYTES_MAX = 64 << 10  # of a request: nothing here wants one
STREAM_SUFFIX = ".ts"
_METHODS = "GET, HEAD"
_TEXT = "text/plain; charset=utf-8"
_HTML = "text/html; charset=utf-8"
_ERRORS = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    431: "Request Header Fields Too Large",
    501: "Not Implemented",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


class Topic(Enum):
    """What only the shell knows."""

    HEALTH = "/healthz"
    STATS = "/api/stats"
    METRICS = "/metrics"
    STREAM = "/NAME.ts"


class Ask(msgspec.Struct, frozen=True):
    """Answer this. stream: its name, for Topic.STREAM. head_only: HEAD, so that no media follows."""

    topic: Topic
    stream: str = ""
    head_only: bool = False
    user_agent: str = ""


class Send(msgspec.Struct, frozen=True):
    """Send this. fault: it is an error of the client's. late: make it wait for it, and for all that follows."""

    data: bytes
    fault: bool = False
    late: bool = False


class Close(msgspec.Struct, frozen=True):
    """Close the connection when all is sent."""


class Tunnel(msgspec.Struct, frozen=True):
    """The connection is RTSP's from now on. post: what the client says there, of which `data` has come already."""

    post: bool
    cookie: str
    data: bytes


Step = Ask | Send | Close | Tunnel


class HttpDialogue:
    """One HTTP connection.

    streams: the names there are, as they are now. index: gives the HTML of the page at `/`, for these streams, and
    the Host that the client named. login: who may have which of them, and the figures; None: everybody all.
    """

    def __init__(
        self, streams: Collection[str], index: Callable[[Sequence[str], str], str], login: Login | None = None
    ) -> None:
        self._streams = streams
        self._index = index
        self._login = login
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES_MAX)
        self._steps: list[Step] = []
        self._request: h11.Request | None = None
        self._body_bytes = 0
        self._closed = False
        self.waiting = False
        self.streaming = False
        self.requests = 0

    @property
    def idle(self) -> bool:
        """Whether not one byte of a request has come."""
        return self._request is None and not self._h11.trailing_data[0]

    def receive(self, data: bytes) -> None:
        """Add what came off the network; b"" at its end."""
        if not self._closed and not self.streaming:
            self._h11.receive_data(data)

    def next_step(self) -> Step | None:
        """The next thing to do; None: wait for the network, or for the answer to Ask."""
        while not self._steps:
            if self.waiting or self.streaming or self._closed:
                return None
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as error:
                self._refuse(error.error_status_hint)
                continue
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return None
            if isinstance(event, h11.Request):
                self._request = event
                self._body_bytes = 0
                self.requests += 1
                cookie = _header(event, b"x-sessioncookie")
                if cookie and event.method in (b"GET", b"POST") and len(cookie) <= COOKIE_CHARACTERS_MAX:
                    self.streaming = True
                    return Tunnel(event.method == b"POST", cookie, self._h11.trailing_data[0])
                if self._h11.they_are_waiting_for_100_continue:
                    self._route(event)  # the answer says that we do not want the body
            elif isinstance(event, h11.Data):
                self._body_bytes += len(event.data)
                if self._body_bytes > BODY_BYTES_MAX:
                    self._refuse(413)
            elif isinstance(event, h11.EndOfMessage):
                assert self._request is not None
                self._route(self._request)
            else:  # the end of the connection
                self._end()
        return self._steps.pop(0)

    def respond(
        self, status: int, content_type: str, body: bytes, *fields: tuple[str, str], late: bool = False
    ) -> None:
        """The answer to Ask, or the shell's own error."""
        self.waiting = False
        headers = [("Server", "framegate"), ("Content-Type", content_type), ("Content-Length", str(len(body)))]
        head_only = self._request is not None and self._request.method == b"HEAD"
        if self._h11.their_state is not h11.DONE:
            headers.append(("Connection", "close"))  # what follows cannot be told from the rest of the request
        response = h11.Response(
            status_code=status,
            reason=_ERRORS.get(status, "OK"),
            headers=[*headers, ("Cache-Control", "no-store"), *fields],
        )
        data = self._h11.send(response) or b""
        if not head_only:
            data += self._h11.send(h11.Data(data=body)) or b""
        data += self._h11.send(h11.EndOfMessage()) or b""
        self._steps.append(Send(data, status >= 400 and (late or status != 401), late))
        self._request = None
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE:
            self._h11.start_next_cycle()
        else:
            self._end()

    def fail(self, status: int, reason: str, *fields: tuple[str, str], late: bool = False) -> None:
        """The answer to Ask where it is an error: a line that says why."""
        self.respond(status, _TEXT, f"{reason}\n".encode(), *fields, late=late)

    def stream_head(self) -> bytes:
        """The other answer to Ask for a stream: the head, behind which the connection is the stream's."""
        head_only = self._request is not None and self._request.method == b"HEAD"
        self.waiting = False
        self.streaming = not head_only
        if head_only:
            self._end()
        # Not by h11: it would put a body of unknown length into chunks.
        return (
            b"HTTP/1.1 200 OK\r\nServer: framegate\r\nContent-Type: video/mp2t\r\n"
            b"Cache-Control: no-store\r\nConnection: close\r\n\r\n"
        )

    def time_out(self) -> bytes:
        """What to say to a client whose request does not end."""
        self._steps.clear()
        if self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self.fail(408, "the request did not come to an end")
        return b"".join(step.data for step in self._steps if isinstance(step, Send))

    # ---- inside -----------------------------------------------------------------------------------------

    def _route(self, request: h11.Request) -> None:
        method = request.method
        path = _path(request.target)
        topic = _topic(path)
        name = path[1:].removesuffix(STREAM_SUFFIX)
        verdict = self._verdict(request, topic, name)
        if verdict.outcome not in (Outcome.GRANTED, Outcome.FORBIDDEN):
            status = DENIALS[verdict.outcome]
            self.fail(status, verdict.outcome.value, *verdict.fields, late=verdict.late)
        elif verdict.outcome is Outcome.FORBIDDEN and topic is not Topic.STREAM:
            self.fail(403, verdict.outcome.value)
        elif verdict.outcome is Outcome.FORBIDDEN or not self._is_there(path, topic, name):
            self.fail(404, f"{'no such stream' if topic else 'nothing here'}: see / for what there is")
        elif method not in (b"GET", b"HEAD"):
            self.fail(405, f"only {_METHODS}", ("Allow", _METHODS))
        elif topic is None:
            host = _header(request, b"host")
            streams = [name for name in self._streams if verdict.user is None or verdict.user.may_watch(name)]
            self.respond(200, _HTML, self._index(streams, re.sub(r":\d*$", "", host)).encode())
        else:
            self.waiting = True
            agent = _header(request, b"user-agent")
            self._steps.append(Ask(topic, name if topic is Topic.STREAM else "", method == b"HEAD", agent))

    def _verdict(self, request: h11.Request, topic: Topic | None, name: str) -> Verdict:
        """On who asks for this; for what there is not, as for what there is."""
        if self._login is None or topic is Topic.HEALTH:
            return GRANTED
        method, target = request.method.decode("ascii"), request.target.decode("latin-1")
        authorization = _header(request, b"authorization")
        if topic is Topic.STREAM:
            return self._login.watch(name, method, target, authorization)
        return self._login.enter(lambda user: topic is None or user.stats, method, target, authorization)

    def _is_there(self, path: str, topic: Topic | None, name: str) -> bool:
        if topic is Topic.STREAM:
            return name in self._streams
        return topic is not None or path == "/"

    def _refuse(self, status: int) -> None:
        """What came is no HTTP, or too much of it: say so if that is possible, and close."""
        if self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self.fail(status, _ERRORS.get(status, "Bad Request").lower())
        if not self._closed:
            self._end()

    def _end(self) -> None:
        self._closed = True
        self._steps.append(Close())


def index_page(streams: Sequence[str], host: str, ports: Mapping[str, int]) -> str:
    """The page at `/`: what there is, and where. ports: by scheme, of RTSP and HTTP, with or without TLS."""
    shown = html.escape(host or "localhost")
    rows = []
    for name in streams:
        urls = [
            f"{scheme}://{shown}:{port}/{name}{STREAM_SUFFIX if scheme.startswith('http') else ''}"
            for scheme, port in ports.items()
        ]
        rows.append(f"<li>{name}: " + " ".join(f'<a href="{url}">{url}</a>' for url in urls) + "</li>")
    return (
        "<!DOCTYPE html><title>framegate</title><h1>framegate</h1><ul>"
        + "".join(rows)
        + '</ul><p><a href="/api/stats">/api/stats</a> <a href="/healthz">/healthz</a></p>\n'
    )


def _path(target: bytes) -> str:
    """The decoded path of a request target in origin or absolute form (RFC 9112 3.2)."""
    text = re.sub(r"^https?://[^/?#]*", "", target.decode("latin-1"), flags=re.IGNORECASE)
    return unquote(re.split(r"[?#]", text, maxsplit=1)[0]) or "/"


def _topic(path: str) -> Topic | None:
    if path in (Topic.HEALTH.value, Topic.STATS.value, Topic.METRICS.value):
        return Topic(path)
    return Topic.STREAM if path.endswith(STREAM_SUFFIX) else None


def _header(request: h11.Request, name: bytes) -> str:
    """The first value of a header, or nothing."""
    return next((value.decode("utf-8", "replace") for key, value in request.headers if key == name), "")
