"""A listening socket that lets nobody begin, while who has begun is taken in. Real sockets."""

import socket

import pytest

from server.listening import listen, shut_out

WITHIN_S = 20


def begin(port: int) -> socket.socket:
    """A client that has sent its SYN."""
    client = socket.socket()
    client.setblocking(False)
    with pytest.raises(BlockingIOError):
        client.connect(("127.0.0.1", port))
    return client


def test_who_has_begun_is_taken_in_and_nobody_else() -> None:
    with listen("127.0.0.1", 0) as door:
        port = door.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port), timeout=WITHIN_S) as early:
            shut_out(door)
            with begin(port):
                accepted, _ = door.accept()
                with accepted:
                    accepted.sendall(b"x")
                    assert early.recv(1) == b"x"
                with pytest.raises(BlockingIOError):
                    door.accept()


def test_who_begins_later_is_let_in_by_another() -> None:
    old = listen("127.0.0.1", 0)
    port = old.getsockname()[1]
    shut_out(old)
    with begin(port) as late, listen("127.0.0.1", port) as new:
        old.close()
        new.settimeout(WITHIN_S)
        accepted, _ = new.accept()  # by the SYN that he repeats
        with accepted:
            accepted.sendall(b"x")
            late.settimeout(WITHIN_S)
            assert late.recv(1) == b"x"
