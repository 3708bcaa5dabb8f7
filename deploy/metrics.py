"""The figures of an instance as Prometheus metrics. Pure: figures in, the text of `/metrics` out.

Label sets are bounded: by process, by stream, by transport and state; no viewer has one of its own. What a process
counts is a counter under its own name, from the start of that process on.
"""

from collections import Counter
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from common.figures import InstanceFigures, ProcessFigures, StreamFigures, ViewerFigures

GAUGES = frozenset({"connections", "muxers_up"})  # among the counters of processes
_PROCESS = {
    "cpu_percent": "Share of one core, percent",
    "rss_bytes": "Resident memory, bytes",
    "uptime_s": "Age of this life of the process, seconds",
}
_STREAM = {
    "fps": "Pictures a second",
    "bitrate_bps": "Bits a second",
    "sync_interval_s": "Between two sync points, seconds",
    "viewers": "Viewers",
}


class _Figures(Collector):
    """One scrape."""

    def __init__(self, figures: InstanceFigures) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        """All metrics of it."""
        yield from _processes(self._figures.processes)
        yield from _streams(self._figures.streams)
        yield from _viewers(self._figures.viewers)


def exposition(figures: InstanceFigures) -> bytes:
    """The text format, version 0.0.4."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(figures))
    return generate_latest(registry)


def _processes(processes: list[ProcessFigures]) -> Iterator[Metric]:
    labels = ["role", "process"]
    up = GaugeMetricFamily("framegate_process_up", "Whether it does its work", labels=labels)
    restarts = CounterMetricFamily("framegate_process_restarts", "Lives after the first", labels=labels)
    for process in processes:
        up.add_metric([process.role, process.name], float(process.state in ("up", "draining")))
        restarts.add_metric([process.role, process.name], process.restarts)
    yield up
    yield restarts
    for field, text in _PROCESS.items():
        gauge = GaugeMetricFamily(f"framegate_process_{field}", text, labels=labels)
        for process in processes:
            gauge.add_metric([process.role, process.name], getattr(process, field))
        yield gauge
    for role in dict.fromkeys(process.role for process in processes):
        peers = [process for process in processes if process.role == role]
        for name in dict.fromkeys(name for process in peers for name in process.counters):
            kind = GaugeMetricFamily if name in GAUGES else CounterMetricFamily
            family = kind(f"framegate_{role}_{name}", f"{name} of one {role}", labels=["process"])
            for process in peers:
                if name in process.counters:
                    family.add_metric([process.name], process.counters[name])
            yield family


def _streams(streams: list[StreamFigures]) -> Iterator[Metric]:
    live = GaugeMetricFamily("framegate_stream_live", "Whether pictures come", labels=["stream"])
    samples = CounterMetricFamily("framegate_stream_samples", "Samples that came", labels=["stream"])
    lost = CounterMetricFamily("framegate_stream_samples_lost", "Gaps in their numbers", labels=["stream"])
    for stream in streams:
        live.add_metric([stream.name], float(stream.state == "live"))
        samples.add_metric([stream.name], stream.samples_in)
        lost.add_metric([stream.name], stream.samples_lost)
    yield from (live, samples, lost)
    for field, text in _STREAM.items():
        gauge = GaugeMetricFamily(f"framegate_stream_{field}", text, labels=["stream"])
        for stream in streams:
            gauge.add_metric([stream.name], getattr(stream, field))
        yield gauge


def _viewers(viewers: list[ViewerFigures]) -> Iterator[Metric]:
    labels = ["stream", "transport", "state"]
    family = GaugeMetricFamily(
        "framegate_viewers", "Viewers by what they watch, how, and how they do", labels=labels
    )
    for key, count in sorted(Counter((v.stream, v.transport, v.state) for v in viewers).items()):
        family.add_metric(list(key), count)
    yield family
    age = GaugeMetricFamily("framegate_viewer_age_max_ms", "The age of the latest viewer", labels=["stream"])
    for stream in sorted({viewer.stream for viewer in viewers}):
        age.add_metric([stream], max(viewer.age_ms for viewer in viewers if viewer.stream == stream))
    yield age
