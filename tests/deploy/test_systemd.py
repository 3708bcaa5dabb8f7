"""What goes to systemd, read where systemd would read it."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.systemd import Notifier


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        sock.bind(str(tmp_path / "notify"))
        yield sock


def heard(systemd: socket.socket) -> list[str]:
    words = []
    while True:
        try:
            words.append(systemd.recv(1000).decode())
        except BlockingIOError:
            return words


def test_nothing_without_systemd() -> None:
    notifier = Notifier({})
    notifier.up("x")
    notifier.tick(0)
    assert notifier.due_us is None
    assert notifier.failures == 0


def test_its_words(systemd: socket.socket) -> None:
    environment = {"NOTIFY_SOCKET": systemd.getsockname(), "PATH": "/bin"}
    notifier = Notifier(environment)
    assert environment == {"PATH": "/bin"}  # not for children
    notifier.up("2 streams")
    notifier.reloading(1234)
    notifier.stopping()
    notifier.tick(10**9)
    assert notifier.due_us is None
    assert heard(systemd) == [
        "READY=1\nSTATUS=2 streams",
        "RELOADING=1\nMONOTONIC_USEC=1234\nSTATUS=reloading",
        "STOPPING=1\nSTATUS=stopping",
    ]


def test_an_abstract_address() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        sock.bind("")  # the kernel chooses one
        Notifier({"NOTIFY_SOCKET": "@" + sock.getsockname()[1:].decode()}).up("x")
        assert heard(sock) == ["READY=1\nSTATUS=x"]


@pytest.mark.parametrize("pid", ["", str(os.getpid())])
def test_the_watchdog_is_fed_twice_in_its_time(systemd: socket.socket, pid: str) -> None:
    environment = {"NOTIFY_SOCKET": systemd.getsockname(), "WATCHDOG_USEC": "3000000"}
    notifier = Notifier({**environment, **({"WATCHDOG_PID": pid} if pid else {})})
    now, fed = 0, []
    for now in range(0, 6_000_000, 500_000):
        notifier.tick(now)
        fed += [now] * len(heard(systemd))
        assert notifier.due_us is not None
        assert now < notifier.due_us <= now + 1_500_000
    assert fed == [0, 1_500_000, 3_000_000, 4_500_000]


@pytest.mark.parametrize("others", [{"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "9000000", "WATCHDOG_PID": "1"}])
def test_a_watchdog_that_is_not_ours(systemd: socket.socket, others: dict[str, str]) -> None:
    assert Notifier({"NOTIFY_SOCKET": systemd.getsockname(), **others}).due_us is None


def test_a_systemd_that_does_not_listen_is_no_fault(tmp_path: Path) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")})
    notifier.up("x")
    assert notifier.failures == 1
