"""The supervisor with stand-in roles (fake_roles): real processes, signals, sockets and files."""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from common import sockets
from common.endpoints import control_endpoint
from common.errors import EXIT_OK, EXIT_SETTINGS
from tests.deploy import fake_roles
from tests.deploy.supervised import PATIENCE_S, Instance, alive, until


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    fake_roles.write(tmp_path / "fakes")
    made = Instance(tmp_path, tmp_path / "run")
    made.notes.mkdir()
    yield made
    made.clean()


def test_serves_and_leaves_nothing_behind(instance: Instance) -> None:
    lines = instance.started("a=test:", "b=test:", servers=2)
    assert lines[0] == "ready"
    ports = {line.split("/")[2].rpartition(":")[2] for line in lines[1:]}
    assert len(ports) == 2
    rtsp, http = lines[1].split(":")[2].split("/")[0], lines[2].split(":")[2].split("/")[0]
    assert lines[1:] == [
        f"rtsp://127.0.0.1:{rtsp}/a", f"http://127.0.0.1:{http}/a.ts",
        f"rtsp://127.0.0.1:{rtsp}/b", f"http://127.0.0.1:{http}/b.ts",
        f"http://127.0.0.1:{http}/api/stats",
    ]  # fmt: skip
    until("figures arrive", lambda: instance.figures()["viewers"])
    figures = instance.figures()
    states = {process["name"]: process["state"] for process in figures["processes"]}
    names = ["supervisor", "muxer-0", "capture-a", "capture-b", "server-0", "server-1"]
    assert states == dict.fromkeys(names, "up")
    until("memory is read", lambda: min(p["rss_bytes"] for p in instance.figures()["processes"]) > 1_000_000)
    assert instance.process("muxer-0")["counters"] == {"frames": 7, "log_lines_lost": 0}
    streams = {stream["name"]: stream for stream in figures["streams"]}
    assert streams["a"]["state"] == "live"
    assert streams["a"]["viewers"] == len(figures["viewers"]) == len(figures["deliveries"]) > 0
    assert streams["b"]["state"] == "waiting"
    assert streams["b"]["source"] == "test:"
    files = list(instance.directory.iterdir())
    assert all(path.stat().st_mode & 0o077 == 0 for path in files)
    assert instance.directory.stat().st_mode & 0o777 == 0o700
    before = time.monotonic()
    assert instance.stop() == EXIT_OK
    assert time.monotonic() - before < 10
    assert instance.stdout.read() == ""
    assert not instance.directory.exists()
    assert not any(alive(pid) for pid in instance.pids())
    assert "level=error" not in instance.log()
    assert "level=warning" not in instance.log()


def test_each_role_waits_for_the_word_of_the_former(instance: Instance) -> None:
    for name in ("muxer-0", "capture-a"):
        instance.tell(name, "not ready")
    instance.start()
    until(
        "the muxer lives and reports",
        lambda: instance.lives("muxer-0") and (instance.directory / "control").exists(),
    )
    until("it is seen", lambda: instance.process("muxer-0")["state"] == "starting")
    assert instance.lives("capture-a") == []
    instance.tell("muxer-0", "")
    until("the capture is started", lambda: instance.lives("capture-a"))
    assert instance.process("muxer-0")["state"] == "up"
    assert instance.lives("server-0") == []
    instance.tell("capture-a", "")
    assert instance.greeting()[0] == "ready"
    assert instance.stop() == EXIT_OK


@pytest.mark.parametrize("name", ["capture-a", "muxer-0", "server-0"])
def test_what_dies_is_started_again_with_the_same_arguments(instance: Instance, name: str) -> None:
    instance.started()
    (first,) = instance.lives(name)
    others = {other: instance.lives(other) for other in ("capture-a", "muxer-0", "server-0") if other != name}
    os.kill(int(first[0]), signal.SIGKILL)
    until("a second life", lambda: len(instance.lives(name)) == 2)
    until("it is up", lambda: instance.process(name)["state"] == "up")
    assert instance.process(name)["restarts"] == 1
    assert instance.lives(name)[1][1:] == first[1:]
    assert {other: instance.lives(other) for other in others} == others
    assert f'event=process_died name={name} reason="killed by SIGKILL"' in instance.log()
    assert instance.stop() == EXIT_OK


def test_a_death_by_its_own_hand_names_the_exit_code(instance: Instance) -> None:
    instance.started(limits={"seldom": 1_000_000})  # any life is a short one
    instance.tell("muxer-0", "die")
    until("it has died", lambda: "process_died" in instance.log())
    instance.tell("muxer-0", "")
    assert 'name=muxer-0 reason="exit code 3" retry_ms=100' in instance.log()
    until("it is up again", lambda: instance.process("muxer-0")["state"] == "up")
    assert instance.stop() == EXIT_OK


def test_a_hung_process_is_killed_and_started_again(instance: Instance) -> None:
    instance.started(limits={"silence_us": 3_000_000})
    instance.tell("server-0", "hang")
    line = 'name=server-0 reason="no report for 3 s (hung): killed"'
    until("the hang is seen", lambda: line in instance.log())
    instance.tell("server-0", "")
    until("it is up again", lambda: instance.process("server-0")["state"] == "up")
    assert instance.process("server-0")["restarts"] >= 1
    said = 'event=process_hung name=server-0 reason="no report for 3 s (hung): it is killed"'
    assert instance.log().index(said) < instance.log().index(line)
    assert instance.stop() == EXIT_OK


def test_a_crash_loop_is_said_and_shown(instance: Instance) -> None:
    instance.started(limits={"backoff_us": 1000, "backoff_max_us": 3_600_000_000, "crash_loop_deaths": 2})
    instance.tell("capture-a", "die")
    until("the loop is seen", lambda: "event=crash_loop name=capture-a" in instance.log())
    assert 'reason="died 2 times in a row, last: exit code 3"' in instance.log()
    assert instance.process("capture-a")["reason"] == "exit code 3"
    assert instance.process("server-0")["state"] == "up"
    assert instance.stop() == EXIT_OK


def test_a_process_is_held_to_its_limits(instance: Instance) -> None:
    core = min(os.sched_getaffinity(0))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    config = f"[limits.muxer]\nmemory_max_mb = 900\nopen_files_max = 500\ncpus = [{core}]\n"
    instance.started(config=config)
    limits = json.loads((instance.notes / "muxer-0.limits").read_text())
    assert limits == {"data": 900 << 20, "files": [500, 500], "cpus": [core]}
    others = json.loads((instance.notes / "server-0.limits").read_text())
    assert others["files"] == [hard, hard]
    assert others["cpus"] == sorted(os.sched_getaffinity(0))
    instance.tell("muxer-0", "eat")
    line = 'name=muxer-0 reason="out of memory (exit code 71), its limit is limits.muxer.memory_max_mb = 900"'
    until("it wants more than it may have", lambda: line in instance.log())
    instance.tell("muxer-0", "")
    until("it is up again", lambda: instance.process("muxer-0")["state"] == "up")
    assert instance.process("server-0")["restarts"] == 0
    assert instance.stop() == EXIT_OK


def test_systemd_is_told(instance: Instance, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(PATIENCE_S)
        instance.environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"}
        instance.start()
        said = [systemd.recv(500).decode()]
        while not said[-1].startswith("READY=1"):
            said.append(systemd.recv(500).decode())
        instance.greeting()
        assert said[-1] == "READY=1\nSTATUS=1 streams, 3 processes"
        assert set(said[:-1]) == {"WATCHDOG=1"}
        for _ in range(3):
            assert systemd.recv(500) == b"WATCHDOG=1"
        assert "NOTIFY_SOCKET" not in Path(f"/proc/{instance.lives('muxer-0')[0][0]}/environ").read_text()
        instance.popen.terminate()
        while said[-1] != "STOPPING=1\nSTATUS=stopping":
            said.append(systemd.recv(500).decode())
        assert instance.popen.wait(PATIENCE_S) == EXIT_OK


def test_a_stopped_supervisor_accuses_nobody(instance: Instance) -> None:
    instance.started(limits={"silence_us": 4_000_000, "doze_us": 2_000_000})
    lives = {name: instance.lives(name) for name in ("capture-a", "muxer-0", "server-0")}
    instance.popen.send_signal(signal.SIGSTOP)
    time.sleep(5)  # the time the supervisor must not hold against its processes
    instance.popen.send_signal(signal.SIGCONT)
    until("it answers again", lambda: instance.figures()["processes"])
    assert {name: instance.lives(name) for name in lives} == lives
    assert instance.stop() == EXIT_OK
    assert "process_died" not in instance.log()


def test_a_capture_with_wrong_settings_fails_alone(instance: Instance) -> None:
    instance.tell("capture-b", "settings")
    lines = instance.started("a=test:", "b=test:")
    assert not any("/b" in line for line in lines)
    figures = instance.figures()
    (stream,) = [stream for stream in figures["streams"] if stream["name"] == "b"]
    assert stream["state"] == "down"
    assert stream["reason"] == "told so"
    assert instance.process("capture-b")["state"] == "failed"
    assert instance.process("capture-b")["pid"] == 0
    assert len(instance.lives("capture-b")) == 1
    assert "framegate capture-b: told so\n" in instance.log()
    assert instance.log().count("process_failed") == 1
    assert instance.stop() == EXIT_OK


@pytest.mark.parametrize("name", ["muxer-0", "server-0", "capture-a"])
def test_wrong_settings_of_what_all_need_end_the_instance(instance: Instance, name: str) -> None:
    instance.tell(name, "settings")
    instance.start()
    assert instance.popen.wait(PATIENCE_S) == EXIT_SETTINGS
    assert instance.stdout.read() == ""
    assert not instance.directory.exists()
    assert "event=instance_failed" in instance.log()


def test_what_ignores_its_end_is_killed_and_the_stop_is_clean(instance: Instance) -> None:
    instance.started()
    instance.tell("capture-a", "deaf")
    assert instance.stop() == EXIT_OK
    assert 'event=process_killed name=capture-a reason="did not end when asked to"' in instance.log()
    assert not instance.directory.exists()
    assert not any(alive(pid) for pid in instance.pids())


def test_a_second_interrupt_kills_at_once(instance: Instance) -> None:
    instance.started(limits={"kill_after_us": 3600_000_000, "give_up_us": 3600_000_000})
    instance.tell("capture-a", "deaf")
    instance.popen.send_signal(signal.SIGINT)
    until("the others have ended", lambda: sum(alive(pid) for pid in instance.pids()) == 1)
    assert instance.popen.poll() is None
    assert instance.stop(signal.SIGINT) == EXIT_OK
    assert not any(alive(pid) for pid in instance.pids())


def test_a_stop_during_the_start_is_clean(instance: Instance) -> None:
    instance.tell("muxer-0", "not ready")
    instance.start()
    until("the muxer lives", lambda: instance.lives("muxer-0"))
    assert instance.stop(signal.SIGINT) == EXIT_OK
    assert not instance.directory.exists()


def test_no_orphans_of_a_killed_supervisor_and_the_next_one_sweeps(instance: Instance) -> None:
    instance.started("a=test:", "b=test:", servers=2)
    assert len(instance.pids()) == 5
    instance.popen.kill()
    instance.popen.wait()
    until("its processes have ended", lambda: not any(alive(pid) for pid in instance.pids()))
    assert instance.directory.exists()
    instance.stdout.close()
    instance.started("c=test:")
    assert sorted(path.name for path in instance.directory.iterdir()) == ["control", "framegate.toml", "lock"]
    assert instance.stop() == EXIT_OK
    assert not instance.directory.exists()


def test_a_second_instance_in_the_directory_is_refused_in_one_line(instance: Instance, tmp_path: Path) -> None:
    instance.started()
    port = http_port(instance)
    for flags, words in (
        (["--http-port=0"], [f"(pid {instance.popen.pid})", str(instance.directory), "--runtime-dir"]),
        ([f"--http-port={port}", f"--runtime-dir={tmp_path / 'other'}"], [f"port {port} of 127.0.0.1 is in use"]),
    ):
        second = subprocess.run(
            [sys.executable, "-P", "-m", "deploy.cli", "serve", "--rtsp-port=0",
             f"--runtime-dir={instance.directory}", *flags],
            capture_output=True, text=True, timeout=PATIENCE_S, check=False,
        )  # fmt: skip
        assert second.returncode == EXIT_SETTINGS
        assert second.stdout == ""
        assert second.stderr.startswith("framegate: ")
        assert second.stderr.count("\n") == 1
        assert all(word in second.stderr for word in words), second.stderr
    assert instance.process("server-0")["state"] == "up"
    assert not (tmp_path / "other").exists()
    assert instance.stop() == EXIT_OK


def http_port(instance: Instance) -> int:
    lines = (instance.directory / "framegate.toml").read_text().partition("[http]")[2].splitlines()
    return int(lines[1].partition("=")[2])


def test_its_ports_are_kept_from_others_and_can_be_had_again_at_once(instance: Instance) -> None:
    instance.started()
    port = http_port(instance)
    with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
        stranger.bind(("127.0.0.1", port))
    with socket.socket() as listener:  # a server of ours, whose connection stays in TIME_WAIT
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as viewer:
            accepted, _ = listener.accept()
            accepted.close()
            assert viewer.recv(1) == b""
    assert instance.stop() == EXIT_OK
    instance.stdout.close()
    instance.started(http_port=port)
    assert http_port(instance) == port
    assert instance.stop() == EXIT_OK


def test_hostile_messages_are_counted_and_refused(instance: Instance) -> None:
    instance.started()
    context: sockets.Context = zmq.Context()
    control = sockets.control_client(context, control_endpoint(str(instance.directory)))
    try:
        for frames in ([b""], [b"\x93\x01\x28\xa0"], [b"\xff" * 1000], [b"\x92\x01\x04"], [b"a", b"b", b"c"]):
            assert control.poll(PATIENCE_S * 1000, zmq.POLLOUT)
            control.send_multipart(frames)
        # A well-formed Ready and Report of a process that is none of this instance's.
        control.send_multipart([b"\x96\x01\x28\xa5muxer\xa7muxer-0\x01\x80"])
        control.send_multipart([b"\x96\x01\x29\xa5muxer\xa7muxer-0\x01\xc4\x02{}"])
        until("all are counted", lambda: instance.process("supervisor")["counters"]["messages_refused"] == 7)
    finally:
        control.close()
        context.term()
    assert instance.process("muxer-0")["state"] == "up"
    assert instance.stop() == EXIT_OK
