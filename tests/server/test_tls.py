"""TLS: its channel, its way out, its files; and viewers of an encrypted server."""

import http.client
import os
import random
import select
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from common import certificate, logs
from common.errors import SettingsError
from server.tcp_outlet import SHARED_TOTAL_BYTES_MIN, FileTakers, TcpOutlet, offer_to_all
from server.tls import Certificate, TlsChannel, TlsOutlet
from tests.support.certificates import free_port, issue
from tests.support.digest_client import basic_answer
from tests.support.fake_muxer import FakeMuxer
from tests.support.frame_source import Judge
from tests.support.rtsp_client import RtspClient
from tests.support.server_process import ServerProcess, healthy, watch
from tests.support.wait import until

LARGE = 300_000
Contexts = tuple[ssl.SSLContext, ssl.SSLContext]  # of the server and of the client


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Contexts:
    """Of one certificate."""
    file = tmp_path_factory.mktemp("tls") / "cert.pem"
    client = issue(file)
    return certificate.load(str(file), ""), client


class Client:
    """The client's end, in memory."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="127.0.0.1")

    def hear(self, data: bytes) -> bytes:
        """What it is told in `data`; what it says is in `outgoing`."""
        self.incoming.write(data)
        told = b""
        try:
            self.tls.do_handshake()
            while piece := self.tls.read(65536):
                told += piece
        except ssl.SSLWantReadError:
            pass
        return told


def established(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], pieces: int = 1 << 20
) -> tuple[TlsChannel, Client]:
    """A channel and its client after the handshake, whose bytes came in pieces of this size."""
    channel, client = TlsChannel(contexts[0]), Client(contexts[1])
    client.hear(b"")
    for _ in range(3):
        said = client.outgoing.read()
        for at in range(0, len(said), pieces):
            assert channel.receive(said[at : at + pieces]) == b""
        client.hear(channel.take())
    assert channel.established
    return channel, client


@pytest.mark.parametrize("pieces", [1, 7, 1 << 20])
def test_a_channel(pair: Contexts, pieces: int) -> None:
    channel, client = established(pair, pieces)
    client.tls.write(b"question")
    said = client.outgoing.read()
    heard = b"".join(channel.receive(said[at : at + pieces]) for at in range(0, len(said), pieces))
    assert heard == b"question"
    large = random.Random(1).randbytes(LARGE)
    assert client.hear(channel.encrypt(large)) == large
    assert not channel.ended
    with pytest.raises(ssl.SSLWantReadError):
        client.tls.unwrap()
    assert channel.receive(client.outgoing.read()) == b""
    assert channel.ended
    client.incoming.write(channel.end())
    client.tls.unwrap()


def test_what_is_no_handshake(pair: Contexts) -> None:
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", bytes(100), random.Random(2).randbytes(5000)):
        channel = TlsChannel(pair[0])
        with pytest.raises(OSError):  # noqa: PT011 - ssl.SSLError, as the connection knows it
            channel.receive(garbage)
        assert not channel.established


class Ends:
    """A TCP connection with small buffers: our outlet, and what the other side reads."""

    def __init__(self, channel: TlsChannel | None) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.far = socket.socket()
            self.far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            self.far.connect(listening.getsockname())
            self.near, _ = listening.accept()
        self.near.setblocking(False)
        self.near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.far.setblocking(False)
        self.outlet = (
            TcpOutlet(self.near, lambda: None) if channel is None else TlsOutlet(self.near, lambda: None, channel)
        )

    def drain(self) -> bytes:
        """What comes until nothing is left to come."""
        data = b""
        while True:
            if self.outlet.blocked:
                self.outlet.flush()
            readable = select.select([self.far], [], [], 0.2)[0]
            if not readable and not self.outlet.blocked:
                return data
            if readable:
                data += self.far.recv(65536)

    def close(self) -> None:
        self.near.close()
        self.far.close()


def test_the_way_out_keeps_whole_frames_in_order(pair: Contexts) -> None:
    channel, client = established(pair)
    ends = Ends(channel)
    frame = random.Random(3).randbytes(LARGE)
    assert ends.outlet.offer(frame)
    assert ends.outlet.blocked
    assert not ends.outlet.offer(b"another"), "not one byte of it"
    ends.outlet.write(b"first")
    ends.outlet.write(b"second")
    assert ends.outlet.unfinished_bytes > LARGE - 200_000
    assert client.hear(ends.drain()) == frame + b"firstsecond"
    assert ends.outlet.offer(b"another")
    assert client.hear(ends.drain()) == b"another"
    ends.close()


def test_a_frame_for_many_is_encrypted_for_those_who_want_it(pair: Contexts) -> None:
    made = [established(pair) for _ in range(3)]
    everybody = [Ends(None), *(Ends(channel) for channel, _ in made), Ends(None)]
    frame = random.Random(4).randbytes(SHARED_TOTAL_BYTES_MIN // 5 + 1)  # large enough for a file in memory
    everybody[1].outlet.write(bytes(LARGE))
    late, broken = offer_to_all([ends.outlet for ends in everybody], frame, FileTakers())
    assert late == [everybody[1].outlet]
    assert broken == []
    assert everybody[0].drain() == frame
    assert made[0][1].hear(everybody[1].drain()) == bytes(LARGE)
    assert made[1][1].hear(everybody[2].drain()) == frame
    assert made[2][1].hear(everybody[3].drain()) == frame
    assert everybody[4].drain() == frame
    for ends in everybody:
        ends.close()


def test_a_certificate_follows_its_file(tmp_path: Path) -> None:
    file = tmp_path / "cert.pem"
    with pytest.raises(SettingsError):
        Certificate(str(file), "", logs.Logger())
    issue(file)
    pair = Certificate(str(file), "", logs.Logger())
    first = pair.context
    pair.refresh()
    assert pair.context is first
    for spoil in (lambda: file.write_bytes(b"half a cert"), file.unlink):
        spoil()
        pair.refresh()
        assert pair.context is first, "a bad pair changes nothing"
    issue(file)
    pair.refresh()
    assert pair.context is not first


# ---- a server --------------------------------------------------------------------------------------------


class Guarded:
    """A server with TLS, and its certificate's file."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "cert.pem"
        self.client = issue(self.file)
        self.rtsps, self.https = free_port(), free_port()
        self.server = ServerProcess(
            "cam",
            sections={
                "rtsp": {"tls_port": self.rtsps, "multicast_groups": "239.255.80.0/28"},
                "http": {"tls_port": self.https}, "tls": {"certificate": str(self.file)},
                "users": {"alice": {"password": "pw"}},
            },
        )  # fmt: skip

    def rtsp(self) -> RtspClient:
        client = RtspClient(f"rtsp://127.0.0.1:{self.rtsps}/cam")
        client.socket = self.client.wrap_socket(client.socket, server_hostname="127.0.0.1")
        return client

    def connect(self) -> ssl.SSLSocket:
        sock = socket.create_connection(("127.0.0.1", self.https), timeout=10)
        return self.client.wrap_socket(sock, server_hostname="127.0.0.1")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    made = Guarded(tmp_path_factory.mktemp("server"))
    with made.server:
        yield made


RIGHT = basic_answer("alice", "pw")


def test_viewers_over_tls(guarded: Guarded) -> None:
    with FakeMuxer(guarded.server.directory, "cam") as muxer, guarded.rtsp() as client:
        muxer.produce("cam", sync=True)
        healthy(guarded.server)
        refused = client.request("DESCRIBE")
        assert (refused.status, refused.headers["www-authenticate"]) == (401, 'Basic realm="framegate"')
        client.url = client.url.replace("rtsp:", "rtsps:")
        described = client.request("DESCRIBE", Authorization=RIGHT)
        assert described.status == 200
        assert described.headers["content-base"] == f"{client.url}/"
        offers = "RTP/AVP;unicast;client_port=40000-40001"
        assert client.request("SETUP", Transport=offers, Authorization=RIGHT).status == 461, "UDP is not encrypted"
        multicast = "RTP/AVP;multicast"
        assert client.request("SETUP", Transport=multicast, Authorization=RIGHT).status == 461
        answer = client.request("SETUP", Transport=f"{offers},RTP/AVP/TCP;interleaved=0-1", Authorization=RIGHT)
        assert answer.status == 200
        client.session = answer.headers["session"].partition(";")[0]
        client.play()
        for _ in range(10):
            muxer.produce("cam", packets=300)
        watch(client, Judge(), (muxer.epoch, 10))
        with guarded.connect() as stream:
            stream.sendall(f"GET /cam.ts HTTP/1.1\r\nHost: h\r\nAuthorization: {RIGHT}\r\n\r\n".encode())
            data = b""
            while len(data) < 188 * 300:
                data += stream.recv(65536)
            assert data.startswith(b"HTTP/1.1 200 OK\r\n")
            assert data.partition(b"\r\n\r\n")[2][:1] == b"\x47"


def test_its_last_word_is_said(guarded: Guarded) -> None:
    with guarded.connect() as client:
        client.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        data = b""
        while piece := client.recv(4096):  # raises where the end is not said
            data += piece
        assert data.startswith(b"HTTP/1.1 200")


def test_what_is_no_tls_is_closed_and_counted(guarded: Guarded) -> None:
    before = guarded.server.counter("handshakes_failed")
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n", bytes(1000)):
        with socket.create_connection(("127.0.0.1", guarded.rtsps), timeout=10) as client:
            client.sendall(garbage)
            try:
                while client.recv(4096):
                    pass
            except ConnectionResetError:
                pass  # what it sent was not read to the end
    until(lambda: guarded.server.counter("handshakes_failed") == before + 3, 5, "them to be counted")


def test_new_files_are_taken_up_and_bad_ones_are_not(guarded: Guarded) -> None:
    def serves() -> bool:
        https = http.client.HTTPSConnection("127.0.0.1", guarded.https, timeout=10, context=guarded.client)
        try:
            https.request("GET", "/healthz")
            https.getresponse().read()
        except ssl.SSLCertVerificationError:
            return False
        finally:
            https.close()
        return True

    assert serves()
    with guarded.connect() as old:
        guarded.file.write_bytes(b"garbage")
        until(lambda: "event=certificate_refused" in guarded.server.log, 10, "the bad file to be seen")
        assert serves(), "the former one is good still"
        new = guarded.file.with_suffix(".new")
        guarded.client = issue(new)
        os.replace(new, guarded.file)
        until(serves, 10, "the new one")
        old.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert old.recv(100).startswith(b"HTTP/1.1 ")
    assert guarded.server.log.count("event=certificate_refused") == 1
