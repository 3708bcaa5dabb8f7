"""Every way to die, in words."""

import pytest

from common.errors import EXIT_NO_MEMORY
from deploy.deaths import Death, in_words

LIMIT = "limits.muxer.memory_max_mb = 200"


@pytest.mark.parametrize(
    ("death", "words"),
    [
        (Death(-9, "SIGKILL"), "killed by SIGKILL"),
        (Death(-9, "SIGKILL", kernel_kills=1), "killed by SIGKILL: the kernel ran out of memory"),
        (
            Death(-9, "SIGKILL", kernel_kills=2, rss_bytes=812_400_000),
            "killed by SIGKILL: the kernel ran out of memory, it had 812 MB",
        ),
        (Death(-9, "SIGKILL", limit=LIMIT), "killed by SIGKILL"),
        (Death(-11, "SIGSEGV"), "killed by SIGSEGV: crashed in native code"),
        (Death(-11, "SIGSEGV", kernel_kills=1), "killed by SIGSEGV: crashed in native code"),
        (Death(-6, "SIGABRT", limit=LIMIT), f"killed by SIGABRT: given up by native code, its limit is {LIMIT}"),
        (Death(-31, "SIGSYS"), "killed by SIGSYS: made a system call that it is not allowed"),
        (Death(-15, "SIGTERM"), "killed by SIGTERM"),
        (Death(-200, "signal 200"), "killed by signal 200"),
        (Death(0), "ended without being asked to (exit code 0)"),
        (Death(1), "failed (exit code 1): see its own lines above"),
        (Death(3), "exit code 3"),
        (Death(78), "its settings are wrong (exit code 78): see its own line above"),
        (Death(EXIT_NO_MEMORY), "out of memory (exit code 71)"),
        (Death(EXIT_NO_MEMORY, limit=LIMIT), f"out of memory (exit code 71), its limit is {LIMIT}"),
    ],
)
def test_deaths_in_words(death: Death, words: str) -> None:
    assert in_words(death) == words
