"""Which of many streams wants a clock reference next. Pure.

Most streams never want one: a picture brings its own before it is due, and moves the time at which one would be.
So a time that is noted here is only the earliest possible one, and is looked up again when it comes to be first:
a sample costs nothing here, however many streams there are.
"""

import heapq
from collections.abc import Callable, Iterator

LOOK_US_MIN = 2_000  # between two looks at one stream

Due = Callable[[str], int | None]  # when a stream wants a clock reference, µs; None: not as things stand


class ClockRounds:
    """The streams that may want one, by the time noted last. due_of: the time as it is now."""

    def __init__(self, due_of: Due) -> None:
        self._due_of = due_of
        self._heap: list[tuple[int, str]] = []
        self._noted: set[str] = set()

    def note(self, stream: str) -> None:
        """A sample has come."""
        if stream in self._noted:
            return
        due_us = self._due_of(stream)
        if due_us is not None:
            self._noted.add(stream)
            heapq.heappush(self._heap, (due_us, stream))

    @property
    def due_us(self) -> int | None:
        """When the first of them wants one; None if none does."""
        while self._heap:
            noted_us, stream = self._heap[0]
            due_us = self._due_of(stream)
            if due_us is None:
                heapq.heappop(self._heap)
                self._noted.discard(stream)
                continue
            if due_us > noted_us:
                heapq.heapreplace(self._heap, (due_us, stream))
            if self._heap[0][1] == stream:
                return self._heap[0][0]
        return None

    def due(self, now_us: int) -> Iterator[str]:
        """The streams that want one now; each is not looked at again within LOOK_US_MIN."""
        while self._heap and self._heap[0][0] <= now_us:
            due_us = self.due_us
            if due_us is not None and due_us <= now_us:
                _, stream = self._heap[0]
                heapq.heapreplace(self._heap, (now_us + LOOK_US_MIN, stream))
                yield stream
