"""Leading pictures: those that follow a sync point in the stream and are shown before it. Pure.

They are the first pictures behind the sync points of H.265's open groups (RASL, RADL). They may refer to what was
before the sync point, so that who starts there must not be given them; no picture behind them refers to them.
"""

from common.sample import Sample


class LeadingPictures:
    """Tells them, picture by picture."""

    def __init__(self) -> None:
        self._shown_us: int | None = None  # the newest sync point, while pictures that lead it may still come

    @property
    def may_come(self) -> bool:
        """Whether the next picture may lead the newest sync point."""
        return self._shown_us is not None

    def leads(self, picture: Sample) -> bool:
        """Whether this one, the next of the stream, leads the newest sync point."""
        if picture.sync:  # what is shown as soon as it is decoded has nothing before it
            self._shown_us = picture.time_us if picture.order_us < picture.time_us else None
            return False
        if self._shown_us is not None and picture.time_us < self._shown_us:
            return True
        self._shown_us = None
        return False
