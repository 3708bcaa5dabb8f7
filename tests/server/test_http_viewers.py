"""HTTP clients of a real server process, whose muxer and supervisor are stand-ins."""

import json
import socket

import pytest

from common.messages import Forget
from tests.support.fake_muxer import FakeMuxer
from tests.support.frame_source import Judge
from tests.support.server_process import ServerProcess, get
from tests.support.wait import until


def test_ts_over_http(server: ServerProcess, muxer: FakeMuxer) -> None:
    with socket.create_connection(("127.0.0.1", server.http_port), timeout=10) as client:
        client.sendall(b"GET /cam.ts HTTP/1.1\r\nHost: h\r\nUser-Agent: me\r\n\r\n")
        client.shutdown(socket.SHUT_WR)  # nothing more to ask, and still reading
        data = b""
        for number in range(1, 30):
            muxer.produce("cam", packets=number)
        wanted = (2 + 3 + sum(range(1, 30))) * 188
        while b"\r\n\r\n" not in data or len(data.partition(b"\r\n\r\n")[2]) < wanted:
            piece = client.recv(65536)
            assert piece
            data += piece
        head, _, ts = data.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"Content-Length" not in head
        judge = Judge(framed=False)
        judge.receive(ts)
        assert [number for _, number in judge.frames] == list(range(30))
        assert ts[1:3] == b"\0\0"  # the tables come first
        until(lambda: [v.transport for v in server.viewers()] == ["http-ts"], 5, "the viewer's figures")

    def forgotten() -> bool:
        muxer.produce("cam")  # which shows that nobody reads any more
        return bool(muxer.of(Forget))

    until(forgotten, 5, "Forget")


@pytest.mark.usefixtures("muxer")
def test_http_pages(server: ServerProcess) -> None:
    status, fields, body = get(server, "/healthz")
    assert status == 200
    assert json.loads(body) == {"status": "ok", "muxers_up": 1, "muxers": 1}
    status, fields, body = get(server, "/")
    assert status == 200
    assert f"rtsp://127.0.0.1:{server.rtsp_port}/cam".encode() in body
    assert get(server, "/none.ts")[0] == 404
    status, fields, _ = get(server, "/cam.ts", "POST")
    assert (status, fields["allow"]) == (405, "GET, HEAD")
    status, fields, body = get(server, "/cam.ts", "HEAD")
    assert (status, fields["content-type"], body) == (200, "video/mp2t", b"")


def test_stats_are_the_supervisors(server: ServerProcess) -> None:
    assert get(server, "/api/stats")[::2] == (200, b'{"processes": []}')
    server.supervisor.figures = None
    try:
        assert get(server, "/api/stats")[0] == 504
    finally:
        server.supervisor.figures = b'{"processes": []}'


def test_health_is_that_of_the_muxers(server: ServerProcess) -> None:
    until(lambda: get(server, "/healthz")[0] == 503, 5, "the muxer to be missed")
    assert json.loads(get(server, "/healthz")[2])["muxers_up"] == 0
