"""A thousand who come and go, ten thousand requests that are none: counted, and good viewers see nothing of it."""

import os
import re
import socket
import struct
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from tests.support import judge
from tests.support.check_picture import CheckClip
from tests.support.instance import PATIENT, Instance
from tests.support.rtsp_client import RtspClient
from tests.support.viewers import HttpViewer, RtspViewer, Viewer
from tests.support.wait import until

COMERS = 1000
WARM_UP = 200  # what is made once, for the first of each kind
RSS_GROWTH_MAX = 8 << 20  # 10 kB for each of the others; one connection that is kept whole has more
PIPELINED = 50  # under the 100 requests a second of a connection
PIPELINES = 190
FATAL = 250  # to RTSP, and as many to HTTP, with a connection each
COUNTED_RTSP, COUNTED_HTTP = FATAL * 4 // 5, FATAL + FATAL // 5  # a GET to the RTSP port is taken for HTTP
SPARE_FDS = 4  # a question of `/api/stats` under way
_RESET = struct.pack("ii", 1, 0)
_ANSWERED = (
    b"DESCRIBE rtsp://h/nothing RTSP/1.0\r\nCSeq: %d\r\n\r\n",
    b"FROBNICATE rtsp://h/cam RTSP/1.0\r\nCSeq: %d\r\n\r\n",
    b"SETUP rtsp://h/cam/stream=0 RTSP/1.0\r\nCSeq: %d\r\nTransport: CARRIER/PIGEON;client_port=0-x\r\n\r\n",
    b"PLAY rtsp://h/cam RTSP/1.0\r\nCSeq: %d\r\nSession: 12345678\r\n\r\n",
    b"SET_PARAMETER * RTSP/1.0\r\nCSeq: %d\r\nSession: x\r\nContent-Length: 3\r\n\r\nabc",
)
_FATAL = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),  # TLS where there is none
    b"OPTIONS\r\n\r\n",
    b"OPTIONS * RTSP/1.0\r\nContent-Length: -1\r\n\r\n",
    b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
    b"\xff" * 500 + b"\r\n\r\n",
)


@pytest.fixture
def instance(clip: CheckClip) -> Iterator[Instance]:
    with Instance(f"cam=mock:{clip.path}", config=PATIENT) as running:
        running.wait_live("cam")
        yield running


def address(url: str) -> tuple[str, int]:
    host, port = url.split("/")[2].rsplit(":", 1)
    return host, int(port)


def counters(instance: Instance) -> dict[str, Any]:
    found = instance.processes("server")[0]["counters"]
    assert isinstance(found, dict)
    return found


def errors(instance: Instance) -> tuple[int, int]:
    """What RTSP and HTTP have counted, as of the last report."""
    counted = counters(instance)
    return counted["rtsp_errors"], counted["http_errors"]


def check_good(viewer: Viewer, clip: CheckClip) -> None:
    """It has missed nothing."""
    assert viewer.error is None, repr(viewer.error)
    if isinstance(viewer, RtspViewer):
        judge.check_rtp(viewer.rtp)
    judge.check_splices(viewer.ts, clip)
    judge.check_pictures(viewer.ts, clip, consecutive=False)


def come_and_go(instance: Instance, number: int) -> None:
    """One that connects and is gone again: at once, after a question, in the middle of one, while it plays."""
    rtsp, http = instance.rtsp("cam"), address(instance.http("cam"))
    kind = number % 5
    if kind == 0:
        socket.create_connection(address(rtsp), timeout=20).close()
    elif kind == 1:
        with RtspClient(rtsp, timeout_s=20) as client:
            client.describe()
    elif kind == 2:
        with socket.create_connection(http, timeout=20) as sock:
            sock.sendall(b"GET /cam.ts HTT")
    elif kind == 3:
        with socket.create_connection(http, timeout=20) as sock:
            sock.sendall(b"GET /cam.ts HTTP/1.1\r\nHost: h\r\n\r\n")
            assert sock.recv(12) == b"HTTP/1.1 200"
    else:
        with RtspClient(rtsp, timeout_s=20) as client:
            client.start()
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


def test_a_thousand_come_and_go_and_nothing_is_left_of_them(instance: Instance, clip: CheckClip) -> None:
    with RtspViewer(instance.rtsp("cam")) as rtsp, HttpViewer(instance.http("cam")) as http:
        for viewer in (rtsp, http):
            viewer.wait_bytes(50_000)
        process = psutil.Process(instance.processes("server")[0]["pid"])
        fds = len(os.listdir(f"/proc/{process.pid}/fd"))
        for number in range(WARM_UP):
            come_and_go(instance, number)
        rss_bytes = process.memory_info().rss
        for number in range(WARM_UP, COMERS):
            come_and_go(instance, number)
        until(lambda: len(os.listdir(f"/proc/{process.pid}/fd")) <= fds + SPARE_FDS, 10, "descriptors given back")
        assert process.memory_info().rss < rss_bytes + RSS_GROWTH_MAX
        until(lambda: len(instance.stats()["viewers"]) == 2, 10, "only those who watch")
        until(lambda: counters(instance)["connections_accepted"] >= COMERS, 5, "a report of all of them")
        for viewer in (rtsp, http):
            viewer.wait_bytes(50_000)
    for viewer in (rtsp, http):
        check_good(viewer, clip)


def test_ten_thousand_requests_that_are_none_are_counted(instance: Instance, clip: CheckClip) -> None:
    with RtspViewer(instance.rtsp("cam")) as rtsp, HttpViewer(instance.http("cam")) as http:
        for viewer in (rtsp, http):
            viewer.wait_bytes(50_000)
        answered = 0
        for _ in range(PIPELINES):
            with socket.create_connection(address(instance.rtsp("cam")), timeout=20) as sock:
                sock.sendall(b"".join(_ANSWERED[n % len(_ANSWERED)] % n for n in range(PIPELINED)))
                sock.shutdown(socket.SHUT_WR)
                answers = re.findall(rb"RTSP/1\.0 (\d+) [^\r]*\r\nCSeq: (\d+)", read_all(sock))
            assert [int(cseq) for _, cseq in answers] == list(range(PIPELINED))
            answered += sum(status >= b"400" for status, _ in answers)
        assert answered == PIPELINES * PIPELINED
        for url in (instance.rtsp("cam"), instance.http("cam")):
            for number in range(FATAL):
                with socket.create_connection(address(url), timeout=20) as sock:
                    sock.sendall(_FATAL[number % len(_FATAL)])
                    sock.shutdown(socket.SHUT_WR)
                    read_all(sock)
        expected = answered + COUNTED_RTSP, COUNTED_HTTP
        until(lambda: errors(instance) == expected, 10, f"all of them counted, {expected}")
        for viewer in (rtsp, http):
            viewer.wait_bytes(50_000)
    for viewer in (rtsp, http):
        check_good(viewer, clip)
    assert not instance.log_lines("process_died")


def read_all(sock: socket.socket) -> bytes:
    """What is said until it ends."""
    said = b""
    try:
        while got := sock.recv(65536):
            said += got
    except ConnectionResetError:
        pass  # there was more to come from us than it wanted to read
    return said
