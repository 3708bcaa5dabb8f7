"""What the figures must be and are to be, and what they are: the bench's verdict. Pure."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from tests.bench.run import Row, Run
from tests.bench.servers import OURS, SHARING, Transport

BASELINE = "C"
VIEWERS = 1000  # of the rows that compare; where they were not measured, the most that were
STREAMS = 50

Figure = Callable[[Run], float | None]


@dataclass(frozen=True)
class Target:
    """One line. value: of all runs, None where they have none. must, aim: at most so much, or `at_least`."""

    what: str
    value: Callable[[Sequence[Run]], float | None]
    must: float
    aim: float | None
    unit: str = ""
    at_least: bool = False

    def verdict(self, value: float) -> str:
        """In words."""
        sign = -1 if self.at_least else 1
        if self.aim is not None and sign * value <= sign * self.aim:
            return "aim reached"
        return "holds" if sign * value <= sign * self.must else "MISSED"


def _ours(
    row: Row, figure: Figure, viewers: int = 0, server: str = OURS
) -> Callable[[Sequence[Run]], float | None]:
    """The median over our runs of a row over TCP, of those with so many viewers, or the most."""

    def value(runs: Sequence[Run]) -> float | None:
        mine = [run for run in runs if (run.server, run.case.row, run.case.transport) == (server, row, "rtsp-tcp")]
        wanted = viewers or max((run.case.viewers for run in mine), default=0)
        values = [figure(run) for run in mine if run.case.viewers == wanted]
        return median(known) if (known := [value for value in values if value is not None]) else None

    return value


def _compared(over: str, under: str, transport: Transport) -> Callable[[Sequence[Run]], float | None]:
    """The cost of `over` divided by that of `under` in the same repetition, for VIEWERS; the median."""

    def value(runs: Sequence[Run]) -> float | None:
        loads = [run for run in runs if run.case.row == "load" and run.case.transport == transport]
        by_viewers: dict[int, list[float]] = {}
        for one, other in _pairs(loads, over, under):
            if one.cost_s_per_gb and other.cost_s_per_gb:
                by_viewers.setdefault(one.case.viewers, []).append(one.cost_s_per_gb / other.cost_s_per_gb)
        if not by_viewers:
            return None
        return median(by_viewers[VIEWERS if VIEWERS in by_viewers else max(by_viewers)])

    return value


def _pairs(runs: Sequence[Run], over: str, under: str) -> Iterable[tuple[Run, Run]]:
    for one in runs:
        for other in runs:
            names = one.server, other.server
            if names == (over, under) and (one.case, one.repeat) == (other.case, other.repeat):
                yield one, other


def _spliced(runs: Sequence[Run]) -> float | None:
    found = [
        run.cost_s_per_gb / plain.cost_s_per_gb
        for run in runs
        for plain in runs
        if run.case.row == "spliced" and plain.case.row == "load" and plain.server == run.server == OURS
        and (plain.case.transport, plain.case.viewers) == (run.case.transport, run.case.viewers)
        and plain.repeat == run.repeat and run.cost_s_per_gb and plain.cost_s_per_gb
    ]  # fmt: skip
    return median(found) if found else None


def _cheaper(peer: str, transport: Transport, must: float, aim: float) -> Target:
    what = f"{transport}: {peer}'s cost, in ours"
    return Target(what, _compared(peer, OURS, transport), must, aim, "×", at_least=True)


def _own(transport: Transport, must: float, aim: float) -> Target:
    return Target(f"{transport}: our cost, in the C loop's", _compared(OURS, BASELINE, transport), must, aim, "×")


TARGETS = (
    _own("rtsp-tcp", 1.15, 0.9),
    _own("http", 1.15, 0.9),
    _own("rtsp-udp", 1.3, 1.05),
    _cheaper("go2rtc", "rtsp-tcp", 1.8, 2.5),
    _cheaper("gst-rtsp-server", "rtsp-tcp", 2, 3),
    _cheaper("gst-rtsp-server", "rtsp-udp", 2, 2.6),
    _cheaper("MediaMTX", "rtsp-tcp", 3, 6),
    _cheaper("MediaMTX", "rtsp-udp", 3, 6),
    _cheaper("gortsplib", "rtsp-tcp", 3, 6),
    _cheaper("gortsplib", "rtsp-udp", 3, 6),
    Target("all who join at once have media after", _ours("join", lambda run: run.figures.get("join_all_ms")),
           500, 300, "ms"),
    Target("every viewer spliced, in our unspliced cost", _spliced, 1.35, 1.15, "×"),
    Target("memory of a server process per viewer", _ours("load", lambda run: run.memory_kb_per_viewer),
           30, 10, "kB"),
    Target("added age, p50", _ours("age", lambda run: run.spread("age_ms", "p50")), 5, 2, "ms"),
    Target("added age, p99", _ours("age", lambda run: run.spread("age_ms", "p99")), 20, 10, "ms"),
    Target(f"{STREAMS} streams with one viewer each, a capture process for each",
           _ours("streams", lambda run: run.cores, STREAMS), 0.6, 0.4, "cores"),
    Target(f"{STREAMS} streams with one viewer each, files share one",
           _ours("streams", lambda run: run.cores, STREAMS, SHARING), 0.6, 0.4, "cores"),
)  # fmt: skip


def verdicts(runs: Sequence[Run], mux: tuple[float, float] | None) -> str:
    """Every target that was measured, as a Markdown table. mux: its cost in copies, and in libavformat's time."""
    lines = ["### Against the targets", "", "| | measured | must | aim | |", "| --- | --- | --- | --- | --- |"]
    values = [(target, target.value(runs)) for target in TARGETS]
    if mux is not None:
        values.append((Target("muxing 17 kB, in copies of it", lambda _: None, 20, None, "×"), mux[0]))
        values.append((Target("muxing 17 kB, in libavformat's time", lambda _: None, 2.5, None, "×"), mux[1]))
    for target, value in values:
        if value is not None:
            sign = "≥" if target.at_least else "≤"
            must, aim = (
                "" if limit is None else f"{sign} {limit:g} {target.unit}" for limit in (target.must, target.aim)
            )
            cells = (target.what, f"{value:.3g} {target.unit}", must, aim, target.verdict(value))
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
