"""What is to be done when something has not happened for a while, the same while for all."""

from collections import deque
from collections.abc import Callable


class Patience:
    """Calls that are made `wait_us` after they were asked for. clock: gives µs, monotonic."""

    def __init__(self, clock: Callable[[], int], wait_us: int) -> None:
        self._clock = clock
        self._wait_us = wait_us
        self._due: deque[tuple[int, Callable[[], None]]] = deque()  # in order, for all wait equally long

    @property
    def due_us(self) -> int | None:
        """When `tick` has something to do."""
        return self._due[0][0] if self._due else None

    def wait(self, call: Callable[[], None]) -> None:
        """Have this called; it finds out by itself whether it still matters."""
        self._due.append((self._clock() + self._wait_us, call))

    def tick(self) -> None:
        """Make the calls that are due."""
        now_us = self._clock()
        while self._due and self._due[0][0] <= now_us:
            self._due.popleft()[1]()
