"""Cost against viewers as a picture. matplotlib is an optional extra: `pip install framegate[bench]`."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench.run import Run


def plot(runs: Sequence[Run], servers: Sequence[str], path: Path) -> None:
    """One panel a transport: cores used against viewers, a line a server, whiskers from least to most.

    Raises ImportError without matplotlib.
    """
    matplotlib: Any = importlib.import_module("matplotlib")
    matplotlib.use("Agg")
    pyplot: Any = importlib.import_module("matplotlib.pyplot")
    loads = [run for run in runs if run.case.row == "load" and run.cores is not None and run.figures["joined"]]
    transports = list(dict.fromkeys(run.case.transport for run in loads))
    if not transports:
        return
    figure, panels = pyplot.subplots(1, len(transports), figsize=(6 * len(transports), 4.5), squeeze=False)
    for panel, transport in zip(panels[0], transports, strict=True):
        for server in servers:
            by_viewers: dict[int, list[float]] = {}
            for run in loads:
                if (run.server, run.case.transport) == (server, transport) and run.cores is not None:
                    by_viewers.setdefault(run.case.viewers, []).append(run.cores)
            if by_viewers:
                viewers = sorted(by_viewers)
                middle = [median(by_viewers[count]) for count in viewers]
                below = [middle[i] - min(by_viewers[count]) for i, count in enumerate(viewers)]
                above = [max(by_viewers[count]) - middle[i] for i, count in enumerate(viewers)]
                panel.errorbar(viewers, middle, (below, above), label=server, marker="o", capsize=3)
        panel.set(title=transport, xlabel="viewers at 4 Mbit/s", ylabel="CPU cores, all processes of the server")
        panel.set_xlim(left=0)
        panel.set_ylim(bottom=0)
        panel.grid(alpha=0.3)
        panel.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
