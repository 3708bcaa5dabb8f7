"""RTSP over HTTP with several server processes, over which the kernel spreads the two connections of a tunnel."""

import base64
import re
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import players
from tests.support.certificates import free_port, issue
from tests.support.instance import Instance
from tests.support.rtsp_client import RtspClient
from tests.support.wait import until

SERVERS = 3
PICTURES = 30


@pytest.fixture(scope="module")
def instance() -> Iterator[Instance]:
    with Instance("test=test:size=160x128,fps=25", servers=SERVERS) as running:
        running.wait_live("test")
        yield running


class Tunnel(RtspClient):
    """An RTSP client that hears by a GET and says by a POST; tls: both encrypted."""

    def __init__(self, url: str, cookie: str, post: bool = True, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(url)
        self.cookie = cookie
        self._tls = tls
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="127.0.0.1")
        self.socket.sendall(self._head("GET"))
        while not self._buffer.endswith(b"\r\n\r\n"):
            self._buffer += self.socket.recv(1)
        self.head = self._take(len(self._buffer)).decode()
        if post:
            self.post()

    def post(self) -> None:
        """Make the other connection; perhaps in place of one before."""
        self.said = socket.create_connection(self.socket.getpeername(), timeout=10)
        if self._tls is not None:
            self.said = self._tls.wrap_socket(self.said, server_hostname="127.0.0.1")
        self.said.sendall(self._head("POST") + b"\r\n")

    def _head(self, method: str) -> bytes:
        fields = f"x-sessioncookie: {self.cookie}\r\nAccept: application/x-rtsp-tunnelled\r\n"
        if method == "POST":
            fields += "Content-Type: application/x-rtsp-tunnelled\r\nContent-Length: 32767\r\n"
            return f"POST /test HTTP/1.0\r\n{fields}".encode()
        return f"GET /test HTTP/1.0\r\n{fields}\r\n".encode()

    def send(self, method: str, url: str | None = None, **headers: str) -> None:
        self._cseq += 1
        lines = [f"{method} {url or self.url} RTSP/1.0", f"CSeq: {self._cseq}"]
        if self.session is not None:
            lines.append(f"Session: {self.session}")
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.said.sendall(base64.b64encode("\r\n".join([*lines, "", ""]).encode()))

    def __enter__(self) -> "Tunnel":
        return self

    def close(self) -> None:
        super().close()
        self.said.close()


def counter(instance: Instance, name: str) -> float:
    """Of all servers; who asks is no connection himself."""
    return sum(
        float(process["counters"].get(name, 0))
        for process in instance.stats_of_supervisor()["processes"]
        if process["role"] == "server"
    )


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_every_cookie_finds_its_home(instance: Instance, scheme: str) -> None:
    url = instance.rtsp("test")
    if scheme == "http":
        [port] = re.findall(r":(\d+)/", instance.http("test"))
        url = re.sub(r":\d+/", f":{port}/", url)
    for number in range(8):
        with Tunnel(url, f"{scheme}-{number}") as client:
            assert client.head.startswith("HTTP/1.0 200 OK\r\n")
            assert "application/x-rtsp-tunnelled" in client.head
            client.start()
            assert {client.next_packet().channel for _ in range(10)} <= {0, 1}
            if number == 0:
                until(
                    lambda: [v["transport"] for v in instance.stats()["viewers"]] == ["rtsp-tunnel"], 10, "figures"
                )
                client.said.close()
                client.post()  # clients may do so at any time
            client.teardown()
    until(lambda: counter(instance, "tunnels") >= 8, 10, "tunnels to be counted")
    assert counter(instance, "tunnel_ends_handed_over") >= 1


def test_a_tunnel_that_is_not_there(instance: Instance) -> None:
    url = instance.rtsp("test")
    with Tunnel(url, "mine") as client:
        for cookie, method in (("other", "POST"), ("mine", "GET")):
            with socket.create_connection(client.socket.getpeername(), timeout=10) as stranger:
                stranger.sendall(f"{method} / HTTP/1.0\r\nx-sessioncookie: {cookie}\r\n\r\n".encode())
                assert stranger.recv(100).startswith(b"HTTP/1.0 404 ")
        assert client.request("OPTIONS", "*").status == 200
        client.said.sendall(b"?!?!")
        assert client.socket.recv(1) == b""


def test_http_on_the_rtsp_port_is_http(instance: Instance) -> None:
    with RtspClient(instance.rtsp("test")) as client:
        client.socket.sendall(b"GE")
        client.socket.sendall(b"T /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
        assert client.socket.recv(1000).startswith(b"HTTP/1.1 200 OK")


class Secure:
    """An instance with TLS."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "cert.pem"
        self.tls = issue(self.file)
        self.port = free_port()
        config = f'[http]\ntls_port = {self.port}\n[tls]\ncertificate = "{self.file}"\n'
        self.instance = Instance("test=test:size=160x128,fps=25", config=config, servers=SERVERS)
        self.url = f"rtsp://127.0.0.1:{self.port}/test"


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    made = Secure(tmp_path_factory.mktemp("tls"))
    with made.instance as running:
        running.wait_live("test")
        yield made


def test_encrypted_tunnels_wherever_their_connections_come_in(secure: Secure) -> None:
    for number in range(8):
        with Tunnel(secure.url, f"secure-{number}", tls=secure.tls) as client:
            client.start()
            assert {client.next_packet().channel for _ in range(60)} <= {0, 1}
            client.said.close()
            client.post()
            client.teardown()
    until(lambda: counter(secure.instance, "tunnels") >= 8, 10, "tunnels to be counted")
    assert counter(secure.instance, "tunnel_ends_handed_over") >= 1
    until(lambda: counter(secure.instance, "connections") == 0, 10, "nothing to be left of them")


def test_an_encrypted_tunnel_is_heard_by_encrypted_connections_only(secure: Secure) -> None:
    [plain] = re.findall(r":(\d+)/", secure.instance.http("test"))
    with Tunnel(secure.url, "mine", tls=secure.tls) as client:
        for cookie, port, tls in (("mine", int(plain), None), ("other", secure.port, secure.tls)):
            said = socket.create_connection(("127.0.0.1", port), timeout=10)
            with tls.wrap_socket(said, server_hostname="127.0.0.1") if tls is not None else said as stranger:
                stranger.sendall(f"POST / HTTP/1.0\r\nx-sessioncookie: {cookie}\r\n\r\n".encode())
                assert stranger.recv(100).startswith(b"HTTP/1.0 404 "), (cookie, port)
        assert client.request("OPTIONS", "*").status == 200
        client.said.sendall(b"?!?!")
        assert client.socket.recv(1) == b""


@pytest.mark.interop
@pytest.mark.parametrize("client", ["ffmpeg", "gstreamer"])
def test_clients_over_https(secure: Secure, client: str) -> None:
    """More than once: their two connections come in anywhere."""
    players.need("ffmpeg" if client == "ffmpeg" else "gst-launch-1.0")
    for _ in range(3):
        if client == "ffmpeg":
            ffmpeg = (
                f"ffmpeg -v warning -xerror -rtsp_transport https -i {secure.url} -frames:v {PICTURES} -f null -"
            )
            played = players.run(ffmpeg)
            assert (played.code, played.err) == (0, "")
        else:
            url = secure.url.replace("rtsp:", "rtspsh:")
            played = players.run(
                f"gst-launch-1.0 -q rtspsrc tls-validation-flags=0 location={url} ! rtpmp2tdepay ! tsdemux "
                f"! h264parse ! avdec_h264 ! fakesink num-buffers={PICTURES}"
            )
            assert players.gst_ended(played), played.err[-2000:]


@pytest.mark.interop
@pytest.mark.parametrize("port", ["rtsp", "http"])
def test_ffmpeg(instance: Instance, port: str) -> None:
    players.need("ffmpeg")
    url = instance.rtsp("test")
    if port == "http":
        [number] = re.findall(r":(\d+)/", instance.http("test"))
        url = re.sub(r":\d+/", f":{number}/", url)
    played = players.run(f"ffmpeg -v warning -xerror -rtsp_transport http -i {url} -frames:v {PICTURES} -f null -")
    assert (played.code, played.err) == (0, "")


@pytest.mark.interop
def test_gstreamer(instance: Instance) -> None:
    players.need("gst-launch-1.0")
    url = instance.rtsp("test").replace("rtsp:", "rtsph:")
    played = players.run(
        f"gst-launch-1.0 -q rtspsrc location={url} ! rtpmp2tdepay ! tsdemux ! h264parse ! avdec_h264 "
        f"! fakesink num-buffers={PICTURES}"
    )
    assert players.gst_ended(played), played.err[-2000:]
