"""What `framegate top` shows, and what its keys do. Pure: figures and keys in, figures out."""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from common.figures import InstanceFigures, ProcessFigures, StreamFigures, ViewerFigures

SORTS = ("name", "load", "age", "drops", "time")  # `s` goes to the next
FILTER_MAX = 80  # characters
_ENTER, _ESCAPE, _ERASE = ("\r", "\n"), "\x1b", ("\x7f", "\b")

_PROCESSES: dict[str, Callable[[ProcessFigures], Any]] = {
    "load": lambda p: -p.cpu_percent,
    "drops": lambda p: -p.restarts,
    "time": lambda p: p.uptime_s,
}
_STREAMS: dict[str, Callable[[StreamFigures], Any]] = {
    "name": lambda s: s.name,
    "load": lambda s: -s.bitrate_bps,
    "drops": lambda s: -s.samples_lost,
}
_VIEWERS: dict[str, Callable[[ViewerFigures], Any]] = {
    "name": lambda v: (v.stream, v.peer),
    "load": lambda v: -v.bytes_sent / max(v.connected_s, 1),
    "age": lambda v: -v.age_ms,
    "drops": lambda v: -v.frames_dropped,
    "time": lambda v: v.connected_s,
}


class View(msgspec.Struct, frozen=True):
    """How it is looked at. typing: the filter is being typed. over: it is to end."""

    sort: str = SORTS[0]
    filter: str = ""
    typing: bool = False
    over: bool = False


def press(view: View, key: str) -> View:
    """The view after a key."""
    replace = msgspec.structs.replace
    if view.typing:
        if key in _ENTER:
            return replace(view, typing=False)
        if key == _ESCAPE:
            return replace(view, typing=False, filter="")
        if key in _ERASE:
            return replace(view, filter=view.filter[:-1])
        return replace(view, filter=(view.filter + key)[:FILTER_MAX]) if key.isprintable() else view
    match key:
        case "q":
            return replace(view, over=True)
        case "s":
            return replace(view, sort=SORTS[(SORTS.index(view.sort) + 1) % len(SORTS)])
        case "f" | "/":
            return replace(view, typing=True)
        case "\x1b":
            return replace(view, filter="")
    return view


def shown(figures: InstanceFigures, view: View) -> InstanceFigures:
    """What is left of the figures by the filter, in the order that is asked for."""
    text = view.filter.lower()

    def kept(*words: str) -> bool:
        return any(text in word.lower() for word in words)

    processes = [p for p in figures.processes if kept(p.name, p.state)]
    streams = [s for s in figures.streams if kept(s.name, s.source, s.state)]
    viewers = [v for v in figures.viewers if kept(v.stream, v.peer, v.transport, v.state, v.user_agent)]
    return InstanceFigures(
        processes=_sorted(processes, _PROCESSES.get(view.sort)),
        streams=_sorted(streams, _STREAMS.get(view.sort)),
        viewers=_sorted(viewers, _VIEWERS.get(view.sort)),
    )


def foot(view: View) -> str:
    """The line that says what the keys do."""
    filtered = f"filter: {view.filter}{'_' if view.typing else ''}" if view.filter or view.typing else "f filter"
    return f"q quit   s sort: {view.sort}   {filtered}" + ("   Enter keep, Esc clear" if view.typing else "")


def _sorted(entries: Iterable[Any], key: Callable[[Any], Any] | None) -> list[Any]:
    """In the order of `key`, or as they came."""
    return list(entries) if key is None else sorted(entries, key=key)
