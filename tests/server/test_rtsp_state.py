"""The server's end of an RTSP connection: every method in every state, and every error."""

import re
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.sample import Payload
from server import rtsp_state
from server.rtsp_state import FAULTS_MAX, METHODS, OTHER_METHODS, SESSIONS_MAX, Dialogue
from server.rtsp_steps import Close, Describe, End, Feedback, Pause, Play, Reply, Step
from server.rtsp_transport import Interleaved, Multicast, Unicast

SDP = "v=0\r\nm=video 0 RTP/AVP 33\r\n"
STREAMS = {"cam": Payload.TS, "two": Payload.TS}
TCP = "RTP/AVP/TCP;unicast;interleaved=0-1"


class Answer:
    """A response as the client sees it."""

    def __init__(self, data: bytes) -> None:
        head, _, body = data.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        self.status = int(status.split(" ")[1])
        self.fields = dict(line.split(": ", 1) for line in lines)
        self.body = body.decode()
        assert len(body) == int(self.fields.get("Content-Length", "0"))


class FreePorts:
    """UDP ports of which the client's 6000 and 6001 are another viewer's. claimed: and these are ours."""

    def __init__(self) -> None:
        self.claimed: set[tuple[int, int]] = set()

    def claim(self, client_ports: tuple[int, int]) -> tuple[int, int] | None:
        if client_ports == (6000, 6001) or client_ports in self.claimed:
            return None
        self.claimed.add(client_ports)
        return (8000, 8001)

    def release(self, client_ports: tuple[int, int]) -> None:
        self.claimed.remove(client_ports)

    def group(self, stream: str, payload: Payload, track: int) -> Multicast | None:
        port = 20_000 + 2 * track + (2 if payload is Payload.NATIVE else 0)
        return Multicast("239.1.2.3", (port, port + 1), 1) if stream == "two" else None


class Client:
    """Asks a dialogue, and answers its questions for a stream's SDP."""

    def __init__(self) -> None:
        numbers = count(1)
        self.ports = FreePorts()
        self.numbers: dict[int, tuple[int, int]] = {}  # of first packets
        self.dialogue = Dialogue(
            STREAMS, "rtsp://local:8554", 60, lambda: f"id{next(numbers)}", "10.0.0.1", self.ports
        )
        self.cseq = 0
        self.others: list[Step] = []  # all that is not a reply

    def ask(self, method: str, url: str = "rtsp://h/cam", body: str = "", **fields: str) -> Answer:
        self.cseq += 1
        lines = [f"{method} {url} RTSP/1.0", f"CSeq: {self.cseq}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
        if body:
            lines.append(f"Content-Length: {len(body.encode())}")
        [answer] = self.receive(("\r\n".join([*lines, "", ""]) + body).encode())
        assert answer.fields["CSeq"] == str(self.cseq)
        return answer

    def receive(self, data: bytes) -> list[Answer]:
        self.dialogue.receive(data)
        answers = []
        self.others = []
        while (step := self.dialogue.next_step()) is not None:
            if isinstance(step, Reply):
                answers.append(Answer(step.data))
                assert step.fault is (answers[-1].status != 200)
            elif isinstance(step, Describe):
                self.dialogue.described(SDP)
            else:
                self.others.append(step)
                if isinstance(step, Play):
                    self.dialogue.played(self.numbers)
        return answers

    def setup(self, url: str = "rtsp://h/cam/stream=0", transport: str = TCP) -> str:
        answer = self.ask("SETUP", url, Transport=transport)
        assert answer.status == 200
        return answer.fields["Session"].partition(";")[0]


# ---- payloads and tracks ---------------------------------------------------------------------------------


def native(client: Client) -> None:
    client.dialogue.receive(b"DESCRIBE rtsp://h/cam/native RTSP/1.0\r\nCSeq: 1\r\n\r\n")
    assert client.dialogue.next_step() == Describe("cam", Payload.NATIVE)
    client.dialogue.described("v=0\r\nm=video 0 RTP/AVP 96\r\nm=audio 0 RTP/AVP 97\r\n")
    reply = client.dialogue.next_step()
    assert isinstance(reply, Reply)
    assert Answer(reply.data).fields["Content-Base"] == "rtsp://h/cam/native/"


def test_each_track_is_set_up_and_all_play() -> None:
    client = Client()
    native(client)
    session = client.setup("rtsp://h/cam/native/track=0")
    second = client.ask("SETUP", "rtsp://h/cam/track=1", Transport="RTP/AVP/TCP;interleaved=0-1", Session=session)
    assert second.fields["Transport"] == "RTP/AVP/TCP;unicast;interleaved=2-3"  # the others are taken
    assert client.ask("PLAY", "rtsp://h/cam/native/", Session=session).status == 200
    [play] = client.others
    assert isinstance(play, Play)
    assert (play.session.payload, play.session.ways) == (
        Payload.NATIVE,
        (Interleaved((0, 1)), Interleaved((2, 3))),
    )
    assert client.receive(b"$\x03\0\4abcd") == []
    assert client.others == [Feedback(play.session, 1, b"abcd")]


def test_each_track_has_its_own_ports_and_all_go_one_way() -> None:
    client = Client()
    native(client)
    session = client.setup("rtsp://h/cam/native/track=0", "RTP/AVP;client_port=5000-5001")
    second = "RTP/AVP;client_port=5002-5003"
    assert client.ask("SETUP", "rtsp://h/cam/native/track=1", Transport=second, Session=session).status == 200
    ways = Unicast((5000, 5001), (8000, 8001)), Unicast((5002, 5003), (8000, 8001))
    assert client.dialogue.sessions[session].ways == ways
    assert client.ask("SETUP", "rtsp://h/cam/native/track=1", Transport=TCP, Session=session).status == 200
    assert client.dialogue.sessions[session].ways == (None, Interleaved((0, 1)))
    assert client.ports.claimed == set()


def test_a_track_that_is_not_set_up() -> None:
    client = Client()
    session = client.setup("rtsp://h/cam/track=1")
    client.ask("PLAY", "rtsp://h/cam/track=1", Session=session)
    [play] = client.others
    assert isinstance(play, Play)
    assert play.session.ways == (None, Interleaved((0, 1)))


def test_tracks_that_there_are_not() -> None:
    client = Client()
    assert client.ask("SETUP", "rtsp://h/cam/track=2", Transport=TCP).status == 404
    assert client.ask("SETUP", "rtsp://h/cam/native/stream=0", Transport=TCP).status == 404
    native(client)
    client.dialogue.receive(b"DESCRIBE rtsp://h/two/native RTSP/1.0\r\nCSeq: 1\r\n\r\n")
    client.dialogue.next_step()
    client.dialogue.described(SDP)
    client.dialogue.next_step()
    assert client.ask("SETUP", "rtsp://h/two/native/track=1", Transport=TCP).status == 404
    assert client.ask("SETUP", "rtsp://h/cam/native/track=1", Transport=TCP).status == 200
    assert client.ask("SETUP", "rtsp://h/cam/stream=0", Transport=TCP).status == 200
    session = client.setup("rtsp://h/cam/ts/stream=0")
    assert client.ask("SETUP", "rtsp://h/cam/track=0", Transport=TCP, Session=session).status == 459


def test_the_plain_url_gives_the_streams_own_payload() -> None:
    for payload in Payload:
        dialogue = Dialogue({"cam": payload}, "rtsp://h", 60, lambda: "id", "10.0.0.1", FreePorts())
        dialogue.receive(b"DESCRIBE rtsp://h/cam RTSP/1.0\r\nCSeq: 1\r\n\r\n")
        assert dialogue.next_step() == Describe("cam", payload)


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
    native(client)
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


# ---- what is asked for -----------------------------------------------------------------------------------


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


# ---- SETUP -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("transport", "status"),
    [
        ("RTP/AVP/TCP", 200), ("RTP/AVP/TCP;interleaved=x", 200),
        ("RTP/AVP;unicast;client_port=1-2,RTP/AVP/TCP;interleaved=0-1", 200),
        ("RTP/AVP;unicast;client_port=5000-5001", 200), ("RTP/AVP;unicast;client_port=6000-6001", 461),
        ("RTP/AVP;unicast;client_port=1-2", 461), ("RTP/AVP;multicast", 461), ("RTP/AVP/TCP;multicast", 461),
        ("RTP/AVP/TCP;mode=record", 461), ("RTP/SAVP/TCP", 461), ("", 461),
    ],
)  # fmt: skip
def test_transports(transport: str, status: int) -> None:
    client = Client()
    assert client.ask("SETUP", Transport=transport).status == status
    assert client.ask("SETUP", Transport=TCP).status == 200  # the same connection goes on


def test_461_and_the_retry_on_the_same_connection() -> None:
    client = Client()
    assert client.ask("SETUP", Transport="RTP/AVP;unicast;client_port=6000-6001").status == 461
    session = client.setup()
    assert client.ask("PLAY", Session=session).status == 200


def test_a_session_over_udp() -> None:
    client = Client()
    answer = client.ask("SETUP", Transport="RTP/AVP/UDP;client_port=5000-5001")
    assert answer.fields["Transport"] == "RTP/AVP;unicast;client_port=5000-5001;server_port=8000-8001"
    assert client.ask("PLAY", Session="id1").status == 200
    [play] = client.others
    assert isinstance(play, Play)
    assert play.session.ways == (Unicast((5000, 5001), (8000, 8001)),)
    assert client.ask("SETUP", Transport="RTP/AVP;client_port=5000-5001").status == 461  # they are taken
    client.receive(b"$\x01\x00\x02hi")
    assert client.others == []  # its reports do not come here


def test_multicast_where_it_is_set_up() -> None:
    client = Client()
    wanted = "RTP/AVP;multicast"
    assert client.ask("SETUP", Transport=wanted).status == 461
    answer = client.ask("SETUP", "rtsp://h/two", Transport=wanted)
    assert answer.fields["Transport"] == "RTP/AVP;multicast;destination=239.1.2.3;port=20000-20001;ttl=1"
    session = answer.fields["Session"].partition(";")[0]
    assert client.ask("PLAY", Session=session).status == 200
    [play] = client.others
    assert isinstance(play, Play)
    assert play.session.ways == (Multicast("239.1.2.3", (20_000, 20_001), 1),)
    track = client.ask("SETUP", "rtsp://h/two/native/track=1", Transport=f"{wanted};destination=239.1.2.3")
    assert "port=20004-20005" in track.fields["Transport"]
    assert client.ask("SETUP", "rtsp://h/two", Transport=f"{wanted};destination=239.9.9.9").status == 461


def test_a_session_changes_its_transport_and_back() -> None:
    client = Client()
    session = client.setup()
    ways = "RTP/AVP;client_port=5000-5001", "RTP/AVP;client_port=5000-5001", "RTP/AVP;client_port=5002", TCP
    for way, claimed in zip(ways, ({(5000, 5001)}, {(5000, 5001)}, {(5002, 5003)}, set()), strict=True):
        answer = client.ask("SETUP", Session=session, Transport=way)
        assert (answer.status, answer.fields["Session"]) == (200, f"{session};timeout=60")
        assert client.ports.claimed == claimed
    refused = client.ask("SETUP", Session=session, Transport="RTP/AVP;client_port=6000")
    assert refused.status == 461
    assert client.dialogue.sessions[session].ways == (Interleaved((0, 1)),)


def test_setup_without_transport() -> None:
    assert Client().ask("SETUP").status == 400


def test_two_transport_headers_are_one_list() -> None:
    client = Client()
    request = b"SETUP /cam RTSP/1.0\r\nCSeq: 1\r\nTransport: RTP/AVP;unicast\r\nTransport: RTP/AVP/TCP\r\n\r\n"
    [answer] = client.receive(request)
    assert answer.fields["Transport"] == "RTP/AVP/TCP;unicast;interleaved=0-1"


def test_channels_are_the_clients_or_free_ones() -> None:
    client = Client()
    given = []
    for asked in (";interleaved=2-3", "", ";interleaved=0-1", ";interleaved=3-4", ";interleaved=200-100"):
        given.append(
            client.ask("SETUP", Transport=f"RTP/AVP/TCP;unicast{asked}").fields["Transport"].partition("=")[2]
        )
    assert given == ["2-3", "0-1", "4-5", "6-7", "200-100"]


def test_sessions_of_one_connection_are_limited() -> None:
    client = Client()
    first = client.setup(transport="RTP/AVP/TCP")
    for _ in range(SESSIONS_MAX - 1):
        client.setup(transport="RTP/AVP/TCP")
    assert client.ask("SETUP", Transport=TCP).status == 453
    assert client.ask("TEARDOWN", Session=first).status == 200
    assert client.ask("SETUP", Transport=TCP).status == 200


def test_a_session_changes_its_channels_but_not_its_stream() -> None:
    client = Client()
    session = client.setup()
    answer = client.ask("SETUP", Session=session, Transport="RTP/AVP/TCP;interleaved=6-7")
    assert answer.fields["Transport"].endswith("interleaved=6-7")
    assert answer.fields["Session"] == f"{session};timeout=60"
    assert client.ask("SETUP", "rtsp://h/two", Session=session, Transport=TCP).status == 459
    client.ask("PLAY", Session=session)
    [play] = client.others
    assert isinstance(play, Play)
    assert (play.session.stream, play.session.ways) == ("cam", (Interleaved((6, 7)),))


# ---- the rest --------------------------------------------------------------------------------------------


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


def test_other_versions_and_no_cseq() -> None:
    client = Client()
    answers = client.receive(
        b"OPTIONS * RTSP/2.0\r\nCSeq: 1\r\n\r\nOPTIONS * RTSP/1.0\r\n\r\nOPTIONS * RTSP/1.0\r\nCSeq: x\r\n\r\n"
        b"OPTIONS * RTSP/1.0\r\nCSeq: 4\r\n\r\n"
    )
    assert [answer.status for answer in answers] == [505, 400, 400, 200]
    assert [answer.fields.get("CSeq") for answer in answers] == ["1", None, None, "4"]


def test_a_malformed_request_is_answered_and_the_connection_goes_on() -> None:
    client = Client()
    answers = client.receive(b"PLAY\r\nCSeq: 5\r\n\r\nOPTIONS * RTSP/1.0\r\nCSeq: 6\r\n\r\n")
    assert [(answer.status, answer.fields["CSeq"]) for answer in answers] == [(400, "5"), (200, "6")]
    assert client.others == []
    answers = client.receive(b"x\r\n\r\n" * FAULTS_MAX)
    assert len(answers) == FAULTS_MAX - 1
    assert [type(step) for step in client.others] == [Close]
    assert client.receive(b"OPTIONS * RTSP/1.0\r\nCSeq: 7\r\n\r\n") == []


def test_lost_framing_closes() -> None:
    client = Client()
    [answer] = client.receive(b"PLAY /cam RTSP/1.0\r\nCSeq: 1\r\nContent-Length: -5\r\n\r\n")
    assert answer.status == 400
    assert [type(step) for step in client.others] == [Close]
    client = Client()
    assert client.receive(b"\x16\x03\x01\x02\x00") == []
    assert [type(step) for step in client.others] == [Close]


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


# ---- anything --------------------------------------------------------------------------------------------

LINES = st.sampled_from(
    [
        "CSeq: 1", "Session: id1", "Session: id2;timeout=60", f"Transport: {TCP}", "Transport: RTP/AVP;unicast",
        "Transport: RTP/AVP/TCP", "Range: npt=now-", "Require: x", "Content-Length: 0", "Accept: x/y", "nonsense",
    ]
)  # fmt: skip
REQUESTS = st.builds(
    lambda method, url, lines: "\r\n".join([f"{method} {url} RTSP/1.0", "CSeq: 3", *lines, "", ""]).encode(),
    st.sampled_from([*METHODS, "RECORD", "X"]),
    st.sampled_from(["*", "rtsp://h/cam", "rtsp://h/two/stream=0", "rtsp://h/none", "?"]),
    st.lists(LINES, max_size=4),
)


@given(st.lists(REQUESTS | st.just(b"$\x01\x00\x01x") | st.just(b"\r\n"), max_size=12), st.data())
def test_every_request_has_one_answer_and_sessions_stay_in_step(pieces: list[bytes], data: st.DataObject) -> None:
    client = Client()
    playing: set[str] = set()
    for piece in pieces:
        cut = data.draw(st.integers(0, len(piece)))
        before = set(client.dialogue.sessions)
        answers = client.receive(piece[:cut])
        others = client.others
        answers += client.receive(piece[cut:])
        others = others + client.others
        assert len(answers) == (piece[:1] not in (b"$", b"\r"))
        for step in others:
            match step:
                case Play(session):
                    assert session.id not in playing
                    playing.add(session.id)
                case Pause(session):
                    playing.remove(session.id)
                case End(session):
                    playing.discard(session.id)
                    assert session.id in before
                    assert session.id not in client.dialogue.sessions
        assert playing <= set(client.dialogue.sessions)
        ways = [way for session in client.dialogue.sessions.values() for way in session.tracks.values()]
        channels = [channel for way in ways if isinstance(way, Interleaved) for channel in way.channels]
        assert len(channels) == len(set(channels))


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_any_bytes_do_no_harm(pieces: list[bytes]) -> None:
    client = Client()
    for piece in pieces:
        for answer in client.receive(piece):
            assert answer.status in (400, 413, 414, 501, 505)
