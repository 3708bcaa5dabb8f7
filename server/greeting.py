"""When a server says Hello to a muxer. Pure.

Often enough that a muxer's death is seen soon; less often while its frames come, for a Hello and its answer cost
as much as a frame; and very often while it says nothing: when its process has started it is back, and viewers wait
for that.
"""

INTERVAL_US = 200_000
CALM_INTERVAL_US = 600_000  # to a muxer that has just said something
SEEK_INTERVAL_US = 20_000
SEEK_AFTER_US = 300_000  # without a word
LATE_US = 50_000  # to a muxer that is there: the wait for a turn that there is anyway


class Greeting:
    """One muxer's. said_us: when it said anything last; None: nothing on this line."""

    def __init__(self) -> None:
        self.said_us: int | None = None
        self._greeted_us = 0

    def done(self, now_us: int) -> None:
        """It is greeted now."""
        self._greeted_us = now_us

    @property
    def due_us(self) -> int:
        """When to greet it, unless it says something until then."""
        if self.said_us is None:
            return self._greeted_us + SEEK_INTERVAL_US
        return min(
            self._greeted_us + CALM_INTERVAL_US,
            max(self.said_us, self._greeted_us) + INTERVAL_US,
            max(self.said_us + SEEK_AFTER_US, self._greeted_us + SEEK_INTERVAL_US),
        )

    @property
    def latest_us(self) -> int:
        """When to wake up for it, if no other turn comes."""
        seeks = self.due_us - self._greeted_us <= SEEK_INTERVAL_US
        return self.due_us + (0 if seeks else LATE_US)
