"""Runs to lines: medians over repetitions, ratios within each, as a table in Markdown. Pure."""

from collections.abc import Callable, Iterable, Sequence
from statistics import median

from tests.bench.run import ROWS, Case, Row, Run

BASELINE = "C"
OURS = "framegate"
NOTES_MAX = 3

Figure = Callable[[Run], float | None]
Cell = Callable[[Sequence[Run], Sequence[Run]], str]


def _values(runs: Iterable[Run], figure: Figure) -> list[float]:
    return [value for run in runs if (value := figure(run)) is not None]


def _median(figure: Figure, form: str) -> Cell:
    def cell(runs: Sequence[Run], _all: Sequence[Run]) -> str:
        values = _values(runs, figure)
        return form.format(median(values)) if values else ""

    return cell


def _cost(runs: Sequence[Run], _all: Sequence[Run]) -> str:
    values = _values(runs, lambda run: run.cost_s_per_gb)
    return f"{median(values):.3f} ({min(values):.3f} to {max(values):.3f})" if values else ""


def _ratio(other: str) -> Cell:
    """Cost over the cost of `other` for the same case in the same repetition; the median of that."""

    def cell(runs: Sequence[Run], every: Sequence[Run]) -> str:
        found = [
            run.cost_s_per_gb / theirs.cost_s_per_gb
            for run in runs
            for theirs in every
            if (theirs.server, theirs.repeat, theirs.case) == (other, run.repeat, run.case)
            and run.cost_s_per_gb
            and theirs.cost_s_per_gb
        ]
        return f"{median(found):.2f}" if found and runs[0].server != other else ""

    return cell


def _unspliced_ratio(runs: Sequence[Run], every: Sequence[Run]) -> str:
    found = [
        run.cost_s_per_gb / plain.cost_s_per_gb
        for run in runs
        for plain in every
        if (plain.server, plain.repeat) == (run.server, run.repeat)
        and plain.case == Case("load", run.case.transport, run.case.viewers)
        and run.cost_s_per_gb
        and plain.cost_s_per_gb
    ]
    return f"{median(found):.2f}" if found else ""


def _spread(name: str, what: str, form: str, scale: float = 1.0) -> Cell:
    def figure(run: Run) -> float | None:
        value = run.spread(name, what)
        return None if value is None else value * scale

    return _median(figure, form)


def _by_role(runs: Sequence[Run], _all: Sequence[Run]) -> str:
    roles = dict.fromkeys(role for run in runs for role in run.cores_by_role)
    middle = {role: median(run.cores_by_role.get(role, 0.0) for run in runs) for role in roles}
    return ", ".join(f"{role} {cores:.3f}" for role, cores in middle.items())


def _processes(runs: Sequence[Run], _all: Sequence[Run]) -> str:
    return str(runs[0].case.processes)


def _servers_cost(run: Run) -> float | None:
    return sum(run.server_costs_s_per_gb) or None


def _busiest(run: Run) -> float | None:
    costs = run.server_costs_s_per_gb
    return max(costs) / sum(costs) if costs else None


def _capacity(run: Run) -> float | None:
    """Gbit/s that so many server processes send when each of them has a core of its own, all of it."""
    costs = run.server_costs_s_per_gb
    return 8 / max(costs) if costs else None


_LATE = ("late", _median(lambda run: run.late_share, "{:.3%}"))
_GAP = ("longest gap, ms", _spread("gap_ms", "max", "{:.0f}"))
_RATE = ("Mbit/s a viewer", _spread("bitrate_bps", "p50", "{:.2f}", 1e-6))
_MEMORY = ("kB/viewer", _median(lambda run: run.memory_kb_per_viewer, "{:.1f}"))
_CORES = ("cores", _median(lambda run: run.cores, "{:.3f}"))
_BY_ROLE = ("of these", _by_role)

COLUMNS: dict[Row, tuple[tuple[str, Cell], ...]] = {
    "load": (
        ("s/GB", _cost), ("× C", _ratio(BASELINE)), ("÷ fg", _ratio(OURS)),
        _CORES, _BY_ROLE, _LATE, _GAP, _RATE, _MEMORY,
    ),
    "join": (
        ("all have media, ms", _median(lambda run: run.figures.get("join_all_ms"), "{:.0f}")),
        ("p50, ms", _spread("join_ms", "p50", "{:.0f}")),
        ("p99, ms", _spread("join_ms", "p99", "{:.0f}")),
        ("CPU, s", _median(lambda run: run.figures.get("join_cpu_s"), "{:.3f}")),
    ),
    "age": (
        ("p50, ms", _spread("age_ms", "p50", "{:.2f}")),
        ("p99, ms", _spread("age_ms", "p99", "{:.2f}")),
        ("max, ms", _spread("age_ms", "max", "{:.2f}")),
        _LATE,
    ),
    "spliced": (("s/GB", _cost), ("× unspliced", _unspliced_ratio), _LATE, _GAP, _RATE),
    "streams": (_CORES, _BY_ROLE, ("s/GB", _cost), _LATE, _GAP, _RATE),
    "scale": (
        ("server processes", _processes), ("s/GB", _cost),
        ("of the servers", _median(_servers_cost, "{:.3f}")),
        ("of these the busiest", _median(_busiest, "{:.0%}")),
        ("a core each, Gbit/s", _median(_capacity, "{:.1f}")), _BY_ROLE, _LATE, _RATE,
    ),
}  # fmt: skip

TITLES: dict[Row, str] = {
    "load": "Cost of delivery",
    "join": "Joining at the same moment",
    "age": "Added age",
    "spliced": "Every viewer spliced once",
    "streams": "Many streams, one viewer each",
    "scale": "Server processes",
}


def _notes(runs: Sequence[Run]) -> str:
    """Each kind of doubt once, numbers of the first run that had it."""
    found = list(dict.fromkeys(note for run in runs for note in run.notes()))
    return "; ".join(found[:NOTES_MAX]).replace("|", "/")


def table(runs: Sequence[Run], servers: Sequence[str]) -> str:
    """All runs as one Markdown table a row kind, servers in the order given."""
    return "\n\n".join(_table_of(row, runs, servers) for row in ROWS if any(r.case.row == row for r in runs))


def _table_of(row: Row, runs: Sequence[Run], servers: Sequence[str]) -> str:
    columns = COLUMNS[row]
    heads = ["transport", "viewers", "server", *(name for name, _ in columns), "note"]
    lines = [f"### {TITLES[row]}", "", _line(heads), _line("---" for _ in heads)]
    cases = list(dict.fromkeys(run.case for run in runs if run.case.row == row))
    for case in sorted(
        cases, key=lambda case: (case.transport != "rtsp-tcp", case.transport, case.viewers, case.processes)
    ):
        for server in servers:
            group = [run for run in runs if run.case == case and run.server == server]
            if group:
                cells = (cell(group, runs) for _, cell in columns)
                lines.append(_line([case.transport, str(case.viewers), server, *cells, _notes(group)]))
    return "\n".join(lines)


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"
