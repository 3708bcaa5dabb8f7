"""The server's end of one RTSP control connection: bytes in, steps out (RFC 2326, version 1.0). Pure.

Theory of operation
-------------------
The shell gives `receive` what came off the network and calls `next_step` until it returns None; each step is
something to send or to do, in order. After a `Describe` step nothing more comes until `described` or `refused`,
after `Play` until `played`: requests behind it wait in their place. A session (RFC 2326 A.2) belongs to the
connection that set it up:

    (none) --SETUP--> READY --PLAY--> PLAYING --PAUSE--> READY;   TEARDOWN ends it in any state

and is found by its Session header, never by the URL: PLAY and the others mean all tracks that were set up, by the
stream's URL and by a track's alike. A stream in MPEG-TS has one track, in native payloads one or two. What clients
do beside the standard and is put up with here: see `rtsp_headers`, the rules below, and
`tests/golden/client_dialogues.json`.

What each method is answered in each state; no session: none is named. The tests read this very table:

    method         no session  ready  playing
    OPTIONS        200         200    200
    DESCRIBE       200         200    200
    SETUP          200         200    455
    PLAY           454         200    200
    PAUSE          454         455    200
    TEARDOWN       454         200    200
    GET_PARAMETER  200         200    200
    SET_PARAMETER  200         200    200
    ANNOUNCE       405         405    405
    RECORD         405         405    405
    REDIRECT       405         405    405
    others         501         501    501

Rules
-----
1. CSeq is required and echoed; with every other fault the connection goes on where the framing allows it.
2. A Session header must name a session of this connection (454), in whatever request it stands.
3. A live stream plays from now: whatever Range asks for, the answer says `npt=now-`. It comes just before the
   first packet, so that RTP-Info is exact; where that takes too long, and behind a PAUSE, RTP-Info is left out.
4. GET_PARAMETER and SET_PARAMETER without a body are keep-alives; we have no parameters (451).
5. A SETUP of a session that does not play changes its transport (`rtsp_transport` has what can be chosen).
6. Require and Proxy-Require: we have no options (551).
7. DESCRIBE and SETUP want the right to the stream (`server.auth`). What follows names a session of this
   connection, which only SETUP has made.
"""

from collections.abc import Callable, Mapping

from common.sample import TRACKS_MAX, Payload
from server import rtsp_message
from server.auth import DENIALS, Login, Outcome
from server.rtsp_headers import (
    LIVE_RANGE,
    Target,
    Url,
    accepts_sdp,
    base_url,
    format_rtp_info,
    format_session,
    parse_cseq,
    parse_list,
    parse_range,
    parse_session,
    parse_url,
)
from server.rtsp_message import Malformed, Reader, Request, Response, encode
from server.rtsp_steps import Close, Describe, End, Feedback, Pause, Play, Reply, Session, State, Step
from server.rtsp_transport import Delivery, Interleaved, Pair, Ports, Transport, Unicast, choose, parse_transports

SESSIONS_MAX = 16  # of one connection
FAULTS_MAX = 32  # malformed requests until the connection is closed

METHODS = ("OPTIONS", "DESCRIBE", "SETUP", "PLAY", "PAUSE", "TEARDOWN", "GET_PARAMETER", "SET_PARAMETER")
OTHER_METHODS = ("ANNOUNCE", "RECORD", "REDIRECT")  # of RFC 2326, and not for us


_ALWAYS = ("OPTIONS", "DESCRIBE", "TEARDOWN", "GET_PARAMETER", "SET_PARAMETER")
VALID_METHODS = {
    State.READY: (*_ALWAYS, "SETUP", "PLAY"),
    State.PLAYING: (*_ALWAYS, "PLAY", "PAUSE"),
}


class Dialogue:
    """One control connection. See the module's docstring.

    streams: the names there are, and the payload of each. root: how to call ourselves where the client does not,
    like `rtsp://h:8554`. new_session_id: gives identifiers nobody can guess. peer: the client's address. ports:
    its UDP ports. login: who may have which of the streams; None: everybody all.
    """

    def __init__(
        self, streams: Mapping[str, Payload], root: str, timeout_s: int, new_session_id: Callable[[], str],
        peer: str, ports: Ports, login: Login | None = None,
    ) -> None:  # fmt: skip
        self._streams = streams
        self._peer = peer
        self._ports = ports
        self._root = root
        self._timeout_s = timeout_s
        self._new_session_id = new_session_id
        self._login = login
        self._reader = Reader()
        self._steps: list[Step] = []
        self._asked: tuple[Request, Url] | None = None
        self._playing: tuple[Request, Session] | None = None  # whose PLAY has not been answered
        self._media: dict[tuple[str, Payload], int] = {}  # how many there are, of what was described
        self._faults = 0
        self._closed = False
        self.sessions: dict[str, Session] = {}
        self.requests = 0
        self.events = 0  # messages and `$` frames that came to their end

    @property
    def waiting(self) -> bool:
        """Whether a Describe or Play step has not been answered."""
        return self._asked is not None or self._playing is not None

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
            if self.waiting or self._closed:
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
        target = url.target
        assert target is not None
        self._media[target.stream, self._payload(target)] = sdp.count("\nm=")
        base = base_url(url.root or self._root, url.path)
        fields = [("Content-Base", base), ("Content-Type", "application/sdp")]
        self._reply(request, 200, *fields, body=sdp)

    def refused(self, reason: str, unsuited: bool) -> None:
        """The other answer: why not now, or (unsuited) not in this payload."""
        assert self._asked is not None
        (request, _), self._asked = self._asked, None
        status, fields = (415, []) if unsuited else (503, [("Retry-After", "2")])
        self._reply(request, status, ("Content-Type", "text/plain"), *fields, body=f"{reason}\r\n")

    def played(self, numbers: Mapping[int, tuple[int, int]]) -> None:
        """The answer to Play. numbers: sequence and timestamp of each track's first packet; none: not known."""
        assert self._playing is not None
        (request, session), self._playing = self._playing, None
        tracks = [(session.urls[track], *numbers[track]) for track in sorted(session.tracks) if track in numbers]
        info = [("RTP-Info", format_rtp_info(tracks))] if tracks else []
        self._reply(request, 200, ("Session", session.id), ("Range", LIVE_RANGE), *info)

    # ---- events -----------------------------------------------------------------------------------------

    def _interleaved(self, event: rtsp_message.Interleaved) -> None:
        for session in self.sessions.values():
            for track, delivery in session.tracks.items():
                if isinstance(delivery, Interleaved) and delivery.channels[1] == event.channel:
                    self._steps.append(Feedback(session, track, event.data))

    def _malformed(self, event: Malformed) -> None:
        self._faults += 1
        if event.status:
            cseq = parse_cseq(event.headers.get("CSeq") or "")
            fields = [("CSeq", cseq)] if cseq is not None else []
            self._steps.append(Reply(encode(Response(event.status, fields)), fault=True))
        if event.close or self._faults >= FAULTS_MAX:
            self._closed = True
            self._steps.append(Close("not RTSP", fault=not event.status))

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
        target = self._target(url)
        if url.whole_server:
            self._reply(request, 400)
        elif (denial := self._denial(request, url)) is not None:
            self._steps.append(denial)
        elif target is None:
            self._reply(request, 404)
        elif not accepts_sdp(request.headers.all("Accept")):
            self._reply(request, 406)
        else:
            self._asked = request, url
            self._steps.append(Describe(target.stream, self._payload(target)))

    def _setup(self, request: Request, url: Url, session: Session | None) -> None:
        offered = request.headers.all("Transport")
        if offered is None or url.whole_server:
            self._reply(request, 400)
            return
        denial = self._denial(request, url)
        if denial is not None:
            self._steps.append(denial)
            return
        target = self._target(url)
        if target is None:
            self._reply(request, 404)
            return
        payload, track = self._payload(target), target.track or 0  # who names none means the first
        if track >= self._media.get((target.stream, payload), TRACKS_MAX):
            self._reply(request, 404)
            return
        if session is not None and (session.stream, session.payload) != (target.stream, payload):
            self._reply(request, 459)
            return
        if session is None and len(self.sessions) >= SESSIONS_MAX:
            self._reply(request, 453)
            return
        delivery = self._deliver(parse_transports(offered), session, target.stream, payload, track)
        if delivery is None:
            self._reply(request, 461)
            return
        if session is None:
            session = Session(self._new_session_id(), target.stream, payload, {})
            self.sessions[session.id] = session
        session.tracks[track] = delivery
        session.urls[track] = f"{url.root or self._root}/{url.path}"
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
        verdict = self._login.watch(
            url.target.stream if url.target is not None else "", request.method, request.url, authorization
        )
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
        self._playing = request, session
        if session.state is State.PLAYING:
            self.played({})
        else:
            session.state = State.PLAYING
            self._steps.append(Play(session, request.headers.get("User-Agent") or ""))

    def _target(self, url: Url) -> Target | None:
        """What the URL names, if there is such a stream."""
        target = url.target
        return target if target is not None and target.stream in self._streams else None

    def _payload(self, target: Target) -> Payload:
        return self._streams[target.stream] if target.payload is None else target.payload

    def _deliver(
        self, offered: list[Transport], session: Session | None, stream: str, payload: Payload, track: int
    ) -> Delivery | None:
        """What is taken of the offers; the track's former way is given up for another.

        So are those of the session's other tracks, if they were of another kind.
        """
        tracks = session.tracks if session is not None else {}
        former = tracks.get(track)
        ways = [way for other in self.sessions.values() for way in other.tracks.values() if way is not former]
        taken = {channel for way in ways if isinstance(way, Interleaved) for channel in way.channels}
        had = former if isinstance(former, Unicast) else None

        def claim(client_ports: Pair) -> Pair | None:
            if had is not None and had.client_ports == client_ports:
                return had.server_ports
            return self._ports.claim(client_ports)

        group = self._ports.group(stream, payload, track)
        delivery = choose(offered, self._peer, frozenset(taken), claim, group)
        if delivery is None:
            return None
        for number, way in list(tracks.items()):
            if way is former or type(way) is not type(delivery):
                del tracks[number]
                if isinstance(way, Unicast) and way != delivery:
                    self._ports.release(way.client_ports)
        return delivery

    def _reply(self, request: Request, status: int, *fields: tuple[str, str], body: str = "") -> None:
        self._steps.append(Reply(self._response(request, status, *fields, body=body), fault=status != 200))

    def _response(self, request: Request, status: int, *fields: tuple[str, str], body: str = "") -> bytes:
        cseq = parse_cseq(request.headers.get("CSeq") or "")
        echoed = [("CSeq", cseq)] if cseq is not None else []
        return encode(Response(status, [*echoed, *fields], body.encode()))
