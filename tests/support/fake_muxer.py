"""A muxer process's stand-in: `ModelMuxer` behind the real socket, in a thread of the test."""

import threading
from types import TracebackType

import zmq

from common import sockets, wire
from common.endpoints import muxer_endpoint
from common.messages import Describe, Described, Ended, Forget, Hello, Message, ReadStart, Welcome
from tests.support.frame_source import FrameSource
from tests.support.model_muxer import ModelMuxer

SDP = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=test\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\na=control:stream=0\r\n"


class FakeMuxer:
    """Serves some streams to one server, from entering to leaving the context.

    silent: streams that Describe gets no answer for. failing: and those that it gets an error for. heard: every
    message of the server's, but Hello.
    """

    def __init__(
        self, runtime_dir: str, *streams: str, epoch: int = 1, index: int = 0, skips: bool = False
    ) -> None:
        self.epoch = epoch
        self.silent: set[str] = set()
        self.failing: dict[str, str] = {}
        self.unsuited: set[str] = set()
        self.heard: list[Message] = []
        self.models = {
            stream: ModelMuxer(FrameSource(stream, epoch, ssrc=epoch, sequence=epoch * 1000 % 65536), skips)
            for stream in streams
        }
        self._endpoint = muxer_endpoint(runtime_dir, index)
        self._context: sockets.Context = zmq.Context()
        self._identity = b""
        self._sent = 0
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "FakeMuxer":
        self._socket = sockets.frames_out(self._context, self._endpoint)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def greeted(self) -> bool:
        """Whether the server has found us."""
        return bool(self._identity)

    def stop(self) -> None:
        """End, as abruptly as a process that is killed."""
        self._stopping.set()
        self._thread.join(10)
        assert not self._thread.is_alive()
        self._socket.close()
        self._context.term()

    def produce(
        self, stream: str, kind: int = 0, sync: bool = False, packets: int = 3, time_us: int | None = None
    ) -> None:
        """One more frame of a stream."""
        with self._lock:
            self.models[stream].produce(kind, sync, packets, time_us)

    def of(self, kind: type[Message]) -> list[Message]:
        """What was heard of this kind so far."""
        with self._lock:
            return [message for message in self.heard if isinstance(message, kind)]

    def end(self, ticket: int, reason: str) -> None:
        """Say Ended."""
        with self._lock:
            self._send(Ended(ticket, reason))

    def say(self, message: Message, data: wire.Buffer | None = None) -> None:
        """Say something else."""
        with self._lock:
            self._send(message, data)

    def say_raw(self, *frames: bytes) -> None:
        """Say what is no message."""
        with self._lock:
            self._socket.send_multipart([self._identity, *frames])
            self._sent += 1

    def _run(self) -> None:
        while not self._stopping.is_set():
            ready = self._socket.poll(5)
            with self._lock:
                if ready:
                    identity, *frames = self._socket.recv_multipart()
                    message = wire.decode_numbered(frames)[0]
                    if identity != self._identity and not isinstance(message, Hello):
                        self._identity = identity
                        self._send(Welcome("muxer-0", self.epoch))
                    self._identity = identity
                    self._answer(message)
                for model in self.models.values():
                    while model.out:
                        message, data = model.out.popleft()
                        self._send(message, data)

    def _answer(self, message: Message) -> None:
        if isinstance(message, Hello):
            self._send(Welcome("muxer-0", self.epoch))
            return
        self.heard.append(message)
        if isinstance(message, Describe):
            if message.stream not in self.silent:
                error = self.failing.get(message.stream, "")
                unsuited = message.stream in self.unsuited
                sdp = "" if error else SDP
                self._send(Described(message.request, message.stream, sdp, error, unsuited=unsuited))
        elif isinstance(message, ReadStart):
            self.models[message.stream].hear(message)
        elif not isinstance(message, Forget):
            for model in self.models.values():
                model.hear(message)

    def _send(self, message: Message, data: wire.Buffer | None = None) -> None:
        self._socket.send_multipart([self._identity, *wire.encode(message, data, self._sent)])
        self._sent += 1
