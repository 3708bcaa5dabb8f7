"""The processes of one framegate, forked from this one, with no supervisor over them. Inside a box only.

On an emulated processor five Python programs take minutes to import what they need; a fork has it. Ports are
fixed: a box has its own. Enter it before anything that has threads.
"""

import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import capture.__main__ as capture_role
import muxer.__main__ as muxer_role
import server.__main__ as server_role
from tests.support.wait import until

RTSP_PORT, HTTP_PORT = 8554, 8080
END_S = 60.0  # on an emulated processor
_COMMON = f"""
[rtsp]
port = {RTSP_PORT}

[http]
port = {HTTP_PORT}
"""


class ForkedRoles:
    """One capture for each of `streams`, a muxer, a server. settings: TOML, but for directory and ports."""

    def __init__(self, streams: tuple[str, ...], settings: str) -> None:
        self._streams = streams
        self._settings = settings
        self.pids: dict[str, int] = {}

    def __enter__(self) -> "ForkedRoles":
        self._home = Path(tempfile.mkdtemp(prefix="fg-", dir="/tmp"))
        config = self._home / "settings.toml"
        config.write_text(f'runtime_dir = "{self._home}"\n{_COMMON}{self._settings}')
        for stream in self._streams:
            self._fork(f"capture-{stream}", capture_role.main, "--config", str(config), "--stream", stream)
        self._fork("muxer-0", muxer_role.main, "--config", str(config))
        self._fork("server-0", server_role.main, "--config", str(config))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pid in self.pids.values():
            os.kill(pid, signal.SIGTERM if error is None else signal.SIGKILL)
        codes = {name: os.waitstatus_to_exitcode(self._ended(pid)) for name, pid in self.pids.items()}
        log = {name: self.log(name) for name in self.pids}
        shutil.rmtree(self._home)
        if error is not None:
            sys.stderr.write("\n".join(log.values()))  # captured, and shown with the failure
        else:
            assert set(codes.values()) == {0}, (codes, log)
            assert not [name for name, text in log.items() if "Traceback" in text], log

    def log(self, name: str) -> str:
        """What one of them has said so far."""
        path = self._home / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def _fork(self, name: str, main: Callable[[list[str]], int], *arguments: str) -> None:
        pid = os.fork()
        if pid != 0:
            self.pids[name] = pid
            return
        code = 70
        try:
            log = os.open(self._home / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            sys.stderr = sys.stdout = os.fdopen(2, "w", closefd=False)  # pytest has its own
            code = main(list(arguments))
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)

    def _ended(self, pid: int) -> int:
        statuses: list[int] = []

        def has_ended() -> bool:
            ended, status = os.waitpid(pid, os.WNOHANG)
            statuses.append(status)
            return ended == pid

        try:
            until(has_ended, END_S, f"the end of process {pid}")
        except AssertionError:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise
        return statuses[-1]
