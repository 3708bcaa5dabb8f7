"""How a server under test is started and stopped; framegate and the C baseline.

A `Server` knows its name, version and transports; `start` brings it up for one run and returns what the load
needs to know. Whatever a start acquires is released by the ExitStack it is given.
"""

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import psutil

from tests.bench.media import FPS, Clip, frames_file

Transport = Literal["rtsp-tcp", "http", "rtsp-udp"]

HERE = Path(__file__).parent
START_S = 90.0  # of fifty captures on a busy machine
STOP_S = 5.0
PATH = "/cam0"
OURS, SHARING = "framegate", "framegate, shared files"  # the latter in the row streams only


class UnavailableError(Exception):
    """A server cannot be had, or did not start; one line that says why."""


@dataclass(frozen=True)
class Job:
    """What one run asks of a server. host: to listen on. `server_cpus` empty: wherever the kernel likes.

    processes: how many of framegate's server processes share the viewers out.
    """

    clip: Clip
    work: Path
    streams: int = 1
    server_cpus: str = ""
    load_cpus: str = ""
    host: str = "127.0.0.1"
    processes: int = 1


@dataclass(frozen=True)
class Serving:
    """A server that is up. roles: what each process is, by its id; empty where there are no roles."""

    process: subprocess.Popen[bytes]
    rtsp_port: int
    http_port: int = 0
    rtsp_path: str = PATH
    http_path: str = ""
    roles: dict[int, str] = field(default_factory=dict)
    stats: Callable[[], dict[str, Any]] = field(default=dict)

    def pids(self) -> list[int]:
        """The server's processes; feeders are none of them."""
        process = psutil.Process(self.process.pid)
        return [process.pid, *(child.pid for child in process.children(recursive=True))]


@dataclass(frozen=True)
class Server:
    """One way to serve the clip."""

    name: str
    version: str
    transports: tuple[Transport, ...]
    start: Callable[[ExitStack, Job], Serving]
    streams_max: int = 1


def spawn(stack: ExitStack, argv: Sequence[str | Path], log: Path, cpus: str = "") -> subprocess.Popen[bytes]:
    """Start a process that ends with the stack; its output goes to `log`."""
    command = [*(("taskset", "-c", cpus) if cpus else ()), *map(str, argv)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd=log.parent
        )
    stack.callback(_stop, process)
    return process


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_for(process: subprocess.Popen[bytes], log: Path, pattern: str) -> re.Match[str]:
    """The first match of `pattern` in the log. Raises UnavailableError when the process ends or takes too long."""
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        ended = process.poll() is not None
        text = log.read_text(errors="replace")
        if match := re.search(pattern, text, re.MULTILINE):
            return match
        if ended:
            raise UnavailableError(f"ended with {process.returncode}: {_last_line(text)}")
        time.sleep(0.05)
    raise UnavailableError(f"not up after {START_S:.0f} s: {_last_line(log.read_text(errors='replace'))}")


def wait_listening(process: subprocess.Popen[bytes], log: Path, host: str, port: int) -> None:
    """Wait until connections are taken."""
    _poll(process, log, host, port, b"", b"")


def wait_described(process: subprocess.Popen[bytes], log: Path, host: str, port: int) -> None:
    """Wait until the stream can be described over RTSP."""
    request = f"DESCRIBE rtsp://{host}:{port}{PATH} RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n\r\n"
    _poll(process, log, host, port, request.encode(), b"RTSP/1.0 200")


def _poll(
    process: subprocess.Popen[bytes], log: Path, host: str, port: int, request: bytes, wanted: bytes
) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        try:
            with socket.create_connection((host, port), 5) as connection:
                connection.sendall(request)
                if not wanted or connection.recv(4096).startswith(wanted):
                    return
        except OSError:
            pass  # not listening yet
        time.sleep(0.1)
    raise UnavailableError(f"never served the stream: {_last_line(log.read_text(errors='replace'))}")


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1][:200] if lines else "it said nothing"


def free_port() -> int:
    """An even port that is free for TCP and UDP, as is the next one: RTP and RTCP want such a pair."""
    for _ in range(1000):
        with ExitStack() as stack:
            probe = stack.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            port = (int(probe.getsockname()[1]) + 2) & ~1
            try:
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    for number in (port, port + 1):
                        stack.enter_context(socket.socket(socket.AF_INET, kind)).bind(("127.0.0.1", number))
            except OSError:
                continue
            return port
    raise UnavailableError("no free port")


def compiled(name: str, cache: Path) -> Path:
    """One of our C programs, compiled unless the cache has it newer than its sources."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    program = cache / name
    newest = max(path.stat().st_mtime for path in (HERE / f"{name}.c", *HERE.glob("*.h")))
    if not program.exists() or program.stat().st_mtime < newest:
        if compiler is None:
            raise UnavailableError("no C compiler: install gcc and libc6-dev")
        subprocess.run([compiler, "-O2", "-o", program, HERE / f"{name}.c"], check=True)
    return program


def framegate(files: int = 0) -> Server:
    """framegate itself, one muxer, and one server process unless the job says more. files: processes.files."""
    program = Path(sys.executable).with_name("framegate")
    if not program.exists():
        raise UnavailableError("framegate is not installed beside this Python")

    def start(stack: ExitStack, job: Job) -> Serving:
        log = job.work / "framegate.log"
        sources = [f"cam{number}=mock:{job.clip.mp4}" for number in range(job.streams)]
        process = spawn(
            stack,
            [program, "serve", *sources, "--host", job.host, "--rtsp-port", "0", "--http-port", "0",
             "--runtime-dir", job.work / "fg", "--servers", str(job.processes), "--files", str(files)],
            log,
            job.server_cpus,
        )  # fmt: skip
        wait_for(process, log, r"^ready\b")
        rtsp_port = int(wait_for(process, log, rf"rtsp://{re.escape(job.host)}:(\d+)/cam0")[1])
        http_port = int(wait_for(process, log, rf"http://{re.escape(job.host)}:(\d+)/cam0")[1])
        wait_described(process, log, job.host, rtsp_port)

        def stats() -> dict[str, Any]:
            with urllib.request.urlopen(f"http://{job.host}:{http_port}/api/stats", timeout=10) as reply:
                figures: dict[str, Any] = json.load(reply)
                return figures

        roles = {entry["pid"]: entry["role"] for entry in stats()["processes"]}
        many = "/cam%d" if job.streams > 1 else PATH
        return Serving(process, rtsp_port, http_port, many, f"{many}.ts", roles, stats)

    return Server(
        SHARING if files else OURS, version("framegate"), ("rtsp-tcp", "http", "rtsp-udp"), start, streams_max=500
    )


def c_baseline(cache: Path) -> Server:
    """fanout.c: the least that a server in C has to do."""
    program = compiled("fanout", cache)

    def start(stack: ExitStack, job: Job) -> Serving:
        log = job.work / "fanout.log"
        process = spawn(
            stack, [program, "--frames", frames_file(job.clip), "--fps", str(FPS)], log, job.server_cpus
        )
        port = int(wait_for(process, log, r"^ready (\d+)")[1])
        return Serving(process, port, port, http_path=PATH)

    return Server("C", "one send a frame", ("rtsp-tcp", "http", "rtsp-udp"), start)
