"""The signals of the supervisor: handlers only note, the loop acts.

SIGHUP asks for a reload, as of every service; but it also comes to a program whose terminal has gone away, which
is to end then. The two are told apart by whether the terminal that there was is still there.
"""

import os
import signal
import socket

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
RELOAD_SIGNAL = signal.SIGHUP
_NOTED = (*STOP_SIGNALS, RELOAD_SIGNAL)


class Signals:
    """The signals, noted from entering the context on: `wake_fd` is readable, `take` tells which.

    They stay noted, not deadly, after it is left: the process is about to end with its own exit code.
    """

    def __enter__(self) -> "Signals":
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._had_terminal = _has_terminal()
        signal.set_wakeup_fd(self._wake_out.fileno(), warn_on_full_buffer=False)
        for number in _NOTED:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup is respected
                signal.signal(number, lambda *_: None)
        self.wake_fd = self._wake_in.fileno()
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(-1)
        self._wake_in.close()
        self._wake_out.close()

    def take(self) -> list[signal.Signals]:
        """The signals since the last call."""
        return [signal.Signals(number) for number in self._wake_in.recv(512) if number in _NOTED]

    def asks_stop(self, number: signal.Signals) -> bool:
        """Whether this one, just taken, asks for the end; else it asks for a reload."""
        return number in STOP_SIGNALS or (self._had_terminal and not _has_terminal())


def _has_terminal() -> bool:
    """Whether this process has a controlling terminal (tty(4)) that has not been hung up."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
