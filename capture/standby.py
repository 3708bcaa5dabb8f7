"""When a slate stands in for a source that is away, at which times, and how the source's own follow on. Pure.

A slate picture is as late as the source's pictures were, so that a player's clock need not move. The first
pictures of a source that is back can be older than the last of the slate: a live stream is listened to for a
while before any of it is given out. They are squeezed in behind it: the first is shown as if it were on time, and
times run at a SQUEEZE-th of their pace until they are right again. Sound from before that is left out. So times
never step back.
"""

import msgspec

from common.sample import Sample, Track

AFTER_US = 1_000_000  # who is back sooner has only stood still
EVERY_US = 1_000_000
LAG_US_MAX = 1_000_000
LATE_US = 100_000  # what a muxer's clock leaves for it
SQUEEZE = 8
_STEP_US = 1_000


class Standby:
    """One stream's. tracks: of the source's last life; a source that has had no pictures gets no slate.

    since: when it went away, for a person.
    """

    def __init__(self, enabled: bool) -> None:
        self.tracks: tuple[Track, ...] = ()
        self.since = ""
        self._enabled = enabled
        self._lag_us = 0
        self._newest_us = 0  # of the pictures
        self._due_us: int | None = None
        self._shown_us: int | None = None  # the slate's last, behind which this life came
        self._squeeze: tuple[int, int] | None = None  # this life's first picture: when, and when it is shown

    @property
    def due_us(self) -> int | None:
        """When the next picture of the slate is due; None while there is none."""
        return self._due_us

    def away(self, since: str, now_us: int) -> None:
        """The source has failed; it may have done so before."""
        if self._due_us is None and any(not track.audio for track in self.tracks):
            self.since = since
            self._due_us = now_us + AFTER_US

    def rest(self) -> None:
        """Nobody wants the stream."""
        self._due_us = None

    def show(self, now_us: int) -> int:
        """The time of the picture that is due now, µs."""
        self._due_us = now_us + EVERY_US
        self._newest_us = self._shown_us = max(now_us - self._lag_us, self._newest_us + _STEP_US)
        self._squeeze = None
        return self._shown_us

    def passed(self, tracks: tuple[Track, ...], sample: Sample, now_us: int) -> Sample | None:
        """A sample of the source, which is there, with the times that it is to have; None: it is left out."""
        if not self._enabled:
            return sample
        self.tracks = tracks
        self._due_us = None
        late_us = now_us - sample.order_us
        if self._shown_us is not None:
            if sample.audio:
                if sample.order_us <= self._shown_us:
                    return None
            else:
                sample = self._squeezed(sample, self._shown_us, late_us, now_us)
        if not sample.audio:
            self._lag_us = max(0, min(late_us, LAG_US_MAX))
            self._newest_us = max(self._newest_us, sample.time_us, sample.order_us)
        return sample

    def _squeezed(self, sample: Sample, shown_us: int, late_us: int, now_us: int) -> Sample:
        if self._squeeze is None:
            is_late = sample.order_us <= shown_us or late_us - self._lag_us > LATE_US
            start_us = max(shown_us + _STEP_US, now_us - self._lag_us) if is_late else sample.order_us
            self._squeeze = sample.order_us, start_us
        first_us, start_us = self._squeeze

        def at(time_us: int) -> int:
            return max(time_us, start_us + (time_us - first_us) // SQUEEZE)

        time_us, order_us = at(sample.time_us), at(sample.order_us)
        if (time_us, order_us) == (sample.time_us, sample.order_us):
            return sample
        decode_time_us = None if sample.decode_time_us is None else order_us
        return msgspec.structs.replace(sample, time_us=time_us, decode_time_us=decode_time_us)
