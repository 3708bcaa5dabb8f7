"""One epoll, and who is called for each descriptor."""

import select
from collections.abc import Callable

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
BROKEN = select.EPOLLHUP | select.EPOLLERR

Handler = Callable[[int], None]


def wake(_events: int) -> None:
    """The handler of a descriptor that only ends the wait: what there is to do is asked on every turn."""


class Poller:
    """Calls the handler of each descriptor with what it is ready for: READ, WRITE, BROKEN, added up."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}

    def add(self, fd: int, wanted: int, handler: Handler) -> None:
        """Watch a descriptor."""
        self._epoll.register(fd, wanted)
        self._handlers[fd] = handler

    def modify(self, fd: int, wanted: int) -> None:
        """Watch it for something else. BROKEN is always watched for."""
        self._epoll.modify(fd, wanted)

    def remove(self, fd: int) -> None:
        """Watch it no longer; before it is closed."""
        del self._handlers[fd]
        self._epoll.unregister(fd)

    def poll(self, timeout_us: int) -> None:
        """Wait at most this long, and call the handlers."""
        for fd, events in self._epoll.poll(max(timeout_us, 0) / 1e6):
            handler = self._handlers.get(fd)
            if handler is not None:  # else removed by a handler before it
                handler(events)

    def close(self) -> None:
        """Let go of everything."""
        self._handlers.clear()
        self._epoll.close()
