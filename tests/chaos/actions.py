"""How each fault is done to a running instance, and what it excuses."""

import os
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import zmq

from common.figures import InstanceFigures, ProcessFigures
from deploy.cli import ask_for_figures
from tests.chaos.schedule import Event, Fault
from tests.chaos.verdict import Disturbance
from tests.chaos.watchers import UdpWatcher, Watcher
from tests.support.check_picture import CheckClip
from tests.support.instance import Instance, command

HUNG_AFTER_S = 4.0
DRAIN_S = 15.0
START_S = 6.0  # of a process, on a busy machine
ORDER_WITHIN_S = 120.0
CONNECTIONS = 200
REQUESTS = 300
DATAGRAMS = 2000
MESSAGES = 2000
GARBAGE_BYTES_MAX = 1400
RUNNING = {"muxers": 2, "servers": 2}
PROGRAM_STREAM = "prog"
_FOREVER_S = float("inf")
_HEADS = (
    b"DESCRIBE rtsp://x/%d RTSP/1.0\r\nCSeq: 1\r\n\r\n",
    b"SETUP / RTSP/1.0\r\nCSeq: %d\r\nTransport: RTP/AVP;client_port=0-99999\r\n\r\n",
    b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n",
    b"PLAY * RTSP/9.9\r\nCSeq: -%d\r\nContent-Length: 99999999999\r\n\r\n",
    b"$\x07\xff\xff%d",
    b"OPTIONS * RTSP/1.0\r\nCSeq: %d\r\nX: " + b"x" * 5000 + b"\r\n\r\n",
)


class Program:
    """The program that publishes a stream, in a process of its own."""

    def __init__(self, instance: Instance, clip: CheckClip) -> None:
        words = [PROGRAM_STREAM, str(instance.runtime_dir), str(clip.path), str(clip.fps)]
        self._command = [sys.executable, "-m", "tests.chaos.program", *words]
        self._process = self._started()

    def unplug(self, seconds: float) -> None:
        """Kill it, and start it again so much later."""
        self.kill()
        time.sleep(seconds)
        self._process = self._started()

    def kill(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()

    def _started(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(self._command, stdin=subprocess.DEVNULL)


class Actions:
    """Carries out events, one after the other; orders run beside them. done: what was done so far."""

    def __init__(
        self, instance: Instance, watchers: Sequence[Watcher], program: Program, settings: Callable[[int], str]
    ) -> None:
        self._instance = instance
        self._watchers = watchers
        self._program = program
        self._settings = settings  # the text of the settings file, of any number
        self._dice = random.Random(0)
        self._order: threading.Thread | None = None
        self._written = 0
        self.done: list[Disturbance] = []
        self.deaths = 0  # of processes of the instance, that were meant

    def do(self, event: Event) -> None:
        """Do this one. What goes wrong in it is noted in `done`."""
        one = Disturbance(f"{event.fault.value} {event.target}", time.monotonic(), _FOREVER_S)
        self.done.append(one)
        try:
            {
                Fault.KILL: self._kill, Fault.PAUSE: self._pause, Fault.HANG: self._hang,
                Fault.UNPLUG: self._unplug, Fault.SLOW: self._slow, Fault.CUT: self._cut,
                Fault.CONNECTIONS: self._connections, Fault.REQUESTS: self._requests,
                Fault.DATAGRAMS: self._datagrams, Fault.MESSAGES: self._messages,
                Fault.RELOAD: self._reload, Fault.SCALE: self._scale,
            }[event.fault](event, one)  # fmt: skip
        except Exception as error:  # kept for the verdict, whatever it is
            one.fault = f"{one.what}: {error!r}"
            one.over_s = time.monotonic()

    def settle(self) -> None:
        """End what is under way, and bring back the settings, and the numbers of processes, of the start."""
        self._wait_for_order()
        self._instance.settings_file.write_text(self._settings(0))
        for words in (["reload"], *(["scale", target, str(count)] for target, count in RUNNING.items())):
            one = Disturbance("at the end", time.monotonic(), _FOREVER_S)
            self.done.append(one)
            self._give_order(one, words)
            self._wait_for_order()

    # ---- processes ---------------------------------------------------------------------------------------

    def _kill(self, event: Event, one: Disturbance) -> None:
        process = self._chosen(event)
        self._will_die(process, one, 0.0)
        os.kill(process.pid, signal.SIGKILL)

    def _hang(self, event: Event, one: Disturbance) -> None:
        process = self._chosen(event)
        self._will_die(process, one, HUNG_AFTER_S + 2.0)
        os.kill(process.pid, signal.SIGSTOP)

    def _will_die(self, process: ProcessFigures, one: Disturbance, within_s: float) -> None:
        self.deaths += 1
        one.over_s = one.start_s + within_s
        if process.role == "server":
            one.servers.add(process.name)
            one.cuts_until_s = one.over_s + 2.0

    def _pause(self, event: Event, one: Disturbance) -> None:
        pid = self._instance.process.pid if event.target == "supervisor" else self._chosen(event).pid
        os.kill(pid, signal.SIGSTOP)
        time.sleep(event.seconds)
        os.kill(pid, signal.SIGCONT)
        one.over_s = time.monotonic()

    def _unplug(self, event: Event, one: Disturbance) -> None:
        self._program.unplug(event.seconds)
        one.over_s = time.monotonic() + START_S

    def _chosen(self, event: Event) -> ProcessFigures:
        up = [process for process in self.figures().processes if process.role == event.target and process.pid]
        return sorted(up, key=lambda process: process.name)[event.choice % len(up)]

    def figures(self) -> InstanceFigures:
        """What the instance says of itself, asked of its supervisor."""
        return msgspec.json.decode(self.stats(), type=InstanceFigures)

    def stats(self) -> bytes:
        """The same as it came."""
        return ask_for_figures(self._instance.runtime_dir)

    # ---- viewers -----------------------------------------------------------------------------------------

    def _slow(self, event: Event, one: Disturbance) -> None:
        watcher = self._watchers[event.choice % len(self._watchers)]
        one.viewers.add(watcher.name)
        watcher.slow(event.seconds)
        one.over_s = one.start_s + event.seconds

    def _cut(self, event: Event, one: Disturbance) -> None:
        watcher = self._watchers[event.choice % len(self._watchers)]
        one.viewers.add(watcher.name)
        one.over_s = one.cuts_until_s = one.start_s + 1.0
        watcher.cut()

    # ---- floods ------------------------------------------------------------------------------------------

    def _connections(self, event: Event, one: Disturbance) -> None:
        address = self._address(event.target)
        reset = struct.pack("ii", 1, 0)
        for number in range(CONNECTIONS):
            with socket.create_connection(address, timeout=30) as sock:
                if number % 2:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        one.over_s = time.monotonic()

    def _requests(self, event: Event, one: Disturbance) -> None:
        address = self._address(event.target)
        for number in range(REQUESTS // 10):
            try:
                with socket.create_connection(address, timeout=30) as sock:
                    for _ in range(10):
                        sock.sendall(self._garbage() if number % 2 else self._dice.choice(_HEADS) % number)
            except (ConnectionResetError, BrokenPipeError):
                pass  # it was shown the door
        one.over_s = time.monotonic()

    def _datagrams(self, _event: Event, one: Disturbance) -> None:
        ports = [watcher.ports for watcher in self._watchers if isinstance(watcher, UdpWatcher)]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for _ in range(DATAGRAMS):
                for port in self._dice.choice(ports):
                    sock.sendto(self._garbage(), ("127.0.0.1", port))
        one.over_s = time.monotonic()

    def _messages(self, event: Event, one: Disturbance) -> None:
        pattern = event.target if event.target == "control" else f"{event.target}-*"
        paths = sorted(self._instance.runtime_dir.glob(pattern))
        path = paths[event.choice % len(paths)]
        context = zmq.Context()
        with context.socket(zmq.XSUB if event.target == "capture" else zmq.DEALER) as sock:
            sock.linger = 0
            sock.connect(f"ipc://{path}")
            for number in range(MESSAGES):
                parts = [self._garbage() for _ in range(1 + number % 3)]
                if event.target == "capture":
                    parts = parts[:1] if number % 50 else [b"\1"]
                if not sock.poll(1000, zmq.POLLOUT):
                    break  # the socket of one that was killed, and has not come again
                sock.send_multipart(parts)
        context.term()
        one.over_s = time.monotonic()

    def _garbage(self) -> bytes:
        return self._dice.randbytes(self._dice.randrange(1, GARBAGE_BYTES_MAX))

    def _address(self, scheme: str) -> tuple[str, int]:
        url = self._instance.rtsp("file") if scheme == "rtsp" else self._instance.http_base()
        host, port = url.split("/")[2].rsplit(":", 1)
        return host, int(port)

    # ---- orders ------------------------------------------------------------------------------------------

    def _reload(self, event: Event, one: Disturbance) -> None:
        self._wait_for_order()
        words, code = ["reload"], 0
        if event.target == "servers":
            words.append("--servers")
        elif event.target == "wrong":
            code = 78
        else:  # streams come and go with bit 0, another setting with bit 1
            self._written ^= 1 if event.target == "streams" else 2
        text = self._settings(self._written)
        path: Path = self._instance.settings_file
        path.write_text(text + "[nothing]\n" if event.target == "wrong" else text)
        self._give_order(one, words, code, lambda: path.write_text(text))

    def _scale(self, event: Event, one: Disturbance) -> None:
        self._wait_for_order()
        self._give_order(one, ["scale", event.target, str(1 + event.choice % 3)])

    def _give_order(
        self, one: Disturbance, words: list[str], code: int = 0, then: Callable[[], object] = lambda: None
    ) -> None:
        one.servers |= {process.name for process in self.figures().processes if process.role == "server"}
        one.cuts_until_s = _FOREVER_S

        def wait() -> None:
            line = [command(), *words, "--runtime-dir", str(self._instance.runtime_dir)]
            try:
                done = subprocess.run(line, capture_output=True, text=True, timeout=ORDER_WITHIN_S, check=False)
                if done.returncode != code:
                    one.fault = f"{' '.join(words)}: exit code {done.returncode}: {done.stdout}{done.stderr}"
            except subprocess.TimeoutExpired:
                one.fault = f"{' '.join(words)}: nothing after {ORDER_WITHIN_S} s"
            then()
            one.over_s = time.monotonic()
            one.cuts_until_s = one.over_s + DRAIN_S + START_S

        self._order = threading.Thread(target=wait, name="order")
        self._order.start()

    def _wait_for_order(self) -> None:
        if self._order is not None:
            self._order.join()
            self._order = None
