"""One supervisor as a process over the stand-in roles of `fake_roles`: what it is told, and what it did."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest

from deploy.cli import ask_for_figures

ROOT = Path(__file__).parents[2]
PATIENCE_S = 40  # a loaded machine; nothing waits so long unless something is wrong

_DRIVER = """
import json, sys
from deploy.cli import _say
from deploy.effective import settle
from deploy.policy import Limits
from deploy.supervisor import serve
file, flags, sources, limits = json.loads(sys.argv[1])
def read():
    return settle(file, {k: tuple(v) for k, v in flags.items()}, sources)
sys.exit(serve(read, _say, Limits(**limits) if limits else None))
"""


def until(what: str, condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {PATIENCE_S} s in vain: {what}")
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie that nobody reaps has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Instance:
    """One supervisor with stand-in roles."""

    def __init__(self, folder: Path, directory: Path) -> None:
        self.folder = folder
        self.directory = directory
        self.notes = folder / "notes"
        self.log_path = folder / "log"
        self.environment: dict[str, str] = {}
        self._popen: subprocess.Popen[str] | None = None

    def start(
        self, *sources: str, limits: dict[str, int] | None = None, config: str | None = None, **flags: object
    ) -> None:
        paths = {"rtsp_port": "rtsp.port", "http_port": "http.port", "servers": "processes.servers"}
        given: dict[str, tuple[str, object]] = {
            "--runtime-dir": ("runtime_dir", str(self.directory)),
            "--rtsp-port": ("rtsp.port", 0),
            "--http-port": ("http.port", 0),
        }
        given |= {f"--{flag.replace('_', '-')}": (paths[flag], value) for flag, value in flags.items()}
        file = None
        if config is not None:
            file = str(self.folder / "settings.toml")
            Path(file).write_text(config)
        told = json.dumps([file, given, sources or ["a=test:"], limits])
        with self.log_path.open("a") as log:
            self._popen = subprocess.Popen(
                [sys.executable, "-P", "-c", _DRIVER, told],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={
                    **os.environ,
                    "PYTHONPATH": f"{self.folder / 'fakes'}{os.pathsep}{ROOT}",
                    "FAKE_NOTES": str(self.notes),
                    **self.environment,
                },
                cwd=self.folder,
            )

    @property
    def popen(self) -> "subprocess.Popen[str]":
        assert self._popen is not None
        return self._popen

    @property
    def stdout(self) -> IO[str]:
        assert self.popen.stdout is not None
        return self.popen.stdout

    def started(
        self, *sources: str, limits: dict[str, int] | None = None, config: str | None = None, **flags: object
    ) -> list[str]:
        """Start and wait until all is up; returns the lines of the greeting."""
        self.start(*sources, limits=limits, config=config, **flags)
        return self.greeting()

    def greeting(self) -> list[str]:
        lines: list[str] = []
        while not lines or not lines[-1].endswith("/api/stats"):
            line = self.stdout.readline()
            assert line, f"ended without being ready:\n{self.log()}"
            lines.append(line.rstrip("\n"))
        return lines

    def tell(self, name: str, what: str) -> None:
        """Let the stand-in `name` behave so; empty: well."""
        part = self.notes / f"{name}.part"
        part.write_text(what)
        part.rename(self.notes / name)

    def lives(self, name: str) -> list[list[str]]:
        """The lives of a process so far: pid and arguments each."""
        path = self.notes / f"{name}.lives"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def pids(self) -> list[int]:
        return [int(life[0]) for path in self.notes.glob("*.lives") for life in self.lives(path.stem)]

    def log(self) -> str:
        return self.log_path.read_text()

    def figures(self) -> dict[str, Any]:
        figures: dict[str, Any] = json.loads(ask_for_figures(self.directory))
        return figures

    def process(self, name: str) -> dict[str, Any]:
        return next(process for process in self.figures()["processes"] if process["name"] == name)

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.popen.send_signal(number)
        return self.popen.wait(PATIENCE_S)

    def clean(self) -> None:
        if self._popen is not None:
            if self.popen.poll() is None:
                self.popen.kill()
                self.popen.wait()
            self.stdout.close()
        until("everything has ended", lambda: not any(alive(pid) for pid in self.pids()))
