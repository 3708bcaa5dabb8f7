"""The way out of a TCP connection: frames whole, in order, and nothing between their bytes."""

import errno
import os
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.tcp_outlet import (
    SHARED_FRAME_BYTES_MIN,
    SHARED_TOTAL_BYTES_MIN,
    FileTakers,
    TcpOutlet,
    configure_tcp,
    offer_to_all,
)
from tests.support.wait import until


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
    assert pair.outlet.unfinished_bytes > 0
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


def test_what_is_unfinished_goes_down_as_the_peer_reads(pair: Pair) -> None:
    assert (pair.outlet.unfinished_bytes, pair.outlet.kernel_bytes) == (0, 0)
    pair.outlet.offer(bytes(100_000))
    seen = pair.outlet.unfinished_bytes
    assert seen > 0
    assert pair.outlet.kernel_bytes > 0
    pair.outlet.flush()
    assert pair.outlet.unfinished_bytes == seen  # nobody read
    pair.read()
    pair.outlet.flush()
    assert pair.outlet.unfinished_bytes < seen
    pair.drain()
    assert (pair.outlet.unfinished_bytes, pair.outlet.kernel_bytes) == (0, 0)


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


UNSENT_BYTES = 20_000
WINDOW_BYTES = 20_000  # with room to spare: the receive buffer is a few kB


class TcpPair(Pair):
    """Over TCP, where the kernel's limits are the real ones."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            far = socket.socket()
            far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            far.connect(listening.getsockname())
            near, _ = listening.accept()
        near.setblocking(False)
        far.setblocking(False)
        self.near, self.far = near, far
        self.blocks = 0
        self.outlet = TcpOutlet(near, self._note)
        self.got = b""

    @property
    def backlog_bytes(self) -> int:
        return self.outlet.unfinished_bytes + self.outlet.kernel_bytes


def test_what_is_acknowledged_and_what_is_not_is_all() -> None:
    pair = TcpPair()
    assert (pair.outlet.acknowledged_bytes, pair.backlog_bytes) == (0, 0)
    pair.outlet.fit(100_000, 20_000)
    frame = bytes(400_000)
    pair.outlet.offer(frame)
    assert pair.outlet.blocked
    until(lambda: pair.outlet.acknowledged_bytes > 0, 5, "the peer's kernel to take some")
    assert pair.outlet.acknowledged_bytes < len(frame)
    until(lambda: pair.outlet.acknowledged_bytes + pair.backlog_bytes == len(frame), 5, "both to agree")
    pair.drain()
    until(lambda: not pair.backlog_bytes, 5, "the last acknowledgement")
    assert pair.outlet.acknowledged_bytes == len(frame)
    pair.close()


@pytest.mark.parametrize("size", [500, 5000, 40_000])
def test_a_frame_is_not_begun_while_much_is_not_sent(size: int) -> None:
    pair = TcpPair()
    pair.outlet.fit(1 << 20, UNSENT_BYTES)
    while pair.outlet.offer(bytes(size)):
        pass
    until(lambda: pair.outlet.acknowledged_bytes > 0, 5, "the peer's kernel to take some")
    assert pair.outlet.kernel_bytes <= UNSENT_BYTES + size + WINDOW_BYTES
    pair.close()


def test_the_way_of_a_byte_is_known() -> None:
    pair = TcpPair()
    pair.outlet.offer(b"some")
    until(lambda: not pair.outlet.kernel_bytes, 5, "an acknowledgement")
    assert 0 < pair.outlet.round_trip_us < 5_000_000
    pair.close()


MANY = 24
LARGE = SHARED_TOTAL_BYTES_MIN // MANY + 1  # shared among so many, and not among one less
SIZES = (1, SHARED_FRAME_BYTES_MIN - 1, LARGE - 1, LARGE)


@pytest.fixture
def many() -> Iterator[list[Pair]]:
    pairs = [Pair() for _ in range(MANY)]
    yield pairs
    for pair in pairs:
        pair.close()


@pytest.mark.parametrize("size", SIZES)
def test_a_frame_for_all_comes_out_the_same_for_all(many: list[Pair], size: int) -> None:
    files = len(os.listdir("/proc/self/fd"))
    frame = os.urandom(size)
    assert offer_to_all([pair.outlet for pair in many], frame, FileTakers()) == ([], [])
    assert len(os.listdir("/proc/self/fd")) == files
    for pair in many:
        pair.drain()
        assert pair.got == frame


@pytest.mark.parametrize("size", SIZES)
def test_who_is_blocked_or_broken_is_named_and_nobody_else_minds(many: list[Pair], size: int) -> None:
    blocked, full, broken = many[3], many[7], many[11]
    early = bytes(100_000)
    blocked.outlet.offer(early)
    while True:  # full, though its outlet does not know yet
        try:
            full.near.send(b"y" * 50)
        except BlockingIOError:
            break
    broken.far.close()
    frame = os.urandom(size)
    late, faults = offer_to_all([pair.outlet for pair in many], frame, FileTakers())
    assert late == [blocked.outlet, full.outlet]
    assert full.outlet.blocked
    assert [(outlet, error.errno) for outlet, error in faults] == [(broken.outlet, errno.EPIPE)]
    for pair in many:
        if pair not in (blocked, full, broken):
            pair.drain()
            assert pair.got == frame
    blocked.drain()
    assert blocked.got == early


def test_frames_one_after_another_keep_their_bytes(many: list[Pair]) -> None:
    """What a socket still holds of a frame is not touched by the next one."""
    outlets, takers = [pair.outlet for pair in many], FileTakers()
    frames = [bytes((number,)) * LARGE for number in range(4)]
    expected = dict.fromkeys(many, b"")
    for frame in frames:
        late, _ = offer_to_all(outlets, frame, takers)
        for pair in many:
            if pair.outlet not in late:
                expected[pair] += frame
        for pair in many[::2]:
            pair.read(30_000)
            if pair.outlet.blocked:
                pair.outlet.flush()
    for pair in many:
        pair.drain()
        assert pair.got == expected[pair]


def test_who_is_blocked_between_two_frames_or_has_gone_is_not_sent_the_next(many: list[Pair]) -> None:
    outlets, takers = [pair.outlet for pair in many], FileTakers()
    frame, report = os.urandom(LARGE), os.urandom(100_000)
    assert offer_to_all(outlets, frame, takers) == ([], [])
    for pair in many:
        pair.drain()
    many[2].outlet.write(report)
    gone = outlets.pop(5)
    takers.forget()
    assert offer_to_all(outlets, frame, takers) == ([many[2].outlet], [])
    for pair in many:
        pair.drain()
        expected = {many[2]: frame + report, many[5]: frame}
        assert pair.got == expected.get(pair, frame + frame)
    outlets.append(gone)
    takers.forget()
    assert offer_to_all(outlets, frame, takers) == ([], [])
    many[5].drain()
    assert many[5].got == frame + frame


def test_for_whom_the_kernel_holds_something(many: list[Pair]) -> None:
    outlets, takers = [pair.outlet for pair in many], FileTakers()
    assert list(takers.holding(outlets)) == []
    assert offer_to_all(outlets, os.urandom(LARGE), takers) == ([], [])
    many[1].outlet.write(bytes(100_000))
    for pair in many[2:]:
        pair.drain()
    until(lambda: not any(pair.outlet.kernel_bytes for pair in many[2:]), 5, "acknowledgements")
    assert set(takers.holding(outlets)) == {many[0].outlet, many[1].outlet}
    takers.forget()
    assert set(takers.holding(outlets[1:])) == {many[1].outlet}


def test_without_a_descriptor_left_frames_go_out_all_the_same(
    many: list[Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(_name: str) -> int:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(os, "memfd_create", none_left)
    frame = os.urandom(LARGE)
    assert offer_to_all([pair.outlet for pair in many], frame, FileTakers()) == ([], [])
    many[0].drain()
    assert many[0].got == frame
