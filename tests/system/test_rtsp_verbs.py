"""The verbs of RTSP on a live stream: what a paused viewer gets, and what it gets when it plays on."""

from collections.abc import Iterator

import pytest

from tests.support import judge
from tests.support.check_picture import CheckClip
from tests.support.instance import Instance
from tests.support.rtsp_client import Packet, RtspClient

PAUSE_S = 2.5  # longer than the drop queue


@pytest.fixture(scope="module")
def instance(clip: CheckClip) -> Iterator[Instance]:
    with Instance(f"cam=mock:{clip.path}") as running:
        running.wait_live("cam")
        yield running


def read(client: RtspClient, count: int) -> list[Packet]:
    """So many RTP packets."""
    packets: list[Packet] = []
    while len(packets) < count:
        packet = client.next_packet()
        if packet.channel == 0:
            packets.append(packet)
    return packets


def test_pause_stops_at_once_and_play_goes_on(instance: Instance, clip: CheckClip) -> None:
    with RtspClient(instance.rtsp("cam")) as client:
        client.start()
        packets = read(client, 300)
        assert client.request("PAUSE").status == 200
        packets += [packet for packet in client.take_early() if packet.channel == 0]  # sent before the answer
        client.socket.settimeout(PAUSE_S)
        with pytest.raises(TimeoutError):
            read(client, 1)
        client.socket.settimeout(10)
        client.play()
        packets += read(client, 300)
        client.teardown()
        packets += [packet for packet in client.take_early() if packet.channel == 0]
        client.socket.settimeout(0.5)
        with pytest.raises((EOFError, TimeoutError)):
            read(client, 1)
    judge.check_rtp(packets)
    ts = b"".join(packet.data[12:] for packet in packets)
    judge.check_ts(ts, spliced=True)
    assert judge.check_splices(ts, clip) == 1
    judge.check_pictures(ts, clip, consecutive=False)


def test_what_keeps_a_session_alive_is_answered_among_the_media(instance: Instance) -> None:
    with RtspClient(instance.rtsp("cam")) as client:
        client.start()
        for method in ("GET_PARAMETER", "OPTIONS", "SET_PARAMETER", "GET_PARAMETER"):
            read(client, 20)
            assert client.request(method).status == 200
        options = client.request("OPTIONS").headers["public"]
    assert {"DESCRIBE", "SETUP", "PLAY", "PAUSE", "GET_PARAMETER", "TEARDOWN"} <= set(options.split(", "))


def test_two_lives_of_a_connection(instance: Instance, clip: CheckClip) -> None:
    """TEARDOWN ends the session, not the connection: another session follows on it."""
    with RtspClient(instance.rtsp("cam")) as client:
        for _ in range(2):
            client.session = None
            client.start()
            packets = read(client, 200)
            client.teardown()
            client.take_early()
            judge.check_rtp(packets)
            ts = b"".join(packet.data[12:] for packet in packets)
            judge.check_pictures(ts, clip, consecutive=True)
