"""The server's end of an RTSP connection: every method in every state."""

import re

import pytest

from server import rtsp_state
from server.rtsp_state import METHODS, OTHER_METHODS
from server.rtsp_steps import End, Feedback, Pause, Play, Reply
from server.rtsp_transport import Interleaved
from tests.support.rtsp_dialogue import SDP, TCP, Client, describe_native

# ---- states × methods ------------------------------------------------------------------------------------


STATES = ("no session", "ready", "playing")
TABLE = {
    method: tuple(map(int, answers.split()))
    for method, answers in re.findall(r"(?m)^ {4}(\w+) +((?:\d{3} *){3})$", rtsp_state.__doc__ or "")
}


def test_the_table_is_complete() -> None:
    assert {*METHODS, *OTHER_METHODS, "others"} == TABLE.keys()


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("method", TABLE)
def test_every_method_in_every_state(method: str, state: str) -> None:
    client = Client()
    fields = {}
    if state != "no session":
        fields["Session"] = client.setup()
    if state == "playing":
        assert client.ask("PLAY", **fields).status == 200
    if method == "SETUP":
        fields["Transport"] = TCP
    answer = client.ask(method, **fields)
    assert answer.status == TABLE[method][STATES.index(state)]
    if answer.status in (405, 455):
        allowed = answer.fields["Allow"].split(", ")
        assert method not in allowed
        assert set(allowed) <= set(METHODS)
    if answer.status == 501:
        assert answer.fields["Public"] == ", ".join(METHODS)


@pytest.mark.parametrize("method", METHODS)
def test_a_session_that_is_not_of_this_connection_is_none(method: str) -> None:
    other = Client().setup()
    client = Client()
    assert client.ask(method, Session=f"{other}x", Transport=TCP).status == 454
    assert client.dialogue.sessions == {}
    assert client.others == []


def test_a_whole_life() -> None:
    client = Client()
    assert client.ask("OPTIONS", "*").fields["Public"] == ", ".join(METHODS)
    described = client.ask("DESCRIBE", Accept="application/sdp")
    assert described.fields["Content-Base"] == "rtsp://h/cam/"
    assert described.fields["Content-Type"] == "application/sdp"
    assert described.body == SDP
    setup = client.ask("SETUP", "rtsp://h/cam/stream=0", Transport=TCP)
    assert setup.fields["Transport"] == TCP
    assert setup.fields["Session"] == "id1;timeout=60"
    play = client.ask("PLAY", "rtsp://h/cam/", Session="id1;timeout=60", Range="npt=0.000-", User_Agent="me")
    assert play.fields["Range"] == "npt=now-"
    assert play.fields["Session"] == "id1"
    [step] = client.others
    assert isinstance(step, Play)
    assert (step.session.stream, step.session.ways, step.user_agent) == ("cam", (Interleaved((0, 1)),), "me")
    assert client.ask("PLAY", Session="id1").status == 200
    assert client.others == []  # it plays already
    assert client.ask("PAUSE", Session="id1").status == 200
    assert [type(other) for other in client.others] == [Pause]
    assert client.ask("PLAY", Session="id1").status == 200
    assert [type(other) for other in client.others] == [Play]
    assert client.ask("TEARDOWN", Session="id1").status == 200
    assert [type(other) for other in client.others] == [End]
    assert client.ask("PLAY", Session="id1").status == 454
    assert client.setup() == "id2"


def test_the_answer_to_play_says_the_first_packets_numbers_where_they_are_known() -> None:
    client = Client()
    describe_native(client)
    session = client.setup("rtsp://h/cam/native/track=0")
    client.ask("SETUP", "rtsp://h/cam/native/track=1?x", Transport=TCP, Session=session)
    client.numbers = {0: (7, 90_000), 1: (65_535, (1 << 32) - 1)}
    assert client.ask("PLAY", Session=session).fields["RTP-Info"] == (
        "url=rtsp://h/cam/native/track=0;seq=7;rtptime=90000,"
        "url=rtsp://h/cam/native/track=1;seq=65535;rtptime=4294967295"
    )
    assert "RTP-Info" not in client.ask("PLAY", Session=session).fields, "it plays already"
    client.ask("PAUSE", Session=session)
    client.numbers = {}
    assert "RTP-Info" not in client.ask("PLAY", Session=session).fields


def test_requests_behind_a_play_wait_for_its_answer() -> None:
    client = Client()
    session = client.setup()
    requests = "".join(f"{m} * RTSP/1.0\r\nCSeq: 1\r\nSession: {session}\r\n\r\n" for m in ("PLAY", "OPTIONS"))
    client.dialogue.receive(requests.encode())
    assert isinstance(client.dialogue.next_step(), Play)
    assert client.dialogue.next_step() is None
    assert client.dialogue.waiting
    assert not client.dialogue.incomplete
    client.dialogue.played({})
    assert [type(client.dialogue.next_step()) for _ in range(3)] == [Reply, Reply, type(None)]


def test_frames_stop_before_the_answer_and_start_after_it() -> None:
    client = Client()
    session = client.setup()
    order = []
    for method in ("PLAY", "PAUSE", "PLAY", "TEARDOWN"):
        client.dialogue.receive(f"{method} * RTSP/1.0\r\nCSeq: 1\r\nSession: {session}\r\n\r\n".encode())
        while (step := client.dialogue.next_step()) is not None:
            order.append(type(step))
            if isinstance(step, Play):
                client.dialogue.played(
                    {}
                )  # as the shell does when the first frame is there, and before it is sent
    assert order == [Play, Reply, Pause, Reply, Play, Reply, End, Reply]


# ---- what else may come ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "status"),
    [("npt=now-", 200), ("npt=0.000-", 200), ("npt=30-", 200), ("clock=19961108T143720.25Z-", 200),
     ("nonsense", 200), ("npt=7-3", 457)],
)  # fmt: skip
def test_range(asked: str, status: int) -> None:
    client = Client()
    answer = client.ask("PLAY", Session=client.setup(), Range=asked)
    assert answer.status == status
    assert bool(client.others) is (status == 200)
    if status == 200:
        assert answer.fields["Range"] == "npt=now-"
        assert "RTP-Info" not in answer.fields


@pytest.mark.parametrize("method", ["GET_PARAMETER", "SET_PARAMETER"])
def test_parameters(method: str) -> None:
    client = Client()
    assert client.ask(method, "*").status == 200
    answer = client.ask(method, body="jitter\r\nvolume: 11\r\n\r\n", Session=client.setup())
    assert answer.status == 451
    assert answer.body == "jitter\r\nvolume\r\n"
    assert client.ask(method, body="\r\n", Session="id1").fields["Session"] == "id1"


@pytest.mark.parametrize("name", ["Require", "Proxy_Require"])
def test_options_are_not_supported(name: str) -> None:
    answer = Client().ask("OPTIONS", **{name: "funky, play.basic"})
    assert answer.status == 551
    assert answer.fields["Unsupported"] == "funky, play.basic"


def test_feedback_goes_to_the_session_of_its_channel() -> None:
    client = Client()
    session = client.setup(transport="RTP/AVP/TCP;interleaved=4-5")
    client.receive(b"$\x05\x00\x02hi$\x04\x00\x01x$\x01\x00\x00" + b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n")
    [feedback] = client.others
    assert isinstance(feedback, Feedback)
    assert (feedback.session.id, feedback.data) == (session, b"hi")


def test_requests_and_frames_in_one_read() -> None:
    client = Client()
    session = client.setup()
    data = (
        f"TEARDOWN /cam RTSP/1.0\r\nCSeq: 1\r\nSession: {session}\r\n\r\n".encode()
        + b"$\x01\x00\x04abcd"
        + b"OPTIONS * RTSP/1.0\r\nCSeq: 2\r\n\r\n"
    )
    assert [answer.fields["CSeq"] for answer in client.receive(data)] == ["1", "2"]
