"""The link of tests takes its time, loses nothing, and leaves nothing behind."""

import socket
import time
from contextlib import ExitStack

import pytest

from tests.support.far_link import FarLink, NoFarLinkError

DELAY_MS = 200


def test_the_far_side_is_a_delay_away() -> None:
    with ExitStack() as stack:
        try:
            link = stack.enter_context(FarLink(DELAY_MS))
        except NoFarLinkError as error:
            pytest.skip(str(error))
        server = stack.enter_context(socket.create_server((link.near, 0)))
        with link.far_side():
            client = socket.create_connection(server.getsockname(), 10)
        with client:
            connection, address = server.accept()
            with connection:
                assert address[0] == link.far
                data = bytes(range(256)) * 400
                asked_s = time.monotonic()
                connection.sendall(data)
                got = b""
                client.settimeout(10)
                while len(got) < len(data):
                    got += client.recv(65536)
                assert got == data
                assert time.monotonic() - asked_s >= DELAY_MS / 1000
                client.sendall(b"back")
                assert connection.recv(4) == b"back"
        near = link.near_device
        assert near in (name for _, name in socket.if_nameindex())
    assert near not in (name for _, name in socket.if_nameindex())
