"""A fan-out alone; or one server process for all tests of a module, and a new stand-in muxer for each."""

from collections.abc import Iterator
from itertools import count

import pytest

from tests.support.fake_muxer import FakeMuxer
from tests.support.fanout_bench import Bench
from tests.support.server_process import ServerProcess, healthy
from tests.support.wait import until

QUICKLY = {"viewer": {"source_wait_ms": 700}}
_EPOCHS = count(1000)


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A fan-out without viewers. Modules that are about something else have a bench of their own."""
    bench = Bench()
    yield bench
    bench.close()


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """Two streams, and a short wait for those that do not start."""
    with ServerProcess("cam", "two", sections=QUICKLY) as process:
        yield process


@pytest.fixture
def muxer(server: ServerProcess) -> Iterator[FakeMuxer]:
    """Of both streams; there is one frame of `cam`, a sync point."""
    with FakeMuxer(server.directory, "cam", "two", epoch=next(_EPOCHS)) as fake:
        fake.produce("cam", sync=True)
        until(lambda: fake.greeted, 10, "the server to find the muxer")
        healthy(server)
        yield fake
