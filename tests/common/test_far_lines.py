"""Lines between hosts: who is let in, who is not, and what is said of it. Over loopback, with real sockets."""

import socket
import time
from collections.abc import Callable, Iterator

import pytest
import zmq

from common import logs, sockets
from common.far_lines import STRANGERS_LOGGED_MAX, Doorkeeper, FarLines
from common.lines import Far, KeyPair
from tests.support.logged import logged

WITHIN_S = 10


def pair() -> KeyPair:
    public_key, secret_key = (key.decode() for key in zmq.curve_keypair())
    return KeyPair(public_key, secret_key)


HERE, THERE, STRANGER = pair(), pair(), pair()


class Side:
    """One process's context and lines, with a clock of its own."""

    def __init__(self) -> None:
        self.context: sockets.Context = zmq.Context()
        self.lines = FarLines(self.context, logs.Logger())
        self.now_us = 0
        self.sockets: list[sockets.Socket] = []

    def turn(self) -> None:
        self.now_us += 100_000
        self.lines.look(self.now_us)

    def close(self) -> None:
        self.lines.close()
        for one in self.sockets:
            one.close()
        self.context.term()


@pytest.fixture
def listener() -> Iterator[Side]:
    side = Side()
    yield side
    side.close()


@pytest.fixture
def caller() -> Iterator[Side]:
    side = Side()
    yield side
    side.close()


@pytest.fixture
def said() -> Iterator[list[dict[str, object]]]:
    with logged() as lines:
        yield lines


def free_endpoint() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


def listen(side: Side, endpoint: str) -> sockets.Socket:
    made = sockets.frames_out(side.context, Far(endpoint, HERE))
    side.sockets.append(made)
    return made


def call(side: Side, endpoint: str, keys: KeyPair, their_key: str) -> sockets.Socket:
    far = Far(endpoint, keys, their_key)
    made = sockets.frames_in(side.context, far, b"me")
    side.lines.watch("hub/muxer-0", made, far)
    side.sockets.append(made)
    return made


def turn_until(probe: Callable[[], object], *sides: Side) -> None:
    give_up_s = time.monotonic() + WITHIN_S
    while not probe():
        assert time.monotonic() < give_up_s
        for side in sides:
            side.turn()
        time.sleep(0.005)


def events(said: list[dict[str, object]]) -> list[str]:
    return [str(line["event"]) for line in said]


def test_a_known_key_comes_in(listener: Side, caller: Side, said: list[dict[str, object]]) -> None:
    endpoint = free_endpoint()
    listener.lines.allow([THERE.public_key])
    here, there = listen(listener, endpoint), call(caller, endpoint, THERE, HERE.public_key)
    turn_until(lambda: "line_up" in events(said), caller)
    there.send(b"hello")
    assert here.poll(WITHIN_S * 1000)
    assert here.recv_multipart() == [b"me", b"hello"]
    assert listener.lines.counters == {"keys_refused": 0, "line_faults": 0}


def test_an_unknown_key_is_refused_counted_said_once_and_let_in_when_it_is_known(
    listener: Side, caller: Side, said: list[dict[str, object]]
) -> None:
    endpoint = free_endpoint()
    listener.lines.allow([THERE.public_key])
    listen(listener, endpoint)
    call(caller, endpoint, STRANGER, HERE.public_key)
    turn_until(lambda: listener.lines.counters["keys_refused"] >= 2, caller)  # it tries again
    refused = [line for line in said if line["event"] == "key_refused"]
    assert [line["public_key"] for line in refused] == [STRANGER.public_key]
    assert [line["reason"] for line in said if line["event"] == "line_down"] == [sockets.NOT_LET_IN]
    assert caller.lines.counters["line_faults"] == 1
    listener.lines.allow([THERE.public_key, STRANGER.public_key])
    turn_until(lambda: "line_up" in events(said), caller)


def test_another_host_than_expected_is_said(listener: Side, caller: Side, said: list[dict[str, object]]) -> None:
    endpoint = free_endpoint()
    listener.lines.allow([THERE.public_key])
    listen(listener, endpoint)
    call(caller, endpoint, THERE, STRANGER.public_key)
    turn_until(lambda: "line_down" in events(said), caller)
    (line,) = (line for line in said if line["event"] == "line_down")
    assert "not the host with this public_key" in str(line["reason"])


def test_what_is_no_zeromq_at_all_is_got_over(listener: Side, caller: Side, said: list[dict[str, object]]) -> None:
    """libzmq would never try again."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        endpoint = f"tcp://127.0.0.1:{other.getsockname()[1]}"
        call(caller, endpoint, THERE, HERE.public_key)
        with other.accept()[0] as connection:
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            turn_until(lambda: "line_down" in events(said), caller)
    listener.lines.allow([THERE.public_key])
    listen(listener, endpoint)
    turn_until(lambda: "line_up" in events(said), caller)


def test_who_has_no_key_at_all_is_not_heard(listener: Side) -> None:
    endpoint = free_endpoint()
    here = listen(listener, endpoint)
    plain: zmq.Socket[bytes] = listener.context.socket(zmq.DEALER)
    plain.linger = 0
    plain.connect(endpoint)
    plain.send(b"hello")
    assert not here.poll(300)
    plain.close()


def test_a_line_that_ends_and_comes_back_is_said(
    listener: Side, caller: Side, said: list[dict[str, object]]
) -> None:
    endpoint = free_endpoint()
    listener.lines.allow([THERE.public_key])
    here = listen(listener, endpoint)
    call(caller, endpoint, THERE, HERE.public_key)
    turn_until(lambda: events(said) == ["line_up"], caller)
    here.close()
    turn_until(lambda: events(said) == ["line_up", "line_down"], caller)
    listen(listener, endpoint)
    turn_until(lambda: events(said) == ["line_up", "line_down", "line_up"], caller)
    assert caller.lines.counters["line_faults"] == 1


def test_a_socket_for_both_is_encrypted_towards_others_only(listener: Side) -> None:
    endpoint, local = free_endpoint(), f"inproc://{id(listener)}"
    both = sockets.frames_out(listener.context, Far(endpoint, HERE), local)
    listener.sockets.append(both)
    near = sockets.frames_in(listener.context, local, b"near")
    listener.sockets.append(near)
    near.send(b"hello")
    assert both.poll(WITHIN_S * 1000)
    assert both.recv_multipart() == [b"near", b"hello"]


def test_what_is_too_long_ends_the_line(listener: Side, caller: Side, said: list[dict[str, object]]) -> None:
    endpoint = free_endpoint()
    listener.lines.allow([THERE.public_key])
    here, there = listen(listener, endpoint), call(caller, endpoint, THERE, HERE.public_key)
    turn_until(lambda: events(said) == ["line_up"], caller)
    there.send(bytes(sockets.FAR_MESSAGE_BYTES_MAX + 1))
    turn_until(lambda: "line_down" in events(said), caller)
    turn_until(lambda: events(said)[-1] == "line_up", caller)
    there.send(b"short")
    assert here.poll(WITHIN_S * 1000)
    assert here.recv_multipart() == [b"me", b"short"]


def test_strangers_that_are_named_have_a_limit(said: list[dict[str, object]]) -> None:
    door = Doorkeeper(logs.Logger())
    for number in range(STRANGERS_LOGGED_MAX + 5):
        assert not door.callback("*", b"%040d" % number)
    assert door.refused == STRANGERS_LOGGED_MAX + 5
    assert len(said) == STRANGERS_LOGGED_MAX
