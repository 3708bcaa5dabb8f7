"""All figures of the instance, asked of the supervisor for those who ask us."""

from collections.abc import Callable

from common.role import Role

DEADLINE_US = 2_000_000
ASKERS_MAX = 256

Answer = Callable[[int, bytes], None]  # 200 and JSON, or another HTTP status and one line that says why


class FiguresDesk:
    """Call `woken` when the line to the supervisor is readable, `poll` on every turn."""

    def __init__(self, role: Role, clock: Callable[[], int]) -> None:
        self._role = role
        self._clock = clock
        self._requests = 0
        self._askers: dict[int, tuple[int, Answer]] = {}  # by request: deadline, and whom to tell
        self._woken = False

    @property
    def due_us(self) -> int | None:
        """When an asker has waited for too long."""
        return next(iter(self._askers.values()))[0] if self._askers else None

    def woken(self, _events: int) -> None:
        """Something may have come: the line must be read, or its descriptor stays readable."""
        self._woken = True

    def ask(self, answer: Answer, metrics: bool = False) -> None:
        """`answer` is called once, perhaps at once. metrics: not JSON, but what Prometheus reads."""
        self._requests += 1
        if len(self._askers) >= ASKERS_MAX:
            answer(503, b"too many ask for figures")
        elif not self._role.ask_figures(self._requests, metrics):
            answer(503, b"no supervisor: this process was started by hand")
        else:
            self._askers[self._requests] = self._clock() + DEADLINE_US, answer

    def poll(self) -> None:
        """Hand out what has come, and say so to those for whom nothing did."""
        if not self._askers and not self._woken:
            return
        self._woken = False
        for figures in self._role.figures_answers():
            asker = self._askers.pop(figures.request, None)
            if asker is not None:
                asker[1](200, figures.json)
        now_us = self._clock()
        while self._askers:
            request, (deadline_us, answer) = next(iter(self._askers.items()))
            if now_us < deadline_us:
                break
            del self._askers[request]
            answer(504, b"the supervisor does not answer")
