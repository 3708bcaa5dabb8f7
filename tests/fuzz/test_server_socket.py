"""A running server is told anything, by many at once: it serves a good viewer all the same, and keeps nothing."""

import random
import socket

import psutil

from tests.fuzz.inputs import load, mutated
from tests.support.fake_muxer import FakeMuxer
from tests.support.frame_source import Judge
from tests.support.server_process import ServerProcess, get, healthy, play, watch
from tests.support.wait import until

CONNECTIONS = 300
AT_ONCE = 20
GROWTH_BYTES_MAX = 30 << 20


def say(port: int, data: bytes, rng: random.Random) -> socket.socket:
    """A connection that has said this, in pieces."""
    client = socket.create_connection(("127.0.0.1", port), timeout=10)
    at = 0
    try:
        while at < len(data):
            end = at + rng.choice((1, 10, 500, 5000))
            client.sendall(data[at:end])
            at = end
    except OSError:
        pass  # it has been closed for what it said
    return client


def test_anything_at_its_sockets() -> None:
    rng = random.Random(1)
    with ServerProcess("cam") as server, FakeMuxer(server.directory, "cam") as muxer:
        muxer.produce("cam", sync=True)
        healthy(server)
        process = psutil.Process(server.process.pid)
        corpora = {server.rtsp_port: load("rtsp"), server.http_port: load("http")}
        talking: list[socket.socket] = []
        memory = 0
        with play(server) as viewer:
            judge = Judge()
            watch(viewer, judge, (muxer.epoch, 0))
            descriptors = process.num_fds()
            for number in range(CONNECTIONS):
                port = rng.choice(list(corpora))
                talking.append(say(port, mutated(corpora[port], rng)[2:], rng))
                if len(talking) >= AT_ONCE:
                    talking.pop(rng.randrange(len(talking))).close()
                if number % 10 == 0:
                    muxer.produce("cam", packets=20)
                if number == AT_ONCE:
                    memory = process.memory_info().rss
            watch(viewer, judge, (muxer.epoch, CONNECTIONS // 10))
            for client in talking:
                client.close()
            until(lambda: server.counter("connections") == 1, 20, "all but the viewer to be gone")
            assert get(server, "/healthz")[0] == 200
            until(lambda: process.num_fds() <= descriptors, 10, "no descriptor to be left over")
        with play(server) as another:
            watch(another, Judge(), (muxer.epoch, CONNECTIONS // 10))
        assert process.memory_info().rss - memory < GROWTH_BYTES_MAX
