"""Many receivers by one call: each gets the bytes, and who cannot keeps nobody else from them."""

import errno
import socket
from collections.abc import Iterator

import pytest

from server.send_many import DATA_BYTES_MAX, Company, ManySender
from tests.support.udp_receiver import UdpReceiver


@pytest.fixture
def sender() -> Iterator[ManySender]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        yield ManySender(sock)


@pytest.fixture
def receivers() -> Iterator[list[UdpReceiver]]:
    made = [UdpReceiver() for _ in range(3)]
    yield made
    for receiver in made:
        receiver.close()


def test_each_gets_the_bytes(sender: ManySender, receivers: list[UdpReceiver]) -> None:
    to = Company([sender.receiver(("127.0.0.1", receiver.ports[0])) for receiver in receivers])
    for data in (b"one", bytearray(b"two, and longer"), memoryview(b"x" * 1328), b"3"):
        assert sender.send(to, data) == []
        assert [receiver.packet() for receiver in receivers] == [bytes(data)] * 3


def test_more_than_the_kernel_looks_at_in_one_call(sender: ManySender, receivers: list[UdpReceiver]) -> None:
    to = [sender.receiver(("127.0.0.1", receiver.ports[0])) for receiver in receivers]
    receivers[0].rtp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    assert sender.send(Company([to[1]] * 1024 + [to[0]] * 2), b"x") == []
    assert [receivers[0].packet(), receivers[0].packet()] == [b"x", b"x"]


def test_who_cannot_be_sent_to_keeps_nobody_else_from_it(sender: ManySender, receivers: list[UdpReceiver]) -> None:
    ports = [receivers[0].ports[0], 0, receivers[1].ports[0], 0, 0, receivers[2].ports[0], 0]
    refused = sender.send(Company([sender.receiver(("127.0.0.1", port)) for port in ports]), b"x")
    assert [(at, error.errno) for at, error in refused] == [(at, errno.EINVAL) for at in (1, 3, 4, 6)]
    assert [receiver.packet() for receiver in receivers] == [b"x"] * 3


def test_too_much_at_once_is_refused(sender: ManySender, receivers: list[UdpReceiver]) -> None:
    to = Company([sender.receiver(("127.0.0.1", receivers[0].ports[0]))])
    ((_, error),) = sender.send(to, bytes(DATA_BYTES_MAX))
    assert error.errno == errno.EMSGSIZE
    with pytest.raises(ValueError, match="different structures"):
        sender.send(to, bytes(DATA_BYTES_MAX + 1))
    assert sender.send(to, b"x") == []
    assert receivers[0].packet() == b"x"


def test_nobody(sender: ManySender) -> None:
    assert sender.send(Company([]), b"x") == []
