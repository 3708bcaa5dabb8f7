"""What an RTSP client may ask for: URLs, descriptions, and streams that cannot be described."""

import pytest

from common.sample import Payload
from server.rtsp_state import Dialogue
from server.rtsp_steps import Describe, Reply
from tests.support.rtsp_dialogue import STREAMS, TCP, Answer, Client, FreePorts


def test_the_plain_url_gives_the_streams_own_payload() -> None:
    for payload in Payload:
        dialogue = Dialogue({"cam": payload}, "rtsp://h", 60, lambda: "id", "10.0.0.1", FreePorts())
        dialogue.receive(b"DESCRIBE rtsp://h/cam RTSP/1.0\r\nCSeq: 1\r\n\r\n")
        assert dialogue.next_step() == Describe("cam", payload)


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("rtsp://h/cam", 200), ("rtsp://h/cam/", 200), ("rtsp://h/cam/stream=0", 200), ("/cam", 200),
        ("rtsp://h/none", 404), ("rtsp://h/", 404), ("rtsp://h", 404), ("rtsp://h/cam/stream=1", 404),
        ("rtsp://h/stream=0", 404), ("rtsp://h/CAM", 404), ("*", 400), ("cam", 400), ("http://h/cam", 400),
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["DESCRIBE", "SETUP"])
def test_urls(method: str, url: str, status: int) -> None:
    assert Client().ask(method, url, Transport=TCP).status == status


@pytest.mark.parametrize("url", ["rtsp://h/stream=0", "rtsp://h/cam/stream=0", "rtsp://other/two/", "*", "/"])
@pytest.mark.parametrize("method", ["PLAY", "TEARDOWN", "OPTIONS", "GET_PARAMETER"])
def test_a_session_is_found_whatever_the_url(method: str, url: str) -> None:
    client = Client()
    assert client.ask(method, url, Session=client.setup()).status == 200


def test_content_base_is_the_clients_name_for_us() -> None:
    client = Client()
    base = [
        client.ask("DESCRIBE", url).fields["Content-Base"]
        for url in ("rtsp://me:pw@[::1]:1/cam/stream=0?x", "rtsp://h/cam/", "RTSPS://h:322/cam", "/cam")
    ]
    assert base == ["rtsp://[::1]:1/cam/", "rtsp://h/cam/", "rtsps://h:322/cam/", "rtsp://local:8554/cam/"]


def test_a_stream_that_has_not_started() -> None:
    dialogue = Dialogue(STREAMS, "rtsp://h", 60, lambda: "id", "10.0.0.1", FreePorts())
    dialogue.receive(b"DESCRIBE rtsp://h/cam RTSP/1.0\r\nCSeq: 1\r\n\r\nOPTIONS * RTSP/1.0\r\nCSeq: 2\r\n\r\n")
    assert dialogue.next_step() == Describe("cam", Payload.TS)
    assert dialogue.next_step() is None  # the second waits for the first
    assert dialogue.waiting
    assert not dialogue.incomplete
    dialogue.refused("no source", unsuited=False)
    steps = [dialogue.next_step(), dialogue.next_step()]
    answers = [Answer(step.data) for step in steps if isinstance(step, Reply)]
    assert [(answer.status, answer.fields["CSeq"]) for answer in answers] == [(503, "1"), (200, "2")]
    assert answers[0].body == "no source\r\n"
    assert answers[0].fields["Retry-After"] == "2"
    assert not dialogue.waiting


def test_a_payload_that_cannot_carry_the_stream() -> None:
    dialogue = Dialogue(STREAMS, "rtsp://h", 60, lambda: "id", "10.0.0.1", FreePorts())
    dialogue.receive(b"DESCRIBE rtsp://h/cam/native RTSP/1.0\r\nCSeq: 1\r\n\r\n")
    assert dialogue.next_step() == Describe("cam", Payload.NATIVE)
    dialogue.refused("JPEG of 4096x2160 does not go into RTP", unsuited=True)
    reply = dialogue.next_step()
    assert isinstance(reply, Reply)
    answer = Answer(reply.data)
    assert (answer.status, answer.body) == (415, "JPEG of 4096x2160 does not go into RTP\r\n")
    assert "Retry-After" not in answer.fields, "asking again does not help"


def test_accept() -> None:
    client = Client()
    assert client.ask("DESCRIBE", Accept="application/rtsl").status == 406
    assert client.ask("DESCRIBE", Accept="text/x, application/sdp").status == 200
