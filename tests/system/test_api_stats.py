"""`/api/stats` and `framegate stats`: every figure that was promised, with a value that can be true."""

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from tests.support.check_picture import CheckClip
from tests.support.instance import Instance, command
from tests.support.viewers import HttpViewer, RtspViewer
from tests.support.wait import until

PROCESS = {"role", "name", "pid", "state", "cpu_percent", "rss_bytes", "uptime_s", "restarts", "counters"}
STREAM = {
    "name", "source", "codecs", "width", "height", "fps", "bitrate_bps", "sync_interval_s", "viewers", "epoch",
    "samples_in", "samples_lost",
}  # fmt: skip
VIEWER = {
    "id", "stream", "transport", "peer", "user_agent", "state", "age_ms", "frames_sent", "frames_dropped",
    "splices", "bytes_sent", "connected_s",
}  # fmt: skip


@pytest.fixture(scope="module")
def instance(clip: CheckClip) -> Iterator[Instance]:
    with Instance(f"cam=mock:{clip.path}", muxers=2, servers=2) as running:
        running.wait_live("cam")
        yield running


@pytest.fixture(scope="module")
def figures(instance: Instance) -> dict[str, Any]:
    """With two viewers who have seen more than two sync points."""
    with (
        RtspViewer(instance.rtsp("cam"), user_agent="by-rtsp") as one,
        HttpViewer(instance.http("cam"), user_agent="by-http") as two,
    ):
        one.wait_bytes(800_000, 20)
        two.wait_bytes(100_000)
        until(lambda: instance.stream("cam")["sync_interval_s"] > 0, 10, "a measured interval")
        until(lambda: instance.viewer("by-http")["connected_s"] > 3, 10, "figures of a while")
        return instance.stats()


def test_processes(instance: Instance, figures: dict[str, Any]) -> None:
    processes = figures["processes"]
    names = [process["name"] for process in processes]
    assert sorted(names) == ["capture-cam", "muxer-0", "muxer-1", "server-0", "server-1", "supervisor"]
    for process in processes:
        assert process.keys() >= PROCESS
        assert process["state"] == "up"
        assert psutil.pid_exists(process["pid"])
        assert 10e6 < process["rss_bytes"] < 1e9
        assert 0 <= process["cpu_percent"] <= 100 * (psutil.cpu_count() or 1)
        assert 0 < process["uptime_s"] < 600
        assert process["restarts"] == 0
        assert process["counters"] or process["role"] == "muxer", process["name"]  # one muxer has no stream
    assert next(p["pid"] for p in processes if p["role"] == "supervisor") == instance.process.pid
    assert sum(process["cpu_percent"] for process in processes) > 0


def test_streams(figures: dict[str, Any], clip: CheckClip) -> None:
    (stream,) = figures["streams"]
    assert stream.keys() >= STREAM
    assert stream["name"] == "cam"
    assert stream["source"] == f"mock:{clip.path}"
    assert stream["codecs"] == ["h264", "aac"]
    assert (stream["width"], stream["height"]) == (320, 240)
    assert stream["fps"] == pytest.approx(25, abs=3)
    assert stream["sync_interval_s"] == pytest.approx(2.0, abs=0.2)
    assert stream["bitrate_bps"] == pytest.approx(clip.path.stat().st_size * 8 / 10, rel=0.5)
    assert stream["viewers"] == 2
    assert stream["epoch"] != 0
    assert stream["samples_in"] > 200
    assert stream["samples_lost"] == 0
    assert (stream["state"], stream["reason"]) == ("live", "")


@pytest.mark.parametrize(("agent", "transport"), [("by-rtsp", "rtsp-tcp"), ("by-http", "http-ts")])
def test_viewers(figures: dict[str, Any], agent: str, transport: str) -> None:
    (viewer,) = [viewer for viewer in figures["viewers"] if viewer["user_agent"] == agent]
    assert viewer.keys() >= VIEWER
    assert (viewer["stream"], viewer["transport"], viewer["state"]) == ("cam", transport, "reading")
    assert viewer["peer"].startswith("127.0.0.1:")
    assert 0 <= viewer["age_ms"] < 2000
    assert viewer["frames_sent"] > 100
    assert viewer["frames_dropped"] == viewer["splices"] == 0
    assert viewer["bytes_sent"] > 100_000
    assert 1 < viewer["connected_s"] < 60
    assert len({viewer["id"] for viewer in figures["viewers"]}) == 2


def stats(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [command(), "stats", *arguments], capture_output=True, text=True, timeout=30, check=False
    )


def test_the_command_says_the_same(instance: Instance, figures: dict[str, Any]) -> None:
    answer = stats("--json", "--runtime-dir", str(instance.runtime_dir))
    assert (answer.returncode, answer.stderr) == (0, "")
    said = json.loads(answer.stdout)
    assert said.keys() == figures.keys()
    assert [process["pid"] for process in said["processes"]] == [p["pid"] for p in figures["processes"]]
    for kind in ("processes", "streams"):
        assert [entry.keys() for entry in said[kind]] == [entry.keys() for entry in figures[kind]]


def test_the_command_shows_a_table(instance: Instance) -> None:
    with RtspViewer(instance.rtsp("cam"), user_agent="in-the-table") as viewer:
        viewer.wait_bytes(100_000)
        instance.viewer("in-the-table")
        answer = stats("--runtime-dir", str(instance.runtime_dir))
    assert (answer.returncode, answer.stderr) == (0, "")
    for word in ("supervisor", "capture-cam", "muxer-0", "server-1", "cam", "h264", "320", "127.0.0.1"):
        assert word in answer.stdout, answer.stdout


def test_the_command_where_nothing_runs(instance: Instance) -> None:
    answer = stats("--runtime-dir", str(instance.home / "nowhere"))
    assert answer.returncode == 1
    assert answer.stdout == ""
    assert answer.stderr.count("\n") == 1
    assert "nowhere" in answer.stderr


def test_healthz_and_the_other_answers_of_http(instance: Instance) -> None:
    base = instance.http_base()
    with urllib.request.urlopen(f"{base}/healthz", timeout=5) as answer:
        assert answer.status == 200
    with urllib.request.urlopen(f"{base}/api/stats", timeout=5) as answer:
        assert answer.headers["Content-Type"].startswith("application/json")
    with urllib.request.urlopen(f"{base}/metrics", timeout=5) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert b'framegate_stream_live{stream="cam"} 1.0\n' in answer.read()
    head = urllib.request.Request(f"{base}/cam.ts", method="HEAD")
    with urllib.request.urlopen(head, timeout=5) as answer:
        assert answer.headers["Content-Type"] == "video/mp2t"
        assert answer.read() == b""
    for method, path, status in (("GET", "/nothing", 404), ("GET", "/nobody.ts", 404), ("POST", "/cam.ts", 405)):
        request = urllib.request.Request(f"{base}{path}", method=method)
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=10)
        with refused.value:
            assert refused.value.code == status
