"""The figures of an instance as Prometheus metrics. Pure: figures in, the text of `/metrics` out.

Label sets are bounded: by process, stream, payload, transport, state, and reason; no viewer has one of its own.
What a process counts is a counter under its own name, from the start of that process on. `common.figures` says
what everything counts, and what adds up to what.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from common.figures import (
    DeliveryFigures,
    HistogramFigures,
    InstanceFigures,
    ProcessFigures,
    StreamFigures,
    ViewerFigures,
)
from common.histogram import HISTOGRAMS

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

_SAMPLE_DROPS = ("unannounced", "known", "awaiting_sync")
_DELIVERY = {
    "frames_due": "Frames that passed while viewers were there, once for each",
    "frames_sent": "Frames sent, once for each viewer",
    "bytes_sent": "Bytes of frames sent, framing included",
    "viewers_gone": "Viewers that have left",
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
        yield from _deliveries(self._figures.deliveries)
        yield from _histograms(self._figures.histograms)


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
    dropped = CounterMetricFamily(
        "framegate_stream_samples_dropped", "Samples that came, and were of no use", labels=["stream", "reason"]
    )
    labels = ["stream", "payload"]
    frames = CounterMetricFamily("framegate_payload_frames", "Frames made", labels=labels)
    refused = CounterMetricFamily("framegate_payload_samples_refused", "Samples not made into one", labels=labels)
    here = [stream for stream in streams if stream.state != "elsewhere"]
    for stream in here:
        live.add_metric([stream.name], float(stream.state == "live"))
        samples.add_metric([stream.name], stream.samples_in)
        lost.add_metric([stream.name], stream.samples_lost)
        for reason in _SAMPLE_DROPS:
            dropped.add_metric([stream.name, reason], getattr(stream, f"samples_{reason}"))
        for payload in stream.payloads:
            frames.add_metric([stream.name, payload.payload], payload.frames)
            refused.add_metric([stream.name, payload.payload], payload.samples_refused)
    yield from (live, samples, lost, dropped, frames, refused)
    for field, text in _STREAM.items():
        gauge = GaugeMetricFamily(f"framegate_stream_{field}", text, labels=["stream"])
        for stream in streams if field == "viewers" else here:
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


def _deliveries(deliveries: list[DeliveryFigures]) -> Iterator[Metric]:
    labels = ["process", "stream", "payload", "transport"]
    for field, text in _DELIVERY.items():
        family = CounterMetricFamily(f"framegate_{field}", text, labels=labels)
        for each in deliveries:
            family.add_metric([getattr(each, label) for label in labels], getattr(each, field))
        yield family
    dropped = CounterMetricFamily(
        "framegate_frames_dropped", "Frames due and not sent, once for each viewer", labels=[*labels, "reason"]
    )
    for each in deliveries:
        for reason, frames in each.drops.items():
            dropped.add_metric([*(getattr(each, label) for label in labels), reason], frames)
    yield dropped


def _histograms(histograms: list[HistogramFigures]) -> Iterator[Metric]:
    for name, (text, bounds_s) in HISTOGRAMS.items():
        entries = [each for each in histograms if each.name == name and len(each.counts) == len(bounds_s) + 1]
        labels = ["process", *dict.fromkeys(label for each in entries for label in each.labels)]
        family = HistogramMetricFamily(f"framegate_{name}", text, labels=labels)
        for each in entries:
            sums = accumulate(each.counts)
            buckets = [(bound, next(sums)) for bound in (*map(str, bounds_s), "+Inf")]
            values = [each.process, *(each.labels.get(label, "") for label in labels[1:])]
            family.add_metric(values, buckets, sum_value=each.total_us / 1e6)
        yield family
