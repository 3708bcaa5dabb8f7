"""What a process has to do with other hosts: whom it lets in, and how its own lines to them do.

The hosts that may connect are known by their public keys: a thread of pyzmq's answers libzmq's questions about
them (ZAP, rfc.zeromq.org/spec/27). A line that does not stand says why, once: the peer is away, is another one
than was expected, or does not let us in. libzmq gives a line up for good that was not let in, or met with what is
no ZeroMQ; here it is tried again, for keys are often set on one host after the other, and ports change hands.
"""

from collections.abc import Iterable

import zmq
import zmq.auth.thread

from common import sockets
from common.lines import Far
from common.logs import Logger

LOOK_INTERVAL_US = 100_000
RETRY_US = 4_000_000  # a line that is down, and of which nothing has been heard for so long
STRANGERS_LOGGED_MAX = 100  # keys; what is refused beyond is counted only


class Doorkeeper:
    """Says which keys may come in, to pyzmq's thread. refused: how often one was not."""

    def __init__(self, log: Logger) -> None:
        self.refused = 0
        self.allowed: frozenset[bytes] = frozenset()
        self._strangers: set[bytes] = set()
        self._log = log

    def callback(self, _domain: str, key: bytes) -> bool:
        """Whether this public key, Z85, may come in."""
        if key in self.allowed:
            return True
        self.refused += 1
        if key not in self._strangers and len(self._strangers) < STRANGERS_LOGGED_MAX:
            self._strangers.add(key)
            self._log.warning(
                "key_refused", public_key=key.decode("ascii", "replace"),
                reason="it is no public_key of [hosts] here: add it there if that host is one of ours",
            )  # fmt: skip
        return False


class _Line:
    """One that this process has reached out for."""

    def __init__(self, name: str, socket: sockets.Socket, far: Far) -> None:
        self.name = name
        self.socket = socket
        self.far = far
        self.progress = sockets.Progress(socket)
        self.fault: str | None = None  # as said last; empty while it stands
        self.seen_us: int | None = None  # when something was heard of it; None: it has not been looked at yet


class FarLines:
    """Of one process. faults: how often a line of its own went down, or could not be had for another reason."""

    def __init__(self, context: sockets.Context, log: Logger) -> None:
        self.faults = 0
        self._log = log
        self._lines: list[_Line] = []
        self._look_us = 0
        self._doorkeeper = Doorkeeper(log)
        self._thread = zmq.auth.thread.ThreadAuthenticator(context)
        self._thread.start()
        self._thread.configure_curve_callback("*", self._doorkeeper)

    @property
    def counters(self) -> dict[str, int]:
        """For the figures."""
        return {"keys_refused": self._doorkeeper.refused, "line_faults": self.faults}

    def allow(self, public_keys: Iterable[str]) -> None:
        """From now on these may connect, and no others. Who is connected already stays."""
        self._doorkeeper.allowed = frozenset(key.encode("ascii") for key in public_keys)

    def watch(self, name: str, socket: sockets.Socket, far: Far) -> None:
        """Look after a line to another host. name: for the log."""
        self._lines.append(_Line(name, socket, far))

    def leave(self, socket: sockets.Socket) -> None:
        """Before the socket is closed; it need not be watched."""
        for line in [line for line in self._lines if line.socket is socket]:
            line.progress.close()
            self._lines.remove(line)

    def look(self, now_us: int) -> None:
        """See how the lines do, when that is due."""
        if now_us < self._look_us:
            return
        self._look_us = now_us + LOOK_INTERVAL_US
        for line in self._lines:
            for fault in line.progress.faults():
                line.seen_us = now_us
                self._note(line, fault)
            if line.seen_us is None:
                line.seen_us = now_us
            if line.fault != "" and now_us - line.seen_us >= RETRY_US:
                line.seen_us = now_us
                sockets.connect_again(line.socket, line.far.endpoint)

    def close(self) -> None:
        """Leave what is still watched, and end the thread."""
        for line in list(self._lines):
            self.leave(line.socket)
        self._thread.stop()

    def _note(self, line: _Line, fault: str) -> None:
        if fault == line.fault:
            return
        line.fault = fault
        if fault:
            self.faults += 1
            self._log.warning("line_down", to=line.name, endpoint=line.far.endpoint, reason=fault)
        else:
            self._log.info("line_up", to=line.name, endpoint=line.far.endpoint)
