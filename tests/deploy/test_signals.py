"""What the supervisor's signals ask for: noted in a process of its own, with and without a terminal."""

import os
import pty
import signal
import subprocess
import sys
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
PATIENCE_S = 30


def start(controlling: int | None) -> "subprocess.Popen[str]":
    """The program above; `controlling`: the terminal that it runs in, else none."""
    shell = ["setsid", "--ctty", sys.executable] if controlling is not None else ["setsid", sys.executable]
    popen = subprocess.Popen(
        [*shell, "-P", "-c", _PROGRAM],
        stdin=subprocess.DEVNULL if controlling is None else controlling,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert popen.stdout is not None
    assert popen.stdout.readline() == "noting\n"
    return popen


@pytest.mark.parametrize("with_terminal", [False, True])
def test_a_hangup_that_somebody_sends_asks_for_a_reload(with_terminal: bool) -> None:
    ours, theirs = pty.openpty()
    try:
        with start(theirs if with_terminal else None) as popen:
            assert popen.stdout is not None
            popen.send_signal(signal.SIGHUP)
            assert popen.stdout.readline() == "SIGHUP reload\n"
            for number in (signal.SIGTERM, signal.SIGINT):
                popen.send_signal(number)
                assert popen.stdout.readline() == f"{number.name} stop\n"
            popen.kill()
    finally:
        os.close(ours)
        os.close(theirs)


def test_the_hangup_of_its_terminal_asks_for_the_end() -> None:
    ours, theirs = pty.openpty()
    with start(theirs) as popen:
        assert popen.stdout is not None
        os.close(theirs)
        os.close(ours)
        assert popen.stdout.readline() == "SIGHUP stop\n"
        popen.kill()
