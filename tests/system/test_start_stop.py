"""What a user sees of the process: `ready` and the URLs, a clean end, a clear refusal."""

import signal
import socket
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support import judge
from tests.support.check_picture import CheckClip
from tests.support.instance import PATIENT, Instance, command
from tests.support.rtsp_client import RtspClient
from tests.support.viewers import HttpViewer, RtspViewer
from tests.support.wait import until


def serve(runtime_dir: Path, rtsp_port: int = 0) -> subprocess.CompletedProcess[str]:
    """`framegate serve` that is expected to end by itself."""
    ports = ["--rtsp-port", str(rtsp_port), "--http-port", "0"]
    words = [command(), "serve", "test:", *ports, "--runtime-dir", str(runtime_dir)]
    return subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)


def test_ready_names_the_urls_of_every_stream(clip: CheckClip) -> None:
    with Instance(f"door=mock:{clip.path}", "test:") as instance:
        lines = instance.out.split("\n")
        assert lines[0] == "ready"
        assert urlsplit(instance.rtsp("door")).hostname == "127.0.0.1"
        assert {urlsplit(url).path for url in lines[1:]} == {
            "/door", "/door.ts", "/test", "/test.ts", "/api/stats",
        }  # fmt: skip
        ports = {urlsplit(url).scheme: urlsplit(url).port for url in lines[1:]}
        assert None not in ports.values()
        assert ports["rtsp"] != ports["http"]
        assert not ports.keys() - {"rtsp", "http"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_with_viewers_on(clip: CheckClip, number: signal.Signals) -> None:
    with Instance(f"cam=mock:{clip.path}", muxers=2, servers=2) as instance:
        with RtspViewer(instance.rtsp("cam")) as rtsp, HttpViewer(instance.http("cam")) as http:
            rtsp.wait_bytes(50_000)
            http.wait_bytes(50_000)
            rtsp.stall()
            instance.stop(number)
        instance.check_nothing_left()


def test_a_signal_before_it_is_ready_ends_it_cleanly(clip: CheckClip) -> None:
    with Instance(f"cam=mock:{clip.path}", wait_ready=False) as instance:
        until(lambda: len(instance.alive()) > 1, 20, "a first process")
        instance.stop()


def test_a_second_instance_in_the_same_directory_is_refused(clip: CheckClip) -> None:
    with Instance(f"cam=mock:{clip.path}") as instance:
        second = serve(instance.runtime_dir)
        assert second.returncode == 78
        assert second.stdout == ""
        assert "Traceback" not in second.stderr
        assert second.stderr.count("\n") == 1
        assert str(instance.process.pid) in second.stderr
        assert str(instance.runtime_dir) in second.stderr
        with RtspViewer(instance.rtsp("cam")) as viewer:  # and the first does not mind
            viewer.wait_bytes(50_000)


def test_a_port_in_use_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = serve(tmp_path / "run", port)
    assert refused.returncode == 78
    assert refused.stderr.count("\n") == 1
    assert str(port) in refused.stderr
    assert not (tmp_path / "run").exists()


def test_two_instances_side_by_side(clip: CheckClip) -> None:
    source = f"cam=mock:{clip.path}"
    with Instance(source, config=PATIENT) as one, Instance(source, config=PATIENT) as two:
        assert not set(one.urls) & set(two.urls)
        with RtspViewer(one.rtsp("cam")) as left, RtspViewer(two.rtsp("cam")) as right:
            left.wait_bytes(100_000)
            right.wait_bytes(100_000)
        assert len(one.stats()["streams"]) == len(two.stats()["streams"]) == 1
    for viewer in (left, right):
        judge.check_rtp(viewer.rtp)
        judge.check_pictures(viewer.ts, clip, consecutive=True)


def test_kill_9_of_the_supervisor_leaves_no_orphan(clip: CheckClip) -> None:
    with Instance(f"cam=mock:{clip.path}", "test:", muxers=2, servers=2) as instance:
        with RtspClient(instance.rtsp("cam")) as client:
            client.start().next_packet()
            assert len(instance.alive()) == 7
            instance.kill_supervisor()
            until(lambda: not instance.alive(), 2, "the end of every process")
        # Files of a killed instance stay until the next one; it must not stumble over them.
        again = Instance(f"cam=mock:{clip.path}", runtime_dir=instance.runtime_dir)
        with again, RtspViewer(again.rtsp("cam")) as viewer:
            viewer.wait_bytes(50_000)
