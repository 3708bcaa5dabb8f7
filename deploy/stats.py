"""The figures of an instance: what the processes report, and what the kernel says of them (psutil)."""

from collections.abc import Mapping, Sequence

import msgspec
import psutil

from common.config import Config
from common.figures import (
    VIEWERS_REPORTED_MAX,
    DeliveryFigures,
    HistogramFigures,
    InstanceFigures,
    ProcessFigures,
    RoleFigures,
    StreamFigures,
    ViewerFigures,
)
from common.lines import Lines
from common.source_spec import without_secrets

METER_INTERVAL_US = 1_000_000  # CPU shares over less than this are noise


class Usage(msgspec.Struct, frozen=True):
    """What a process takes of the machine. cpu_percent: of one core, since the reading before."""

    cpu_percent: float = 0.0
    rss_bytes: int = 0


class Meter:
    """Reads CPU and memory of processes, at most once in METER_INTERVAL_US."""

    def __init__(self) -> None:
        self._processes: dict[int, psutil.Process] = {}
        self._usage: dict[int, Usage] = {}
        self._read_us = -METER_INTERVAL_US

    def due(self, now_us: int) -> bool:
        """Whether `read` would read anew. Done regularly, a CPU share is that of the last second or so."""
        return now_us - self._read_us >= METER_INTERVAL_US

    def read(self, pids: Sequence[int], now_us: int) -> Mapping[int, Usage]:
        """The usage of each process by its pid. One that has ended meanwhile shows nothing."""
        known = self._usage
        if self.due(now_us):
            self._read_us = now_us
            known = {}
        self._usage = {pid: known.get(pid) or self._read_one(pid) for pid in pids}
        self._processes = {pid: process for pid, process in self._processes.items() if pid in self._usage}
        return self._usage

    def _read_one(self, pid: int) -> Usage:
        try:
            process = self._processes.get(pid) or psutil.Process(pid)
            self._processes[pid] = process
            with process.oneshot():
                return Usage(process.cpu_percent(), process.memory_info().rss)
        except psutil.Error:
            return Usage()  # gone, or a zombie: the supervisor sees its death by itself


def merge(
    config: Config,
    processes: list[ProcessFigures],
    reports: Mapping[str, RoleFigures],
    failed: Mapping[str, str],
) -> InstanceFigures:
    """All figures of an instance.

    reports: the last one of each process, by its name. failed: streams whose capture is not started again,
    with the reason. Every stream of `config` is listed, one that no muxer reports as waiting.
    """
    for process in processes:
        if process.name in reports:
            process.counters = reports[process.name].counters
    viewers: list[ViewerFigures] = []
    deliveries: list[DeliveryFigures] = []
    histograms: list[HistogramFigures] = []
    reported: dict[str, StreamFigures] = {}
    for name, report in reports.items():
        deliveries += [msgspec.structs.replace(each, process=name) for each in report.deliveries]
        histograms += [msgspec.structs.replace(each, process=name) for each in report.histograms]
        viewers += report.viewers[:VIEWERS_REPORTED_MAX]
        reported.update((stream.name, stream) for stream in report.streams)
    watching: dict[str, int] = {}
    for viewer in viewers:
        watching[viewer.stream] = watching.get(viewer.stream, 0) + 1
    streams = []
    lines = Lines(config)
    for name, setting in config.streams.items():
        stream = reported.get(name) or StreamFigures(name=name, source=without_secrets(setting.source))
        if lines.muxes_elsewhere(name):
            stream.state, stream.reason = "elsewhere", f"see {lines.muxer_of(name)}"
        changes: dict[str, object] = {"viewers": watching.get(name, 0)}
        if name in failed:
            changes |= {"state": "down", "reason": failed[name]}
        streams.append(msgspec.structs.replace(stream, **changes))
    return InstanceFigures(processes, streams, viewers, deliveries, histograms)
