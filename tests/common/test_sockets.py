"""Messages moved without waiting, over real ZeroMQ sockets."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import zmq

from common import sockets


@pytest.fixture
def context() -> Iterator[sockets.Context]:
    with zmq.Context() as context:
        yield context


def test_nothing_has_come(context: sockets.Context, tmp_path: Path) -> None:
    with sockets.frames_out(context, f"ipc://{tmp_path}/m") as muxer:
        assert sockets.receive(muxer) is None


@pytest.mark.parametrize("parts", [[b"a"], [b"", b"b" * 100_000], [b"a", b"", b"c"]])
def test_messages_come_whole_and_in_order(context: sockets.Context, tmp_path: Path, parts: list[bytes]) -> None:
    endpoint = f"ipc://{tmp_path}/m"
    with sockets.frames_out(context, endpoint) as muxer, sockets.frames_in(context, endpoint, b"me") as server:
        assert server.poll(5000, zmq.POLLOUT)
        sockets.send(server, parts)
        sockets.send(server, [b"last"])
        assert muxer.poll(5000)
        assert sockets.receive(muxer) == [b"me", *parts]
        assert muxer.poll(5000)
        assert sockets.receive(muxer) == [b"me", b"last"]
        assert sockets.receive(muxer) is None
        sockets.send(muxer, [b"me", memoryview(b"back")])
        assert server.poll(5000)
        assert sockets.receive(server) == [b"back"]


def test_nobody_is_there(context: sockets.Context, tmp_path: Path) -> None:
    endpoint = f"ipc://{tmp_path}/m"
    with sockets.frames_in(context, endpoint, b"me") as server, pytest.raises(zmq.Again):
        sockets.send(server, [b"a"])
    with sockets.frames_out(context, endpoint) as muxer, pytest.raises(zmq.ZMQError) as caught:
        sockets.send(muxer, [b"you", b"a"])
    assert caught.value.errno == zmq.EHOSTUNREACH


def test_of_many_sockets_those_are_told_to_which_a_message_has_come(
    context: sockets.Context, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        ends = [f"ipc://{tmp_path}/{number}" for number in range(3)]
        muxers = [stack.enter_context(sockets.frames_out(context, end)) for end in ends]
        servers = [stack.enter_context(sockets.frames_in(context, end, b"me")) for end in ends]
        assert sockets.readable([]) == sockets.readable(muxers) == []
        for number in (2, 0):
            assert servers[number].poll(5000, zmq.POLLOUT)
            sockets.send(servers[number], [b"a"])
            assert muxers[number].poll(5000)
        assert sockets.readable(muxers) == [muxers[0], muxers[2]]
        assert sockets.take(muxers[0]) == [b"me", b"a"]
        assert sockets.readable(muxers) == [muxers[2]]
        assert sockets.take(muxers[0]) is None
