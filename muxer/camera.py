"""A media session bound to a source: it starts the capture process that it needs, and ends it.

    session = start_camera_session("mock:clip.mp4")
    session.read_start(connection.send)

The capture is a process of its own, as under the supervisor, so that a broken camera cannot hurt the program; its
samples come over ZeroMQ to a thread, in which the callbacks run.
"""

import os
import secrets
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import zmq

from common import config as settings
from common import sockets, source_spec, wire
from common.clock import now_us
from common.endpoints import capture_endpoint
from common.errors import MediaError, MessageError, SessionError
from common.intake import Intake, arrival_us
from common.messages import Announce, SampleMessage, SourceState
from common.role import SUPERVISOR_PID_VARIABLE
from muxer.ring import Limits
from muxer.session import QUEUE_FRAMES_MAX, MediaSession
from muxer.stream import Stream

STREAM_NAME = "session"
POLL_MS = 20  # also how often clock references are added where they are due
CAPTURE_STOP_S = 2.0
SUBSCRIBE = b"\x01"


class CameraSession(MediaSession):
    """A session whose samples come from a capture process: `write_sample` and `write_packet` are not for it."""

    def __init__(self, source: str, queue_frames_max: int = QUEUE_FRAMES_MAX) -> None:
        super().__init__(
            Stream(STREAM_NAME, ssrc=secrets.randbits(32), age_max_us=0), Limits(frames_max=queue_frames_max)
        )
        source_spec.parse(source)
        self._source = source
        self._intake = Intake()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._receive, name=f"framegate {source}", daemon=True)
        self._thread.start()

    @property
    def reason(self) -> str:
        """Why the source is down, in one line; empty while it runs."""
        return self._intake.reason

    def close(self) -> None:
        """End the stream and the capture."""
        self._stopping.set()
        super().close()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _check_fed_by_program(self, verb: str) -> None:
        raise SessionError(f"{verb}: this session has a source of its own; use new_media_session()")

    def _receive(self) -> None:
        with tempfile.TemporaryDirectory(prefix="framegate-") as directory, zmq.Context() as context:
            config_file = Path(directory, "framegate.toml")
            streams = {STREAM_NAME: settings.Stream(source=self._source)}
            config_file.write_text(settings.dump(settings.Config(runtime_dir=directory, streams=streams)), "utf-8")
            # Started from the thread that lives as long as the session: the capture dies with its parent thread.
            capture = subprocess.Popen(
                [sys.executable, "-m", "capture", "--config", str(config_file), "--stream", STREAM_NAME],
                stdin=subprocess.DEVNULL,
                env=os.environ | {SUPERVISOR_PID_VARIABLE: str(os.getpid())},
            )
            socket = sockets.samples_in(context, capture_endpoint(directory, STREAM_NAME))
            try:
                socket.send(SUBSCRIBE)
                while not self._stopping.is_set():
                    if socket.poll(POLL_MS):
                        self._take(socket)
                    elif capture.poll() is not None:
                        self._intake.source_state(
                            SourceState(False, f"the capture ended with {capture.returncode}")
                        )
                        self._stopping.wait()
                    self.flush_buffer()
            finally:
                socket.close()
                capture.terminate()
                try:
                    capture.wait(CAPTURE_STOP_S)
                except subprocess.TimeoutExpired:
                    capture.kill()
                    capture.wait()

    def _take(self, socket: sockets.Socket) -> None:
        with self._lock:
            try:
                message, media = wire.decode(socket.recv_multipart())
                match message:
                    case SampleMessage() if not self._closed:
                        sample = self._intake.sample(message, bytes(media))
                        if sample is not None:
                            self.stream.write(sample, arrival_us(message, sample, now_us()))
                            self.flush_queue()
                    case Announce():
                        self._intake.announce(message)
                        self.stream.announce(message.tracks)
                    case SourceState():
                        self._intake.source_state(message)
            except (MessageError, MediaError) as error:
                self._intake.reason = str(error)
            request = self._intake.request(self._reading and self.queue.waits_for_sync, now_us())
            if request is not None:
                socket.send_multipart(wire.encode(request))


def start_camera_session(source: str, queue_frames_max: int = QUEUE_FRAMES_MAX) -> CameraSession:
    """A session bound to `source` ("camera:1", "mock:clip.mp4", "test:"); its capture starts at once.

    Raises SettingsError for a source that cannot be understood. One that cannot be read now is retried without
    end; `CameraSession.reason` says why.
    """
    return CameraSession(source, queue_frames_max)
