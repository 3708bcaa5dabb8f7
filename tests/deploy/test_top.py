"""`framegate top` in a terminal of its own."""

import os
import pty
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATIENCE_S = 40
_PROGRAM = """
from deploy.top import watch
watch(lambda: b'{"streams":[{"name":"door","source":"camera:0"},{"name":"yard","source":"test:"}]}')
"""


def test_it_shows_filters_and_ends() -> None:
    ours, theirs = pty.openpty()
    popen = subprocess.Popen(
        [sys.executable, "-P", "-c", _PROGRAM], stdin=theirs, stdout=theirs, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "150", "LINES": "40"},
    )  # fmt: skip
    seen = b""
    until_s = time.monotonic() + PATIENCE_S
    with popen:
        try:
            while b"camera:0" not in seen or b"quit" not in seen:
                assert time.monotonic() < until_s
                seen += os.read(ours, 65536)
            os.write(ours, b"fdoor")
            while b"filter: door_" not in seen:
                assert time.monotonic() < until_s
                seen += os.read(ours, 65536)
            os.write(ours, b"\rq")
            assert popen.wait(PATIENCE_S) == 0
        finally:
            popen.kill()
            os.close(theirs)
            os.close(ours)


def test_without_a_terminal_it_says_what_to_do() -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "deploy.cli", "top", "--runtime-dir", "/nowhere"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stderr == "framegate: top needs a terminal: use framegate stats\n"
    assert done.returncode == 1
