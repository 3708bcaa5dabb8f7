"""One viewer's books: which frames of its stream passed while it was there, and why it was not sent some. Pure.

What passed is read off the numbers of frames; what was sent is counted as it is sent; what was left out, by
reason, is what the muxer says (`FrameMessage.left_out`) or the server sees by itself. Three witnesses:

    frames_due = frames_sent + the sum of all drops

`Drop.LOST` is what nobody has explained; it is negative where more was explained than is missing.
"""

from collections import Counter

from common.drops import QUEUE_DROPS, UNWANTED, Drop
from common.messages import FrameMessage
from server.frame_mark import FrameMark

_LEADING = QUEUE_DROPS.index(Drop.LEADING)


class Books:
    """drops: how many frames, by reason; those apart that the viewer's way out knows of."""

    __slots__ = ("_before", "_first", "drops")

    def __init__(self) -> None:
        self.drops: Counter[Drop] = Counter()
        self._before = 0  # frames due of epochs that are over
        self._first: int | None = None  # the first frame due of this one

    def due(self, last: FrameMark | None) -> int:
        """The frames of the stream from the first one that was for the viewer, up to the one it took last."""
        if last is None or self._first is None:
            return 0
        return self._before + last.number - self._first + 1

    @property
    def dropped(self) -> int:
        """The frames that it was to have, and was not sent."""
        return sum(frames for reason, frames in self.drops.items() if reason not in UNWANTED)

    def took(self, last: FrameMark | None, frame: FrameMessage, told: tuple[int, ...], paused: bool) -> int:
        """The viewer took `frame` behind `last`: how many that it may miss it was not sent in between.

        told: what its muxer says it left out, in the order of QUEUE_DROPS; empty for nothing. paused: it did not
        read meanwhile, so that this is why.
        """
        if last is None or self._first is None:
            self._first = frame.number
            return 0
        if last.epoch != frame.epoch:
            missing = max(last.samples_to(frame) - 1, 0)
            self._before = self.due(last) + missing
            self._first = frame.number
            if missing:
                self.drops[Drop.PAUSED if paused else Drop.MUXER] += missing
            return missing
        missing = frame.number - last.number - 1
        if missing and paused:
            self.drops[Drop.PAUSED] += missing
        elif missing or told:
            for reason, frames in zip(QUEUE_DROPS, told, strict=False):
                if frames:
                    self.drops[reason] += frames
            unexplained = missing - sum(told)
            if unexplained:
                self.drops[Drop.LOST] += unexplained
            if told:
                missing -= told[_LEADING]
        return missing
