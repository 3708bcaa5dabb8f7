"""Processes started within their limits, and what is said of their deaths. Their programs are stand-ins."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from common.config import Limits, RoleLimits
from deploy.children import Children, confine, kernel_kills, signal_name


@pytest.fixture
def sleeper() -> Iterator[int]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as popen:
        yield popen.pid
        popen.kill()


def test_no_limit_changes_nothing(sleeper: int) -> None:
    before = resource.prlimit(sleeper, resource.RLIMIT_DATA), resource.prlimit(sleeper, resource.RLIMIT_NOFILE)
    confine(sleeper, RoleLimits())
    after = resource.prlimit(sleeper, resource.RLIMIT_DATA), resource.prlimit(sleeper, resource.RLIMIT_NOFILE)
    assert after == before
    assert os.sched_getaffinity(sleeper) == os.sched_getaffinity(0)


def test_limits_are_the_kernels(sleeper: int) -> None:
    core = max(os.sched_getaffinity(0))
    confine(sleeper, RoleLimits(memory_max_mb=300, open_files_max=64, cpus=(core,)))
    assert resource.prlimit(sleeper, resource.RLIMIT_DATA) == (300 << 20, 300 << 20)
    assert resource.prlimit(sleeper, resource.RLIMIT_NOFILE) == (64, 64)
    assert os.sched_getaffinity(sleeper) == {core}


def test_more_open_files_than_are_allowed_are_as_many_as_are(sleeper: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    confine(sleeper, RoleLimits(open_files_max=1 << 30))
    assert resource.prlimit(sleeper, resource.RLIMIT_NOFILE) == (hard, hard)


def test_a_process_that_is_killed_is_buried_with_its_signal() -> None:
    children = Children(Limits(muxer=RoleLimits(memory_max_mb=4000)))
    try:
        child = children.start("muxer-0", "muxer", ["--help"])  # ends by itself, or by us
        assert [other.name for other in children] == ["muxer-0"]
        assert children.by_name("muxer-0") is children.by_pid(child.popen.pid) is children.by_pidfd(child.pidfd)
        children.seen({child.popen.pid: 5_000_000})
        children.signal("muxer-0", signal.SIGKILL)
        children.signal("nobody", signal.SIGKILL)
        death = children.bury(child)
        assert (death.exit_code, death.signal_name, death.rss_bytes) == (-9, "SIGKILL", 5_000_000)
        assert death.limit == "limits.muxer.memory_max_mb = 4000"
        assert list(children) == []
    finally:
        children.close()


def test_what_is_left_is_ended() -> None:
    children = Children(Limits())
    child = children.start("muxer-0", "muxer", ["--help"])
    children.close()
    assert child.popen.wait(30) in (-9, 0)
    assert list(children) == []


def test_the_kernels_own_words() -> None:
    assert kernel_kills() >= 0
    assert (signal_name(9), signal_name(200)) == ("SIGKILL", "signal 200")
