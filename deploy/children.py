"""The processes of an instance as the kernel has them: started within their limits, signalled, buried."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from common.config import Limits, RoleLimits
from common.role import SUPERVISOR_PID_VARIABLE
from deploy.deaths import Death

_KERNEL_FIGURES = Path("/proc/vmstat")
# numpy starts threads for matrices, of which no process has any.
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1"}


class Child(msgspec.Struct):
    """One life of one process. kernel_kills: what `kernel_kills` said when it was last seen alive."""

    name: str
    role: str
    popen: subprocess.Popen[bytes]
    pidfd: int
    kernel_kills: int
    rss_bytes: int = 0


class Children:
    """All that live. `limits` may be changed: it is read at each start."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._by_pidfd: dict[int, Child] = {}
        raise_open_files()

    def __iter__(self) -> Iterator[Child]:
        return iter(list(self._by_pidfd.values()))

    def by_pidfd(self, pidfd: int) -> Child | None:
        """The child whose pidfd this is."""
        return self._by_pidfd.get(pidfd)

    def by_pid(self, pid: int) -> Child | None:
        """The child that has this process id."""
        return next((child for child in self._by_pidfd.values() if child.popen.pid == pid), None)

    def by_name(self, name: str) -> Child | None:
        """The child of this name."""
        return next((child for child in self._by_pidfd.values() if child.name == name), None)

    def start(self, name: str, role: str, arguments: list[str]) -> Child:
        """Start a process; its pidfd becomes readable when it dies. Raises OSError."""
        # -P: a folder that happens to be called `server` where the user stands is none of ours.
        popen = subprocess.Popen(
            [sys.executable, "-P", "-m", role, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=2,  # what a role says is log; stdout is the supervisor's own
            env={**os.environ, **_ENVIRONMENT, SUPERVISOR_PID_VARIABLE: str(os.getpid())},
            process_group=0,  # Ctrl-C is the supervisor's to handle, in its order
        )
        try:
            confine(popen.pid, self._limits(role))
            pidfd = os.pidfd_open(popen.pid)
        except OSError:
            popen.kill()
            popen.wait()
            raise
        child = Child(name, role, popen, pidfd, kernel_kills())
        self._by_pidfd[child.pidfd] = child
        return child

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to the child of this name, if it lives."""
        child = self.by_name(name)
        if child is not None:
            signal.pidfd_send_signal(child.pidfd, number)  # not reaped before `bury`: never a stranger

    def seen(self, rss_bytes: Mapping[int, int]) -> None:
        """They live, with so much memory each, by pid."""
        kills = kernel_kills()
        for child in self._by_pidfd.values():
            child.kernel_kills = kills
            child.rss_bytes = rss_bytes.get(child.popen.pid, 0)

    def bury(self, child: Child) -> Death:
        """It has died: forget it, and say how that was."""
        exit_code = child.popen.wait()
        os.close(child.pidfd)
        del self._by_pidfd[child.pidfd]
        memory_max_mb = self._limits(child.role).memory_max_mb
        return Death(
            exit_code=exit_code,
            signal_name=signal_name(-exit_code) if exit_code < 0 else "",
            kernel_kills=max(kernel_kills() - child.kernel_kills, 0),
            rss_bytes=child.rss_bytes,
            limit=f"limits.{child.role}.memory_max_mb = {memory_max_mb}" if memory_max_mb else "",
        )

    def close(self) -> None:
        """End what is left: nothing, unless a fault of ours, or of the kernel's, left some."""
        for child in self:
            child.popen.kill()
            os.close(child.pidfd)
        self._by_pidfd.clear()

    def _limits(self, role: str) -> RoleLimits:
        limits: RoleLimits = getattr(self.limits, role)
        return limits


def confine(pid: int, limits: RoleLimits) -> None:
    """Hold a process to its limits, from its first moments on. Raises OSError."""
    if limits.memory_max_mb:
        limit_bytes = limits.memory_max_mb << 20
        resource.prlimit(pid, resource.RLIMIT_DATA, (limit_bytes, limit_bytes))
    if limits.open_files_max:
        soft = min(limits.open_files_max, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, soft))
    if limits.cpus:
        os.sched_setaffinity(pid, limits.cpus)


def raise_open_files() -> None:
    """As many open files as this process, and those that it starts, may have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def kernel_kills() -> int:
    """How many processes the kernel has ended for want of memory since it started; 0 where it does not say."""
    try:
        text = _KERNEL_FIGURES.read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("oom_kill ")), 0)


def signal_name(number: int) -> str:
    """As a person names it."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
