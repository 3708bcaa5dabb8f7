"""SETUP: each track's way to the client, over the connection, UDP or multicast, and how it is changed."""

import pytest

from common.sample import Payload
from server.rtsp_state import SESSIONS_MAX
from server.rtsp_steps import Feedback, Play
from server.rtsp_transport import Interleaved, Multicast, Unicast
from tests.support.rtsp_dialogue import SDP, TCP, Client, describe_native

# ---- tracks --------------------------------------------------------------------------------------------


def test_each_track_is_set_up_and_all_play() -> None:
    client = Client()
    describe_native(client)
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
    describe_native(client)
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
    describe_native(client)
    client.dialogue.receive(b"DESCRIBE rtsp://h/two/native RTSP/1.0\r\nCSeq: 1\r\n\r\n")
    client.dialogue.next_step()
    client.dialogue.described(SDP)
    client.dialogue.next_step()
    assert client.ask("SETUP", "rtsp://h/two/native/track=1", Transport=TCP).status == 404
    assert client.ask("SETUP", "rtsp://h/cam/native/track=1", Transport=TCP).status == 200
    assert client.ask("SETUP", "rtsp://h/cam/stream=0", Transport=TCP).status == 200
    session = client.setup("rtsp://h/cam/ts/stream=0")
    assert client.ask("SETUP", "rtsp://h/cam/track=0", Transport=TCP, Session=session).status == 459


# ---- transports and channels ---------------------------------------------------------------------------


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
