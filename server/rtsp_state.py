"""The server's end of one RTSP control connection: bytes in, steps out (RFC 2326, version 1.0). Pure.

Theory of operation
-------------------
The shell gives `receive` what came off the network and calls `next_step` until it returns None; each step is
something to send or to do, in order. After a `Describe` step nothing more comes until `described` or `refused`:
requests behind it wait in their place. A session (RFC 2326 A.2) belongs to the connection that set it up:

    (none) --SETUP--> READY --PLAY--> PLAYING --PAUSE--> READY;   TEARDOWN ends it in any state

and is found by its Session header, never by the URL. Every stream has one track, so that PLAY and the others
mean the same for the stream's URL and the track's. What clients do beside the standard and is put up with here:
see `rtsp_headers`, the rules below, and `tests/golden/client_dialogues.json`.

Rules
-----
1. CSeq is required and echoed; with every other fault the connection goes on where the framing allows it.
2. A Session header must name a session of this connection (454), in whatever request it stands.
3. A live stream plays from now: whatever Range asks for, the answer says `npt=now-`. RTP-Info is left out, as
   the first packet's numbers are not known yet.
4. GET_PARAMETER and SET_PARAMETER without a body are keep-alives; we have no parameters (451).
5. A SETUP of a session that does not play changes its transport (`rtsp_transport` has what can be chosen).
6. Require and Proxy-Require: we have no options (551).
7. DESCRIBE and SETUP want the right to the stream (`server.auth`). What follows names a session of this
   connection, which only SETUP has made.
"""

from collections.abc import Callable, Container
from enum import Enum
from typing import Protocol

import msgspec

from server import rtsp_message
from server.auth import DENIALS, Login, Outcome
from server.rtsp_headers import (
    LIVE_RANGE,
    Url,
    accepts_sdp,
    base_url,
    format_session,
    parse_cseq,
    parse_list,
    parse_range,
    parse_session,
    parse_url,
)
from server.rtsp_message import Malformed, Reader, Request, Response, encode
from server.rtsp_transport import Delivery, Interleaved, Pair, Transport, Unicast, choose, parse_transports

SESSIONS_MAX = 16  # of one connection
FAULTS_MAX = 32  # malformed requests until the connection is closed

METHODS = ("OPTIONS", "DESCRIBE", "SETUP", "PLAY", "PAUSE", "TEARDOWN", "GET_PARAMETER", "SET_PARAMETER")
OTHER_METHODS = ("ANNOUNCE", "RECORD", "REDIRECT")  # of RFC 2326, and not for us


class State(Enum):
    """Of a session."""

    READY = "ready"
    PLAYING = "playing"


_ALWAYS = ("OPTIONS", "DESCRIBE", "TEARDOWN", "GET_PARAMETER", "SET_PARAMETER")
VALID_METHODS = {
    State.READY: (*_ALWAYS, "SETUP", "PLAY"),
    State.PLAYING: (*_ALWAYS, "PLAY", "PAUSE"),
}


class Session(msgspec.Struct):
    """One viewer of one stream. delivery: how its media goes."""

    id: str
    stream: str
    delivery: Delivery
    state: State = State.READY


class Ports(Protocol):
    """The client's UDP ports that are ours to send to, until the session's `End`."""

    def claim(self, client_ports: Pair) -> Pair | None:
        """Our own for these; None where there are none, or these are another viewer's."""

    def release(self, client_ports: Pair) -> None:
        """The session has another way now."""


# ---- steps ----------------------------------------------------------------------------------------------


class Reply(msgspec.Struct, frozen=True):
    """Send this response. fault: it is an error. late: make the client wait for it, and for all that follows."""

    data: bytes
    fault: bool = False
    late: bool = False


class Describe(msgspec.Struct, frozen=True):
    """Ask for the stream's SDP; answer by `described` or `refused`."""

    stream: str


class Play(msgspec.Struct, frozen=True):
    """Open the session's gate; user_agent: the client's."""

    session: Session
    user_agent: str


class Pause(msgspec.Struct, frozen=True):
    """Shut the session's gate."""

    session: Session


class End(msgspec.Struct, frozen=True):
    """The session is over: nothing more of it after its BYE, and its ports are free."""

    session: Session


class Feedback(msgspec.Struct, frozen=True):
    """The client sent RTCP (or something else) on the session's RTCP channel."""

    session: Session
    data: bytes


class Close(msgspec.Struct, frozen=True):
    """Close the connection when all is sent. reason: for the log."""

    reason: str


Step = Reply | Describe | Play | Pause | End | Feedback | Close


class Dialogue:
    """One control connection. See the module's docstring.

    streams: the names there are. authority: how to call ourselves where the client does not. new_session_id:
    gives identifiers nobody can guess. peer: the client's address. ports: its UDP ports. login: who may have which
    of the streams; None: everybody all.
    """

    def __init__(
        self, streams: Container[str], authority: str, timeout_s: int, new_session_id: Callable[[], str],
        peer: str, ports: Ports, login: Login | None = None,
    ) -> None:  # fmt: skip
        self._streams = streams
        self._peer = peer
        self._ports = ports
        self._authority = authority
        self._timeout_s = timeout_s
        self._new_session_id = new_session_id
        self._login = login
        self._reader = Reader()
        self._steps: list[Step] = []
        self._asked: tuple[Request, Url] | None = None
        self._faults = 0
        self._closed = False
        self.sessions: dict[str, Session] = {}
        self.requests = 0
        self.events = 0  # messages and `$` frames that came to their end

    @property
    def waiting(self) -> bool:
        """Whether a Describe step has not been answered."""
        return self._asked is not None

    @property
    def incomplete(self) -> bool:
        """Whether a message has begun and not ended. (Meaningful once `next_step` has returned None.)"""
        return self._reader.incomplete and not self.waiting

    @property
    def buffered_bytes(self) -> int:
        """Received, and not acted on."""
        return self._reader.buffered_bytes

    def receive(self, data: bytes) -> None:
        """Add what came off the network."""
        self._reader.receive(data)

    def next_step(self) -> Step | None:
        """The next thing to do; None: wait for the network, or for the answer to Describe."""
        while not self._steps:
            if self._asked is not None or self._closed:
                return None
            event = self._reader.next()
            if event is None:
                return None
            self.events += 1
            if isinstance(event, Request):
                self.requests += 1
                self._request(event)
            elif isinstance(event, rtsp_message.Interleaved):
                self._interleaved(event)
            elif isinstance(event, Malformed):
                self._malformed(event)
        return self._steps.pop(0)

    def described(self, sdp: str) -> None:
        """The answer to Describe."""
        assert self._asked is not None
        (request, url), self._asked = self._asked, None
        assert url.stream is not None
        base = base_url(url.authority or self._authority, url.stream)
        fields = [("Content-Base", base), ("Content-Type", "application/sdp")]
        self._reply(request, 200, *fields, body=sdp)

    def refused(self, reason: str) -> None:
        """The other answer: not now, and why."""
        assert self._asked is not None
        (request, _), self._asked = self._asked, None
        self._reply(request, 503, ("Retry-After", "2"), body=f"{reason}\r\n")

    # ---- events -----------------------------------------------------------------------------------------

    def _interleaved(self, event: rtsp_message.Interleaved) -> None:
        for session in self.sessions.values():
            delivery = session.delivery
            if isinstance(delivery, Interleaved) and delivery.channels[1] == event.channel:
                self._steps.append(Feedback(session, event.data))

    def _malformed(self, event: Malformed) -> None:
        self._faults += 1
        if event.status:
            cseq = parse_cseq(event.headers.get("CSeq") or "")
            fields = [("CSeq", cseq)] if cseq is not None else []
            self._steps.append(Reply(encode(Response(event.status, fields)), fault=True))
        if event.close or self._faults >= FAULTS_MAX:
            self._closed = True
            self._steps.append(Close("not RTSP"))

    def _request(self, request: Request) -> None:
        headers = request.headers
        url = parse_url(request.url)
        if parse_cseq(headers.get("CSeq") or "") is None or url is None:
            self._reply(request, 400)
        elif request.version != "1.0":
            self._reply(request, 505)
        elif options := parse_list(headers.all("Require")) + parse_list(headers.all("Proxy-Require")):
            self._reply(request, 551, ("Unsupported", ", ".join(options)))
        elif request.method in OTHER_METHODS:
            self._reply(request, 405, ("Allow", ", ".join(METHODS)))
        elif request.method not in METHODS:
            self._reply(request, 501, ("Public", ", ".join(METHODS)))
        else:
            self._known_method(request, url)

    def _known_method(self, request: Request, url: Url) -> None:
        given = request.headers.get("Session")
        session = self.sessions.get(parse_session(given)) if given is not None else None
        if given is not None and session is None:
            self._reply(request, 454)
        elif session is not None and request.method not in VALID_METHODS[session.state]:
            self._reply(request, 455, ("Allow", ", ".join(VALID_METHODS[session.state])))
        elif request.method == "OPTIONS":
            self._reply(request, 200, ("Public", ", ".join(METHODS)))
        elif request.method in ("GET_PARAMETER", "SET_PARAMETER"):
            self._parameters(request)
        elif request.method == "DESCRIBE":
            self._describe(request, url)
        elif request.method == "SETUP":
            self._setup(request, url, session)
        elif session is None:
            self._reply(request, 454)
        elif request.method == "PLAY":
            self._play(request, session)
        elif request.method == "PAUSE":
            session.state = State.READY
            self._steps.append(Pause(session))
            self._reply(request, 200, ("Session", session.id))
        else:
            del self.sessions[session.id]
            self._steps.append(End(session))
            self._reply(request, 200)

    # ---- methods ----------------------------------------------------------------------------------------

    def _parameters(self, request: Request) -> None:
        text = request.body.decode("utf-8", "replace")
        names = [line.partition(":")[0].strip() for line in text.splitlines() if line.strip()]
        if names:
            body = "".join(f"{name}\r\n" for name in names)
            self._reply(request, 451, ("Content-Type", "text/parameters"), body=body)
        else:
            given = request.headers.get("Session")
            self._reply(request, 200, *([("Session", parse_session(given))] if given is not None else []))

    def _describe(self, request: Request, url: Url) -> None:
        if url.whole_server:
            self._reply(request, 400)
        elif (denial := self._denial(request, url)) is not None:
            self._steps.append(denial)
        elif url.stream is None or url.stream not in self._streams:
            self._reply(request, 404)
        elif not accepts_sdp(request.headers.all("Accept")):
            self._reply(request, 406)
        else:
            self._asked = request, url
            self._steps.append(Describe(url.stream))

    def _setup(self, request: Request, url: Url, session: Session | None) -> None:
        offered = request.headers.all("Transport")
        if offered is None or url.whole_server:
            self._reply(request, 400)
            return
        denial = self._denial(request, url)
        if denial is not None:
            self._steps.append(denial)
            return
        if url.stream is None or url.stream not in self._streams:
            self._reply(request, 404)
            return
        if session is not None and session.stream != url.stream:
            self._reply(request, 459)
            return
        if session is None and len(self.sessions) >= SESSIONS_MAX:
            self._reply(request, 453)
            return
        delivery = self._deliver(parse_transports(offered), session)
        if delivery is None:
            self._reply(request, 461)
            return
        if session is None:
            session = Session(self._new_session_id(), url.stream, delivery)
            self.sessions[session.id] = session
        session.delivery = delivery
        fields = [
            ("Transport", delivery.text),
            ("Session", format_session(session.id, self._timeout_s)),
        ]
        self._reply(request, 200, *fields)

    def _denial(self, request: Request, url: Url) -> Reply | None:
        """The answer to a client that may not have the stream, if there is one of this name; None: he may."""
        if self._login is None:
            return None
        authorization = request.headers.get("Authorization")
        verdict = self._login.watch(url.stream or "", request.method, request.url, authorization)
        if verdict.outcome is Outcome.GRANTED:
            return None
        data = self._response(request, DENIALS[verdict.outcome], *verdict.fields)
        return Reply(data, fault=verdict.outcome is not Outcome.CHALLENGED, late=verdict.late)

    def _play(self, request: Request, session: Session) -> None:
        given = request.headers.get("Range")
        asked = parse_range(given) if given is not None else None
        if asked is not None and asked.end_s is not None and asked.end_s < (asked.start_s or 0.0):
            self._reply(request, 457)
            return
        self._reply(request, 200, ("Session", session.id), ("Range", LIVE_RANGE))
        if session.state is not State.PLAYING:
            session.state = State.PLAYING
            self._steps.append(Play(session, request.headers.get("User-Agent") or ""))

    def _deliver(self, offered: list[Transport], session: Session | None) -> Delivery | None:
        """What is taken of the offers; the session's former way is given up for another."""
        others = [other.delivery for other in self.sessions.values() if other is not session]
        taken = {channel for other in others if isinstance(other, Interleaved) for channel in other.channels}
        former = session.delivery if session is not None else None
        had = former if isinstance(former, Unicast) else None

        def claim(client_ports: Pair) -> Pair | None:
            if had is not None and had.client_ports == client_ports:
                return had.server_ports
            return self._ports.claim(client_ports)

        delivery = choose(offered, self._peer, frozenset(taken), claim)
        if had is not None and delivery is not None and delivery != had:
            self._ports.release(had.client_ports)
        return delivery

    def _reply(self, request: Request, status: int, *fields: tuple[str, str], body: str = "") -> None:
        self._steps.append(Reply(self._response(request, status, *fields, body=body), fault=status != 200))

    def _response(self, request: Request, status: int, *fields: tuple[str, str], body: str = "") -> bytes:
        cseq = parse_cseq(request.headers.get("CSeq") or "")
        echoed = [("CSeq", cseq)] if cseq is not None else []
        return encode(Response(status, [*echoed, *fields], body.encode()))
