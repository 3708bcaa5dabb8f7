"""Logins over RTSP and HTTP: the dialogues with them, and a server process that asks for them."""

import socket
import time
from collections.abc import Iterator

import pytest

from common.clock import now_us
from common.config import from_document
from common.passwords import digest_secret
from common.sample import Payload
from server.auth import Accounts, Login
from server.http_requests import Ask, HttpDialogue, Send, Topic
from server.login_failures import FAILURES_MAX
from server.rtsp_state import Dialogue
from server.rtsp_steps import Describe, Play, Reply
from tests.support.digest_client import basic_answer, challenges, digest_answer
from tests.support.fake_muxer import FakeMuxer
from tests.support.frame_source import Judge
from tests.support.rtsp_client import RtspClient
from tests.support.server_process import ServerProcess, watch
from tests.support.wait import until

PASSWORD = "open sesame"
ALICE = {"password": PASSWORD, "streams": ["cam"]}
BOSS = {"digest_md5": digest_secret("MD5", "boss", "framegate", PASSWORD), "stats": True}
SECTIONS: dict[str, dict[str, object]] = {
    "auth": {"basic": "always", "public": ["lobby"]},
    "users": {"alice": ALICE, "boss": BOSS},
}
TCP = "RTP/AVP/TCP;unicast;interleaved=0-1"


class NoPorts:
    """TCP alone."""

    def claim(self, client_ports: tuple[int, int]) -> None:
        """None are ours."""

    def release(self, client_ports: tuple[int, int]) -> None:
        """Never claimed."""

    def group(self, _stream: str, _payload: Payload, _track: int) -> None:
        """No multicast."""


def login(*, protected: bool) -> Login:
    accounts = Accounts(from_document(SECTIONS), b"secret")
    return Login(accounts, "192.0.2.1", "scope", lambda: 0, secure=False, protected=protected)


def headers(head: bytes) -> list[tuple[str, str]]:
    lines = head.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return [(name, value) for name, _, value in (line.partition(": ") for line in lines)]


class TestRtsp:
    def ask(self, dialogue: Dialogue, method: str, url: str, **fields: str) -> Reply:
        lines = [f"{method} {url} RTSP/1.0", "CSeq: 7", *(f"{name}: {value}" for name, value in fields.items())]
        dialogue.receive("\r\n".join([*lines, "", ""]).encode())
        step = dialogue.next_step()
        if isinstance(step, Describe):
            dialogue.described("v=0\r\nm=video 0 RTP/AVP 33\r\n")
            step = dialogue.next_step()
        elif isinstance(step, Play):
            dialogue.played({})
            step = dialogue.next_step()
        assert isinstance(step, Reply)
        assert ("CSeq", "7") in headers(step.data)
        return step

    def dialogue(self) -> Dialogue:
        return Dialogue(
            dict.fromkeys(("cam", "two", "lobby"), Payload.TS),
            "rtsp://h",
            60,
            lambda: "id",
            "192.0.2.1",
            NoPorts(),
            login(protected=False),
        )

    def status(self, reply: Reply) -> int:
        return int(reply.data[9:12])

    def test_what_is_asked_of_whom(self) -> None:
        dialogue = self.dialogue()
        assert self.status(self.ask(dialogue, "OPTIONS", "*")) == 200
        assert self.status(self.ask(dialogue, "DESCRIBE", "rtsp://h/lobby")) == 200
        for method in ("DESCRIBE", "SETUP"):
            answers = set()
            for stream in ("cam", "two", "none", "cam/stream=9", ""):
                reply = self.ask(dialogue, method, f"rtsp://h/{stream}", Transport=TCP)
                assert (self.status(reply), reply.fault, reply.late) == (401, False, False)
                answers.add(len(reply.data))
            assert len(answers) == 1, "they all look the same"

    def test_a_whole_dialogue(self) -> None:
        dialogue = self.dialogue()
        url = "rtsp://h/cam"
        challenge = challenges(headers(self.ask(dialogue, "DESCRIBE", url).data))[0]

        def answer(method: str, uri: str, password: str = PASSWORD, count: int | None = 1) -> str:
            return digest_answer(challenge, method, uri, "alice", password, count=count)

        assert self.status(self.ask(dialogue, "DESCRIBE", url, Authorization=answer("DESCRIBE", url))) == 200
        track = f"{url}/stream=0"
        for uri, count in ((track, 2), (url, 3), (f"{url}/", 4), ("stream=0", 5), (track, None)):
            fields = {"Transport": TCP, "Authorization": answer("SETUP", uri, count=count)}
            assert self.status(self.ask(dialogue, "SETUP", track, **fields)) == 200, uri
        assert self.status(self.ask(dialogue, "PLAY", url, Session="id")) == 200, "the session is his"

    def test_refusals(self) -> None:
        dialogue = self.dialogue()

        def given(stream: str, text: str) -> tuple[int, bool, bool]:
            reply = self.ask(dialogue, "DESCRIBE", f"rtsp://h/{stream}", Authorization=text)
            return self.status(reply), reply.fault, reply.late

        right = basic_answer("alice", PASSWORD)
        assert given("cam", right) == (200, False, False)
        assert given("two", right) == given("none", right) == (404, True, False)
        for _ in range(FAILURES_MAX):
            assert given("cam", basic_answer("alice", "no")) == (401, True, True)
        assert given("cam", right) == (403, True, False)


class TestHttp:
    def ask(self, dialogue: HttpDialogue, target: str, authorization: str = "", method: str = "GET") -> Send | Ask:
        lines = [f"{method} {target} HTTP/1.1", "Host: h"]
        lines += [f"Authorization: {authorization}"] if authorization else []
        dialogue.receive("\r\n".join([*lines, "", ""]).encode())
        step = dialogue.next_step()
        assert isinstance(step, Send | Ask)
        if isinstance(step, Ask):
            dialogue.respond(200, "text/plain", b"")
            dialogue.next_step()
        return step

    def status(self, dialogue: HttpDialogue, target: str, authorization: str = "", method: str = "GET") -> int:
        step = self.ask(dialogue, target, authorization, method)
        if isinstance(step, Ask):
            return 200
        status = int(step.data[9:12])
        assert step.fault is (status >= 400 and (status != 401 or step.late))
        return status

    def dialogue(self) -> HttpDialogue:
        return HttpDialogue(["cam", "two", "lobby"], lambda streams, _: " ".join(streams), login(protected=True))

    def test_what_is_asked_of_whom(self) -> None:
        dialogue = self.dialogue()
        assert self.status(dialogue, "/healthz") == self.status(dialogue, "/lobby.ts") == 200
        for target in ("/", "/cam.ts", "/none.ts", "/api/stats", "/none", "*"):
            for method in ("GET", "HEAD", "DELETE"):
                assert self.status(dialogue, target, method=method) == 401, target

    def test_basic(self) -> None:
        dialogue = self.dialogue()
        alice, boss = basic_answer("alice", PASSWORD), basic_answer("boss", PASSWORD)
        asked = [self.ask(dialogue, target, alice) for target in ("/cam.ts", "/two.ts", "/none.ts", "/api/stats")]
        assert asked[0] == Ask(Topic.STREAM, "cam")
        assert [int(step.data[9:12]) for step in asked[1:] if isinstance(step, Send)] == [404, 404, 403]
        assert [step.data[13:] for step in asked[1:2] if isinstance(step, Send)] == [
            step.data[13:] for step in asked[2:3] if isinstance(step, Send)
        ]
        assert self.status(dialogue, "/api/stats", boss) == 200
        index = self.ask(dialogue, "/", alice)
        assert isinstance(index, Send)
        assert index.data.endswith(b"\r\n\r\ncam"), "his own streams"
        wrong = self.ask(dialogue, "/cam.ts", basic_answer("alice", "no"))
        assert isinstance(wrong, Send)
        assert (wrong.data[9:12], wrong.late) == (b"401", True)

    def test_digest(self) -> None:
        dialogue = self.dialogue()
        first = self.ask(dialogue, "/cam.ts?x=1")
        assert isinstance(first, Send)
        challenge = challenges(headers(first.data))[0]
        answer = digest_answer(challenge, "GET", "/cam.ts?x=1", "alice", PASSWORD)
        assert self.status(dialogue, "/cam.ts?x=1", answer) == 200
        assert self.status(dialogue, "/cam.ts?x=1", answer) == 401, "said again"
        old = digest_answer(challenge, "GET", "/cam.ts?x=1", "alice", PASSWORD, count=None)
        assert self.status(dialogue, "/cam.ts?x=1", old) == 401, "without qop it could be said again"
        assert self.status(
            dialogue, "/cam.ts", digest_answer(challenge, "GET", "/cam.ts", "alice", PASSWORD, count=2)
        ) == 200  # fmt: skip

    def test_a_user_whose_name_is_not_ascii(self) -> None:
        accounts = Accounts(from_document({"users": {"jürgen": {"password": "ö"}}}), b"")
        one = Login(accounts, "h", "h", now_us, secure=False, protected=True)
        dialogue = HttpDialogue(["cam"], lambda *_: "", one)
        first = self.ask(dialogue, "/cam.ts")
        assert isinstance(first, Send)
        answer = digest_answer(challenges(headers(first.data))[0], "GET", "/cam.ts", "jürgen", "ö")
        assert self.status(dialogue, "/cam.ts", answer) == 200


@pytest.fixture(scope="module")
def guarded() -> Iterator[ServerProcess]:
    sections: dict[str, dict[str, object]] = {**SECTIONS, "log": {"level": "debug"}}
    with ServerProcess("cam", "two", sections=sections) as process:
        yield process


def test_a_viewer_logs_in(guarded: ServerProcess) -> None:
    with FakeMuxer(guarded.directory, "cam", "two") as muxer, RtspClient(guarded.rtsp("cam")) as client:
        muxer.produce("cam", sync=True)
        first = client.request("DESCRIBE")
        assert first.status == 401
        assert first.headers["www-authenticate"] == 'Basic realm="framegate"', "the last of two"
        right = basic_answer("alice", PASSWORD)
        assert client.request("DESCRIBE", Authorization=right).status == 200
        again = client.request("SETUP", Transport=TCP, Authorization=right)
        assert again.status == 200
        client.session = again.headers["session"].partition(";")[0]
        client.play()
        watch(client, Judge(), (muxer.epoch, 0))


def test_a_wrong_password_is_refused_late_and_counted(guarded: ServerProcess) -> None:
    failed = guarded.counter("logins_failed")
    with RtspClient(guarded.rtsp("cam")) as client:
        client.send("DESCRIBE", Authorization=basic_answer("alice", "not it"))
        began_s = time.monotonic()
        assert client.response().status == 401
        assert time.monotonic() - began_s > 0.9
        assert client.request("OPTIONS", "*").status == 200, "the connection goes on"
    for path in ("/cam.ts", "/api/stats"):
        with socket.create_connection(("127.0.0.1", guarded.http_port), timeout=10) as http:
            http.sendall(
                f"GET {path} HTTP/1.1\r\nHost: h\r\nAuthorization: {basic_answer('boss', 'not it')}\r\n\r\n"
                "GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode()
            )
            began_s = time.monotonic()
            data = b""
            while piece := http.recv(65536):
                data += piece
            assert data.startswith(b"HTTP/1.1 401 ")
            assert data.count(b"HTTP/1.1 ") == 2, "what came behind it is answered, too"
            assert time.monotonic() - began_s > 0.9
    until(lambda: guarded.counter("logins_failed") == failed + 3, 5, "them to be counted")


def test_no_password_in_the_log(guarded: ServerProcess) -> None:
    with RtspClient(guarded.rtsp("cam").replace("rtsp://", "rtsp://alice:open%20sesame@")) as client:
        for text in (basic_answer("alice", "open sesame!"), basic_answer("alice", PASSWORD), "open sesame"):
            client.request("DESCRIBE", Authorization=text, User_Agent="x")
    until(lambda: "event=login_failed" in guarded.log, 5, "the log")
    secrets = (PASSWORD, "open%20sesame", BOSS["digest_md5"], basic_answer("alice", PASSWORD)[6:], "not it")
    assert [secret for secret in secrets if str(secret) in guarded.log] == []
