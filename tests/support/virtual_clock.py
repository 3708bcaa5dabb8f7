"""A clock that moves only when somebody sleeps: time for tests that wait for nothing."""


class VirtualClock:
    """now_us, sleep_s: as a source takes them."""

    def __init__(self, start_us: int = 1_000_000_050) -> None:
        self.us = start_us

    def now_us(self) -> int:
        return self.us

    def sleep_s(self, seconds: float) -> None:
        assert seconds >= 0
        self.us += max(1, round(seconds * 1_000_000))

    def wall_us(self) -> int:
        """A wall clock that is some years ahead of the other."""
        return self.us + 1_700_000_000_000_000
