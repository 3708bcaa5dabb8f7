"""Why a process ended, in words for the log and the figures. Pure: what the kernel said in, one line out."""

import msgspec

from common.errors import EXIT_CRASH, EXIT_NO_MEMORY, EXIT_OK, EXIT_SETTINGS

_FAULTS = {
    "SIGSEGV": "crashed in native code",
    "SIGBUS": "crashed in native code",
    "SIGILL": "crashed in native code",
    "SIGFPE": "crashed in native code",
    "SIGTRAP": "crashed in native code",
    "SIGABRT": "given up by native code",
    "SIGSYS": "made a system call that it is not allowed",
    "SIGXCPU": "over its limit of CPU time",
    "SIGXFSZ": "over its limit of file size",
}
_STARVED = ("SIGABRT", "SIGSEGV", "SIGBUS")  # how libraries end that check no allocation


class Death(msgspec.Struct, frozen=True):
    """What was seen of one. exit_code: below 0, as subprocess.Popen has it, for the signal `signal_name`.

    kernel_kills: how many processes the kernel has ended for want of memory since this one was last seen alive.
    rss_bytes: its memory then, 0 for unknown. limit: the settings' key and value of its limit of memory.
    """

    exit_code: int
    signal_name: str = ""
    kernel_kills: int = 0
    rss_bytes: int = 0
    limit: str = ""


def in_words(death: Death) -> str:
    """One line: what happened, and where to look where that is known."""
    code = death.exit_code
    if code < 0:
        return _by_signal(death)
    if code == EXIT_SETTINGS:
        return f"its settings are wrong (exit code {code}): see its own line above"
    if code == EXIT_NO_MEMORY:
        return f"out of memory (exit code {code}){_limit(death)}"
    if code == EXIT_CRASH:
        return f"failed (exit code {code}): see its own lines above"
    return f"exit code {code}" if code != EXIT_OK else "ended without being asked to (exit code 0)"


def _by_signal(death: Death) -> str:
    name = death.signal_name
    if name == "SIGKILL" and death.kernel_kills:
        had = f", it had {death.rss_bytes / 1e6:.0f} MB" if death.rss_bytes else ""
        return f"killed by SIGKILL: the kernel ran out of memory{had}"
    killed = f"killed by {name}"
    if name not in _FAULTS:
        return killed
    return f"{killed}: {_FAULTS[name]}{_limit(death) if name in _STARVED else ''}"


def _limit(death: Death) -> str:
    return f", its limit is {death.limit}" if death.limit else ""
