"""What is held against an instance after a soak. Pure: what was seen and what was done to it in, faults out.

Times are seconds of one monotonic clock.
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

BACK_S = 8.0  # there are pictures again so soon after a fault is over; promised is one second, on a quiet machine
YOUNG_S = 20.0  # what a process takes until then is no leak
LIFE_S = 60.0  # shorter lives say nothing about growth
LIFE_FDS_S = 300.0  # and of descriptors, which come and go with viewers and servers, not even these
GROWTH_BYTES_MAX = 16 << 20  # rings and queues that are filled for the first time, a busy machine's backlog
GROWTH_BYTES_A_MINUTE_MAX = 512 << 10
GROWTH_FDS_A_MINUTE_MAX = 1.0


@dataclass
class Disturbance:
    """One thing that was done, from start_s to over_s; infinite while it goes on.

    servers, viewers: whose connections it may end, by name, until cuts_until_s.
    """

    what: str
    start_s: float
    over_s: float
    servers: set[str] = field(default_factory=set)
    viewers: set[str] = field(default_factory=set)
    cuts_until_s: float = 0.0
    fault: str = ""  # what went wrong in doing it


@dataclass(frozen=True)
class End:
    """One connection that a viewer lost. server: of which process; empty: not known yet."""

    at_s: float
    viewer: str
    server: str
    reason: str


@dataclass(frozen=True)
class Sighting:
    """What one process took, at an age."""

    process: str
    pid: int
    age_s: float
    rss_bytes: int
    fds: int


@dataclass(frozen=True, order=True)
class Blame:
    """A fault that was found. at_s: when it began; 0: at no time in particular."""

    at_s: float
    text: str


def stuck(viewer: str, pictures_s: Sequence[float], end_s: float, done: Iterable[Disturbance]) -> list[Blame]:
    """Where a viewer had no pictures for longer than can be excused by what was done at the time."""
    disturbances = list(done)
    blames = []
    for before_s, after_s in pairwise([*pictures_s, end_s]):
        if after_s - before_s <= BACK_S:
            continue
        excused_s = before_s
        for one in sorted(disturbances, key=lambda one: one.start_s):
            # one after the other: the next may come before there were pictures again
            if one.start_s <= min(after_s, excused_s + BACK_S):
                excused_s = max(excused_s, one.over_s)
        if after_s - excused_s > BACK_S:
            blames.append(Blame(before_s, f"{viewer}: no picture for {after_s - before_s:.1f} s"))
    return blames


def unexcused(ends: Iterable[End], done: Iterable[Disturbance], margin_s: float = 2.0) -> list[Blame]:
    """The connections that were lost though nothing was done to them."""
    disturbances = list(done)
    return [
        Blame(end.at_s, f"{end.viewer}: lost its connection to {end.server or 'a server'}: {end.reason}")
        for end in ends
        if not any(
            one.start_s <= end.at_s <= one.cuts_until_s + margin_s
            and (end.viewer in one.viewers or end.server in one.servers or (one.servers and not end.server))
            for one in disturbances
        )
    ]


def losses(viewer: str, gaps: Iterable[Blame], done: Iterable[Disturbance], margin_s: float = 2.0) -> list[Blame]:
    """The gaps in what a viewer got by UDP that are not its own fault."""
    own = [one for one in done if viewer in one.viewers]
    return [gap for gap in gaps if not any(one.start_s <= gap.at_s <= one.over_s + margin_s for one in own)]


def growing(sightings: Iterable[Sighting]) -> list[Blame]:
    """The processes that took ever more, over lives that are long enough to say so."""
    lives: dict[tuple[str, int], list[Sighting]] = {}
    for one in sightings:
        lives.setdefault((one.process, one.pid), []).append(one)
    blames = []
    for (process, _), seen in lives.items():
        grown = [one for one in seen if one.age_s >= YOUNG_S]
        if not grown or (life_s := grown[-1].age_s - grown[0].age_s) < LIFE_S:
            continue
        ages = [one.age_s / 60 for one in grown]
        bytes_a_minute = slope(ages, [one.rss_bytes for one in grown])
        fds_a_minute = slope(ages, [one.fds for one in grown])
        if bytes_a_minute > GROWTH_BYTES_A_MINUTE_MAX + GROWTH_BYTES_MAX / (life_s / 60):
            blames.append(Blame(0.0, f"{process}: grows by {bytes_a_minute / 1e6:.1f} MB a minute"))
        if life_s >= LIFE_FDS_S and fds_a_minute > GROWTH_FDS_A_MINUTE_MAX:
            blames.append(Blame(0.0, f"{process}: {fds_a_minute:.1f} more descriptors a minute"))
    return blames


def slope(times: Sequence[float], values: Sequence[float]) -> float:
    """By how much a value grows in a unit of time: the median over all pairs of the two halves (Theil-Sen)."""
    half = len(times) // 2
    pairs = zip(times[:half], values[:half], times[len(times) - half :], values[len(values) - half :], strict=True)
    rates = [(later - value) / (then - at) for at, value, then, later in pairs if then > at]
    return statistics.median(rates) if rates else 0.0


def left_over(before: Mapping[str, int], after: Mapping[str, int], spare: int) -> list[Blame]:
    """The roles whose processes together hold more descriptors than at the start, by more than `spare`."""
    return [
        Blame(0.0, f"{role}: {before[role]} descriptors at the start, {after[role]} at the end")
        for role in before
        if role in after and after[role] > before[role] + spare
    ]


@dataclass(frozen=True, order=True)
class Gap:
    """How long a viewer had no picture, and when that began."""

    seconds: float
    at_s: float
    viewer: str


def back_after(done: Iterable[Disturbance], pictures_s: Mapping[str, Sequence[float]]) -> dict[str, list[Gap]]:
    """How long the worst of all viewers had no picture from each disturbance on, by what was done."""
    found: dict[str, list[Gap]] = {}
    for one in done:
        gaps = [
            Gap(after_s - before_s, before_s, viewer)
            for viewer, times in pictures_s.items()
            for before_s, after_s in pairwise(times)
            if one.start_s - 0.5 <= before_s <= one.over_s + 1.0 and after_s >= one.start_s
        ]
        if gaps:
            found.setdefault(one.what, []).append(max(gaps))
    return found
