"""Sources that cannot be read, and sources that nobody wants: one clear line, and the others run on."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.support import judge
from tests.support.check_picture import CheckClip
from tests.support.instance import Instance, command
from tests.support.rtsp_client import RtspClient
from tests.support.viewers import HttpViewer, RtspViewer
from tests.support.wait import until

BAD = {
    "missing": "missing.mp4",
    "empty": "empty.mp4",
    "truncated": "truncated.mp4",
    "text": "text.mp4",
    "codec": "codec.webm",
    "nodevice": "camera:/dev/video99",
}
# A word of the reason that each must give.
SAID = {
    "missing": "missing.mp4",
    "empty": "empty",
    "truncated": "truncated.mp4",
    "text": "text.mp4",
    "codec": "vp8",
    "nodevice": "/dev/video99",
}
RETRIED = ("missing", "empty", "truncated", "text", "nodevice")


@pytest.fixture(scope="module")
def instance(clip: CheckClip, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    folder = tmp_path_factory.mktemp("bad")
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("this is no media file\n" * 100)
    whole = clip.path.read_bytes()
    (folder / "truncated.mp4").write_bytes(whole[: len(whole) // 2])  # its index is at the end
    make_vp8(folder / "codec.webm")
    sources = [
        f"{name}={text if text.startswith('camera:') else f'mock:{folder / text}'}" for name, text in BAD.items()
    ]
    with Instance(*sources, f"good=mock:{clip.path}") as running:
        running.wait_live("good")
        yield running


def make_vp8(path: Path) -> None:
    """A file of a codec that MPEG-TS has no place for."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libvpx", rate=25)
        video.width, video.height, video.pix_fmt = 160, 128, "yuv420p"
        for _ in range(10):
            picture = np.full((128 * 3 // 2, 160), 100, np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, "yuv420p")))
        container.mux(video.encode(None))


@pytest.mark.parametrize("name", list(BAD))
def test_a_bad_source_says_why(instance: Instance, name: str) -> None:
    def is_down() -> bool:
        return bool(instance.stream(name)["state"] == "down")

    until(is_down, 10, f"{name} down")
    reason = instance.stream(name)["reason"]
    assert reason
    assert "\n" not in reason
    lines = [line for line in instance.log_lines(SAID[name]) if "event=ready" not in line]
    assert len(lines) == 1, lines  # said once, however often it is tried
    assert f"capture-{name}" in lines[0]
    assert SAID[name] in reason
    assert "Traceback" not in instance.log


def test_it_is_tried_again_and_again(instance: Instance) -> None:
    def retried() -> bool:
        return all(process["counters"].get("retries", 0) >= 2 for process in figures())

    def figures() -> list[dict[str, Any]]:
        names = [f"capture-{name}" for name in RETRIED]
        return [process for process in instance.processes("capture") if process["name"] in names]

    until(retried, 15, "two retries of each")
    assert [process["state"] for process in figures()] == ["up"] * len(RETRIED)
    assert [process["restarts"] for process in figures()] == [0] * len(RETRIED)


def test_what_no_retry_can_help_is_not_tried_again(instance: Instance) -> None:
    (codec,) = [process for process in instance.processes("capture") if process["name"] == "capture-codec"]
    assert (codec["state"], codec["restarts"]) == ("failed", 0)


def test_the_others_run_on(instance: Instance, clip: CheckClip) -> None:
    with RtspViewer(instance.rtsp("good")) as viewer:
        viewer.wait_bytes(400_000)
    judge.check_rtp(viewer.rtp)
    judge.check_pictures(viewer.ts, clip, consecutive=True)
    assert instance.stream("good")["samples_lost"] == 0


def test_a_viewer_of_a_bad_source_is_told_why(instance: Instance) -> None:
    with RtspClient(instance.rtsp("missing"), timeout_s=15) as client:
        response = client.request("DESCRIBE", Accept="application/sdp")
    assert response.status == 503
    assert "missing.mp4" in response.body
    with HttpViewer(instance.http("missing")) as viewer:
        until(lambda: viewer.error is not None, 15, "an answer")
    assert "503" in str(viewer.error)


def test_a_stream_that_nobody_named_is_not_found(instance: Instance) -> None:
    with RtspClient(instance.rtsp("good").replace("/good", "/nobody")) as client:
        assert client.request("DESCRIBE", Accept="application/sdp").status == 404
    with HttpViewer(instance.http("good").replace("/good", "/nobody")) as viewer:
        until(lambda: viewer.error is not None, 10, "an answer")
    assert "404" in str(viewer.error)


def test_a_missing_file_that_appears_is_played(clip: CheckClip, tmp_path: Path) -> None:
    path = tmp_path / "late.mp4"
    with Instance(f"cam=mock:{path}") as instance:
        until(lambda: instance.stream("cam")["state"] == "down", 10, "down")
        path.write_bytes(clip.path.read_bytes())
        instance.wait_live("cam")
        with RtspViewer(instance.rtsp("cam")) as viewer:
            viewer.wait_bytes(200_000)
    judge.check_pictures(viewer.ts, clip, consecutive=True)


@pytest.mark.parametrize("source", ["clip.mp4", "mock:", "camera:", "test:size=0x0", "a b=test:", "test:fps=x"])
def test_a_source_that_makes_no_sense_is_refused(tmp_path: Path, source: str) -> None:
    words = [
        command(),
        "serve",
        source,
        "--rtsp-port",
        "0",
        "--http-port",
        "0",
        "--runtime-dir",
        str(tmp_path / "r"),
    ]
    refused = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    assert refused.returncode == 78
    assert refused.stdout == ""
    assert refused.stderr.count("\n") == 1, refused.stderr
    assert not (tmp_path / "r").exists()


def test_an_on_demand_source_rests_until_somebody_watches(clip: CheckClip) -> None:
    config = f"""
        capture.idle_ms = 500
        [streams.cam]
        source = "mock:{clip.path}"
        on_demand = true
    """
    with Instance(config=config) as instance:

        def samples() -> int:
            return int(instance.processes("capture")[0]["counters"].get("samples", -1))

        until(lambda: samples() == 0, 5, "the report of a capture at rest")
        assert instance.stream("cam")["state"] == "waiting"
        assert instance.stream("cam")["samples_in"] == 0
        for _ in range(2):  # it can be woken again
            with RtspViewer(instance.rtsp("cam")) as viewer:
                viewer.wait_bytes(200_000)
            judge.check_rtp(viewer.rtp)
            judge.check_pictures(viewer.ts, clip, consecutive=True)
            before = len(instance.log_lines("capture-cam", "source_idle"))
            until(lambda before=before: len(instance.log_lines("capture-cam", "source_idle")) > before, 10, "rest")  # type: ignore[misc]
        until(lambda: not instance.stats()["viewers"], 5, "no viewers left")


def test_another_server_is_a_source_and_its_password_stays_unsaid(clip: CheckClip) -> None:
    with Instance(f"cam=mock:{clip.path}") as origin:
        origin.wait_live("cam")
        url = origin.rtsp("cam").replace("rtsp://", "rtsp://user:sesame@")
        with Instance(f"copy={url}?token=sesame") as instance:
            instance.wait_live("copy")
            with RtspViewer(instance.rtsp("copy")) as viewer:
                viewer.wait_bytes(300_000)
                origin.kill("server")
                until(lambda: instance.stream("copy")["state"] == "down", 15, "down")
                reason = instance.stream("copy")["reason"]
                viewer.wait_bytes(200_000, 30)
            said = f"{instance.stats()} {instance.log}"
        assert reason.startswith(f"{origin.rtsp('cam')}?…: ")
        assert "sesame" not in said
    judge.check_rtp(viewer.rtp)
    judge.check_ts(viewer.ts, spliced=True)
    judge.check_splices(viewer.ts, clip)
    judge.check_pictures(viewer.ts, clip, consecutive=False)
