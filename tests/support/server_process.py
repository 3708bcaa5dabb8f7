"""One real server process, with no supervisor but a stand-in that hears its reports and answers for figures."""

import http.client
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import msgspec
import zmq

from common import config as settings
from common import sockets, wire
from common.endpoints import control_endpoint
from common.figures import RoleFigures, ViewerFigures
from common.messages import Figures, FiguresRequest, Ready, Report
from tests.support.frame_source import Judge
from tests.support.rtsp_client import Packet, RtspClient
from tests.support.wait import until

READY_WITHIN_S = 30.0
STOP_WITHIN_S = 5.0


class Supervisor:
    """Hears Ready and Report. figures: the answer to a FiguresRequest; None for no answer."""

    def __init__(self, runtime_dir: str) -> None:
        self.figures: bytes | None = b'{"processes": []}'
        self.ready: Ready | None = None
        self.report: RoleFigures | None = None
        self._context: sockets.Context = zmq.Context()
        self._socket = sockets.control_server(self._context, control_endpoint(runtime_dir))
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stopping.set()
        self._thread.join(10)
        assert not self._thread.is_alive()
        self._socket.close()
        self._context.term()

    def _run(self) -> None:
        while not self._stopping.is_set():
            if self._socket.poll(20):
                identity, *frames = self._socket.recv_multipart()
                message, _ = wire.decode(frames)
                if isinstance(message, Ready):
                    self.ready = message
                elif isinstance(message, Report):
                    self.report = msgspec.json.decode(message.figures, type=RoleFigures)
                elif isinstance(message, FiguresRequest) and self.figures is not None:
                    self._socket.send_multipart([identity, *wire.encode(Figures(message.request, self.figures))])


class ServerProcess:
    """`python -m server` for these streams, up when the context is entered, ended cleanly when it is left.

    sections: of the settings, beside the streams'. supervised: whether there is a stand-in for the supervisor.
    """

    def __init__(
        self, *streams: str, sections: Mapping[str, Mapping[str, object]] | None = None, supervised: bool = True
    ) -> None:
        self.directory = tempfile.mkdtemp(prefix="fg-", dir="/tmp")
        document: dict[str, object] = {
            "runtime_dir": self.directory,
            "streams": {stream: {"source": "test:"} for stream in streams},
            **{name: dict(section) for name, section in (sections or {}).items()},
        }
        for name in ("rtsp", "http"):
            section = document.setdefault(name, {})
            assert isinstance(section, dict)
            section.setdefault("port", 0)
        self.config_file = Path(self.directory, "settings.toml")
        self.config_file.write_text(settings.dump(settings.from_document(document)), encoding="utf-8")
        self._supervised = supervised
        self._log: list[str] = []

    def __enter__(self) -> "ServerProcess":
        if self._supervised:
            self.supervisor = Supervisor(self.directory)
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "server", "--config", str(self.config_file)],
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        until(lambda: self._port("rtsp") or self.process.poll() is not None, READY_WITHIN_S, "the server's ready")
        self.rtsp_port = self._port("rtsp")
        self.http_port = self._port("http")
        assert self.rtsp_port, self.log
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                assert self.stop() == 0, self.log
                assert "Traceback" not in self.log
            else:
                sys.stderr.write(f"{self.log}\n")
        finally:
            self.process.kill()
            self.process.wait()
            self._reader.join(10)
            assert self.process.stderr is not None
            self.process.stderr.close()
            if self._supervised:
                self.supervisor.stop()
            shutil.rmtree(self.directory)

    def stop(self) -> int:
        """SIGTERM, or nothing if it has ended; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_WITHIN_S)

    @property
    def log(self) -> str:
        """What it said so far."""
        return "".join(self._log)

    def rtsp(self, stream: str) -> str:
        """The stream's RTSP URL."""
        return f"rtsp://127.0.0.1:{self.rtsp_port}/{stream}"

    def counter(self, name: str) -> float:
        """One of the counters that it reported last."""
        report = self.supervisor.report
        return 0 if report is None else report.counters[name]

    def viewers(self) -> list[ViewerFigures]:
        """The viewers that it reported last."""
        report = self.supervisor.report
        return [] if report is None else report.viewers

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._log.append(line)

    def _port(self, name: str) -> int:
        found = re.search(rf"event=ready.*\b{name}=(\d+)", self.log)
        return int(found[1]) if found is not None else 0


def get(server: ServerProcess, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    """One HTTP exchange on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=10)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        fields = {name.lower(): value for name, value in response.getheaders()}
        return response.status, fields, response.read()
    finally:
        connection.close()


def healthy(server: ServerProcess) -> None:
    until(lambda: get(server, "/healthz")[0] == 200, 10, "the muxer to be welcomed")


def play(server: ServerProcess, stream: str = "cam", **arguments: int) -> RtspClient:
    """A client that plays."""
    client = RtspClient(server.rtsp(stream), **arguments)  # type: ignore[arg-type]
    client.describe()
    client.setup()
    client.play()
    return client


def watch(client: RtspClient, judge: Judge, last: tuple[int, int]) -> None:
    """Read packets until the frame `last` has come whole."""
    while not judge.frames or judge.frames[-1] != last:
        judge.receive(framed(client.next_packet()))


def framed(packet: Packet) -> bytes:
    """The packet as it stood on the wire."""
    return b"$" + bytes((packet.channel,)) + len(packet.data).to_bytes(2, "big") + packet.data


def rest(client: RtspClient) -> list[Packet]:
    """What comes until the server closes the connection."""
    packets = []
    while True:
        try:
            packets.append(client.next_packet())
        except EOFError:
            return packets
