"""How long a connection may keep us waiting, and how it ends."""

import functools
import shutil
import socket
import ssl
import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq

from common import certificate, logs
from common import config as settings
from common.clock import now_us
from common.lines import Lines
from common.poller import Poller
from common.role import Role
from server.connections import LINGER_US, REQUEST_US_MAX, Connection, Services
from server.counters import Counters
from server.fanout import Fanout
from server.figures_desk import FiguresDesk
from server.http_connection import HttpConnection
from server.limits import INPUT_BYTES_A_SECOND_MAX, REQUESTS_A_SECOND_MAX
from server.multicast import MulticastGroups
from server.muxer_client import MuxerClient
from server.receiver_reports import ReceiverReports
from server.rtsp_connection import REPLIES_QUEUED_BYTES_MAX, RtspConnection
from server.sender_reports import SenderReports
from server.tls import HANDSHAKE_US_MAX, TlsChannel, TlsOutlet
from server.udp_backlog import Pacing
from server.udp_outlet import UdpPorts
from tests.support.certificates import issue
from tests.support.unwatched import Unwatched
from tests.support.wait import until

CONFIG = settings.from_document({"streams": {"cam": {"source": "test:"}}, "rtsp": {"session_timeout_s": 60}})
SETUP = b"SETUP rtsp://h/cam RTSP/1.0\r\nCSeq: 1\r\nTransport: RTP/AVP/TCP\r\n\r\n"


class Bench:
    """The services of a server without a process, and connections whose far ends are here."""

    def __init__(self, role: Role) -> None:
        self.directory = tempfile.mkdtemp(prefix="fg-", dir="/tmp")
        self.context = zmq.Context()
        self.poller = Poller()
        self.counters = Counters()
        self.muxers = MuxerClient(
            self.context, self.poller, Lines(settings.Config(runtime_dir=self.directory)), "server-0",
            CONFIG.streams, self.counters, logs.Logger(), now_us, Unwatched(),
        )  # fmt: skip
        self.fanout = Fanout("server-0", CONFIG.streams, self.muxers.send, self.counters, now_us, 1_000_000)
        self.udp = UdpPorts(socket.AF_INET, "127.0.0.1", 0, Pacing(0, 1500), self.poller, self.counters, now_us)
        reports = SenderReports(self.counters, now_us, now_us, "me")
        heard = ReceiverReports(self.fanout, self.counters, logs.Logger(), now_us)
        multicast = MulticastGroups(
            CONFIG.rtsp, CONFIG.streams, 0, 1, self.poller, self.udp, self.fanout, reports, heard
        )
        self.services = Services(
            CONFIG, self.poller, self.counters, self.fanout, self.muxers,
            reports,
            heard,
            FiguresDesk(role, now_us), self.udp, multicast, {"rtsp": 1, "http": 2}, logs.Logger(),
        )  # fmt: skip
        self.closed: list[Connection] = []
        self._ends: list[tuple[Connection, socket.socket]] = []

    def connect(
        self, make: Callable[[Services, socket.socket, str, Callable[[Connection], None]], Connection]
    ) -> tuple[Connection, socket.socket]:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            far = socket.create_connection(listening.getsockname(), timeout=5)
            near, _ = listening.accept()
        near.setblocking(False)
        connection = make(self.services, near, "peer:1", self.closed.append)
        self._ends.append((connection, far))
        return connection, far

    def exchange(self, far: socket.socket, data: bytes) -> None:
        """Send, and let the near end act on it."""
        far.sendall(data)
        self.turn()

    def turn(self) -> None:
        self.poller.poll(50_000)
        self.muxers.drain(self.fanout)

    def close(self) -> None:
        for connection, far in self._ends:
            connection.close("the test is over")
            far.close()
        self.udp.close()
        self.muxers.close()
        self.poller.close()
        self.context.term()
        shutil.rmtree(self.directory)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench(object.__new__(Role))  # never asked for figures here
    yield bench
    bench.close()


def ends(connection: Connection, far: socket.socket) -> bytes:
    """What the far end reads until the end, while the near one lingers."""
    data = b""
    while piece := far.recv(4096):
        data += piece
    connection.sweep(now_us() + REQUEST_US_MAX + 2 * LINGER_US + 120_000_000)
    assert connection.closed
    return data


def test_an_rtsp_request_must_come_to_its_end(bench: Bench) -> None:
    connection, far = bench.connect(RtspConnection)
    bench.exchange(far, SETUP + b"OPTIONS * RTS")
    now = now_us()
    connection.sweep(now)
    connection.sweep(now + REQUEST_US_MAX - 1)
    assert connection.finishing_us is None
    bench.exchange(far, b"P/1.0\r\nCSeq: 2\r\n\r\n$\x01\x00\x10half a frame")
    connection.sweep(now + REQUEST_US_MAX)
    assert connection.finishing_us is None  # another message is unfinished now
    connection.sweep(now + 2 * REQUEST_US_MAX)
    assert connection.finishing_us is not None
    assert bench.counters.connections_overdue == 1
    assert ends(connection, far).count(b"RTSP/1.0 200 OK") == 2


def test_an_rtsp_connection_without_a_session_does_not_stay(bench: Bench) -> None:
    connection, far = bench.connect(RtspConnection)
    bench.exchange(far, b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n")
    connection.sweep(now_us() + 59_000_000)
    assert connection.finishing_us is None
    connection.sweep(now_us() + 61_000_000)
    assert connection.finishing_us is not None


def test_the_first_rtsp_request_must_come_soon(bench: Bench) -> None:
    connection, far = bench.connect(RtspConnection)
    bench.exchange(far, b"$\x01\x00\x04ping")
    connection.sweep(now_us() + REQUEST_US_MAX - 2_000_000)
    assert connection.finishing_us is None
    connection.sweep(now_us() + REQUEST_US_MAX)
    assert connection.finishing_us is not None
    assert bench.counters.connections_overdue == 1


@pytest.mark.parametrize(
    ("kind", "request_bytes", "answer"),
    [
        (RtspConnection, b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n", b"RTSP/1.0 200"),
        (HttpConnection, b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n", b"HTTP/1.1 503"),
    ],
)
def test_more_requests_than_a_second_has_wait_for_the_next(
    bench: Bench, kind: type[RtspConnection | HttpConnection], request_bytes: bytes, answer: bytes
) -> None:
    connection, far = bench.connect(kind)
    far.setblocking(False)
    bench.exchange(far, request_bytes * (2 * REQUESTS_A_SECOND_MAX + 10))
    data = read(bench, far)
    assert data.count(answer) in (REQUESTS_A_SECOND_MAX - 1, REQUESTS_A_SECOND_MAX)  # the last one's may wait
    assert bench.counters.connections_held == 1
    for _ in range(2):
        connection.sweep(now_us())
        data += read(bench, far)
    assert data.count(answer) == 2 * REQUESTS_A_SECOND_MAX + 10
    assert not connection.held


def read(bench: Bench, far: socket.socket) -> bytes:
    """All that the near end sends."""
    data = b""
    for _ in range(10):
        bench.turn()
        try:
            data += far.recv(1 << 20)
        except BlockingIOError:
            pass
    return data


def test_more_input_than_a_second_has_waits_for_the_next(bench: Bench) -> None:
    connection, far = bench.connect(RtspConnection)
    bench.exchange(far, SETUP)
    far.setblocking(False)
    flood = b"$\x01\x00\x04ping" * (INPUT_BYTES_A_SECOND_MAX // 4)
    sent = 0
    for _ in range(200):
        try:
            sent += far.send(flood[sent : sent + 65536])
        except BlockingIOError:
            pass
        bench.turn()
        if connection.held:
            break
    assert connection.held
    assert bench.counters.rtcp_ignored < sent / 8, "some of it waits"
    connection.sweep(now_us())
    assert not connection.closed


def test_a_client_that_never_reads_its_answers_is_not_read_either(bench: Bench) -> None:
    connection, far = bench.connect(RtspConnection)
    connection.outlet.fit(8192, 4096)
    far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    names = b"a\r\n" * 5000
    request = b"GET_PARAMETER * RTSP/1.0\r\nCSeq: 1\r\nContent-Length: %d\r\n\r\n%b" % (len(names), names)
    far.setblocking(False)
    sent = 0
    for _ in range(100):
        try:
            sent += far.send((request * 15)[sent:])
        except BlockingIOError:
            pass
        bench.turn()
        if bench.counters.reply_queues_full:
            break
    assert bench.counters.reply_queues_full == 1
    assert connection.outlet.queued_bytes < REPLIES_QUEUED_BYTES_MAX + len(request)
    far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    data = b""
    for _ in range(50):
        connection.sweep(now_us())
        data += read(bench, far)
        if data.count(b"RTSP/1.0 451") == sent // len(request):
            break
    assert data.count(b"RTSP/1.0 451") == sent // len(request), "it is, when it has"


def test_a_session_does_not_end_while_its_connection_is_there(bench: Bench) -> None:
    connection, far = bench.connect(RtspConnection)
    bench.exchange(far, SETUP)
    for hours in range(1, 5):
        connection.sweep(now_us() + hours * 3_600_000_000)
    assert connection.finishing_us is None
    assert not connection.closed
    far.close()
    bench.turn()
    assert bench.closed == [connection]


def test_an_http_request_must_come_to_its_end(bench: Bench) -> None:
    connection, far = bench.connect(HttpConnection)
    bench.exchange(far, b"GET / HTTP/1.1\r\nHost: h\r\nX-Slow: ")
    connection.sweep(now_us() + REQUEST_US_MAX - 2_000_000)
    assert connection.finishing_us is None
    connection.sweep(now_us() + REQUEST_US_MAX)
    assert ends(connection, far).startswith(b"HTTP/1.1 408 ")


def test_an_idle_http_connection_is_closed_without_a_word(bench: Bench) -> None:
    connection, far = bench.connect(HttpConnection)
    bench.exchange(far, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    connection.sweep(now_us() + REQUEST_US_MAX - 2_000_000)
    assert connection.finishing_us is None
    connection.sweep(now_us() + REQUEST_US_MAX)
    assert ends(connection, far).count(b"HTTP/1.1 ") == 1


def test_an_http_request_that_waits_for_us_is_not_overdue(bench: Bench) -> None:
    connection, far = bench.connect(HttpConnection)
    bench.exchange(far, b"GET /cam.ts HTTP/1.1\r\nHost: h\r\n\r\n")
    connection.sweep(now_us() + 2 * REQUEST_US_MAX)
    assert connection.finishing_us is None


def test_a_handshake_must_come_to_its_end(bench: Bench, tmp_path: Path) -> None:
    issue(tmp_path / "cert.pem")
    context = certificate.load(str(tmp_path / "cert.pem"), "")
    for kind in (RtspConnection, HttpConnection):
        failed = bench.counters.handshakes_failed
        connection, far = bench.connect(functools.partial(kind, tls=TlsChannel(context)))
        bench.exchange(far, b"\x16\x03\x01\x02\x00\x01")  # the beginning of a client's hello
        connection.sweep(now_us() + HANDSHAKE_US_MAX - 2_000_000)
        assert not connection.closed
        connection.sweep(now_us() + HANDSHAKE_US_MAX)
        assert connection.closed
        assert bench.counters.handshakes_failed == failed + 1


def test_a_tls_client_that_is_gone_when_the_last_word_is_said(bench: Bench, tmp_path: Path) -> None:
    client_context = issue(tmp_path / "cert.pem")
    context = certificate.load(str(tmp_path / "cert.pem"), "")
    connection, far = bench.connect(functools.partial(HttpConnection, tls=TlsChannel(context)))
    client = client_context.wrap_socket(far, server_hostname="127.0.0.1", do_handshake_on_connect=False)
    client.setblocking(False)
    for _ in range(20):
        try:
            client.do_handshake()
            break
        except ssl.SSLWantReadError:
            bench.turn()
    bench.turn()
    assert isinstance(connection.outlet, TlsOutlet)
    assert connection.outlet.channel.established
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()  # a reset
    connection.sweep(now_us() + 2 * REQUEST_US_MAX)  # overdue, before the reset was seen
    assert connection.closed


def test_a_last_word_is_read_before_the_end(bench: Bench) -> None:
    connection, far = bench.connect(RtspConnection)
    bench.exchange(far, b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nContent-Length: -1\r\n\r\n" + b"more" * 100)
    assert connection.finishing_us is not None
    assert not connection.closed
    bench.exchange(far, b"and more")  # a close now would take the answer back
    assert far.recv(4096).startswith(b"RTSP/1.0 400 ")
    assert far.recv(4096) == b""
    far.close()
    bench.turn()
    assert connection.closed


def test_who_takes_nothing_of_what_the_kernel_holds_is_closed(bench: Bench) -> None:
    """The kernel has taken everything: only what the client acknowledges shows that it does not read."""
    connection, far = bench.connect(RtspConnection)
    bench.exchange(far, SETUP)
    now = now_us()
    written = 0
    while connection.outlet.kernel_bytes < 1000 and written < 8 << 20:
        connection.send(bytes(10_000))
        written += 10_000
    assert not connection.outlet.blocked
    connection.sweep(now)
    connection.sweep(now + 59_000_000)
    far.recv(written, socket.MSG_WAITALL)  # it takes something, at last
    until(lambda: not connection.outlet.kernel_bytes, 5, "the kernel to get rid of it")
    connection.sweep(now + 61_000_000)
    connection.sweep(now + 3_000_000_000)  # nothing is there for it
    assert not connection.closed
    written = 0
    while connection.outlet.kernel_bytes < 1000 and written < 8 << 20:
        connection.send(bytes(10_000))
        written += 10_000
    connection.sweep(now + 3_001_000_000)
    connection.sweep(now + 3_060_000_000)
    assert not connection.closed
    connection.sweep(now + 3_061_000_000)
    assert connection.closed
    assert bench.counters.connections_stalled == 1
