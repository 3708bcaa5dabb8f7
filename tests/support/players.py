"""Real players as subprocesses: run with a bound, everything they said kept, nothing left running."""

import os
import pwd
import re
import shlex
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.wait import until

GST_CATEGORIES = "tsdemux|mpegtsbase|mpegtspacketizer|parse|libav|videodecoder|audiodecoder|jitter|rtsp|rtp|soup"
# rtspsrc is fed the newest group of pictures at once, to show one soon, and moves its clock when that was long;
# and its parser does not know the SEI in which x264 signs its pictures. It is interrupted at the end.
GST_EXPECTED = (
    "calculate_skew|decreasing timestamp|broken/invalid nal Type: 6 SEI, Size: \\d+|interrupted|Could not send"
)
HURRIED_NICE = -15


@dataclass(frozen=True)
class Run:
    """How a program ended, and what it said."""

    code: int
    out: str
    err: str


def need(*programs: str) -> None:
    """Skip the test where one of these programs is not installed."""
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")


def run(
    line: str,
    *,
    within_s: float = 40.0,
    environment: Mapping[str, str] | None = None,
    as_nobody: bool = False,
    hurried: bool = False,
    enough: Callable[[str], bool] | None = None,
) -> Run:
    """Run a command line to its end. Raises AssertionError, with what it said, if that does not come in time.

    line: split as a shell does, and nothing else that a shell does.
    as_nobody: not as root, where the tests run as root. hurried: others wait for it, where we may say so.
    enough: looks at its output and says when to interrupt a program that does not end by itself.
    """
    words = shlex.split(line)
    user = "nobody" if as_nobody and os.geteuid() == 0 else None
    process = subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env={**os.environ, **(environment or {})},
        start_new_session=True,
        user=user,
        group=None if user is None else pwd.getpwnam(user).pw_gid,
        extra_groups=None if user is None else [],
    )
    if hurried:
        try:
            os.setpriority(os.PRIO_PROCESS, process.pid, HURRIED_NICE)
        except PermissionError:
            pass  # not as root: it takes its turn
    assert process.stdout is not None
    assert process.stderr is not None
    said: tuple[list[str], list[str]] = ([], [])
    readers = [
        threading.Thread(target=lines.extend, args=(pipe,), daemon=True)
        for pipe, lines in zip((process.stdout, process.stderr), said, strict=True)
    ]
    for reader in readers:
        reader.start()
    try:
        if enough is not None:
            until(
                lambda: process.poll() is not None or enough("".join(said[0])), within_s, f"enough of {words[0]}"
            )
            process.send_signal(signal.SIGINT)
        process.wait(within_s)
    except (AssertionError, subprocess.TimeoutExpired) as error:
        raise AssertionError(f"{error}\n{''.join(said[0])[-3000:]}\n{''.join(said[1])[-3000:]}") from None
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it has ended, and left nothing behind
        process.wait()
        for reader, pipe in zip(readers, (process.stdout, process.stderr), strict=True):
            reader.join(10)
            pipe.close()
    return Run(process.returncode, "".join(said[0]), "".join(said[1]))


def datagrams_thrown_away() -> int:
    """How many this machine has had no room for in the sockets of those who are to read them (RcvbufErrors)."""
    lines = Path("/proc/net/snmp").read_text().splitlines()
    names, values = (line.split() for line in lines if line.startswith("Udp:"))
    return int(values[names.index("RcvbufErrors")])


def gst_ended(played: Run) -> bool:
    """Whether gst-launch played to its end. There rtspsrc may fail to say so, having closed its own connection."""
    last_word_failed = "(Operation was cancelled|gst_rtspsrc_pause).*Could not send"
    return played.code == 0 or re.search(last_word_failed, played.err, re.S) is not None


def gst(line: str, enough: Callable[[str], bool] | None = None) -> Run:
    """gst-launch to its end; asserts that nothing on the way to the decoder has complained."""
    need("gst-launch-1.0")
    debug = {"GST_DEBUG": "2", "GST_DEBUG_NO_COLOR": "1"}
    played = run(f"gst-launch-1.0 {line}", environment=debug, enough=enough)
    assert gst_ended(played), played.err[-3000:]
    complaints = [
        line
        for line in played.err.split("\n")
        if re.search(rf"(WARN|ERROR) +[\w-]*({GST_CATEGORIES})", line) and not re.search(GST_EXPECTED, line)
    ]
    assert not complaints, complaints[:10]
    return played
