"""Live streams of others: real programs, a real HTTP server; what comes out, what is said when nothing does."""

import base64
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Literal

import av
import pytest

from capture import live
from capture.live import LiveSource
from capture.live_input import CommandInput
from capture.live_reader import LiveReader
from common.clock import now_us
from common.config import Stream
from common.errors import SourceError
from common.sample import Codec, Sample
from common.source_spec import CommandSpec, UrlSpec, parse
from tests.support import check_picture, decoding
from tests.support.check_picture import CheckClip
from tests.support.wait import until

PATIENCE_S = 30
FPS = 25
# Writes a file to stdout at the rate of its bytes: this many seconds long.
PLAY = """
import sys, time
data, seconds = open(sys.argv[1], "rb").read(), float(sys.argv[2])
step = max(1, round(len(data) / seconds / 50))
for at in range(0, len(data), step):
    sys.stdout.buffer.write(data[at : at + step])
    sys.stdout.flush()
    time.sleep(0.02)
"""


@pytest.fixture(scope="module")
def ts(tmp_path_factory: pytest.TempPathFactory) -> CheckClip:
    """Three seconds with B-pictures and sound, a sync point every second."""
    path = tmp_path_factory.mktemp("live") / "clip.ts"
    return check_picture.make(path, pictures=3 * FPS, sync_every=FPS, b_pictures=2, audio=True)


Raw = Literal["auto", "h264", "mjpeg"]


def source_of(text: str, raw: Raw = "auto") -> LiveSource:
    spec = parse(text)
    assert isinstance(spec, UrlSpec | CommandSpec)
    return LiveSource(spec, Stream(source=text, format=raw))


def run(text: str, samples_max: int = 10_000, raw: Raw = "auto") -> tuple[list[Sample], list[int], str]:
    """One life of a source: its samples, when each came, and why it ended."""
    source = source_of(text, raw)
    source.open()
    got: list[Sample] = []
    at_us: list[int] = []
    give_up_s = time.monotonic() + PATIENCE_S
    try:
        while len(got) < samples_max:
            assert time.monotonic() < give_up_s, f"{len(got)} samples only"
            sample = source.read(0.05)
            if sample is not None:
                assert any(track.codec is sample.codec for track in source.tracks)
                got.append(sample)
                at_us.append(now_us())
    except SourceError as error:
        return got, at_us, str(error)
    finally:
        source.close()
    return got, at_us, ""


def check(got: list[Sample], at_us: list[int], clip: CheckClip) -> None:
    """The clip's pictures and sound, each at its own distance from the others. at_us: when each came."""
    for audio in (False, True):
        mine = [sample for sample in got if sample.audio is audio]
        his = [unit for unit in decoding.units(clip.path) if unit.audio is audio]
        assert len(his) - 1 <= len(mine) <= len(his)  # the last one may be cut off with the stream
        assert sorted(sample.order_us for sample in mine) == [sample.order_us for sample in mine]
    shown_us = sorted(sample.time_us for sample in got if not sample.audio)
    steps = {after - before for before, after in pairwise(shown_us)}
    # After a time that the machine stood still the clock is followed by a thousandth of it, at once.
    stall_us = max(0, *(after - before - 1_000_000 // FPS for before, after in pairwise(at_us)))
    assert all(abs(step - 1_000_000 // FPS) < 200 + stall_us // 1000 for step in steps), steps


def test_a_program_that_writes_a_transport_stream(ts: CheckClip) -> None:
    got, at_us, end = run(f"exec:{sys.executable} -c '{PLAY}' {ts.path} 3")
    check(got, at_us, ts)
    assert got[0].sync or got[0].audio
    assert end.endswith(": exit code 0")
    assert sys.executable in end
    spent_us = at_us[-1] - at_us[0]
    assert 1_000_000 < spent_us < 20_000_000, "as it came, not at once"


def test_raw_pictures_have_the_times_of_their_arrival(tmp_path: Path) -> None:
    clip = check_picture.make(tmp_path / "clip.h264", pictures=2 * FPS, sync_every=FPS)
    begun_us = now_us()
    got, at_us, _ = run(f"exec:{sys.executable} -c '{PLAY}' {clip.path} 2", raw="h264")
    assert len(got) >= 2 * FPS - 1
    assert [sample.sync for sample in got[: FPS + 1]] == [number % FPS == 0 for number in range(FPS + 1)]
    times_us = [sample.time_us for sample in got]
    assert times_us == sorted(set(times_us))
    assert all(begun_us < time_us <= came_us for time_us, came_us in zip(times_us, at_us, strict=True))


def test_motion_jpeg_is_encoded(tmp_path: Path) -> None:
    path = tmp_path / "clip.mjpeg"
    with av.open(str(path), "w", format="mjpeg") as container:
        video = container.add_stream("mjpeg", rate=FPS)
        video.width, video.height, video.pix_fmt = 128, 96, "yuvj420p"
        for number in range(2 * FPS):
            frame = av.VideoFrame(128, 96, "yuvj420p")
            frame.pts = number
            container.mux(video.encode(frame))
    got, _, _ = run(f"exec:{sys.executable} -c '{PLAY}' {path} 2", raw="mjpeg")
    assert len(got) > FPS // 2  # a busy machine may leave some out
    assert {sample.codec for sample in got} == {Codec.H264}
    assert got[0].sync


class Handler(BaseHTTPRequestHandler):
    """/clip.ts for who has the password, /open.ts for all, anything else is missing."""

    path_of_clip: Path

    def do_GET(self) -> None:
        allowed = "Basic " + base64.b64encode(b"user:se?cret").decode()
        if self.path.startswith("/clip.ts") and self.headers.get("Authorization") != allowed:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.end_headers()
        elif self.path.startswith(("/clip.ts", "/open.ts")):
            data = self.path_of_clip.read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            try:
                self.wfile.write(data)
            except OSError:
                pass  # who reads has enough
        else:
            self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def port(ts: CheckClip) -> Iterator[int]:
    handler = type("ClipHandler", (Handler,), {"path_of_clip": ts.path})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_a_file_on_the_network_is_given_out_in_real_time(port: int, ts: CheckClip) -> None:
    got, at_us, end = run(f"http://127.0.0.1:{port}/open.ts")
    check(got, at_us, ts)
    assert end == f"http://127.0.0.1:{port}/open.ts: the stream has ended"
    early_us = [sample.order_us - came_us for sample, came_us in zip(got, at_us, strict=True)]
    assert max(early_us) <= 0
    assert at_us[-1] - at_us[0] > 2_000_000


def test_with_a_password_and_never_a_word_of_it(port: int) -> None:
    got, _, end = run(f"http://user:se%3Fcret@127.0.0.1:{port}/clip.ts?token=alsosecret", samples_max=20)
    assert (len(got), end) == (20, "")
    _, _, end = run(f"http://user:secret@127.0.0.1:{port}/clip.ts?token=alsosecret")
    assert end == f"http://127.0.0.1:{port}/clip.ts?…: Server returned 401 Unauthorized (authorization failed)"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("http://127.0.0.1:{port}/missing", "http://127.0.0.1:{port}/missing: Server returned 404 Not Found"),
        ("rtsp://u:secret@127.0.0.1:1/x", "rtsp://127.0.0.1:1/x: Connection refused"),
        (
            "exec:{python} -c 'import sys; sys.exit(\"no such camera\")'",
            "exec:{python}: exit code 1: no such camera",
        ),
        ("exec:{python} -c 'print(1)'", "exec:{python}: exit code 0"),
        ("exec:{python} -c 'import os; os.kill(os.getpid(), 9)'", "exec:{python}: killed by SIGKILL"),
        ("exec:{python} -c 'open(\"rtsp://u:secret@h/\")'", "No such file or directory: 'rtsp://h/'"),
    ],
)
def test_why_nothing_comes_is_said_in_one_line(port: int, text: str, words: str) -> None:
    got, _, end = run(text.format(port=port, python=sys.executable))
    assert not got
    assert words.format(port=port, python=sys.executable) in end
    assert "\n" not in end
    assert "secret" not in end


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(SourceError, match="exec:no-such-program: there is no such program"):
        source_of("exec:no-such-program -x").open()


def is_alive(pid: int) -> bool:
    try:
        return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_silent_program_is_given_up_and_ended_with_all_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "STALL_US", 200_000)
    monkeypatch.setattr(live, "OPEN_S", 0.2)
    noted = tmp_path / "pids"
    script = f"trap : TERM; sleep 600 & echo $$ $! >{noted}; wait; wait"
    got, _, end = run(f'exec:sh -c "{script}"')
    assert (got, end) == ([], "exec:sh: nothing has come for 0 s")
    pids = [int(word) for word in noted.read_text().split()]
    assert len(pids) == 2
    until(lambda: not any(is_alive(pid) for pid in pids), 5, "the end of both")


def test_a_program_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    noted = tmp_path / "pid"
    child = os.fork()
    if not child:  # as a capture that is killed
        try:
            source_of(f'exec:sh -c "echo $$ >{noted}; exec sleep 600"').open()
            signal.pause()
        finally:
            os._exit(1)
    try:
        until(lambda: noted.exists() and noted.read_text(), 10, "the program")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    until(lambda: not is_alive(int(noted.read_text())), 5, "its end")


def test_a_reader_that_is_full_waits(ts: CheckClip, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("capture.live_reader.QUEUED_SAMPLES_MAX", 10)
    reader = LiveReader(CommandInput(CommandSpec(("cat", str(ts.path)))))
    try:
        until(lambda: reader.waited, 10, "a full queue")
        assert all(reader.next(10) for _ in range(200))
    finally:
        reader.close()
