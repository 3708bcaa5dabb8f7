"""What is fed with anything at all: each takes bytes, and fails where ours does not keep its word.

An exception that is not promised is a failure, and so is each assertion here. Pure, so that a failure comes again.
"""

import base64
import re
from collections.abc import Callable, Iterable
from itertools import count

import h11

from common import config, source_spec, wire
from common.errors import MessageError, SettingsError
from common.sample import Payload
from server.auth import Accounts, Login, Outcome, is_of
from server.auth_headers import parse_authorization
from server.http_requests import Ask, HttpDialogue, Send, Topic, index_page
from server.http_requests import Close as HttpClose
from server.rtcp import parse_reports
from server.rtsp_headers import accepts_sdp, parse_cseq, parse_list, parse_range, parse_session, parse_url
from server.rtsp_message import REASONS, Reader, Response
from server.rtsp_state import SESSIONS_MAX, Dialogue
from server.rtsp_steps import Close, Describe, End, Pause, Play, Reply, State, Step
from server.rtsp_transport import Multicast, Pair, parse_transports

PASSWORD = "none of the inputs knows it: " + base64.b64encode(bytes(range(24))).decode()
USERS = {"alice": {"password": PASSWORD, "streams": ["*"]}}
GUARDED = config.from_document({"users": USERS, "auth": {"digest": "both", "basic": "always"}})
STREAMS = {"cam": Payload.TS, "av": Payload.TS, "ts": Payload.TS, "h264": Payload.NATIVE}
ANSWERS_MAX = 4  # to a message: a response, and the few steps with it


class FreePorts:
    """All of the client's, until released."""

    def __init__(self) -> None:
        self.claimed: set[Pair] = set()

    def claim(self, client_ports: Pair) -> Pair | None:
        """Once each."""
        if client_ports in self.claimed:
            return None
        self.claimed.add(client_ports)
        return 8000, 8001

    def release(self, client_ports: Pair) -> None:
        """Only what was claimed."""
        self.claimed.remove(client_ports)

    def group(self, _stream: str, _payload: Payload, _track: int) -> Multicast:
        """One for all."""
        return Multicast("239.1.2.3", (20_000, 20_001), 1)


def _login(*, protected: bool) -> Login:
    accounts = Accounts(GUARDED, b"x")
    return Login(accounts, "192.0.2.1", "scope", lambda: 0, secure=False, protected=protected)


def pieces(data: bytes, size: int) -> Iterable[bytes]:
    """The data in pieces of `size` bytes; 0: whole."""
    return [data[at : at + size] for at in range(0, len(data), size)] if size and data else [data]


def rtsp(data: bytes) -> None:
    """Bytes 0 and 1: whether a login is wanted, and the pieces that the rest comes in, or that it comes whole."""
    guarded, size = data[:1] > b"\x7f", data[1] if data[1:2] < b"\x80" and len(data) > 1 else 0
    whole = _converse(data[2:], 0, guarded)
    if size:
        assert _converse(data[2:], size, guarded) == whole, "the same in pieces as whole"


def _converse(data: bytes, size: int, guarded: bool) -> list[bytes]:
    """A whole connection; what it answered."""
    ports = FreePorts()
    numbers = count(1)
    login = _login(protected=False) if guarded else None
    dialogue = Dialogue(STREAMS, "rtsp://h:8554", 60, lambda: f"id{next(numbers)}", "192.0.2.1", ports, login)
    playing: set[str] = set()
    replies: list[bytes] = []
    closed = False
    for piece in pieces(data, size):
        dialogue.receive(piece)
        while (step := dialogue.next_step()) is not None:
            assert not closed, "nothing after Close"
            _check(step, playing)
            closed = isinstance(step, Close)
            if isinstance(step, Reply):
                replies.append(step.data)
            elif isinstance(step, Play):
                dialogue.played({0: (1, 2), 1: (3, 4)} if len(replies) % 2 else {})
            elif isinstance(step, Describe):
                assert not guarded, "a stream for who does not know the password"
                assert step.stream in STREAMS
                if len(replies) % 2:
                    dialogue.refused("not now", unsuited=len(replies) % 4 == 1)
                else:
                    dialogue.described("v=0\r\n")
        assert len(dialogue.sessions) <= SESSIONS_MAX
        assert not (guarded and dialogue.sessions), "a session for who does not know the password"
        assert dialogue.buffered_bytes <= len(data)
    assert len(replies) <= ANSWERS_MAX * (dialogue.events + 1)
    return replies


def _check(step: Step, playing: set[str]) -> None:
    """A step makes sense after those before it."""
    match step:
        case Reply(data):
            reader = Reader()
            reader.receive(data)
            response = reader.next()
            assert isinstance(response, Response)
            assert not reader.incomplete
            assert response.status in REASONS
            head = data.partition(b"\r\n\r\n")[0]
            assert not re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|(?<!\r)\n", head), (
                "one header a line"
            )
        case Play(session):
            assert session.state is State.PLAYING
            assert session.id not in playing
            playing.add(session.id)
        case Pause(session):
            assert session.state is State.READY
            playing.remove(session.id)
        case End(session):
            playing.discard(session.id)


def http(data: bytes) -> None:
    """Byte 0 and 1: as of `rtsp`."""
    guarded, size = data[:1] > b"\x7f", data[1] % 64 if len(data) > 1 else 0
    ports = {"rtsp": 8554, "http": 8080}
    dialogue = HttpDialogue(
        list(STREAMS),
        lambda names, host: index_page(names, host, ports),
        _login(protected=True) if guarded else None,
    )
    closed = False
    sent = b""
    for piece in [*pieces(data[2:], size), b""]:
        dialogue.receive(piece)
        while (step := dialogue.next_step()) is not None:
            assert not closed, "nothing after Close"
            match step:
                case Send():
                    assert step.data.startswith(b"HTTP/1.1 ")
                    sent = sent or step.data
                case HttpClose():
                    closed = True
                case Ask(topic=Topic.STREAM):
                    assert not guarded, "a stream for who does not know the password"
                    assert step.stream in STREAMS
                    dialogue.stream_head()
                case Ask():
                    assert not guarded or step.topic is Topic.HEALTH
                    dialogue.respond(200, "application/json", b"{}")
    dialogue.time_out()
    if sent and not data[2:].lstrip().startswith(b"HEAD"):
        _read_by_a_client(sent)


def _read_by_a_client(sent: bytes) -> None:
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method="GET", target="/", headers=[("Host", "h")]))
    reader.send(h11.EndOfMessage())
    reader.receive_data(sent)
    assert isinstance(reader.next_event(), h11.Response)


def authorization(data: bytes) -> None:
    """The header of somebody who does not know the password."""
    text = data.decode("utf-8", "replace")
    parse_authorization(text)
    for scheme in ("Digest", "Basic"):
        given = f"{scheme} {text}"
        parse_authorization(given)
        for protected in (False, True):
            verdict = _login(protected=protected).watch("cam", "DESCRIBE", text, given)
            assert verdict.outcome in (Outcome.CHALLENGED, Outcome.FAILED)
            assert verdict.fields
    is_of(text, "rtsp://h/cam")
    is_of("rtsp://h/cam", text)


def headers(data: bytes) -> None:
    """Values of RTSP headers, and URLs."""
    text = data.decode("utf-8", "replace")
    for transport in parse_transports(text):
        for pair in (transport.interleaved, transport.client_port):
            assert pair is None or (min(pair) >= 0 and max(pair) <= 65535 and pair[0] != pair[1])
    parse_range(text)
    accepts_sdp(text)
    parse_list(text)
    parse_session(text)
    cseq = parse_cseq(text)
    assert cseq is None or cseq == text
    url = parse_url(text)
    if url is not None and url.target is not None:
        assert "/" not in url.target.stream


def rtcp(data: bytes) -> None:
    """A datagram on the RTCP port."""
    blocks = parse_reports(data)
    assert blocks is None or all(0 <= block.fraction_lost < 1 for block in blocks)


def settings(data: bytes) -> None:
    """A settings file."""
    try:
        found = config.parse(data.decode("utf-8", "replace"))
    except SettingsError:
        return
    assert config.parse(config.dump(found)) == found
    for stream in found.streams.values():
        try:
            source_spec.parse(stream.source)
        except SettingsError:
            pass  # as promised


def messages(data: bytes) -> None:
    """A message of another process; byte 0: how long its first part is."""
    first = data[0] if data else 0
    try:
        wire.decode([data[1 : 1 + first], data[1 + first :]])
    except MessageError:
        pass  # as promised


TARGETS: dict[str, Callable[[bytes], None]] = {
    "rtsp": rtsp,
    "http": http,
    "authorization": authorization,
    "headers": headers,
    "rtcp": rtcp,
    "settings": settings,
    "messages": messages,
}
