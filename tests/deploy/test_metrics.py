"""The metrics, read as Prometheus reads them."""

from prometheus_client.parser import text_string_to_metric_families

from common.figures import InstanceFigures, ProcessFigures, StreamFigures, ViewerFigures
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
