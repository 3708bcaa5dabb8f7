"""A muxer's worker whose sockets are lines of memory, and which takes turns when it is told to."""

from collections import deque
from collections.abc import Callable
from itertools import zip_longest
from typing import cast

import zmq

from common import logs
from common.config import Config
from common.endpoints import muxer_endpoint
from common.lines import Lines
from common.poller import READ
from common.role import Role
from common.wire import Buffer
from muxer import worker as muxer_worker

Parts = list[Buffer]

QUEUE_MAX = 1000


class Line:
    """A socket, and its own descriptor: what has come, and say, which sends."""

    def __init__(self, say: Callable[[Parts], None]) -> None:
        self.say = say
        self.inbox: deque[Parts] = deque()
        self.closed = False

    def fileno(self) -> "Line":
        return self

    def close(self) -> None:
        self.closed = True


class Unpolled:
    """In the place of a poller: turns are taken when the test says, and in each all may have something to read."""

    def __init__(self) -> None:
        self._handlers: dict[Line, Callable[[int], None]] = {}

    def add(self, line: Line, _events: int, handler: Callable[[int], None]) -> None:
        self._handlers[line] = handler

    def remove(self, _line: Line) -> None:
        pass  # it may be the end of these turns alone

    def poll(self, _wait_us: int) -> None:
        for line, handler in self._handlers.items():
            if not line.closed:
                handler(READ)

    def close(self) -> None:
        pass


class MuxerProcess:
    """A muxer's worker, and what it wants of its process (`Role`): here, so many turns.

    worker: None while it is dead. asked, samples: its ends of the lines to the server and to the capture; server:
    the server's end of the former, of this identity, and whether it is connected. queue_max: messages that may be
    under way on it.
    """

    def __init__(self, index: int, config: Config, capture: Line) -> None:
        self.name = f"muxer-{index}"
        self.endpoint = muxer_endpoint(config.runtime_dir, index)
        self.context = self  # by which it is known whose socket is made
        self.log = logs.Logger()
        self.worker: muxer_worker.Worker | None = None
        self.asked = Line(self._answer)
        self.samples = Line(capture.inbox.append)
        self.samples.close()
        self.wake_fd = Line(lambda _: None)
        self.server: Line | None = None
        self.identity = b""
        self.connected = False
        self.queue_max = QUEUE_MAX
        self._index = index
        self._turns = 0
        self._changed = False
        self.take(config)

    def take(self, config: Config) -> None:
        """These are the settings now."""
        self.config = config
        self.lines = Lines(config)
        self._changed = self.worker is not None

    def start(self) -> None:
        """Begin a life; the server's line to it does not stand yet."""
        self._changed = False
        self.worker = muxer_worker.Worker(cast(Role, self), self._index)

    def kill(self, arrives: int) -> None:
        """It dies; so many messages of what it sent were out already."""
        self.worker = None
        self.connected = False
        self.samples.close()
        for line in (self.asked, self.samples):
            line.inbox.clear()
        while self.server is not None and len(self.server.inbox) > arrives:
            self.server.inbox.pop()

    def lose(self, from_server: bool, messages: slice) -> None:
        """These of what is under way between it and the server are gone, and nobody says so: the line broke."""
        lines = [self.asked] if from_server else [self.server] if self.server is not None else []
        for line in lines:
            kept = list(line.inbox)
            del kept[messages]
            line.inbox = deque(kept)

    def mix(self, messages: int) -> None:
        """The line broke and stands again: so many came before, and are read in turn with what has come since."""
        if self.server is not None:
            under_way = list(self.server.inbox)
            pairs = zip_longest(under_way[messages:], under_way[:messages])
            self.server.inbox = deque(parts for pair in pairs for parts in pair if parts is not None)

    def run(self, turns: int) -> None:
        """Turns of its loop; the first of them keeps house."""
        if self.worker is not None:
            self._turns = turns
            self.worker.run()

    def listens(self) -> Line:
        """Its end of a new line to the capture."""
        self.samples.closed = False
        return self.samples

    def attach(self, identity: bytes) -> Line:
        """The server's end of a line to it."""

        def ask(parts: Parts) -> None:
            if not self.connected:
                raise zmq.Again
            self.asked.inbox.append([identity, *parts])

        self.server, self.identity = Line(ask), identity
        return self.server

    def _answer(self, parts: Parts) -> None:
        identity, *rest = parts
        if self.server is None or self.server.closed or identity != self.identity or not self.connected:
            raise zmq.ZMQError(zmq.EHOSTUNREACH)
        if len(self.server.inbox) >= self.queue_max:
            raise zmq.Again
        self.server.inbox.append(rest)

    # as the worker's role

    @property
    def stopping(self) -> bool:
        self._turns -= 1
        return self._turns < 0

    def ready(self) -> None:
        pass

    def tick(self, *_: object) -> None:
        pass

    def take_changes(self) -> bool:
        changed, self._changed = self._changed, False
        return changed

    def reconfigured(self) -> None:
        pass

    def watch(self, *_: object) -> None:
        pass

    def leave(self, line: Line) -> None:
        if self._turns >= 0:  # else it is the end of these turns alone
            line.close()
            line.inbox.clear()
