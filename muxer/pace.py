"""Whether a viewer can keep up with a stream, told by its splices alone. Pure.

A viewer that is spliced again and again would stutter: group, gap, group. Such a one gets key frames only for a
while, steadily; then it is tried again, and after a failure later and later.

    full ── SPLICES_MAX within WINDOW_US ──▶ key frames only, for the pause ──▶ full
    the pause doubles with each time, up to PAUSE_US_MAX; KEPT_UP_US without a splice make it the first again
"""

from collections import deque

SPLICES_MAX = 3
WINDOW_US = 12_000_000  # three groups of up to 4 s
PAUSE_US = 10_000_000
PAUSE_US_MAX = 80_000_000
KEPT_UP_US = 30_000_000


class Pace:
    """One viewer's."""

    __slots__ = ("_pause_us", "_splices_us", "_until_us")

    def __init__(self) -> None:
        self._splices_us: deque[int] = deque(maxlen=SPLICES_MAX)
        self._pause_us = PAUSE_US
        self._until_us: int | None = None

    def spliced(self, now_us: int) -> None:
        """Frames were left out for the viewer, up to a sync point."""
        splices = self._splices_us
        if splices and now_us - splices[-1] > KEPT_UP_US:
            self._pause_us = PAUSE_US
        splices.append(now_us)
        if len(splices) == SPLICES_MAX and now_us - splices[0] <= WINDOW_US and self._until_us is None:
            self._until_us = now_us + self._pause_us
            self._pause_us = min(2 * self._pause_us, PAUSE_US_MAX)

    def key_frames_only(self, now_us: int) -> bool:
        """Whether to leave out all but key frames."""
        if self._until_us is not None and now_us >= self._until_us:
            self._until_us = None
            self._splices_us.clear()
        return self._until_us is not None
