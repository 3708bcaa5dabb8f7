"""The way out of a TCP connection: frames whole, in order, and nothing between their bytes."""

import socket
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.tcp_outlet import ROOM_BYTES_MIN, TcpOutlet, configure_tcp


class Pair:
    """An outlet, and the other end of its socket."""

    def __init__(self) -> None:
        near, self.far = socket.socketpair()
        self.near = near
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
        near.setblocking(False)
        self.far.setblocking(False)
        self.blocks = 0
        self.outlet = TcpOutlet(near, self._note)
        self.got = b""

    def _note(self) -> None:
        assert self.outlet.blocked
        self.blocks += 1

    def read(self, size: int = 1 << 20) -> int:
        try:
            data = self.far.recv(size)
        except BlockingIOError:
            return 0
        self.got += data
        return len(data)

    def drain(self) -> None:
        while self.read() or self.outlet.blocked:
            self.outlet.flush()

    def close(self) -> None:
        self.near.close()
        self.far.close()


@pytest.fixture
def pair() -> Iterator[Pair]:
    pair = Pair()
    yield pair
    pair.close()


def test_a_frame_that_is_cut_is_finished_first(pair: Pair) -> None:
    frame = bytes(range(256)) * 400
    assert pair.outlet.offer(frame)
    assert pair.outlet.blocked
    assert pair.outlet.room_bytes is None
    assert not pair.outlet.offer(b"second")
    pair.outlet.write(b"reply")
    pair.outlet.write(b"report")
    assert pair.outlet.queued_bytes == 11
    assert pair.blocks == 1
    pair.drain()
    assert pair.got == frame + b"replyreport"
    assert pair.outlet.queued_bytes == 0
    assert pair.outlet.offer(b"third")
    pair.read()
    assert pair.got.endswith(b"third")


def test_a_frame_of_which_nothing_is_taken_is_not_kept(pair: Pair) -> None:
    while not pair.outlet.blocked:
        pair.outlet.write(b"x" * 2000)
    while pair.read() or pair.outlet.blocked:  # all out, and the buffer full again by others' doing
        pair.outlet.flush()
    filled = 0
    while True:
        try:
            filled += pair.near.send(b"y" * 100)
        except BlockingIOError:
            break
    before = len(pair.got)
    assert not pair.outlet.offer(b"frame")
    assert pair.outlet.blocked
    pair.drain()
    assert pair.got[before:] == b"y" * filled


def test_flushed_bytes_show_progress(pair: Pair) -> None:
    pair.outlet.offer(bytes(100_000))
    seen = pair.outlet.flushed_bytes
    pair.outlet.flush()
    assert pair.outlet.flushed_bytes == seen  # nobody read
    pair.read()
    pair.outlet.flush()
    assert pair.outlet.flushed_bytes > seen


def test_room(pair: Pair) -> None:
    room = pair.outlet.room_bytes
    assert room is not None
    assert room >= ROOM_BYTES_MIN


def test_a_broken_connection_is_an_error_of_every_verb(pair: Pair) -> None:
    pair.outlet.offer(bytes(100_000))
    pair.far.close()
    with pytest.raises(OSError, match=r"."):
        pair.outlet.flush()
    other = Pair()
    other.far.close()
    with pytest.raises(OSError, match=r"."):
        other.outlet.offer(b"x")
    with pytest.raises(OSError, match=r"."):
        other.outlet.write(b"x")
    other.close()


@settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from("fwr"), st.integers(1, 20_000)), max_size=40))
def test_what_was_taken_comes_out_in_order(steps: list[tuple[str, int]]) -> None:
    pair = Pair()
    expected = b""
    for number, (verb, size) in enumerate(steps):
        data = bytes((number,)) * size
        if verb == "f":
            if pair.outlet.offer(data):
                expected += data
        elif verb == "w":
            pair.outlet.write(data)
            expected += data
        else:
            pair.read(size)
            if pair.outlet.blocked:
                pair.outlet.flush()
        assert pair.outlet.blocked or pair.outlet.queued_bytes == 0
    pair.drain()
    assert pair.got == expected
    pair.close()


def test_an_accepted_socket_is_set_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        accepted, _ = listening.accept()
        configure_tcp(accepted, 60_000)
        assert accepted.getblocking() is False
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 70_000
        accepted.close()
        client.close()
