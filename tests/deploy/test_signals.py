"""What the supervisor's signals ask for: noted in a process of its own, with and without a terminal."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_PROGRAM = """
import select
from deploy.signals import Signals
with Signals() as signals:
    print("noting", flush=True)
    while True:
        select.select([signals.wake_fd], [], [])
        for number in signals.take():
            print(number.name, "stop" if signals.asks_stop(number) else "reload", flush=True)
"""
ROOT = Path(__file__).parents[2]


@contextmanager
def started(controlling: int | None) -> "Iterator[subprocess.Popen[str]]":
    """The program above; `controlling`: the terminal that it runs in, else none."""
    session = ["setsid", "--ctty"] if controlling is not None else ["setsid"]
    default = ["env", "--default-signal=HUP,INT"]  # as nohup, or a shell's background, has not left them
    with subprocess.Popen(
        [*default, *session, sys.executable, "-P", "-c", _PROGRAM],
        stdin=subprocess.DEVNULL if controlling is None else controlling,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as popen:
        try:
            assert popen.stdout is not None
            assert popen.stdout.readline() == "noting\n"
            yield popen
        finally:
            popen.kill()


@pytest.mark.parametrize("with_terminal", [False, True])
def test_a_hangup_that_somebody_sends_asks_for_a_reload(with_terminal: bool) -> None:
    ours, theirs = pty.openpty()
    try:
        with started(theirs if with_terminal else None) as popen:
            assert popen.stdout is not None
            popen.send_signal(signal.SIGHUP)
            assert popen.stdout.readline() == "SIGHUP reload\n"
            for number in (signal.SIGTERM, signal.SIGINT):
                popen.send_signal(number)
                assert popen.stdout.readline() == f"{number.name} stop\n"
    finally:
        os.close(ours)
        os.close(theirs)


def test_the_hangup_of_its_terminal_asks_for_the_end() -> None:
    ours, theirs = pty.openpty()
    with started(theirs) as popen:
        assert popen.stdout is not None
        os.close(theirs)
        os.close(ours)
        assert popen.stdout.readline() == "SIGHUP stop\n"
