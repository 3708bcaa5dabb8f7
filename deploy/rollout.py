"""The way from one generation of the settings to the next, step by step. Pure.

`tick` gives what to do now; the shell does it, and the processes' states say when the next step may come. A
process that finds the new settings wrong, or is not up by them within STEP_US_MAX, is the rollout's `fault`.
"""

from collections.abc import Mapping, Sequence

from deploy.changes import Do, Step
from deploy.policy import Process, State

STEP_US_MAX = 60_000_000  # twice a process's time to get ready


class Rollout:
    """One change of the settings. generation: the one it leads to. fault: why it has been given up, else empty."""

    def __init__(self, steps: Sequence[Step], generation: int, now_us: int) -> None:
        self.generation = generation
        self.fault = ""
        self._steps = list(steps)
        self._awaited: tuple[str, ...] = ()
        self._since_us = now_us

    @property
    def finished(self) -> bool:
        """Whether nothing more comes."""
        return bool(self.fault) or not (self._steps or self._awaited)

    @property
    def due_us(self) -> int:
        """When `tick` is to be called again, at the latest."""
        return self._since_us + STEP_US_MAX

    def tick(self, processes: Mapping[str, Process], now_us: int) -> list[Do]:
        """What is to be done now. Call it again when it has been done, until nothing comes."""
        for name in self._awaited:
            process = processes.get(name)
            if process is None or process.leaving:
                continue
            if process.state is State.FAILED:
                self.fault = f"{name}: {process.reason}"
                return []
            if process.state is not State.UP or process.generation != self.generation or process.again:
                if now_us - self._since_us >= STEP_US_MAX:
                    late = process.reason or "it does not answer"
                    self.fault = f"{name} is not up after {STEP_US_MAX / 1e6:g} s: {late}"
                return []
        self._awaited = ()
        if not self._steps:
            return []
        step = self._steps.pop(0)
        self._awaited = step.awaits
        self._since_us = now_us
        return list(step.do)
