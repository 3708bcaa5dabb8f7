"""What systemd is told of the supervisor: sd_notify(3), one datagram a word. Nothing happens without systemd.

With `WatchdogSec=` the word WATCHDOG=1 comes from the supervisor's own loop, so that a loop that hangs is ended
and started again by systemd.
"""

import os
import socket
from collections.abc import MutableMapping

_OURS = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Notifier:
    """The line to systemd. It takes the variables out of `environment`: no child speaks for the supervisor.

    failures: words that could not be sent.
    """

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        path, interval_us, pid = (environment.pop(name, "") for name in _OURS)
        self._address = "\0" + path[1:] if path.startswith("@") else path
        for_us = pid in ("", str(os.getpid()))
        self._interval_us = int(interval_us) // 2 if interval_us.isdecimal() and for_us and path else 0
        self._watchdog_us = 0
        self.failures = 0

    @property
    def due_us(self) -> int | None:
        """When `tick` must be called again, at the latest; None: whenever."""
        return self._watchdog_us if self._interval_us else None

    def tick(self, now_us: int) -> None:
        """Feed the watchdog, if that is due."""
        if self._interval_us and now_us >= self._watchdog_us:
            self._watchdog_us = now_us + self._interval_us
            self.say("WATCHDOG=1")

    def up(self, status: str) -> None:
        """The instance is up, or up again after a reload."""
        self.say("READY=1", f"STATUS={status}")

    def reloading(self, now_us: int) -> None:
        """New settings are being taken (Type=notify-reload)."""
        self.say("RELOADING=1", f"MONOTONIC_USEC={now_us}", "STATUS=reloading")

    def stopping(self) -> None:
        """Everything is being ended."""
        self.say("STOPPING=1", "STATUS=stopping")

    def say(self, *lines: str) -> None:
        """One datagram. Never waits."""
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as out:
            try:
                out.sendto("\n".join(lines).encode(), self._address)
            except OSError:
                self.failures += 1
