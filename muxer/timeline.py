"""The stream clock: when the bytes of a stream leave, on the samples' own time scale. Pure.

PCR and RTP timestamps count this clock, which runs with `now_us`, LEAD_US behind the decoding times of samples
that arrive as expected. So PCRs are as even as the sending is, also between samples and whatever the jitter of
their arrival; LEAD_US is what a sample may be late before it comes after its own decoding time.

The clock only jumps where the samples' times do (a discontinuity). To a source that is later than that for
good it gives way by running slower for a while, to one that is earlier by running faster. Samples that come
faster than real time pull it along, so that none is more than LEAD_MAX_US ahead of it.
"""

LEAD_US = 100_000
LEAD_MIN_US = 40_000  # below this the clock slows down
LEAD_MAX_US = 650_000  # PTS minus PCR stays below 700 ms between one PCR and the next
JUMP_US = 1_000_000  # further than this from what was expected, the samples' time itself has jumped
WINDOW_US = 5_000_000  # the least lead over this time says whether the clock may speed up
_SLOWER = 4  # by a quarter: samples that are too late are worse than an odd rate
_FASTER = 64
_FAR = 1 << 62


class Timeline:
    """The stream clock of one stream of `tracks` tracks. All times µs."""

    def __init__(self, tracks: int) -> None:
        self._last_order_us = [-_FAR] * tracks
        self._started = False
        self._clock_us = 0
        self._now_us = 0
        self._correction_us = 0  # what the clock still has to lose (negative) or gain
        self._window_end_us = 0
        self._window_lead_us = _FAR

    def at(self, now_us: int) -> int:
        """The stream clock, µs; it never goes back, and stands still while `now_us` is less than it was.

        It is: repeated samples are taken at the times at which they would have come, and those of one track have
        other times than those of the other.
        """
        elapsed = now_us - self._now_us
        if elapsed > 0:
            self._now_us = now_us
            self._clock_us += elapsed
            if self._correction_us:
                step = min(max(self._correction_us, -(elapsed // _SLOWER)), elapsed // _FASTER)
                self._correction_us -= step
                self._clock_us += step
        return self._clock_us

    def on_sample(self, track: int, order_us: int, time_us: int, now_us: int) -> tuple[int, bool]:
        """(the stream clock as this sample of `track` is sent, whether the clock has jumped).

        order_us, time_us: its decoding and presentation time.
        """
        clock_us = self.at(now_us)
        lead_us = order_us - clock_us
        is_far = not -JUMP_US <= lead_us <= LEAD_MAX_US + JUMP_US
        went_back = lead_us < 0 and order_us <= self._last_order_us[track]
        self._last_order_us[track] = order_us
        if is_far or went_back or not self._started:
            jumped = self._started
            self._started = True
            self._clock_us = order_us - LEAD_US
            self._correction_us = 0
            self._start_window(now_us)
            return self._clock_us, jumped
        if time_us - clock_us > LEAD_MAX_US:
            self._clock_us = clock_us = max(clock_us, min(time_us - LEAD_MAX_US, order_us))
            lead_us = order_us - clock_us
        if lead_us < self._window_lead_us:
            self._window_lead_us = lead_us
        if lead_us < LEAD_MIN_US:
            self._correction_us = lead_us - LEAD_MIN_US
            self._start_window(now_us)
        elif self._correction_us < 0:
            self._correction_us = 0
        if now_us >= self._window_end_us:
            self._correction_us = max(self._window_lead_us - LEAD_US, 0)
            self._start_window(now_us)
        return clock_us, False

    def _start_window(self, now_us: int) -> None:
        self._window_end_us = now_us + WINDOW_US
        self._window_lead_us = _FAR
