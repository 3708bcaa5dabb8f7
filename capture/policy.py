"""When a source runs, when it is tried again, and when it is asked for a key frame. Pure: `now_us` comes in."""

from collections.abc import Iterable

from common.config import Capture

KEY_FRAME_INTERVAL_US = 500_000  # key frames are ten times the size of others: an asker must not set the rate
SUBSCRIBER_WAIT_US = 1_000_000  # a muxer looks for a new capture every 0.2 s at most
IDLE_WAIT_US = 200_000  # while nothing runs: whatever is heard wakes it, a report and retries must not be late
TURN_US = 5_000  # what a sample of a file may wait for those of other files
STEADY_US = 10_000_000  # a source that ran so long was well: its next fault is retried at once, not late


def next_turn_us(due_us: Iterable[int], turn_us: int, alone: bool) -> int:
    """When the turn behind that of `turn_us` begins: as soon as something is due, and soon enough for the report.

    due_us: of each stream. alone: the process has one stream; files that share one wait for each other.
    """
    earliest_us = turn_us if alone else turn_us + TURN_US
    return min(max(min(due_us, default=turn_us + IDLE_WAIT_US), earliest_us), turn_us + IDLE_WAIT_US)


class Demand:
    """Whether samples are wanted. A source that is not on demand is, from its first subscriber on: what it sent
    before, the first sync point, would be lost. After SUBSCRIBER_WAIT_US it runs without one."""

    def __init__(self, on_demand: bool, settings: Capture) -> None:
        self._on_demand = on_demand
        self._idle_us = settings.idle_ms * 1000
        self._wanted_until_us: int | None = None
        self._first_asked_us: int | None = None
        self._runs = False

    def wanted(self, demanded: bool, now_us: int) -> bool:
        """demanded: somebody subscribes now. True until `idle_ms` after that ended."""
        if not self._on_demand:
            if self._first_asked_us is None:
                self._first_asked_us = now_us
            self._runs = self._runs or demanded or now_us - self._first_asked_us >= SUBSCRIBER_WAIT_US
            return self._runs
        if demanded:
            self._wanted_until_us = now_us + self._idle_us
        return self._wanted_until_us is not None and now_us < self._wanted_until_us


class Retries:
    """Pauses between the lives of a source that fails: `retry_ms`, doubled to `retry_max_ms`.

    count: failures so far.
    """

    def __init__(self, settings: Capture) -> None:
        self.count = 0
        self._first_us = settings.retry_ms * 1000
        self._longest_us = max(settings.retry_max_ms, settings.retry_ms) * 1000
        self._pause_us = self._first_us
        self._up_since_us: int | None = None
        self._next_us: int | None = None

    def due(self, now_us: int) -> bool:
        """Whether the source may be opened now."""
        return self._next_us is None or now_us >= self._next_us

    def wait_us(self, now_us: int) -> int:
        """How long until it may."""
        return 0 if self._next_us is None else max(0, self._next_us - now_us)

    def up(self, now_us: int) -> None:
        """Its first sample came."""
        self._up_since_us = now_us

    def begin_anew(self) -> None:
        """What was missing is there: open it now, and if that is too early, after the first pause."""
        self._pause_us = self._first_us
        self._next_us = None

    def failed(self, now_us: int) -> None:
        """It could not be opened, or read on."""
        self.count += 1
        if self._up_since_us is not None and now_us - self._up_since_us >= STEADY_US:
            self._pause_us = self._first_us
        self._next_us = now_us + self._pause_us
        self._pause_us = min(2 * self._pause_us, self._longest_us)
        self._up_since_us = None


class KeyFrameRequests:
    """Passes requests on, one in KEY_FRAME_INTERVAL_US at most; one that is too early waits, it is not lost."""

    def __init__(self) -> None:
        self._pending = False
        self._passed_us: int | None = None

    def ask(self) -> None:
        """Somebody asks."""
        self._pending = True

    def passes(self, now_us: int) -> bool:
        """Whether the source is to be asked now."""
        if not self._pending:
            return False
        if self._passed_us is not None and now_us - self._passed_us < KEY_FRAME_INTERVAL_US:
            return False
        self._pending = False
        self._passed_us = now_us
        return True
