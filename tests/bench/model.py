"""What many server processes would deliver, from what few were measured to cost. Pure.

A server process costs something for each frame of a stream, however few its viewers are, and something for each
byte that it sends; a muxer something for each frame, and something for each server that it gives it to:

    cores of the servers = processes × frame_cores + GB/s × send_s_per_gb
    cores of the muxer   = mux_cores + processes × server_cores

Both are fitted to the runs of the row `scale` by least squares. What follows from it holds for one stream, with a
core for each process; a machine's memory, network and the viewers' own machines are not in it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tests.bench.run import Run

PROCESSES = (1, 2, 4, 8)  # what is foretold


class Model(NamedTuple):
    """Cores and CPU seconds per 10^9 bytes, as above."""

    frame_cores: float
    send_s_per_gb: float
    mux_cores: float
    server_cores: float

    def delivered_gb_s(self, processes: int) -> float:
        """What so many server processes deliver of one stream, with a core each."""
        return processes * max(1 - self.frame_cores, 0) / self.send_s_per_gb

    @property
    def processes_max(self) -> float:
        """So many server processes keep one muxer's core busy."""
        return (1 - self.mux_cores) / self.server_cores


def fit(runs: Sequence[Run]) -> Model | None:
    """The model of these runs; None where they have not at least two numbers of processes."""
    used = [run for run in runs if run.case.row == "scale" and run.server_costs_s_per_gb]
    counts = [float(run.case.processes) for run in used]
    if len(set(counts)) < 2:
        return None
    rates = [run.figures["bytes"] / 1e9 / run.figures["seconds"] for run in used]
    frame, send = _solved(counts, rates, [run.cores_by_role["server"] for run in used])
    mux, server = _solved([1.0] * len(used), counts, [run.cores_by_role["muxer"] for run in used])
    return Model(frame, send, mux, server)


def _solved(first: Sequence[float], second: Sequence[float], sums: Sequence[float]) -> tuple[float, float]:
    """a and b for which a × first + b × second comes nearest to the sums."""
    found = np.linalg.lstsq(np.column_stack([first, second]), np.array(sums), rcond=None)[0]
    return float(found[0]), float(found[1])


def described(model: Model) -> str:
    """In Markdown."""
    heads = " | ".join(str(count) for count in PROCESSES)
    cells = " | ".join(f"{8 * model.delivered_gb_s(count):.0f}" for count in PROCESSES)
    return "\n".join(
        [
            "### What more server processes would deliver", "",
            f"cores of the servers = processes × {model.frame_cores:.3f} + GB/s × {model.send_s_per_gb:.3f}; "
            f"of the muxer = {model.mux_cores:.3f} + processes × {model.server_cores:.4f}", "",
            f"| server processes, a core each | {heads} |", "| --- |" + " --- |" * len(PROCESSES),
            f"| Gbit/s of one stream | {cells} |",
        ]
    )  # fmt: skip
