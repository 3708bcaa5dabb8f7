"""The life of a server process: its start, its limits, its end."""

import resource
import select
import shutil
import socket
import subprocess
import sys
import time

import psutil

from common.errors import EXIT_SETTINGS
from common.messages import Forget, ReadStop
from tests.support.fake_muxer import FakeMuxer
from tests.support.frame_source import Judge
from tests.support.rtsp_client import RtspClient
from tests.support.server_process import ServerProcess, get, play, rest, watch
from tests.support.wait import until


def test_a_server_started_by_hand() -> None:
    with ServerProcess("cam", supervised=False) as server:
        assert get(server, "/api/stats")[0] == 503


def test_the_end_says_goodbye() -> None:
    with ServerProcess("cam") as server, FakeMuxer(server.directory, "cam") as muxer:
        muxer.produce("cam", sync=True)
        with play(server) as client:
            watch(client, Judge(), (1, 0))
            began_s = time.monotonic()
            assert server.stop() == 0
            assert time.monotonic() - began_s < 3
            assert rest(client)[-1].data[-7] == 203


def refused_start(process: ServerProcess, *arguments: str) -> str:
    """What a server that does not start says."""
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "server", "--config", str(process.config_file), *arguments],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    shutil.rmtree(process.directory)
    assert ended.returncode == EXIT_SETTINGS
    assert len(ended.stderr.splitlines()) == 1
    return ended.stderr


def test_an_index_that_is_none() -> None:
    said = refused_start(ServerProcess("cam"), "--index", "-1")
    assert "--index -1: servers are counted from 0" in said


def test_a_port_in_use() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = refused_start(ServerProcess("cam", sections={"http": {"port": port}}))
        assert f"port {port} of 127.0.0.1: Address already in use" in said


def test_more_connections_than_allowed_are_told_so() -> None:
    with ServerProcess("cam", sections={"rtsp": {"connections_max": 2}}) as server:
        held = [socket.create_connection(("127.0.0.1", server.rtsp_port)) for _ in range(2)]
        with socket.create_connection(("127.0.0.1", server.rtsp_port), timeout=10) as third:
            third.sendall(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n")
            answer = b""
            while piece := third.recv(4096):
                answer += piece
        assert answer.startswith(b"RTSP/1.0 503 ")
        held.pop().close()

        def accepted() -> bool:
            with RtspClient(server.rtsp("cam")) as client:
                try:
                    return client.request("OPTIONS", "*").status == 200
                except AssertionError:
                    return False

        until(accepted, 5, "the place to be free again")
        held.pop().close()
        until(lambda: server.counter("connections_refused") >= 1, 5, "the refusal to be counted")


def test_more_connections_of_one_address_than_allowed() -> None:
    with ServerProcess("cam", sections={"rtsp": {"connections_per_address_max": 2}}) as server:
        held = [socket.create_connection(("127.0.0.1", port)) for port in (server.rtsp_port, server.http_port)]
        until(lambda: server.counter("connections") == 2, 10, "both to be there")
        status = b""
        with socket.create_connection(("127.0.0.1", server.http_port), timeout=10) as third:
            while piece := third.recv(4096):
                status += piece
        assert status.startswith(b"HTTP/1.1 503 ")
        until(lambda: server.counter("addresses_crowded") == 1, 5, "the refusal to be counted")
        held.pop().close()
        until(lambda: server.counter("connections") == 1, 10, "a place to be free")
        assert get(server, "/healthz")[0] == 503  # there is no muxer
        held.pop().close()


def test_no_descriptors_left() -> None:
    with ServerProcess("cam") as server:
        until(lambda: server.supervisor.report, 10, "a report")
        process = psutil.Process(server.process.pid)
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (process.num_fds() + 2, 4096))
        clients = [socket.create_connection(("127.0.0.1", server.rtsp_port)) for _ in range(6)]
        until(lambda: server.counter("accept_errors") >= 1, 10, "the error to be counted")
        before = process.cpu_times()
        select.select([], [], [], 1.0)
        after = process.cpu_times()
        assert after.user + after.system - before.user - before.system < 0.7, "it spins"
        for client in clients[:4]:
            client.close()
        clients[-1].settimeout(10)
        clients[-1].sendall(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n")
        assert clients[-1].recv(100).startswith(b"RTSP/1.0 200")
        for client in clients:
            client.close()


def test_a_viewer_that_takes_nothing_is_closed() -> None:
    with (
        ServerProcess("cam", sections={"viewer": {"stalled_close_ms": 1500}}) as server,
        FakeMuxer(server.directory, "cam") as muxer,
    ):
        muxer.produce("cam", sync=True)
        with play(server, receive_buffer_bytes=4096) as client:
            client.next_packet()
            while not muxer.of(ReadStop):
                muxer.produce("cam", packets=700)
            until(lambda: server.counter("connections_stalled") == 1, 20, "it to be closed")
            until(lambda: muxer.of(Forget), 10, "Forget")
        assert "event=connection_stalled" in server.log
