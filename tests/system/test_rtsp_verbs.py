"""The verbs of RTSP on a live stream: what a paused viewer gets, and what it gets when it plays on."""

import re
import struct
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


def test_the_answer_to_play_says_the_numbers_of_the_first_packets_and_comes_before_them(
    instance: Instance,
) -> None:
    for payload, controls in (("ts", ["stream=0"]), ("native", ["track=0", "track=1"])):
        with RtspClient(f"{instance.rtsp('cam')}/{payload}") as client:
            client.describe()
            for number, control in enumerate(controls):
                client.control_url = f"{client.url}/{control}"
                client.setup(f"RTP/AVP/TCP;interleaved={2 * number}-{2 * number + 1}")
            info = client.play().headers["rtp-info"]
            assert client.take_early() == []
            told = re.findall(r"url=([^;]+);seq=(\d+);rtptime=(\d+)", info)
            assert [url for url, _, _ in told] == [f"{client.url}/{control}" for control in controls]
            for number, (_, sequence, clock) in enumerate(told):
                while (packet := client.next_packet()).channel != 2 * number:
                    pass
                first = struct.unpack_from(">HI", packet.data, 2)
                assert first[0] == int(sequence)
                ahead = (first[1] - int(clock) + (1 << 31)) % (1 << 32) - (1 << 31)
                assert ahead == 0 if number == 0 else abs(ahead) < 48_000, "sound begins near the first picture"
            client.teardown()


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
