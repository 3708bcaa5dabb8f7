"""How old what a viewer got was, against the newest that any good viewer had: the same for every server. Pure.

The age of a picture is the time since the first of the good viewers had all of it. So it needs no clock in the
stream, and what is common to all viewers (a server's own latency, its feeder's pace) is not in it.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import quantiles

from tests.support.check_picture import CheckClip
from tests.support.received import Received, Watched

SLACK_S = 2.0  # by which a server may be ahead of the pace that its first picture sets
STALE_S = 1.0


@dataclass(frozen=True)
class Aged:
    """A picture, its place in the looped clip, its age when its first byte came and when its last was read."""

    picture: Received
    place: int
    began_s: float
    age_s: float


class Timeline:
    """When a good viewer first had each picture. The clip is longer than any viewer can be behind."""

    def __init__(self, clip: CheckClip, good: Sequence[Watched]) -> None:
        self._clip = clip
        self._start = min((p for viewer in good for p in viewer.pictures if p.number >= 0), key=lambda p: p.last_s)
        self._had_s: dict[int, float] = {}
        for viewer in good:
            for picture in viewer.pictures:
                if picture.number >= 0:
                    place = self._place(picture)
                    self._had_s[place] = min(picture.last_s, self._had_s.get(place, math.inf))

    def aged(self, viewer: Watched) -> Iterator[Aged]:
        """The whole pictures of a viewer that a good viewer had, too."""
        for picture in viewer.pictures:
            place = self._place(picture)
            if picture.number >= 0 and (had_s := self._had_s.get(place)) is not None:
                began_s, age_s = (max(at_s - had_s, 0.0) for at_s in (picture.came_s, picture.last_s))
                yield Aged(picture, place, began_s, age_s)

    def _place(self, picture: Received) -> int:
        newest = self._start.number + (picture.last_s - self._start.last_s + SLACK_S) * self._clip.fps
        return picture.number + math.floor((newest - picture.number) / self._clip.pictures) * self._clip.pictures


@dataclass(frozen=True)
class Figures:
    """One viewer, or several together. Pictures, but `gaps` in RTP's numbers; ages in seconds, the greatest.

    got: whole, of `due` from the first to the last it got. cut: with something missing inside. broken: shown, and
    not as drawn. stale: older than STALE_S when complete. began_s, age_s: None where nothing came. Ages are those
    of pictures that were not there yet when the viewer came: what it starts with is a matter of setting.
    """

    got: int
    due: int
    cut: int
    broken: int
    stale: int
    gaps: int
    began_s: float | None
    age_s: float | None
    ended: str = ""
    fresh_after_s: float | None = None

    @property
    def left_out(self) -> int:
        """Pictures due that never came, or not whole."""
        return self.due - self.got


def figures(timeline: Timeline, viewer: Watched, played_s: float, resumed_s: float | None = None) -> Figures:
    """Of one viewer. played_s: when it came. resumed_s: when a stalled one read on, for `fresh_after_s`."""
    aged = list(timeline.aged(viewer))
    since = [one for one in aged if one.picture.last_s - one.age_s >= played_s]
    places = {one.place for one in aged}
    fresh_s = None
    if resumed_s is not None:
        fresh_s = next(
            (a.picture.last_s - resumed_s for a in aged if a.picture.first_s > resumed_s and a.age_s < STALE_S),
            None,
        )
    return Figures(
        got=len(places),
        due=max(places) - min(places) + 1 if places else 0,
        cut=sum(picture.number < 0 for picture in viewer.pictures),
        broken=sum(picture.damaged for picture in viewer.pictures),
        stale=sum(one.age_s > STALE_S for one in since),
        gaps=viewer.gaps,
        began_s=max((one.began_s for one in since), default=None),
        age_s=max((one.age_s for one in since), default=None),
        ended=viewer.ended,
        fresh_after_s=fresh_s,
    )


def together(each: Sequence[Figures]) -> Figures:
    """Sums, and the greatest ages."""

    def total(field: Callable[[Figures], int]) -> int:
        return sum(field(one) for one in each)

    return Figures(
        total(lambda f: f.got), total(lambda f: f.due), total(lambda f: f.cut), total(lambda f: f.broken),
        total(lambda f: f.stale), total(lambda f: f.gaps),
        max((f.began_s for f in each if f.began_s is not None), default=None),
        max((f.age_s for f in each if f.age_s is not None), default=None),
        ", ".join(sorted({f.ended for f in each} - {""})),
    )  # fmt: skip


def lateness_s(aged: Sequence[Aged], fps: int, from_s: float, to_s: float) -> list[float]:
    """By how much each of a viewer's pictures that was whole between these times was later than at a steady pace.

    That pace is set by the earliest of them all: so two spans can be compared.
    """
    offsets = [(one.picture.last_s, one.picture.last_s - one.place / fps) for one in aged]
    earliest = min((offset for _, offset in offsets), default=0.0)
    return [offset - earliest for last_s, offset in offsets if from_s <= last_s < to_s]


def percentile(values: Sequence[float], percent: int) -> float | None:
    """None of fewer than two values."""
    return quantiles(values, n=100, method="inclusive")[percent - 1] if len(values) > 1 else None
