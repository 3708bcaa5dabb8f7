"""A long link on one machine: a network namespace behind a link that takes its time. Root on Linux only.

    with FarLink(300) as link:
        serve(host=link.near)                      # an address of ours
        with link.far_side():
            client = socket.create_connection((link.near, port))     # from the namespace, over the link

Two TUN devices, one here and one in a namespace of its own, and a process between them (this module, run as a
program) that holds what goes to the far side back for `delay_ms`; what comes from there is not delayed, so that a
round trip takes as long. By `impair` it loses packets on their way to the far side, and lets later ones overtake.
It does with any kernel what netem does with those that have it. All of it ends with the context, and with this
process, however that ends.
"""

import ctypes
import fcntl
import heapq
import os
import random
import select
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType

TUN = "/dev/net/tun"
TUNSETIFF = 0x400454CA  # linux/if_tun.h
IFF_TUN_NO_PI = 0x1001
CLONE_NEWNET = 0x40000000  # sched.h
PACKET_BYTES_MAX = 2048  # of MTU 1500
PACKETS_MAX = 4096  # on their way; more are lost, as in any queue
OVERTAKEN_S = 0.02  # so much longer takes a packet that others overtake
COMMAND_BYTES_MAX = 64
UP_WITHIN_S = 5.0


class NoFarLinkError(Exception):
    """It cannot be had here; one line that says why."""


class FarLink:
    """near, far: the addresses of its ends, out of a range that is for measurements (RFC 2544)."""

    def __init__(self, delay_ms: int, number: int = 0) -> None:
        """number: of several at a time."""
        self.delay_ms = delay_ms
        self.near, self.far = (f"198.18.{os.getpid() % 256}.{4 * number + end}" for end in (1, 2))
        self.near_device, self.far_device = (f"fg{os.getpid()}{end}{number}" for end in "nf")
        self._stack = ExitStack()
        self._namespace = -1
        self._relay: subprocess.Popen[bytes]

    def __enter__(self) -> "FarLink":
        with ExitStack() as stack:
            self._set_up(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @contextmanager
    def far_side(self) -> Iterator[None]:
        """Sockets that this thread makes in here belong to the far side, for as long as they live."""
        here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            _enter(self._namespace)
            yield
        finally:
            _enter(here)
            os.close(here)

    def impair(self, lost: float, overtaken: float = 0.0) -> None:
        """From now on lose this share of the packets to the far side, and let others overtake that share."""
        assert self._relay.stdin is not None
        self._relay.stdin.write(f"{lost} {overtaken}\n".encode())
        self._relay.stdin.flush()

    def cut(self) -> None:
        """No packet passes any more, either way, and nobody is told."""
        self.impair(1.0)
        _run("ip", "link", "set", self.near_device, "down")

    def mend(self) -> None:
        """It carries again, without losses."""
        self.impair(0.0)
        _run("ip", "link", "set", self.near_device, "up")

    def reset(self, port: int) -> bool:
        """Break the connections from the far side to this port of the near one, and nothing else.

        False where the kernel does not do that (CONFIG_INET_DIAG_DESTROY).
        """
        command = self.inside("ss", "--kill", "--no-header", "dst", self.near, "dport", "=", str(port))
        return bool(subprocess.run(command, capture_output=True, check=False).stdout)

    def inside(self, *command: str) -> list[str]:
        """The command line that runs a command on the far side."""
        return ["nsenter", "-t", str(self._relay.pid), "-n", *command]

    def _set_up(self, stack: ExitStack) -> None:
        if os.geteuid() != 0:
            raise NoFarLinkError("needs root, for a network namespace")
        if missing := [name for name in ("ip", "unshare", "nsenter") if shutil.which(name) is None]:
            raise NoFarLinkError(f"needs the command {missing[0]}")
        ends = [self.near_device, self.far_device]
        try:
            devices = [_tun(name) for name in ends]
        except OSError as error:
            raise NoFarLinkError(f"{TUN}: {error.strerror}") from None
        with ExitStack() as ours:
            for device in devices:
                ours.callback(os.close, device)
            numbers = [str(number) for number in (*devices, self.delay_ms)]
            relay = subprocess.Popen(
                ["unshare", "--net", sys.executable, __file__, *numbers],
                pass_fds=devices, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )  # fmt: skip
        stack.callback(_end, relay)
        self._relay = relay
        assert relay.stdout is not None
        if not select.select([relay.stdout], [], [], UP_WITHIN_S)[0] or not relay.stdout.readline():
            raise NoFarLinkError("no network namespace is permitted")
        _run("ip", "addr", "add", self.near, "peer", self.far, "dev", ends[0])
        _run("ip", "link", "set", ends[0], "up")
        _run("ip", "link", "set", ends[1], "netns", str(relay.pid))
        _run(*self.inside("ip", "addr", "add", self.far, "peer", self.near, "dev", ends[1]))
        _run(*self.inside("ip", "link", "set", ends[1], "up"))
        _run(*self.inside("ip", "link", "set", "lo", "up"))
        self._namespace = os.open(f"/proc/{relay.pid}/ns/net", os.O_RDONLY)
        stack.callback(os.close, self._namespace)


def _tun(name: str) -> int:
    device = os.open(TUN, os.O_RDWR | os.O_NONBLOCK)
    try:
        fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN_NO_PI))
    except BaseException:
        os.close(device)
        raise
    return device


def _run(*command: str) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise NoFarLinkError(f"{' '.join(command)}: {result.stderr.strip()}")


def _enter(namespace: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(namespace, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def _end(relay: "subprocess.Popen[bytes]") -> None:
    relay.kill()
    relay.wait()
    for pipe in (relay.stdin, relay.stdout):
        assert pipe is not None
        pipe.close()


def _relay(near: int, far: int, delay_s: float) -> None:
    """Carry packets both ways until stdin ends."""
    held: list[tuple[float, int, bytes]] = []  # a heap: when it is due, its number
    chance = random.Random(188)
    lost = overtaken = 0.0
    number = 0
    print("up", flush=True)  # noqa: T201
    while True:
        wait_s = max(0.0, held[0][0] - time.monotonic()) if held else None
        ready = select.select([near, far, 0], [], [], wait_s)[0]
        if 0 in ready:
            command = os.read(0, COMMAND_BYTES_MAX)
            if not command:
                return
            lost, overtaken = map(float, command.split()[-2:])
        now_s = time.monotonic()
        for packet in _packets(near) if near in ready else ():
            if len(held) < PACKETS_MAX and chance.random() >= lost:
                due_s = now_s + delay_s + (OVERTAKEN_S if chance.random() < overtaken else 0.0)
                heapq.heappush(held, (due_s, number := number + 1, packet))
        for packet in _packets(far) if far in ready else ():
            _write(near, packet)
        while held and held[0][0] <= now_s:
            _write(far, heapq.heappop(held)[2])


def _packets(device: int) -> Iterator[bytes]:
    try:
        while True:
            yield os.read(device, PACKET_BYTES_MAX)
    except OSError:
        pass  # no more for now, or the device is not up yet


def _write(device: int, packet: bytes) -> None:
    try:
        os.write(device, packet)
    except OSError:
        pass  # the device is down, or full: it is lost, as on any link


if __name__ == "__main__":
    _relay(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) / 1000)
