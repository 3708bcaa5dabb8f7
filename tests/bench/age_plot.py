"""Ages of pictures over time as a picture. matplotlib is an optional extra: `pip install framegate[bench]`."""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

COLUMNS = 2
LEAST_S = 0.001  # the scale is logarithmic

Points = Sequence[tuple[float, float]]


def plot(ages: Mapping[str, Mapping[str, Points]], path: Path) -> None:
    """One panel a server, a colour a viewer, a point a picture: (seconds, age in seconds).

    Raises ImportError without matplotlib.
    """
    matplotlib: Any = importlib.import_module("matplotlib")
    matplotlib.use("Agg")
    pyplot: Any = importlib.import_module("matplotlib.pyplot")
    if not ages:
        return
    rows, columns = -(-len(ages) // COLUMNS), min(len(ages), COLUMNS)
    size = 5.5 * columns, 3.6 * rows
    figure, grid = pyplot.subplots(rows, columns, figsize=size, squeeze=False, sharey=True)
    panels = [panel for row in grid for panel in row]
    for panel, (server, viewers) in zip(panels, ages.items(), strict=False):
        for name, points in viewers.items():
            shown = [(when_s, max(age_s, LEAST_S)) for when_s, age_s in points if when_s >= 0]
            panel.plot(*zip(*shown, strict=True) if shown else ((), ()), ".", markersize=3, label=name)
        panel.axhline(1.0, color="black", linewidth=0.8)
        panel.set(title=server, xlabel="seconds since the slow viewers came", yscale="log")
        panel.grid(alpha=0.3)
    for row in grid:
        row[0].set_ylabel("age of a whole picture, s")
    panels[min(1, len(ages) - 1)].legend(markerscale=3)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
