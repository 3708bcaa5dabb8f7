"""The shell of the role processes: its word to the supervisor, its signals, its end."""

import gc
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import zmq

from common import sockets, wire
from common.config import Config
from common.endpoints import control_endpoint
from common.errors import EXIT_CRASH, EXIT_OK, EXIT_SETTINGS
from common.figures import RoleFigures, StreamFigures
from common.messages import Figures, FiguresRequest, Ready, Report
from common.role import REPORT_INTERVAL_US, SUPERVISOR_PID_VARIABLE, Role

PATIENCE_S = 40
FIGURES = RoleFigures({"a": 1}, [StreamFigures("s", "test:")])

_PROGRAM = """
import os, select, sys, time
from common import role
from common.clock import now_us
from common.errors import SettingsError, SourceError
from common.figures import RoleFigures

def serve(shell):
    shell.ready({"rtsp": 7})
    while not shell.stopping:
        select.select([shell.wake_fd], [], [], 0.05)
        shell.tick(now_us(), RoleFigures)

def wrong(shell):
    raise SettingsError("no such thing")

def source(shell):
    raise SourceError("unplugged")

def ours(shell):
    raise ZeroDivisionError

sys.exit(role.run("muxer", "muxer-0", sys.argv[1], locals()[sys.argv[2]]))
"""

_SUPERVISOR = f"""
import os, subprocess, sys, time
subprocess.Popen(sys.argv[1:], env={{**os.environ, {SUPERVISOR_PID_VARIABLE!r}: str(os.getpid())}})
time.sleep(3600)
"""


@pytest.fixture
def control(tmp_path: Path) -> Iterator[sockets.Socket]:
    """The supervisor's side."""
    context: sockets.Context = zmq.Context()
    socket = sockets.control_server(context, control_endpoint(str(tmp_path)))
    yield socket
    socket.close()
    context.term()


@pytest.fixture
def make_role(tmp_path: Path) -> Iterator[Callable[[], Role]]:
    made: list[Role] = []
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    threshold = gc.get_threshold()

    def make() -> Role:
        made.append(Role("muxer", "muxer-0", Config(runtime_dir=str(tmp_path))))
        return made[-1]

    yield make
    for role in made:
        role.close()
    for number, handler in handlers.items():
        signal.signal(number, handler)
    gc.unfreeze()
    gc.set_threshold(*threshold)


def receive(control: sockets.Socket) -> object:
    assert control.poll(PATIENCE_S * 1000), "nothing came"
    return wire.decode(control.recv_multipart()[1:])[0]


def start(folder: Path, what: str, text: str | None = None, **environment: str) -> "subprocess.Popen[str]":
    file = folder / "f.toml"
    file.write_text(f"runtime_dir = '{folder}'" if text is None else text)
    return subprocess.Popen(
        [sys.executable, "-P", "-c", _PROGRAM, str(file), what],
        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment},
    )  # fmt: skip


def ended(popen: "subprocess.Popen[str]") -> tuple[int, str]:
    _, stderr = popen.communicate(timeout=PATIENCE_S)
    return popen.returncode, stderr


class TestWord:
    def test_ready_waits_for_the_line_to_stand(
        self, control: sockets.Socket, make_role: Callable[[], Role], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(SUPERVISOR_PID_VARIABLE, str(os.getppid()))
        make_role().ready({"rtsp": 8554})  # at once, with the connection still on its way
        assert receive(control) == Ready("muxer", "muxer-0", os.getpid(), {"rtsp": 8554})

    def test_a_report_is_sent_at_once_and_then_once_a_second(
        self, control: sockets.Socket, make_role: Callable[[], Role]
    ) -> None:
        role = make_role()
        assert role.control.poll(PATIENCE_S * 1000, zmq.POLLOUT)
        calls: list[int] = []
        times = [0, 1, REPORT_INTERVAL_US - 1, REPORT_INTERVAL_US, REPORT_INTERVAL_US + 1, 3 * REPORT_INTERVAL_US]
        for now_us in times:

            def figures(now_us: int = now_us) -> RoleFigures:
                calls.append(now_us)
                return FIGURES

            role.tick(now_us, figures)
        assert calls == [0, REPORT_INTERVAL_US, 3 * REPORT_INTERVAL_US]
        for _ in calls:
            report = receive(control)
            assert isinstance(report, Report)
            assert (report.role, report.name, report.pid) == ("muxer", "muxer-0", os.getpid())
            assert msgspec.json.decode(report.figures, type=RoleFigures) == FIGURES

    def test_without_a_supervisor_nothing_blocks(self, make_role: Callable[[], Role]) -> None:
        role = make_role()
        role.ready()
        for second in range(10):
            role.tick(second * REPORT_INTERVAL_US, RoleFigures)
        assert not role.ask_figures(1)
        assert role.figures_answers() == []

    def test_figures_are_asked_for_and_answered(
        self, control: sockets.Socket, make_role: Callable[[], Role]
    ) -> None:
        role = make_role()
        assert role.control.poll(PATIENCE_S * 1000, zmq.POLLOUT)
        assert role.ask_figures(5)
        assert control.poll(PATIENCE_S * 1000)
        asker, *frames = control.recv_multipart()
        assert wire.decode(frames)[0] == FiguresRequest(5)
        for answer in ([b"hostile"], wire.encode(Figures(5, b"{}"))):
            control.send_multipart([asker, *answer])
        answers: list[Figures] = []
        while not answers:
            assert role.control.poll(PATIENCE_S * 1000)
            answers += role.figures_answers()
        assert answers == [Figures(5, b"{}")]


class TestSignals:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_stop_wakes_the_loop(self, number: int, make_role: Callable[[], Role]) -> None:
        role = make_role()
        assert not role.stopping
        assert select.select([role.wake_fd], [], [], 0)[0] == []
        os.kill(os.getpid(), number)
        assert select.select([role.wake_fd], [], [], PATIENCE_S)[0] == [role.wake_fd]
        assert role.stopping


class TestRun:
    def test_serves_until_stopped(self, control: sockets.Socket, tmp_path: Path) -> None:
        popen = start(tmp_path, "serve", **{SUPERVISOR_PID_VARIABLE: str(os.getpid())})
        assert receive(control) == Ready("muxer", "muxer-0", popen.pid, {"rtsp": 7})
        assert isinstance(receive(control), Report)
        popen.terminate()
        code, stderr = ended(popen)
        assert code == EXIT_OK
        assert "process=muxer-0 event=ready rtsp=7" in stderr
        assert stderr.count("\n") == 1

    @pytest.mark.parametrize(
        ("what", "text", "code", "line"),
        [
            ("wrong", None, EXIT_SETTINGS, "framegate muxer-0: no such thing\n"),
            ("source", None, EXIT_CRASH, "framegate muxer-0: unplugged\n"),
            ("serve", "x = 1", EXIT_SETTINGS, "FILE: Object contains unknown field `x`\n"),
            ("serve", "", EXIT_SETTINGS, "FILE: name the supervisor's directory here: runtime_dir is empty\n"),
            ("serve", f"runtime_dir = '/{'x' * 120}'", EXIT_SETTINGS, "choose a shorter --runtime-dir\n"),
        ],
    )
    def test_a_fault_on_purpose_is_one_line_and_its_code(
        self, what: str, text: str | None, code: int, line: str, tmp_path: Path
    ) -> None:
        ends, stderr = ended(start(tmp_path, what, text))
        assert ends == code
        assert stderr.endswith(line.replace("FILE", f"framegate muxer-0: {tmp_path}/f.toml"))
        assert stderr.count("\n") == 1

    def test_a_fault_of_ours_is_a_crash_with_its_traceback(self, tmp_path: Path) -> None:
        code, stderr = ended(start(tmp_path, "ours"))
        assert code == EXIT_CRASH
        assert stderr.endswith("ZeroDivisionError\n")
        assert stderr.startswith("Traceback")

    def test_it_dies_with_the_supervisor(self, control: sockets.Socket, tmp_path: Path) -> None:
        (tmp_path / "f.toml").write_text(f"runtime_dir = '{tmp_path}'")
        (tmp_path / "role.py").write_text(_PROGRAM)
        words = [sys.executable, "-P", str(tmp_path / "role.py"), str(tmp_path / "f.toml"), "serve"]
        supervisor = subprocess.Popen([sys.executable, "-c", _SUPERVISOR, *words])
        ready = receive(control)
        assert isinstance(ready, Ready)
        supervisor.kill()
        supervisor.wait()
        deadline = time.monotonic() + PATIENCE_S
        while _runs(ready.pid):
            assert time.monotonic() < deadline, "an orphan"
            time.sleep(0.02)

    def test_one_whose_supervisor_is_already_gone_ends_at_once(self, tmp_path: Path) -> None:
        code, stderr = ended(start(tmp_path, "serve", **{SUPERVISOR_PID_VARIABLE: "1"}))
        assert (code, stderr) == (EXIT_CRASH, "")


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
