"""What is done to an instance, and when. Pure: the same seed gives the same schedule."""

import random
from dataclasses import dataclass
from enum import StrEnum

BEGIN_S = 5.0  # everybody watches by then
CALM_S = 20.0  # nothing is done so long before the end: all has to be well again
SPACING_S = (2.0, 7.0)


class Fault(StrEnum):
    """What can be done."""

    KILL = "kill -9"
    PAUSE = "stop and go on"
    HANG = "stop for good"
    UNPLUG = "unplug"
    SLOW = "slow reader"
    CUT = "cut"
    CONNECTIONS = "flood: connections"
    REQUESTS = "flood: requests"
    DATAGRAMS = "flood: datagrams"
    MESSAGES = "flood: messages"
    RELOAD = "reload"
    SCALE = "scale"


# kind: how often, against the others; to whom; for how many seconds
_KINDS: dict[Fault, tuple[int, tuple[str, ...], tuple[float, float]]] = {
    Fault.KILL: (6, ("muxer", "muxer", "capture", "server"), (0.0, 0.0)),
    Fault.PAUSE: (3, ("muxer", "capture", "server", "supervisor"), (0.2, 2.0)),
    Fault.HANG: (1, ("muxer", "capture", "server"), (0.0, 0.0)),
    Fault.UNPLUG: (1, ("program",), (0.5, 3.0)),
    Fault.SLOW: (2, ("viewer",), (1.0, 6.0)),
    Fault.CUT: (2, ("viewer",), (0.0, 0.0)),
    Fault.CONNECTIONS: (1, ("rtsp", "http"), (0.0, 0.0)),
    Fault.REQUESTS: (1, ("rtsp", "http"), (0.0, 0.0)),
    Fault.DATAGRAMS: (1, ("udp",), (0.0, 0.0)),
    Fault.MESSAGES: (1, ("muxer", "capture", "control"), (0.0, 0.0)),
    Fault.RELOAD: (2, ("streams", "settings", "servers", "wrong"), (0.0, 0.0)),
    Fault.SCALE: (1, ("muxers", "servers"), (0.0, 0.0)),
}


@dataclass(frozen=True)
class Event:
    """One thing that is done. choice: which of those that there are then, modulo their number."""

    at_s: float
    fault: Fault
    target: str
    choice: int
    seconds: float


def schedule(seed: int, seconds: float) -> list[Event]:
    """What happens in a soak of so many seconds, in order."""
    dice = random.Random(seed)
    kinds = list(_KINDS)
    weights = [_KINDS[kind][0] for kind in kinds]
    events = []
    at_s = BEGIN_S
    while at_s < seconds - CALM_S:
        kind = dice.choices(kinds, weights)[0]
        _, targets, (least_s, most_s) = _KINDS[kind]
        events.append(
            Event(at_s, kind, dice.choice(targets), dice.randrange(1 << 16), dice.uniform(least_s, most_s))
        )
        at_s += dice.uniform(*SPACING_S)
    return events
