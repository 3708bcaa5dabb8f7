"""Cost against viewers and streams as a picture. matplotlib is an extra: `pip install framegate[bench]`."""

import importlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench.run import Run

WHOLE = 0.8  # of the bit rate: what is left out beyond that makes a server look cheap
CORES = "CPU cores, all processes of the server"


def plot(runs: Sequence[Run], servers: Sequence[str], path: Path) -> None:
    """One panel a transport: cores used against viewers, a line a server, whiskers from least to most.

    And one for streams with one viewer each: all that framegate uses, and by which of its processes.

    Raises ImportError without matplotlib.
    """
    matplotlib: Any = importlib.import_module("matplotlib")
    matplotlib.use("Agg")
    pyplot: Any = importlib.import_module("matplotlib.pyplot")
    most_bps = max((run.spread("bitrate_bps", "p50") or 0.0 for run in runs), default=0.0)
    whole = [run for run in runs if run.cores is not None and _is_whole(run, most_bps)]
    loads = [run for run in whole if run.case.row == "load"]
    streams = [run for run in whole if run.case.row == "streams"]
    transports = list(dict.fromkeys(run.case.transport for run in loads))
    count = len(transports) + bool(streams)
    if not count:
        return
    figure, panels = pyplot.subplots(1, count, figsize=(6 * count, 4.5), squeeze=False)
    for panel, transport in zip(panels[0], transports, strict=False):
        for server in servers:
            mine = (run for run in loads if (run.server, run.case.transport) == (server, transport))
            _line(panel, server, ((run.case.viewers, run.cores or 0.0) for run in mine))
        panel.set(title=transport, xlabel="viewers of one stream of 4 Mbit/s", ylabel=CORES)
    if streams:
        panel = panels[0][-1]
        _line(panel, "framegate", ((run.case.viewers, run.cores or 0.0) for run in streams))
        for role in dict.fromkeys(role for run in streams for role in run.cores_by_role):
            shares = ((run.case.viewers, run.cores_by_role.get(role, 0.0)) for run in streams)
            _line(panel, f"its {role}{'s' if role == 'capture' else ''}", shares, linestyle=":")
        panel.set(title="many streams", xlabel="streams of 4 Mbit/s, one viewer each", ylabel=CORES)
    for panel in panels[0]:
        panel.set_xlim(left=0)
        panel.set_ylim(bottom=0)
        panel.grid(alpha=0.3)
        panel.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _is_whole(run: Run, most_bps: float) -> bool:
    """Whether all its viewers were there and were given the stream: else it says nothing of what so many cost."""
    given_bps = run.spread("bitrate_bps", "p50") or 0.0
    return bool(run.figures["joined"] == run.case.viewers and given_bps >= WHOLE * most_bps)


def _line(panel: Any, label: str, points: Iterable[tuple[int, float]], **style: object) -> None:
    """The median at each place, whiskers from least to most."""
    by_place: dict[int, list[float]] = {}
    for place, cores in points:
        by_place.setdefault(place, []).append(cores)
    if not by_place:
        return
    places = sorted(by_place)
    middle = [median(by_place[place]) for place in places]
    below = [value - min(by_place[place]) for place, value in zip(places, middle, strict=True)]
    above = [max(by_place[place]) - value for place, value in zip(places, middle, strict=True)]
    panel.errorbar(places, middle, (below, above), label=label, marker="o", capsize=3, **style)
