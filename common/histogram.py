"""Values counted into buckets, as Prometheus wants them: cheap enough for every frame. Pure."""

from bisect import bisect_left

AGE_BOUNDS_S = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
SEND_BOUNDS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25)

# name: what it is, and the upper bound of each bucket but the last, which has none
HISTOGRAMS = {
    "frame_age_seconds": (
        "How old a frame is when it has been sent, from its capture on, once for each viewer; "
        "way: live, or catching_up (what a viewer starts with, or goes on with)",
        AGE_BOUNDS_S,
    ),
    "send_seconds": ("How long a frame takes to be handed to the kernel for all its viewers", SEND_BOUNDS_S),
}


class Histogram:
    """counts: of each bucket, the last one without a bound. total_us: the sum of all values, µs."""

    __slots__ = ("_bounds_us", "counts", "total_us")

    def __init__(self, bounds_s: tuple[float, ...]) -> None:
        self._bounds_us = [round(bound_s * 1e6) for bound_s in bounds_s]
        self.counts = [0] * (len(bounds_s) + 1)
        self.total_us = 0

    def note(self, value_us: int, times: int = 1) -> None:
        """This value came, so many times. What is negative (another host's clock) counts as 0."""
        value_us = max(value_us, 0)
        self.counts[bisect_left(self._bounds_us, value_us)] += times
        self.total_us += value_us * times
