"""Faults that good servers have had: none of them may come back here, and none may reach another viewer.

(That a viewer who says nothing over TCP stays is in `test_connections`, as is who is closed.)
"""

import socket
from collections.abc import Iterator

import pytest

from tests.support.fake_muxer import FakeMuxer
from tests.support.frame_source import Judge
from tests.support.rtsp_client import RtspClient
from tests.support.server_process import ServerProcess, play, watch
from tests.support.udp_receiver import UdpReceiver


class Watching:
    """A viewer who has nothing to do with any of it."""

    def __init__(self, client: RtspClient, muxer: FakeMuxer) -> None:
        self.client = client
        self._muxer = muxer
        self._judge = Judge()
        self._frames = 1

    def goes_on(self) -> None:
        """It gets every frame."""
        for _ in range(5):
            self._muxer.produce("cam", packets=30)
        self._frames += 5
        watch(self.client, self._judge, (self._muxer.epoch, self._frames - 1))
        assert [number for _, number in self._judge.frames] == list(range(self._frames))


@pytest.fixture
def other(server: ServerProcess, muxer: FakeMuxer) -> Iterator[Watching]:
    with play(server) as client:
        watching = Watching(client, muxer)
        watching.goes_on()
        yield watching
        watching.goes_on()


def said(server: ServerProcess, data: bytes) -> bytes:
    """What the server answers to this on a connection of its own, until it closes it."""
    with socket.create_connection(("127.0.0.1", server.rtsp_port), timeout=10) as client:
        client.sendall(data)
        answer = b""
        while piece := client.recv(4096):
            answer += piece
        return answer


def test_a_request_cut_between_the_last_cr_and_lf(server: ServerProcess) -> None:
    with RtspClient(server.rtsp("cam")) as client:
        for cut in (1, 2, 3):
            request = f"OPTIONS * RTSP/1.0\r\nCSeq: {cut}\r\n\r\n".encode()
            client.socket.sendall(request[:-cut])
            client.socket.settimeout(0.2)
            with pytest.raises(TimeoutError):
                client.socket.recv(1)
            client.socket.settimeout(10)
            client.socket.sendall(request[-cut:])
            client._cseq = cut
            assert client.response().status == 200


@pytest.mark.usefixtures("other")
@pytest.mark.parametrize(
    "asked", ["npt=", "npt=-", "smpte=\0-", "clock=99999999T999999Z-", "npt=1e999-", "x" * 3000]
)
def test_a_range_that_is_garbage(server: ServerProcess, asked: str) -> None:
    with RtspClient(server.rtsp("cam")) as client:
        client.setup()
        answer = client.request("PLAY", Range=asked)
        assert answer.status in (200, 400, 457)
        if answer.status == 200:
            client.next_packet()


@pytest.mark.usefixtures("other")
def test_a_setup_again_and_again(server: ServerProcess) -> None:
    with UdpReceiver() as receiver, RtspClient(server.rtsp("cam")) as client:
        client.setup()
        for _ in range(3):
            for transport in ("RTP/AVP/TCP;interleaved=0-1", receiver.transport, "RTP/AVP/TCP;interleaved=8-9"):
                client.setup(transport)
            client.play()
            for transport in ("RTP/AVP/TCP;interleaved=0-1", receiver.transport):
                assert client.request("SETUP", Transport=transport).status == 455
            client.request("PAUSE")
        client.take_early()
        assert client.teardown().status == 200


@pytest.mark.parametrize("method", ["SETUP", "PLAY", "PAUSE", "TEARDOWN", "GET_PARAMETER", "SET_PARAMETER"])
def test_another_connection_has_no_say(server: ServerProcess, other: Watching, method: str) -> None:
    with UdpReceiver() as receiver, RtspClient(server.rtsp("cam")) as client:
        client.session = other.client.session
        assert client.request(method, Transport=receiver.transport).status == 454


@pytest.mark.usefixtures("other")
@pytest.mark.parametrize("length", ["-1", "-2147483649", "99999999999999999999", "4294967296", "0x10", "1,2"])
def test_a_content_length_that_cannot_be(server: ServerProcess, length: str) -> None:
    answer = said(server, f"PLAY /cam RTSP/1.0\r\nCSeq: 1\r\nContent-Length: {length}\r\n\r\n".encode())
    assert answer[:12] in (b"RTSP/1.0 400", b"RTSP/1.0 413")
