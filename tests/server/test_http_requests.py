"""The server's end of an HTTP connection."""

import json
from typing import NamedTuple

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.http_requests import (
    BODY_BYTES_MAX,
    HEAD_BYTES_MAX,
    Ask,
    Close,
    HttpDialogue,
    Send,
    Step,
    Topic,
    index_page,
)

STREAMS = ["cam", "two"]
PORTS = {"rtsp": 8554, "http": 8080}
HOST = b"Host: h:8080\r\n"


class Answer(NamedTuple):
    status: int
    fields: dict[str, str]
    body: bytes


class Client:
    """Feeds a dialogue, answers its questions, and reads the answers with h11's client."""

    def __init__(self) -> None:
        self.dialogue = HttpDialogue(STREAMS, lambda names, host: index_page(names, host, PORTS))
        self.asked: list[Ask] = []
        self.closed = False
        self.faults = 0

    def receive(self, data: bytes) -> bytes:
        """What the server sends to these bytes."""
        self.dialogue.receive(data)
        sent = b""
        while (step := self.dialogue.next_step()) is not None:
            assert not self.closed, "something after Close"
            sent += self._do(step)
        return sent

    def _do(self, step: Step) -> bytes:
        match step:
            case Send(data, fault):
                self.faults += fault
                return data
            case Close():
                self.closed = True
            case Ask():
                self.asked.append(step)
                if step.topic is Topic.STREAM:
                    return self.dialogue.stream_head()
                self.dialogue.respond(200, "application/json", b'{"ok": true}')
        return b""


def parse(sent: bytes, method: str = "GET") -> Answer:
    """One answer, strictly."""
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method=method, target="/", headers=[("Host", "h")]))
    reader.send(h11.EndOfMessage())
    reader.receive_data(sent)
    response = reader.next_event()
    assert isinstance(response, h11.Response)
    fields = {name.decode(): value.decode() for name, value in response.headers}
    body = b""
    while isinstance(event := reader.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert reader.trailing_data[0] == b""
    return Answer(response.status_code, fields, body)


def method_of(request: bytes) -> str:
    return "HEAD" if request.startswith(b"HEAD ") else "GET"


def ask(request: bytes) -> tuple[Answer, Client]:
    client = Client()
    return parse(client.receive(request), method_of(request)), client


STATUSES = [
    (b"GET / HTTP/1.1\r\n" + HOST + b"\r\n", 200, False),
    (b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n", 200, False),
    (b"GET /api/stats?x=1 HTTP/1.1\r\n" + HOST + b"\r\n", 200, False),
    (b"GET http://h/healthz HTTP/1.1\r\n" + HOST + b"\r\n", 200, False),
    (b"GET /health%7A HTTP/1.1\r\n" + HOST + b"\r\n", 200, False),
    (b"GET /healthz HTTP/1.0\r\n\r\n", 200, True),
    (b"GET /healthz HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n", 200, True),
    (b"GET /healthz HTTP/1.1\r\nContent-Length: 3\r\n" + HOST + b"\r\nabc", 200, False),
    (b"GET /healthz HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n" + HOST + b"\r\n", 200, True),
    (b"HEAD /healthz HTTP/1.1\r\n" + HOST + b"\r\n", 200, False),
    (b"GET /none.ts HTTP/1.1\r\n" + HOST + b"\r\n", 404, False),
    (b"GET /cam HTTP/1.1\r\n" + HOST + b"\r\n", 404, False),
    (b"GET /cam.ts/ HTTP/1.1\r\n" + HOST + b"\r\n", 404, False),
    (b"GET /../cam.ts HTTP/1.1\r\n" + HOST + b"\r\n", 404, False),
    (b"GET //cam.ts HTTP/1.1\r\n" + HOST + b"\r\n", 404, False),
    (b"HEAD /none HTTP/1.1\r\n" + HOST + b"\r\n", 404, False),
    (b"DELETE /cam.ts HTTP/1.1\r\n" + HOST + b"\r\n", 405, False),
    (b"POST / HTTP/1.1\r\nContent-Length: 3\r\n" + HOST + b"\r\nabc", 405, False),
    (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", 404, False),
    (b"GET / HTTP/1.1\r\n\r\n", 400, True),
    (b"GET /\r\n\r\n", 400, True),
    (b"nonsense\r\n\r\n", 400, True),
    (b"\x16\x03\x01\x02\r\n\r\n", 400, True),
    (b"GET / HTTP/1.1\r\nContent-Length: -1\r\n" + HOST + b"\r\n", 400, True),
    (b"GET / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n" + HOST + b"\r\n", 501, True),
    (b"GET / HTTP/1.1\r\nX: " + b"a" * HEAD_BYTES_MAX, 431, True),
    (
        b"GET / HTTP/1.1\r\nContent-Length: %d\r\n" % (BODY_BYTES_MAX + 1) + HOST + b"\r\n"
        + bytes(BODY_BYTES_MAX + 1),
        413, True,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("request_bytes", "status", "closes"), STATUSES)
def test_statuses(request_bytes: bytes, status: int, closes: bool) -> None:
    answer, client = ask(request_bytes)
    assert answer.status == status
    assert client.closed is closes
    assert client.faults == (status >= 400)
    assert answer.fields["cache-control"] == "no-store"
    if status == 405:
        assert answer.fields["allow"] == "GET, HEAD"
    if closes:
        assert answer.fields["connection"] == "close"


@pytest.mark.parametrize(("request_bytes", "status", "closes"), [case for case in STATUSES if len(case[0]) < 999])
def test_byte_by_byte(request_bytes: bytes, status: int, closes: bool) -> None:
    client = Client()
    sent = b""
    for at in range(len(request_bytes)):
        if not client.closed:
            sent += client.receive(request_bytes[at : at + 1])
    assert parse(sent, method_of(request_bytes)).status == status
    assert client.closed is closes


def test_pipelined_requests_are_answered_in_order() -> None:
    client = Client()
    paths = ["/", "/none", "/healthz"]
    sent = client.receive(b"".join(b"GET %b HTTP/1.1\r\n%b\r\n" % (path.encode(), HOST) for path in paths))
    statuses = [int(part[:3]) for part in sent.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [200, 404, 200]
    assert not client.closed
    assert client.dialogue.requests == 3


def test_a_stream_goes_past_http() -> None:
    client = Client()
    sent = client.receive(b"GET /cam.ts HTTP/1.1\r\nUser-Agent: me\r\n" + HOST + b"\r\n")
    assert client.asked == [Ask(Topic.STREAM, "cam", False, "me")]
    head, _, rest = sent.partition(b"\r\n\r\n")
    assert rest == b""
    lines = head.decode().split("\r\n")
    assert lines[0] == "HTTP/1.1 200 OK"
    fields = dict(line.split(": ") for line in lines[1:])
    assert fields == {
        "Server": "framegate",
        "Content-Type": "video/mp2t",
        "Cache-Control": "no-store",
        "Connection": "close",
    }
    assert client.dialogue.streaming
    assert client.receive(b"GET / HTTP/1.1\r\n\r\n") == b""
    assert client.receive(b"") == b""
    assert not client.closed


def test_head_of_a_stream() -> None:
    client = Client()
    sent = client.receive(b"HEAD /cam.ts HTTP/1.1\r\n" + HOST + b"\r\n")
    assert b"Content-Type: video/mp2t\r\n" in sent
    assert sent.endswith(b"\r\n\r\n")
    assert client.asked == [Ask(Topic.STREAM, "cam", True, "")]
    assert client.closed
    assert not client.dialogue.streaming


def test_a_stream_that_has_not_started() -> None:
    dialogue = HttpDialogue(STREAMS, lambda *_: "")
    dialogue.receive(b"GET /cam.ts HTTP/1.1\r\n" + HOST + b"\r\nGET /none HTTP/1.1\r\n" + HOST + b"\r\n")
    assert isinstance(dialogue.next_step(), Ask)
    assert dialogue.next_step() is None
    assert dialogue.waiting
    dialogue.fail(503, "no source", ("Retry-After", "2"))
    step = dialogue.next_step()
    assert isinstance(step, Send)
    assert step.fault
    answer = parse(step.data)
    assert (answer.status, answer.body, answer.fields["retry-after"]) == (503, b"no source\n", "2")
    assert isinstance(dialogue.next_step(), Send)  # and the connection goes on


def test_the_end_of_the_input() -> None:
    client = Client()
    client.receive(b"")
    assert client.closed
    client = Client()
    sent = client.receive(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
    assert parse(sent).status == 200
    client.receive(b"")
    assert client.closed
    client = Client()
    client.receive(b"GET / HT")
    assert not client.dialogue.idle
    client.receive(b"")
    assert client.closed


def test_a_request_that_does_not_end() -> None:
    client = Client()
    assert client.dialogue.idle
    client.receive(b"GET / HTTP/1.1\r\n" + HOST)
    assert not client.dialogue.idle
    answer = parse(client.dialogue.time_out())
    assert answer.status == 408
    assert answer.fields["connection"] == "close"


def test_the_index_names_every_stream_for_the_host_that_was_asked() -> None:
    answer, _ = ask(b"GET / HTTP/1.1\r\nHost: a.example:99\r\n\r\n")
    page = answer.body.decode()
    for name in STREAMS:
        assert f'href="rtsp://a.example:8554/{name}"' in page
        assert f'href="http://a.example:8080/{name}.ts"' in page
    assert "[::1]:8554" in ask(b"GET / HTTP/1.1\r\nHost: [::1]:99\r\n\r\n")[0].body.decode()
    page = ask(b'GET / HTTP/1.1\r\nHost: "><script>\r\n\r\n')[0].body.decode()
    assert "<script>" not in page


def test_json_is_passed_on() -> None:
    answer, client = ask(b"GET /api/stats HTTP/1.1\r\n" + HOST + b"\r\n")
    assert json.loads(answer.body) == {"ok": True}
    assert answer.fields["content-type"] == "application/json"
    assert [asked.topic for asked in client.asked] == [Topic.STATS]


@given(
    st.lists(
        st.sampled_from([case[0] for case in STATUSES if len(case[0]) < 999]) | st.binary(max_size=40), max_size=4
    )
)
def test_any_bytes_do_no_harm(pieces: list[bytes]) -> None:
    client = Client()
    for piece in pieces:
        if not client.closed:
            sent = client.receive(piece)
            assert not sent or sent.startswith(b"HTTP/1.1 ")
