"""No room on the disk, no descriptors left: what can go on goes on, and what cannot is refused and counted."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support import judge
from tests.support.check_picture import CheckClip
from tests.support.instance import PATIENT, Instance, command
from tests.support.viewers import HttpViewer, RtspViewer
from tests.support.wait import until

DISK_BYTES = 1 << 20
OPEN_FILES_MAX = 48
BACK_WITHIN_S = 15.0
BUSY_MAX = 0.5  # of a core: a loop that tries again and again takes all of one


# ---- a full disk ------------------------------------------------------------------------------------------


def needs_mounts() -> None:
    """Skip where this user may not mount in a namespace of his own."""
    can = shutil.which("nsenter") and subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False)
    if not can or can.returncode:
        pytest.skip("needs unshare -m and nsenter: run as root")


@contextmanager
def on_a_small_disk(disk: Path, config: str, sources: Sequence[str]) -> Iterator[tuple[Instance, Path]]:
    """An instance whose runtime directory and log are on a disk of DISK_BYTES, and the disk as seen from here."""
    script = f'mount -t tmpfs -o size={DISK_BYTES} none {disk} && exec "$@" 2>>{disk}/log'
    under = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh"]
    with Instance(*sources, config=config, runtime_dir=disk / "run", under=under) as instance:
        yield instance, Path(f"/proc/{instance.process.pid}/root/{disk}")


def fill(path: Path) -> int:
    """Have a file take all room that there is; how long it was before."""
    length = path.stat().st_size
    with path.open("ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return length


def inside(instance: Instance, *words: str) -> "subprocess.CompletedProcess[str]":
    """A command of framegate where the instance lives."""
    line = ["nsenter", "-t", str(instance.process.pid), "-m", command(), *words]
    line += ["--runtime-dir", str(instance.runtime_dir)]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)


def test_a_full_disk_stops_neither_media_nor_what_is_brought_back(clip: CheckClip, tmp_path: Path) -> None:
    needs_mounts()
    sources = [f"cam=mock:{clip.path}"]
    with on_a_small_disk(tmp_path, PATIENT, sources) as (instance, disk):
        with RtspViewer(instance.rtsp("cam")) as rtsp, HttpViewer(instance.http("cam")) as http:
            for viewer in (rtsp, http):
                viewer.wait_bytes(50_000)
            begins = fill(disk / "log")
            ends = (disk / "log").stat().st_size
            with RtspViewer(instance.rtsp("cam")) as newcomer:
                newcomer.wait_bytes(50_000)
            check_refused(instance)
            for role in ("capture", "muxer"):
                restarts = instance.processes(role)[0]["restarts"]
                instance.kill(role)
                until(lambda: is_back(instance, role, restarts), BACK_WITHIN_S, f"a new {role}")  # noqa: B023
                for viewer in (rtsp, http):
                    viewer.wait_bytes(100_000)
            lost = sum(process["counters"].get("log_lines_lost", 0) for process in instance.stats()["processes"])
            assert lost > 0
            assert (disk / "log").stat().st_size == ends
            os.truncate(disk / "log", begins)
            done = inside(instance, "reload")
            assert (done.returncode, done.stderr) == (0, "")
            until(lambda: b"event=reloaded" in (disk / "log").read_bytes(), 5, "the log again")
            for viewer in (rtsp, http):
                viewer.wait_bytes(50_000)
        said = (disk / "log").read_text()
    assert "Traceback" not in said
    for viewer in (rtsp, http):
        assert viewer.error is None, repr(viewer.error)
        judge.check_splices(viewer.ts, clip)
        judge.check_pictures(viewer.ts, clip, consecutive=False)
    judge.check_rtp(rtsp.rtp)


def check_refused(instance: Instance) -> None:
    """New settings cannot be written: nothing changes, and it says why."""
    before = {process["name"]: process["pid"] for process in instance.stats()["processes"]}
    for words in (["reload"], ["scale", "servers", "2"]):
        done = inside(instance, *words)
        assert done.returncode == 78
        assert done.stderr.startswith("framegate: nothing has changed: ")
        assert "framegate.toml cannot be written: No space left on device" in done.stderr
    assert {process["name"]: process["pid"] for process in instance.stats()["processes"]} == before


def is_back(instance: Instance, role: str, restarts: int) -> bool:
    process = instance.processes(role)[0]
    return process["state"] == "up" and bool(process["restarts"] == restarts + 1)


def test_there_is_no_room_to_begin_with(tmp_path: Path) -> None:
    needs_mounts()
    script = f'mount -t tmpfs -o size=4096 none {tmp_path} && head -c 4096 /dev/zero >{tmp_path}/fill && exec "$@"'
    words = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh", command(), "serve", "test:"]
    ports = ["--rtsp-port", "0", "--http-port", "0"]
    done = subprocess.run(
        [*words, *ports, "--runtime-dir", str(tmp_path / "run")],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 78
    assert "No space left on device" in done.stderr
    assert done.stderr.count("\n") == 1
    assert "--runtime-dir" in done.stderr


# ---- no descriptors left ----------------------------------------------------------------------------------


def figures(instance: Instance, role: str) -> dict[str, Any]:
    """Of the one process in a role, asked of the supervisor: the server may take nobody in."""
    only: dict[str, Any]
    (only,) = [process for process in instance.stats_of_supervisor()["processes"] if process["role"] == role]
    return only


def busy(pid: int, seconds: float) -> float:
    """The share of a core that a process takes over so many seconds."""
    process = psutil.Process(pid)
    process.cpu_percent()
    return process.cpu_percent(seconds) / 100


def knock(instance: Instance) -> socket.socket:
    host, port = instance.rtsp("cam").split("/")[2].rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=10)


def test_without_descriptors_nobody_new_is_let_in_and_who_watches_sees_nothing_of_it(clip: CheckClip) -> None:
    config = f"{PATIENT}[limits]\nserver = {{ open_files_max = {OPEN_FILES_MAX} }}\n"
    with (
        Instance(f"cam=mock:{clip.path}", config=config) as instance,
        RtspViewer(instance.rtsp("cam")) as rtsp,
        HttpViewer(instance.http("cam")) as http,
        ExitStack() as held,
    ):
        for viewer in (rtsp, http):
            viewer.wait_bytes(50_000)
        pid = figures(instance, "server")["pid"]
        crowd = [held.enter_context(knock(instance)) for _ in range(OPEN_FILES_MAX)]
        until(
            lambda: figures(instance, "server")["counters"]["accept_errors"],
            10,
            "a descriptor that is missing",
        )
        for viewer in (rtsp, http):
            viewer.wait_bytes(200_000)
        assert len(os.listdir(f"/proc/{pid}/fd")) == OPEN_FILES_MAX
        assert busy(pid, 2.0) < BUSY_MAX
        assert len(instance.log_lines("accept_failed")) < 30  # one a second
        for sock in crowd:
            sock.close()
        with RtspViewer(instance.rtsp("cam")) as newcomer:
            newcomer.wait_bytes(50_000)
        assert figures(instance, "server")["pid"] == pid
    for viewer in (rtsp, http):
        assert viewer.error is None, repr(viewer.error)
        judge.check_pictures(viewer.ts, clip, consecutive=True)
    judge.check_rtp(rtsp.rtp)
