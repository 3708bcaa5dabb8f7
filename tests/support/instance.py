"""A whole framegate, run as a user runs it, with nothing left behind when it ends.

    with Instance("cam=mock:clip.mp4", servers=2) as instance:
        play(instance.rtsp("cam"))

Every process of it inherits a mark in its environment, and everything it writes goes into one directory of its
own: so what a clean end leaves behind can be told from everything else on the machine.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import uuid
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from deploy.cli import ask_for_figures
from tests.support.wait import until

READY_WITHIN_S = 30.0  # an import of numpy and PyAV in five processes on two busy cores
ORDER_WITHIN_S = 60
STOP_WITHIN_S = 5.0  # promised: 3
# On a busy machine a test's own viewers are late, and would rightly be given less: for tests of what else is lost.
PATIENT = "[viewer]\nage_max_ms = 20000\n"
_MARK = "FRAMEGATE_TEST_MARK"
_TRACEBACK = "Traceback (most recent call last)"

running: list["Instance"] = []  # whose logs a failing test shows


def command() -> str:
    """The installed console command, of the environment that runs the tests."""
    return str(Path(sys.executable).with_name("framegate"))


class Instance:
    """`framegate serve` with these sources, ready when the context is entered.

    config: the text of a settings file. muxers, servers: None leaves them to it. extra: more arguments. under: a
    command to start it by, which ends in an exec. serves: whether it has servers, and so URLs. Leaving the context
    asserts a clean end, unless the test killed the supervisor.
    """

    def __init__(
        self,
        *sources: str,
        config: str | None = None,
        muxers: int | None = 1,
        servers: int | None = 1,
        extra: Sequence[str] = (),
        runtime_dir: Path | None = None,
        wait_ready: bool = True,
        under: Sequence[str] = (),
        serves: bool = True,
    ) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="fg-", dir="/tmp"))
        self.runtime_dir = self.home / "run" if runtime_dir is None else runtime_dir
        self._wait_ready = wait_ready
        self._temporary = self.home / "tmp"
        self._temporary.mkdir()
        self.settings_file = self.home / "settings.toml"
        arguments = ["--rtsp-port", "0", "--http-port", "0", "--runtime-dir", str(self.runtime_dir)]
        for flag, count in (("--muxers", muxers), ("--servers", servers)):
            arguments += [flag, str(count)] if count is not None else []
        arguments += extra
        if config is not None:
            self.settings_file.write_text(config)
            arguments += ["--config", str(self.settings_file)]
        self._command = [*under, command(), "serve", *sources, *arguments]
        self._serves = serves
        self._mark = uuid.uuid4().hex
        self._out: list[str] = []
        self._err: list[str] = []
        self._readers: list[threading.Thread] = []
        self.urls: list[str] = []
        self.crashes_expected = False  # a test that makes a process of ours crash may find its traceback

    def __enter__(self) -> "Instance":
        self._shared_memory = set(os.listdir("/dev/shm"))
        self.process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=self.environment(),
            cwd=self.home,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._follow(self.process.stdout, self._out)
        self._follow(self.process.stderr, self._err)
        running.append(self)
        try:
            if self._wait_ready:
                until(self._is_ready, READY_WITHIN_S, "`ready` and the URLs on stdout")
        except BaseException:
            self.kill_all()
            self._release()
            sys.stderr.write(f"{self.log}\n")
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            sys.stderr.write(f"{self.log}\n")  # captured, and shown with the failure
        try:
            if error is None:
                if self.process.poll() is None:
                    self.stop()
                if self.process.returncode != -signal.SIGKILL:
                    self.check_nothing_left()
                assert self.crashes_expected or _TRACEBACK not in self.log, "a process of framegate crashed"
        except AssertionError:
            sys.stderr.write(f"{self.log}\n")
            raise
        finally:
            self.kill_all()
            self._release()

    def environment(self) -> dict[str, str]:
        """The environment of the instance, for further commands on it."""
        return {**os.environ, _MARK: self._mark, "TMPDIR": str(self._temporary), "NO_COLOR": "1"}

    # ---- what it says ------------------------------------------------------------------------------------

    @property
    def out(self) -> str:
        """Its stdout so far."""
        return "\n".join(self._out)

    @property
    def log(self) -> str:
        """Its stderr so far."""
        return "\n".join(self._err)

    def log_lines(self, *words: str) -> list[str]:
        """The lines of stderr that have all of `words`."""
        return [line for line in list(self._err) if all(word in line for word in words)]

    def rtsp(self, name: str) -> str:
        """The RTSP URL of a stream, as it was printed."""
        return self._url(rf"rtsp://[^/]+/{re.escape(name)}")

    def http(self, name: str) -> str:
        """The HTTP URL of a stream, as it was printed."""
        return self._url(rf"http://[^/]+/{re.escape(name)}\.ts")

    def http_base(self) -> str:
        """http://HOST:PORT, without a slash."""
        return self._url(r"http://[^/]+/api/stats").removesuffix("/api/stats")

    def stats(self) -> dict[str, Any]:
        """`/api/stats` now."""
        with urllib.request.urlopen(f"{self.http_base()}/api/stats", timeout=10) as answer:
            figures: dict[str, Any] = json.load(answer)
            return figures

    def stats_of_supervisor(self) -> dict[str, Any]:
        """The same, asked of the supervisor: no connection to a server, which might take nobody, or count it."""
        figures: dict[str, Any] = json.loads(ask_for_figures(self.runtime_dir))
        return figures

    def stream(self, name: str) -> dict[str, Any]:
        """The figures of one stream."""
        return next(stream for stream in self.stats()["streams"] if stream["name"] == name)

    def processes(self, role: str) -> list[dict[str, Any]]:
        """The figures of the processes in a role, by name."""
        found = [process for process in self.stats()["processes"] if process["role"] == role]
        return sorted(found, key=lambda process: str(process["name"]))

    def viewer(self, user_agent: str) -> dict[str, Any]:
        """The figures of the one viewer that calls itself so, as soon as it is reported."""

        def named() -> list[dict[str, Any]]:
            return [viewer for viewer in self.stats()["viewers"] if viewer["user_agent"] == user_agent]

        (found,) = until(named, 5, f"a report of the viewer {user_agent}")
        return found

    def wait_live(self, *names: str, within_s: float = 15.0) -> None:
        """Until samples of these streams have come through."""
        for name in names:
            until(lambda name=name: self.stream(name)["state"] == "live", within_s, f"{name} live")  # type: ignore[misc]

    # ---- what is done to it ------------------------------------------------------------------------------

    def order(self, *words: str, code: int = 0) -> str:
        """Give an order by the command; its one line."""
        done = subprocess.run(
            [command(), *words, "--runtime-dir", str(self.runtime_dir)],
            capture_output=True, text=True, timeout=ORDER_WITHIN_S, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stderr + done.stdout
        said = done.stderr if code else done.stdout
        assert said.startswith("framegate: ")
        assert said.count("\n") == 1
        return said.removeprefix("framegate: ").strip()

    def kill(self, role: str, index: int = 0) -> int:
        """kill -9 one process; returns the pid that it had."""
        pid: int = self.processes(role)[index]["pid"]
        os.kill(pid, signal.SIGKILL)
        return pid

    def kill_supervisor(self) -> None:
        """kill -9 the supervisor alone."""
        self.process.kill()
        self.process.wait(5)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> float:
        """Ask it to end; asserts that it does, in time and with exit code 0. Returns the seconds it took."""
        asked_s = time.monotonic()
        self.process.send_signal(number)
        try:
            code = self.process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            running_still = self.alive()
            raise AssertionError(f"{number.name}: after {STOP_WITHIN_S} s still {running_still}") from None
        took_s = time.monotonic() - asked_s
        assert code == 0, f"{number.name}: exit code {code}"
        return took_s

    def alive(self) -> list[tuple[int, str]]:
        """Pid and command line of every process of this instance, the supervisor's too; zombies have neither."""
        mark = f"{_MARK}={self._mark}".encode()
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    if mark in Path("/proc", entry, "environ").read_bytes().split(b"\0"):
                        line = Path("/proc", entry, "cmdline").read_bytes().replace(b"\0", b" ").decode()
                        found.append((int(entry), line))
                except OSError:
                    pass  # it ended meanwhile, or is another user's
        return found

    def zombies(self) -> list[int]:
        """Processes of this instance's session that have died and that nobody has waited for."""
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    fields = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()
                except OSError:
                    continue  # it ended meanwhile
                if fields[0] == "Z" and int(fields[3]) == self.process.pid:
                    found.append(int(entry))
        return found

    def check_nothing_left(self) -> None:
        """Assert that neither process nor file nor shared memory of a stopped instance is there."""
        left = self.alive()
        assert not left, f"processes left behind: {left}"
        files = [str(path) for path in self.home.rglob("*") if path not in (self.settings_file, self._temporary)]
        files += [str(self.runtime_dir)] if self.runtime_dir.exists() else []
        assert not files, f"files left behind: {files}"
        shared = [
            name
            for name in set(os.listdir("/dev/shm")) - self._shared_memory
            if re.search(r"framegate|fg-|psm_", name)
        ]
        assert not shared, f"shared memory left behind: {shared}"

    def kill_all(self) -> None:
        """End what is left of it, by whatever means."""
        for pid, _ in self.alive():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # it ended meanwhile
        self.process.wait(10)

    # ---- the rest ----------------------------------------------------------------------------------------

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, f"ended with exit code {self.process.returncode} instead"
        lines = list(self._out)
        if "ready" not in lines or not (lines[-1].endswith("/api/stats") or not self._serves):
            return False
        self.urls = re.findall(r"(?:rtsp|http)://\S+", "\n".join(lines[lines.index("ready") :]))
        return True

    def _url(self, pattern: str) -> str:
        found = [url for url in self.urls if re.fullmatch(pattern, url)]
        assert len(found) == 1, f"{pattern} among {self.urls}"
        return found[0]

    def _follow(self, pipe: IO[str], lines: list[str]) -> None:
        def read() -> None:
            with pipe:
                for line in pipe:
                    lines.append(line.rstrip("\n"))

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        self._readers.append(reader)

    def _release(self) -> None:
        for reader in self._readers:
            reader.join(5)
        running.remove(self)
        shutil.rmtree(self.home, ignore_errors=True)
