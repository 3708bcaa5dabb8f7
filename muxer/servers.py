"""A muxer's lines to its servers: who is known, and what numbers their messages have (see `common.messages`)."""

from collections import Counter
from collections.abc import Callable

import zmq

from common import sockets, wire
from common.messages import Message

SERVER_SILENT_US = 3_000_000  # a server says Hello every 0.6 s at the least


class _Server:
    """One that is known. sent, expected: the numbers of the next message to it, and of the next from it."""

    def __init__(self, now_us: int, expected: int) -> None:
        self.heard_us = self.sent = now_us
        self.expected = expected


class Servers:
    """All of them, by identity. forgotten: is called when one is not known any more."""

    def __init__(
        self, socket: sockets.Socket, counters: Counter[str], clock: Callable[[], int],
        forgotten: Callable[[bytes], None],
    ) -> None:  # fmt: skip
        self.socket = socket
        self._counters = counters
        self._clock = clock
        self._forgotten = forgotten
        self._known: dict[bytes, _Server] = {}

    def heed(self, identity: bytes, frames: list[bytes]) -> tuple[Message, bool]:
        """What a server says, and whether it is known so far: else it is first to be told who this is.

        Raises MessageError.
        """
        server = self._known.get(identity)
        if server is not None:
            server.heard_us = self._clock()
            server.expected += 1  # be it unreadable: then it is refused, but not missing
        message, _, sequence = wire.decode_numbered(frames)
        if server is not None and server.expected == sequence + 1:
            return message, True
        if server is not None:
            self._counters["servers_unheard"] += 1
            self.forget(identity)
        self._known[identity] = _Server(self._clock(), sequence + 1)
        return message, False

    def tell(self, identity: bytes, message: Message) -> None:
        """Send what is not said again: if there is no way, it is missed, as if lost on it, and asked for anew."""
        if not self.send(identity, message) and (server := self._known.get(identity)) is not None:
            server.sent += 1

    def send(self, identity: bytes, message: Message, media: wire.Buffer | None = None) -> bool:
        """Send to a server that is known; whether it is on its way."""
        server = self._known.get(identity)
        if server is None or not self.send_parts(identity, wire.encode(message, media, server.sent)):
            return False
        server.sent += 1
        return True

    def send_parts(self, identity: bytes, parts: list[wire.Buffer]) -> bool:
        """Send what has no number, or has it already."""
        try:
            sockets.send(self.socket, [identity, *parts])
        except zmq.Again:
            self._counters["server_full"] += 1
            return False
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            self.forget(identity)
            return False
        return True

    def forget(self, identity: bytes) -> None:
        """It is not known any more, nor are its viewers."""
        self._known.pop(identity, None)
        self._forgotten(identity)

    def silent(self, now_us: int) -> list[bytes]:
        """Those that have said nothing for SERVER_SILENT_US."""
        return [one for one, server in self._known.items() if now_us - server.heard_us > SERVER_SILENT_US]
