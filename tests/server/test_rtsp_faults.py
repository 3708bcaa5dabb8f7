"""What is wrong on an RTSP connection is answered or closes it, and no bytes do harm."""

from hypothesis import given
from hypothesis import strategies as st

from server.rtsp_state import FAULTS_MAX, METHODS
from server.rtsp_steps import Close, End, Pause, Play
from server.rtsp_transport import Interleaved
from tests.support.rtsp_dialogue import TCP, Client


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
