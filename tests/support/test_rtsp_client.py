"""The test client against a scripted peer: what it accepts, and that it sees wrong framing."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.support.rtsp_client import FramingError, RtspClient

SDP = "v=0\r\ns=x\r\nt=0 0\r\na=control:*\r\nm=video 0 RTP/AVP 33\r\na=control:stream=0\r\n"
DIALOGUE = [
    f"RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Type: application/sdp\r\nContent-Length: {len(SDP)}\r\n\r\n{SDP}",
    "RTSP/1.0 200 OK\r\nCSeq: 2\r\nSession: abc;timeout=60\r\n\r\n",
    "RTSP/1.0 200 OK\r\nCSeq: 3\r\n\r\n",
]


@contextmanager
def peer(answers: list[bytes], requests: list[str]) -> Iterator[str]:
    """A server that answers the n-th request with the n-th of `answers`, then hangs up."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            for answer in answers:
                request = b""
                while not request.endswith(b"\r\n\r\n"):
                    request += connection.recv(4096)
                requests.append(request.decode())
                connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"rtsp://127.0.0.1:{listener.getsockname()[1]}/name"
        finally:
            thread.join(10)


def answers(media: bytes) -> list[bytes]:
    return [*(text.encode() for text in DIALOGUE[:2]), DIALOGUE[2].encode() + media]


@pytest.mark.parametrize("read_bytes_max", [1, 7, 65536])
def test_dialogue_and_media(read_bytes_max: int) -> None:
    requests: list[str] = []
    media = b"$\0\0\x03abc$\x01\0\0$\0\x05\xdc" + bytes(1500)
    with peer(answers(media), requests) as url, RtspClient(url, read_bytes_max=read_bytes_max) as client:
        client.start()
        got = [client.next_packet() for _ in range(3)]
        with pytest.raises(EOFError):
            client.next_packet()
    assert [(packet.channel, packet.data) for packet in got] == [(0, b"abc"), (1, b""), (0, bytes(1500))]
    assert [request.split("\r\n")[0] for request in requests] == [
        f"DESCRIBE {url} RTSP/1.0",
        f"SETUP {url}/stream=0 RTSP/1.0",
        f"PLAY {url} RTSP/1.0",
    ]
    assert "Session: abc\r\n" in requests[2]


def test_media_before_a_response_is_kept() -> None:
    late = b"$\0\0\x02hi" + DIALOGUE[2].encode()
    with peer([*(text.encode() for text in DIALOGUE[:2]), late], []) as url, RtspClient(url) as client:
        client.start()
        assert client.next_packet().data == b"hi"


@pytest.mark.parametrize("media", [b"$\0\0\x02h", b"$\0", b"G$\0\0\x02hi", b"$\0\0\x02hixx", b"\0$\0\0\x00"])
def test_wrong_framing_is_seen(media: bytes) -> None:
    with peer(answers(media), []) as url, RtspClient(url) as client:
        client.start()
        with pytest.raises(FramingError):
            drain(client.next_packet)


def drain(next_packet: Callable[[], object]) -> None:
    for _ in range(10):
        next_packet()


def test_an_answer_to_another_request_is_refused() -> None:
    wrong = DIALOGUE[0].replace("CSeq: 1", "CSeq: 7").encode()
    with peer([wrong], []) as url, RtspClient(url) as client, pytest.raises(FramingError):
        client.describe()
