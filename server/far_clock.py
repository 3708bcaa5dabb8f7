"""Times of another host, as times of this one. Pure.

Hosts count their time from when each was started. The frame that was quickest on its way is taken to have taken
no time at all: so ages are those beyond the shortest way. What counts is the quickest of the last one to two
WINDOW_US, for two clocks never run quite alike.
"""

WINDOW_US = 60_000_000


class FarClock:
    """The clock of one stream's host, for as long as the source's epoch lasts."""

    def __init__(self) -> None:
        self._epoch: int | None = None
        self._offset_us = 0  # the least difference of this window so far
        self._before_us = 0  # and of the one before
        self._window_end_us = 0

    def here_us(self, epoch: int, time_us: int, now_us: int) -> int:
        """`time_us` of a frame that comes now, on this host's clock. epoch: of the source."""
        difference_us = now_us - time_us
        if epoch != self._epoch:
            self._epoch = epoch
            self._offset_us = self._before_us = difference_us
            self._window_end_us = now_us + WINDOW_US
        elif now_us >= self._window_end_us:
            self._before_us, self._offset_us = self._offset_us, difference_us
            self._window_end_us = now_us + WINDOW_US
        else:
            self._offset_us = min(self._offset_us, difference_us)
        return time_us + min(self._offset_us, self._before_us)
