"""Where the times of another clock lie on ours, while the two drift apart. Pure.

    our time = its time + offset

What comes from afar comes late, never early: the least delay of late (arrival less its own time) is the offset. It
is known once in WINDOW_US, and the offset moves there so slowly that distances between neighbours stay. A clock
that is off by RATE_PPM_MAX is followed; one that jumps is taken up where it is then.
"""

RATE_PPM_MAX = 1000  # crystals are off by 100 at most; this is how fast the offset moves
WINDOW_US = 5_000_000
JUMP_US = 2_000_000  # delays that differ by more are another time, not a slow network


class ClockFollower:
    """jumps: how often the other clock jumped."""

    def __init__(self, delay_us: int, now_us: int) -> None:
        """delay_us: the least delay seen so far, which is the first offset."""
        self.jumps = 0
        self._offset_us = float(delay_us)
        self._target_us = delay_us
        self._moved_us = now_us
        self._least_us = delay_us
        self._window_end_us = now_us + WINDOW_US

    def offset_us(self, time_us: int, now_us: int) -> int:
        """What to add to `time_us`, which is the other clock's time of what comes now, at `now_us` of ours."""
        delay_us = now_us - time_us
        if abs(delay_us - self._offset_us) > JUMP_US:
            self.jumps += 1
            self._offset_us, self._target_us = delay_us, delay_us
            self._moved_us = now_us
            self._start_window(delay_us, now_us)
            return delay_us
        self._least_us = min(self._least_us, delay_us)
        if now_us >= self._window_end_us:
            self._target_us = self._least_us
            self._start_window(delay_us, now_us)
        reach_us = (now_us - self._moved_us) * RATE_PPM_MAX / 1_000_000
        self._moved_us = now_us
        self._offset_us += max(-reach_us, min(self._target_us - self._offset_us, reach_us))
        return round(self._offset_us)

    def _start_window(self, delay_us: int, now_us: int) -> None:
        self._least_us = delay_us
        self._window_end_us = now_us + WINDOW_US
