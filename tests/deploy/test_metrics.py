"""The metrics, read as Prometheus reads them."""

from prometheus_client.parser import text_string_to_metric_families

from common.figures import (
    DeliveryFigures,
    HistogramFigures,
    InstanceFigures,
    PayloadFigures,
    ProcessFigures,
    StreamFigures,
    ViewerFigures,
)
from common.histogram import AGE_BOUNDS_S
from deploy.metrics import exposition


def viewer(stream: str, transport: str = "http-ts", age_ms: float = 1.0) -> ViewerFigures:
    return ViewerFigures("1", stream, transport, "127.0.0.1:9", "ua", "reading", age_ms, 2, 3, 4, 5, 6.0)


def server(name: str, state: str = "up", **counters: int) -> ProcessFigures:
    return ProcessFigures("server", name, 1, state, 12.5, 5000, 6.0, 2, dict(counters))


def samples(figures: InstanceFigures) -> dict[tuple[str, ...], float]:
    """By name and the values of the labels, these in the order of the labels' names."""
    families = text_string_to_metric_families(exposition(figures).decode())
    return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}


def test_processes_and_what_they_count() -> None:
    found = samples(
        InstanceFigures([server("server-0", connections=3, frames_sent=100), server("server-1", "backoff")])
    )
    assert found["framegate_process_up", "server-0", "server"] == 1
    assert found["framegate_process_up", "server-1", "server"] == 0
    assert found["framegate_process_restarts_total", "server-0", "server"] == 2
    assert found["framegate_process_rss_bytes", "server-0", "server"] == 5000
    assert found["framegate_server_connections", "server-0"] == 3  # a gauge
    assert found["framegate_server_frames_sent_total", "server-0"] == 100
    assert ("framegate_server_frames_sent_total", "server-1") not in found


def test_streams() -> None:
    found = samples(
        InstanceFigures(
            streams=[StreamFigures("door", "test:", fps=25.0, samples_in=7, samples_lost=2, state="live")]
        )
    )
    assert found["framegate_stream_live", "door"] == 1
    assert found["framegate_stream_fps", "door"] == 25
    assert found["framegate_stream_samples_total", "door"] == 7
    assert found["framegate_stream_samples_lost_total", "door"] == 2


def test_however_many_viewers_there_are_the_labels_are_few() -> None:
    viewers = [viewer("door", age_ms=float(n)) for n in range(500)] + [viewer("yard", "rtsp-tcp")] * 3
    found = {key: value for key, value in samples(InstanceFigures(viewers=viewers)).items() if "viewer" in key[0]}
    assert found == {
        ("framegate_viewers", "reading", "door", "http-ts"): 500,
        ("framegate_viewers", "reading", "yard", "rtsp-tcp"): 3,
        ("framegate_viewer_age_max_ms", "door"): 499,
        ("framegate_viewer_age_max_ms", "yard"): 1,
    }


def test_names_from_outside_are_quoted() -> None:
    assert (
        samples(InstanceFigures(streams=[StreamFigures('a"\n\\', "test:")]))["framegate_stream_live", 'a"\n\\']
        == 0
    )


def test_what_was_sent_and_what_was_not() -> None:
    delivery = DeliveryFigures(
        "door", "ts", "http-ts", 1, 2, 110, 100, 5000, {"age": 7, "sync": 3}, process="server-0"
    )
    found = samples(InstanceFigures(deliveries=[delivery]))
    where = "ts", "server-0", "door", "http-ts"
    assert found["framegate_frames_due_total", *where] == 110
    assert found["framegate_frames_sent_total", *where] == 100
    assert found["framegate_bytes_sent_total", *where] == 5000
    dropped = {key[3]: value for key, value in found.items() if key[0] == "framegate_frames_dropped_total"}
    assert dropped == {"age": 7, "sync": 3}


def test_histograms_add_their_buckets_up() -> None:
    counts = [0] * (len(AGE_BOUNDS_S) + 1)
    counts[0], counts[3], counts[-1] = 5, 2, 1
    labels = {"stream": "door", "payload": "ts", "way": "live"}
    figures = [
        HistogramFigures("frame_age_seconds", counts, 12_500_000, labels, "server-0"),
        HistogramFigures("send_seconds", [1], 5, {}, "server-0"),  # of another version: it has other buckets
    ]
    text = exposition(InstanceFigures(histograms=figures)).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    found = {
        (each.name, each.labels.get("le")): each.value for each in families["framegate_frame_age_seconds"].samples
    }
    name = "framegate_frame_age_seconds"
    assert found[f"{name}_bucket", "0.005"] == 5
    assert found[f"{name}_bucket", "0.02"] == 5
    assert found[f"{name}_bucket", "0.03"] == 7
    assert found[f"{name}_bucket", "10.0"] == 7
    assert found[f"{name}_bucket", "+Inf"] == 8
    assert (found[f"{name}_count", None], found[f"{name}_sum", None]) == (8, 12.5)
    assert families["framegate_send_seconds"].samples == []


def test_samples_that_came_and_were_of_no_use() -> None:
    stream = StreamFigures(
        "door", "test:", samples_known=3, payloads=[PayloadFigures("native", 1, 50, samples_refused=2)]
    )
    found = samples(InstanceFigures(streams=[stream]))
    assert found["framegate_stream_samples_dropped_total", "known", "door"] == 3
    assert found["framegate_payload_frames_total", "native", "door"] == 50
    assert found["framegate_payload_samples_refused_total", "native", "door"] == 2
