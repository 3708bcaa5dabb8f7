"""A real muxer process, and the stand-ins at both of its ends: a capture, and a server."""

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import zmq

from common import config as settings
from common import sockets, wire
from common.endpoints import capture_endpoint, muxer_endpoint
from common.errors import EXIT_OK
from common.messages import Announce, FrameMessage, Hello, Message, ReadStart, SampleMessage, Welcome
from common.sample import Codec, Track

WAIT_MS = 10_000
ROOM = 1 << 20
TRACKS = (Track(Codec.H264, 320, 240, 25.0),)


class Capture:
    """The capture's end: numbers and sends samples."""

    def __init__(self, context: sockets.Context, runtime_dir: str, stream: str) -> None:
        self.socket = sockets.samples_out(context, capture_endpoint(runtime_dir, stream))
        self.sequence = 0

    def receive(self) -> bytes:
        assert self.socket.poll(WAIT_MS), "nothing from the muxer"
        return self.socket.recv()

    def start(self) -> None:
        assert self.receive() == b"\x01"
        self.socket.send_multipart(wire.encode(Announce(1, TRACKS)))

    def picture(self, sync: bool = False) -> None:
        nal = b"\x65" if sync else b"\x41"
        header = SampleMessage(1, self.sequence, self.sequence * 40_000, None, Codec.H264, sync)
        self.socket.send_multipart(wire.encode(header, b"\0\0\0\1" + nal + b"\x55" * 500))
        self.sequence += 1


class Server:
    """The server's end. It has been welcomed, unless it does not greet."""

    def __init__(self, context: sockets.Context, runtime_dir: str, greets: bool = True) -> None:
        self.socket = sockets.frames_in(context, muxer_endpoint(runtime_dir, 0), b"server-0-1")
        self.sent = self.received = 0
        assert self.socket.poll(WAIT_MS, zmq.POLLOUT), "no muxer"
        if greets:
            self.greet()

    def tell(self, message: Message) -> None:
        self.socket.send_multipart(wire.encode(message, sequence=self.sent))
        self.sent += 1

    def receive(self) -> tuple[Message, wire.Buffer]:
        assert self.socket.poll(WAIT_MS), "nothing from the muxer"
        message, media, self.received = wire.decode_numbered(self.socket.recv_multipart())
        return message, media

    def greet(self) -> Welcome:
        """Say Hello; the answer, frames that come before it read over."""
        self.tell(Hello("server-0", 1))
        while not isinstance(answer := self.receive()[0], Welcome):
            pass
        return answer

    def frame(self) -> FrameMessage:
        while True:
            message, media = self.receive()
            if isinstance(message, FrameMessage):
                assert media[0] == ord("$")
                return message

    def picture(self) -> FrameMessage:
        while True:
            frame = self.frame()
            if frame.kind == 0:
                return frame


@contextmanager
def muxer(**streams: settings.Stream) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    with tempfile.TemporaryDirectory(prefix="fg-") as directory:
        file = Path(directory, "framegate.toml")
        file.write_text(settings.dump(settings.Config(runtime_dir=directory, streams=streams)), "utf-8")
        process = subprocess.Popen([sys.executable, "-m", "muxer", "--config", str(file)], stderr=subprocess.PIPE)
        with process:
            try:
                yield directory, process
                process.send_signal(signal.SIGTERM)
                _, log = process.communicate(timeout=10)
                assert process.returncode == EXIT_OK, log
                assert b"Traceback" not in log
            finally:
                process.kill()


@contextmanager
def watched(context: sockets.Context) -> Iterator[tuple[Capture, Server, FrameMessage]]:
    """A muxer whose stream, door, is watched by viewer 1 under ticket 10; and the first picture it was sent."""
    with muxer(door=settings.Stream("test:")) as (directory, _), ExitStack() as stack:
        capture = Capture(context, directory, "door")
        stack.enter_context(capture.socket)
        capture.start()
        capture.picture(sync=True)
        server = Server(context, directory)
        stack.enter_context(server.socket)
        server.tell(ReadStart(1, 10, "door", None, ROOM))
        yield capture, server, server.picture()
