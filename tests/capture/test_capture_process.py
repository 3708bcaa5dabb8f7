"""A real capture process, as the supervisor starts it, and a subscriber as the muxer is one."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import msgspec
import pytest
import zmq

from common import config, sockets, wire
from common.clock import now_us
from common.endpoints import capture_endpoint, control_endpoint
from common.errors import EXIT_OK, EXIT_SETTINGS
from common.messages import Announce, AnyMessage, KeyFrameRequest, Ready, Report, SampleMessage, SourceState
from common.role import SUPERVISOR_PID_VARIABLE
from common.sample import Codec
from tests.support.media_files import media_file
from tests.support.wait import until

WAIT_S = 20.0
NAME = "cam"


class Capture:
    """The process, and all that comes out of it."""

    def __init__(self, home: Path, stream: dict[str, Any], capture: dict[str, Any] | None = None) -> None:
        self.home = home
        self.context = zmq.Context()
        self.control = sockets.control_server(self.context, control_endpoint(str(home)))
        self.samples = sockets.samples_in(self.context, capture_endpoint(str(home), NAME))
        settings = config.from_document(
            {"runtime_dir": str(home), "streams": {NAME: stream}, "capture": capture or {}}
        )
        config_file = home / "framegate.toml"
        config_file.write_text(config.dump(settings))
        self.log_file = home / "log"
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "capture", "--config", str(config_file), "--stream", NAME],
                stderr=log,
                env=os.environ | {SUPERVISOR_PID_VARIABLE: str(os.getpid())},
            )
        self.counters: dict[str, int] = {}
        self.is_ready = False

    def subscribe(self) -> None:
        self.samples.send(b"\x01")

    def next(self) -> tuple[AnyMessage, bytes]:
        assert self.samples.poll(round(WAIT_S * 1000)), f"nothing came; the log: {self.log}"
        message, media = wire.decode(self.samples.recv_multipart())
        return message, bytes(media)

    def next_of(self, kind: type) -> Any:
        for _ in range(1000):
            message, _ = self.next()
            if isinstance(message, kind):
                return message
        raise AssertionError(f"no {kind.__name__} among 1000 messages")

    def hear(self) -> None:
        """Take what it says to the supervisor."""
        while self.control.poll(0):
            _, *frames = self.control.recv_multipart()
            message, _ = wire.decode(frames)
            if isinstance(message, Ready):
                assert (message.role, message.name, message.pid) == (
                    "capture",
                    f"capture-{NAME}",
                    self.process.pid,
                )
                self.is_ready = True
            elif isinstance(message, Report):
                self.counters = msgspec.json.decode(message.figures)["counters"]

    def wait_for(self, probe: Callable[[], bool], what: str) -> None:
        def both() -> bool:
            self.hear()
            return probe()

        until(both, WAIT_S, f"{what}; the log: {self.log}")

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for socket in (self.control, self.samples):
            socket.close()
        self.context.term()


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("c")


@contextmanager
def running(home: Path, stream: dict[str, Any], capture: dict[str, Any] | None = None) -> Iterator[Capture]:
    made = Capture(home, stream, capture)
    try:
        yield made
    finally:
        made.close()


def test_a_file_is_announced_published_and_reported(home: Path) -> None:
    path = media_file("a.ts")
    with running(home, {"source": f"mock:{path}"}) as capture:
        capture.subscribe()
        announce = capture.next_of(Announce)
        assert [track.codec for track in announce.tracks] == [Codec.H264, Codec.AAC]
        sequences = []
        video: list[tuple[SampleMessage, bytes]] = []
        latest_us = 0
        while len(video) < 50:
            message, media = capture.next()
            if isinstance(message, SampleMessage):
                assert message.epoch == announce.epoch
                order_us = message.time_us if message.decode_time_us is None else message.decode_time_us
                latest_us = max(latest_us, now_us() - order_us)
                sequences.append(message.sequence)
                if message.codec is Codec.H264:
                    video.append((message, media))
        assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))
        assert latest_us < 5_000_000  # decoding times are of now, on this clock
        assert any(message.sync for message, _ in video)
        capture.wait_for(lambda: capture.counters.get("samples", 0) > 60, "its report")
        assert capture.is_ready
        assert capture.counters["bytes"] > 10_000
        assert capture.counters["key_frames"] >= 1
        assert capture.counters["subscriptions"] == 1
        assert "event=source_up" in capture.log
        assert "160x120 30 fps" in capture.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("source", ["mock", "test:size=160x128,tone=off", "camera:9999"])
def test_it_stops_when_told(home: Path, source: str, number: signal.Signals) -> None:
    if source == "mock":
        source = f"mock:{media_file('a.mp4')}"
    with running(home, {"source": source}) as capture:
        capture.wait_for(lambda: capture.is_ready and "event=source_" in capture.log, "its start")
        capture.process.send_signal(number)
        started = time.monotonic()
        assert capture.process.wait(WAIT_S) == EXIT_OK
        assert time.monotonic() - started < 2.0  # 0.05 s on a quiet machine
        assert "Traceback" not in capture.log
        # The sockets go with the runtime directory, whose owner is the supervisor.
        assert sorted(os.listdir(home)) == [f"capture-{NAME}", "control", "framegate.toml", "log"]


def test_a_missing_file_is_one_line_and_is_picked_up_when_it_comes(home: Path) -> None:
    path = home / "late.mp4"
    with running(home, {"source": f"mock:{path}"}, {"retry_ms": 20, "retry_max_ms": 40}) as capture:
        capture.subscribe()
        assert capture.next() == (SourceState(False, f"{path}: no such file"), b"")
        capture.wait_for(lambda: capture.is_ready and capture.counters.get("retries", 0) > 10, "retries")
        assert capture.log.count("event=source_down") == 1
        written = home / "written.mp4"
        written.write_bytes(media_file("a.mp4").read_bytes())
        written.rename(path)
        announce = capture.next_of(Announce)
        assert capture.next_of(SourceState).up
        assert capture.next_of(SampleMessage).epoch == announce.epoch
        path.unlink()
        down = capture.next_of(SourceState)
        assert (down.up, down.reason) == (False, f"{path}: no such file")
        capture.wait_for(lambda: capture.log.count("event=source_down") == 2, "its word in the log")
        written.write_bytes(media_file("a.mp4").read_bytes())
        written.rename(path)
        assert capture.next_of(Announce).epoch != announce.epoch
        assert "Traceback" not in capture.log


def test_a_missing_file_is_opened_as_soon_as_it_comes_however_long_the_pause(home: Path) -> None:
    path = home / "late.mp4"
    with running(home, {"source": f"mock:{path}"}, {"retry_ms": 600_000, "retry_max_ms": 600_000}) as capture:
        capture.subscribe()
        assert not capture.next_of(SourceState).up
        written = home / "written.mp4"
        written.write_bytes(media_file("a.mp4").read_bytes())
        written.rename(path)
        assert capture.next_of(SampleMessage).sequence == 0


def test_a_key_frame_comes_when_it_is_asked_for(home: Path) -> None:
    stream = {"source": "test:size=160x128,fps=30,tone=off,sync_interval_ms=3600000"}
    with running(home, stream) as capture:
        capture.subscribe()
        announce = capture.next_of(Announce)
        decoder = av.CodecContext.create("h264", "r")
        decoder.thread_count = 1
        syncs = waited = 0
        while syncs < 3:
            message, media = capture.next()
            if not isinstance(message, SampleMessage):
                continue
            waited += 1
            assert waited < 200, "no key frame"
            if message.sync:
                syncs += 1
                waited = 0
                assert announce.tracks[0].config in media
            if waited == 10:
                capture.samples.send_multipart(wire.encode(KeyFrameRequest()))
            if syncs:
                assert decoder.decode(av.Packet(media))
        capture.wait_for(lambda: capture.counters.get("key_frame_requests", 0) >= 2, "the count")


def test_on_demand_it_runs_while_somebody_listens(home: Path) -> None:
    stream = {"source": "test:size=160x128,tone=off", "on_demand": True}
    with running(home, stream, {"idle_ms": 100}) as capture:
        capture.wait_for(lambda: capture.is_ready and bool(capture.counters), "its first report")
        assert capture.counters["samples"] == 0
        capture.subscribe()
        first = capture.next_of(Announce)
        capture.next_of(SampleMessage)
        capture.samples.send(b"\x00")
        capture.wait_for(lambda: "event=source_idle" in capture.log, "the end of the source")
        while capture.samples.poll(100):
            capture.samples.recv_multipart()
        capture.subscribe()
        assert capture.next_of(Announce).epoch != first.epoch
        assert capture.next_of(SampleMessage).sequence < 5
        assert capture.log.count("event=source_up") == 2


def run_to_its_end(home: Path, text: str, stream: str = NAME) -> tuple[int, str]:
    config_file = home / "framegate.toml"
    config_file.write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "capture", "--config", str(config_file), "--stream", stream],
        stderr=subprocess.PIPE, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stderr.splitlines()[-1]


def test_what_no_retry_can_mend_ends_with_the_code_that_says_so(home: Path) -> None:
    where = f"runtime_dir = '{home}'\n[streams.{NAME}]\n"
    unsupported = media_file("a.mkv", "mpeg4")
    code, line = run_to_its_end(home, f"{where}source = 'mock:{unsupported}'")
    assert code == EXIT_SETTINGS
    assert line.endswith("its video is mpeg4: only H.264, H.265 and MJPEG can be carried")
    code, line = run_to_its_end(home, f"{where}source = 'test:'\nwidth = 161")
    assert code == EXIT_SETTINGS
    assert "width 161: a test picture has even sides" in line
    code, line = run_to_its_end(home, f"{where}source = 'test:'", stream="other")
    assert code == EXIT_SETTINGS
    assert line == f"framegate capture-other: --stream other: the settings have no such stream; they have: {NAME}"
    code, line = run_to_its_end(home, f"[streams.{NAME}]\nsource = 'test:'")
    assert code == EXIT_SETTINGS
    assert "runtime_dir is empty" in line


def test_the_list_of_cameras_is_text_or_json() -> None:
    command = [sys.executable, "-m", "capture", "--devices"]
    text = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert text.stdout
    assert text.stderr == ""
    listed = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=60, check=True)
    cameras = json.loads(listed.stdout)
    assert isinstance(cameras, list)
    assert all(camera["device"].startswith("/dev/video") for camera in cameras)
