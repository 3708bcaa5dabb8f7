"""One run: a server is started, viewers are let loose on it, the figures are taken, all is stopped."""

import json
import select
import subprocess
import tempfile
import urllib.error
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from tests.bench.media import FPS, Clip
from tests.bench.servers import OURS, SHARING, Job, Server, Serving, Transport, UnavailableError

Row = Literal["load", "join", "age", "spliced", "streams", "scale"]
ROWS: tuple[Row, ...] = ("load", "join", "age", "spliced", "streams", "scale")
OWN_ROWS: tuple[Row, ...] = ("spliced", "streams", "scale")  # only framegate is asked for these
AGED = ("framegate", "C")  # whose time stamps are this machine's clock

STALL_S = 10.0  # of 4 Mbit/s: more than a send buffer of 4 MB, the kernel's largest by default, holds
CATCH_UP_S = 8.0  # after it, to read what buffers held and to come upon a sync point
JOIN_S = 30.0
SLACK_S = 60.0  # beyond what the sink was asked for, before it is given up


@dataclass(frozen=True)
class Case:
    """One line of the table, whatever the server. processes: of framegate's servers."""

    row: Row
    transport: Transport
    viewers: int
    processes: int = 1


@dataclass(frozen=True)
class Setup:
    """What all runs share."""

    sink: Path
    clip: Clip
    seconds: float
    warm_s: float
    pin: bool


@dataclass(frozen=True)
class Run:
    """One measurement; `figures` is what sink.c printed. Either it or `error` is empty."""

    case: Case
    server: str
    repeat: int
    figures: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    roles: dict[int, str] = field(default_factory=dict)
    frames_dropped: int | None = None
    viewers_spliced: int | None = None

    @property
    def cost_s_per_gb(self) -> float | None:
        """CPU seconds of all the server's processes per 10^9 bytes delivered."""
        if not self.figures.get("bytes") or self.figures["processes_gone"]:
            return None
        cost: float = self.figures["cpu_s"] / self.figures["bytes"] * 1e9
        return cost

    @property
    def cores(self) -> float | None:
        """CPU seconds a second."""
        cost = self.cost_s_per_gb
        return None if cost is None else cost * self.figures["bytes"] / 1e9 / self.figures["seconds"]

    @property
    def late_share(self) -> float | None:
        """Late frames, as a share of those due."""
        return self.figures["late_frames"] / self.figures["frames_due"] if self.figures else None

    @property
    def memory_kb_per_viewer(self) -> float | None:
        """Resident kB beyond the base, per viewer, of the processes that hold viewers."""
        if not self.figures:
            return None
        holders = [entry for entry in self.figures["processes"] if self._role(entry) in ("server", "")]
        grown: int = sum(entry["rss_kb"] - entry["rss_before_kb"] for entry in holders)
        return grown / self.case.viewers

    @property
    def cores_by_role(self) -> dict[str, float]:
        """CPU seconds a second of each role; empty for a server without roles."""
        cores: dict[str, float] = {}
        for entry in self.figures.get("processes", ()):
            if role := self._role(entry):
                cores[role] = cores.get(role, 0.0) + entry["cpu_s"] / self.figures["seconds"]
        return cores

    @property
    def server_costs_s_per_gb(self) -> list[float]:
        """CPU seconds of each server process per 10^9 bytes that all of them delivered; empty without roles."""
        if not self.figures.get("bytes") or self.figures["processes_gone"]:
            return []
        servers = [entry for entry in self.figures["processes"] if self._role(entry) == "server"]
        return [entry["cpu_s"] / self.figures["bytes"] * 1e9 for entry in servers]

    def _role(self, process: dict[str, Any]) -> str:
        return self.roles.get(process["pid"], "supervisor") if self.roles else ""

    def spread(self, name: str, what: str) -> float | None:
        """One figure of a distribution: `spread("age_ms", "p99")`."""
        values = self.figures.get(name)
        return values[what] if values else None

    def notes(self) -> Iterator[str]:
        """What makes this run doubtful."""
        if self.error:
            yield self.error
        if not self.figures:
            return
        figures = self.figures
        if figures["joined"] < self.case.viewers:
            yield f"{figures['joined']} of {self.case.viewers} joined: {figures['error']}"
        if figures["dead"] > figures["failed"]:
            yield f"{figures['dead'] - figures['failed']} died: {figures['error']}"
        if figures["processes_gone"]:
            yield f"{figures['processes_gone']} server processes ended"
        if figures["lost_packets"]:
            yield f"{figures['lost_packets']} packets lost"
        if figures["sink"]["sweep_max_ms"] > 1000 / FPS / 2:
            yield f"the sink was itself late: {figures['sink']['sweep_max_ms']:.0f} ms"
        if self.frames_dropped and self.case.row != "spliced":
            yield f"{self.frames_dropped} frames dropped"
        if self.case.row == "spliced" and (self.viewers_spliced or 0) < self.case.viewers:
            yield f"only {self.viewers_spliced} of {self.case.viewers} viewers spliced"

    def document(self) -> dict[str, Any]:
        """For the JSON file: the fields, and what is derived from them."""
        derived = ("cost_s_per_gb", "cores", "late_share", "memory_kb_per_viewer", "cores_by_role")
        return asdict(self) | {name: getattr(self, name) for name in derived} | {"notes": list(self.notes())}


def applies(case: Case, server: Server) -> bool:
    """Whether this server is asked for this line."""
    if server.name == SHARING:
        return case.row == "streams"
    if case.row in OWN_ROWS and server.name != OURS:
        return False
    if case.row == "age" and server.name not in AGED:
        return False
    return case.transport in server.transports


def measure(setup: Setup, case: Case, server: Server, repeat: int) -> Run:
    """One run. A server that does not start, and a sink that fails, are an error in the result."""
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        cpus = ("0", "1") if setup.pin else ("", "")
        streams = case.viewers if case.row == "streams" else 1
        job = Job(setup.clip, work, streams, *cpus, processes=case.processes)
        try:
            serving = server.start(stack, job)
            return _load(setup, case, server, repeat, serving)
        except (UnavailableError, OSError, ValueError, subprocess.SubprocessError) as error:
            return Run(case, server.name, repeat, error=str(error) or type(error).__name__)


def _load(setup: Setup, case: Case, server: Server, repeat: int, serving: Serving) -> Run:
    arguments, limit_s = _sink_arguments(setup, case, serving)
    pinned = ["taskset", "-c", "1"] if setup.pin else []
    with subprocess.Popen(
        [*pinned, setup.sink, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as sink:
        try:
            line = _first_line(sink, limit_s)
            dropped, spliced = _own_figures(serving)
        finally:
            assert sink.stdin is not None
            sink.stdin.close()  # lets it go
    return Run(case, server.name, repeat, json.loads(line), "", serving.roles, dropped, spliced)


def _sink_arguments(setup: Setup, case: Case, serving: Serving) -> tuple[Sequence[str], float]:
    http = case.transport == "http"
    seconds, warm_s = (2.0, 0.0) if case.row == "join" else (setup.seconds, setup.warm_s)
    stall_s = 0.0
    if case.row == "spliced":
        stall_s, warm_s = STALL_S, warm_s + CATCH_UP_S
    values: dict[str, object] = {
        "--transport": case.transport,
        "--port": serving.http_port if http else serving.rtsp_port,
        "--path": serving.http_path if http else serving.rtsp_path,
        "--viewers": case.viewers,
        "--streams": case.viewers if case.row == "streams" else 1,
        "--at-once": case.viewers if case.row == "join" else 64,
        "--seconds": seconds,
        "--warm": warm_s,
        "--stall": stall_s,
        "--join-seconds": JOIN_S,
        "--fps": FPS,
        "--pids": ",".join(map(str, serving.pids())),
    }
    arguments = [str(word) for pair in values.items() for word in pair]
    flags = ["--hold", *(["--age"] if case.row == "age" else [])]
    return [*arguments, *flags], JOIN_S + stall_s + warm_s + seconds + SLACK_S


def _first_line(sink: "subprocess.Popen[str]", limit_s: float) -> str:
    """The sink's one line. Raises UnavailableError when it fails, or never says it."""
    assert sink.stdout is not None
    if not select.select([sink.stdout], [], [], limit_s)[0]:
        sink.kill()
        raise UnavailableError(f"the sink hung for {limit_s:.0f} s")
    line = sink.stdout.readline()
    if not line:
        raise UnavailableError(f"the sink ended with {sink.wait()}")
    return line


def _own_figures(serving: Serving) -> tuple[int | None, int | None]:
    """framegate's own word on frames dropped and viewers spliced, while they are still connected."""
    try:
        viewers = serving.stats().get("viewers")
    except (urllib.error.URLError, TimeoutError):
        return None, None
    if viewers is None:
        return None, None
    return sum(viewer["frames_dropped"] for viewer in viewers), sum(viewer["splices"] > 0 for viewer in viewers)
