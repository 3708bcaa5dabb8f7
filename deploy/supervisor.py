"""The loop that starts the processes, hears them, sees them die, and carries out what `policy` decides.

Signal handlers only note; the death of a child makes its pidfd readable; so one poller wakes for everything.
Media never passes through here: a supervisor that is slow, or gone, hurts no picture while it is.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import msgspec
import zmq

from common import config as settings
from common import logs, sockets, wire
from common.clock import now_us
from common.endpoints import capture_endpoint, control_endpoint, muxer_endpoint
from common.errors import EXIT_CRASH, EXIT_SETTINGS, MessageError
from common.figures import ProcessFigures, RoleFigures
from common.messages import Figures, FiguresRequest, Ready, Report
from common.role import SUPERVISOR_PID_VARIABLE
from deploy import policy as policies
from deploy.runtime import RuntimeDirectory, default_directory, hold_port, resolve, shown_host
from deploy.stats import Meter, merge

FIGURES_AGE_MAX_US = 100_000  # many askers at once share one answer
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_MESSAGES_A_TURN_MAX = 1000
_Say = Callable[[str], None]


class Signals:
    """The stop signals, noted from entering the context on: `wake_fd` is readable, `take` tells which.

    They stay noted, not deadly, after it is left: the process is about to end with its own exit code.
    """

    def __enter__(self) -> "Signals":
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        signal.set_wakeup_fd(self._wake_out.fileno(), warn_on_full_buffer=False)
        for number in _STOP_SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup is respected
                signal.signal(number, lambda *_: None)
        self.wake_fd = self._wake_in.fileno()
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(-1)
        self._wake_in.close()
        self._wake_out.close()

    def take(self) -> list[signal.Signals]:
        """The stop signals since the last call."""
        return [signal.Signals(number) for number in self._wake_in.recv(512) if number in _STOP_SIGNALS]


class Child(msgspec.Struct):
    """One life of one process."""

    name: str
    popen: subprocess.Popen[bytes]
    pidfd: int


def command_lines(config: settings.Config, settings_file: Path) -> dict[str, tuple[str, list[str]]]:
    """The processes of an instance by name: role and arguments, the same in every life."""
    common = ["--config", str(settings_file)]
    lines: dict[str, tuple[str, list[str]]] = {}
    for index in range(config.processes.muxers):
        lines[f"muxer-{index}"] = ("muxer", [*common, "--index", str(index)])
    for stream in config.streams:
        lines[f"capture-{stream}"] = ("capture", [*common, "--stream", stream])
    for index in range(config.processes.servers):
        lines[f"server-{index}"] = ("server", [*common, "--index", str(index)])
    return lines


def death_in_words(return_code: int) -> str:
    """Why a process ended, from Popen's return code."""
    if return_code < 0:
        try:
            return f"killed by {signal.Signals(-return_code).name}"
        except ValueError:
            return f"killed by signal {-return_code}"
    if return_code == EXIT_SETTINGS:
        return f"its settings are wrong (exit code {return_code}): see its own line above"
    return f"exit code {return_code}" if return_code else "ended without being asked to (exit code 0)"


def serve(config: settings.Config, say: _Say, limits: policies.Limits | None = None) -> int:
    """Run one instance until it is told to stop; returns the exit code.

    say: prints text for the user who started it. Raises SettingsError before anything is started.
    """
    logs.configure(config.log.level, "supervisor")
    address = resolve(config.host)[1]
    directory = Path(os.path.abspath(config.runtime_dir or default_directory()))
    _check_endpoints(config, directory)
    with ExitStack() as held:
        signals = held.enter_context(Signals())
        runtime = held.enter_context(RuntimeDirectory(directory))
        rtsp = held.enter_context(hold_port(config.host, config.rtsp.port, "--rtsp-port"))
        http = held.enter_context(hold_port(config.host, config.http.port, "--http-port"))
        replace = msgspec.structs.replace
        config = replace(
            config,
            host=address,
            runtime_dir=str(directory),
            rtsp=replace(config.rtsp, port=rtsp.getsockname()[1]),
            http=replace(config.http, port=http.getsockname()[1]),
        )
        settings_file = runtime.write_settings(settings.dump(config))
        loop = Supervisor(config, settings_file, signals, say, limits or policies.Limits())
        return held.enter_context(loop).run()


def _check_endpoints(config: settings.Config, directory: Path) -> None:
    """Raises SettingsError where a socket's path would be too long."""
    for stream in config.streams:
        capture_endpoint(str(directory), stream)
    muxer_endpoint(str(directory), config.processes.muxers - 1)
    control_endpoint(str(directory))


class Supervisor:
    """The processes of one instance, from entering to leaving the context; `run` is the loop."""

    def __init__(
        self,
        config: settings.Config,
        settings_file: Path,
        signals: Signals,
        say: _Say,
        limits: policies.Limits,
    ) -> None:
        self._config = config
        self._signals = signals
        self._say = say
        self._log = logs.logger()
        self._commands = command_lines(config, settings_file)
        roles = [(role, name) for name, (role, _) in self._commands.items()]
        self._policy = policies.Policy(roles, limits, now_us())
        self._children: dict[int, Child] = {}  # by pid
        self._by_pidfd: dict[int, Child] = {}
        self._reports: dict[str, RoleFigures] = {}
        self._refused = 0
        self._meter = Meter()
        self._figures = b""
        self._figures_us = -FIGURES_AGE_MAX_US
        self._started_us = now_us()
        self._exit_code: int | None = None
        self._poller = zmq.Poller()

    def __enter__(self) -> "Supervisor":
        self._context: sockets.Context = zmq.Context()
        self._control = sockets.control_server(self._context, control_endpoint(self._config.runtime_dir))
        self._poller.register(self._control, zmq.POLLIN)
        self._poller.register(self._signals.wake_fd, zmq.POLLIN)
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._children.values():  # none, unless a fault of ours, or of the kernel's, left some
            child.popen.kill()
            os.close(child.pidfd)
        self._control.close()
        self._context.term()

    def run(self) -> int:
        """Until everything has ended; returns the exit code."""
        now = now_us()
        self._act(self._policy.tick(now), now)
        while self._exit_code is None:
            wait_us = self._policy.next_us(now) - now_us()
            events = dict(self._poller.poll(max(0, -(-wait_us // 1000))))
            now = now_us()
            if self._signals.wake_fd in events:
                self._obey(now)
            if self._control in events:
                self._hear(now)
            for child in [self._by_pidfd[fd] for fd in events if fd in self._by_pidfd]:
                self._bury(child, now)
            self._act(self._policy.tick(now), now)
            if self._meter.due(now):
                self._meter.read([os.getpid(), *self._children], now)
        return self._exit_code

    # ---- observations ------------------------------------------------------------------------------------

    def _obey(self, now: int) -> None:
        """Stop at the first signal; at a second Ctrl-C, at once."""
        for number in self._signals.take():
            if not self._policy.stopping:
                self._log.info("stopping", reason=number.name)
                self._act(self._policy.stop(now), now)
            elif number is signal.SIGINT:
                self._act(self._policy.hurry(), now)

    def _hear(self, now: int) -> None:
        for _ in range(_MESSAGES_A_TURN_MAX):
            try:
                asker, *frames = self._control.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                self._heard(asker, wire.decode(frames)[0], now)
            except (MessageError, msgspec.DecodeError):
                self._refused += 1

    def _heard(self, asker: bytes, message: object, now: int) -> None:
        if isinstance(message, FiguresRequest):
            reply = wire.encode(Figures(message.request, self._current_figures(now)))
            self._control.send_multipart([asker, *reply], zmq.NOBLOCK)
            return
        if not isinstance(message, Ready | Report):
            raise MessageError("not for a supervisor")
        child = self._children.get(message.pid)
        if child is None:
            raise MessageError("from no process of this instance, or from one that has died since")
        if isinstance(message, Ready):
            self._policy.ready(child.name, now)
        else:
            self._reports[child.name] = msgspec.json.decode(message.figures, type=RoleFigures)
            self._policy.heard(child.name, now)

    def _bury(self, child: Child, now: int) -> None:
        return_code = child.popen.wait()
        self._poller.unregister(child.pidfd)
        os.close(child.pidfd)
        del self._by_pidfd[child.pidfd]
        del self._children[child.popen.pid]
        self._reports.pop(child.name, None)
        self._act(self._policy.died(child.name, now, return_code, death_in_words(return_code)), now)

    # ---- actions -----------------------------------------------------------------------------------------

    def _act(self, actions: list[policies.Action], now: int) -> None:
        for action in actions:
            match action:
                case policies.Start(name):
                    self._start(name, now)
                case policies.Terminate(name):
                    self._signal(name, signal.SIGTERM)
                case policies.Kill(name):
                    self._signal(name, signal.SIGKILL)
                case policies.Note():
                    self._note(action)
                case policies.AllUp():
                    self._log.info("ready", processes=len(self._commands))
                    self._say(self._greeting())
                case policies.Finish(exit_code):
                    self._exit_code = exit_code

    def _start(self, name: str, now: int) -> None:
        role, arguments = self._commands[name]
        try:
            # -P: a folder that happens to be called `server` where the user stands is none of ours.
            popen = subprocess.Popen(
                [sys.executable, "-P", "-m", role, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=2,  # what a role says is log; stdout is the supervisor's own
                env={**os.environ, SUPERVISOR_PID_VARIABLE: str(os.getpid())},
                process_group=0,  # Ctrl-C is the supervisor's to handle, in its order
            )
        except OSError as error:
            reason = f"cannot be started: {error.strerror}"
            self._act(self._policy.died(name, now, EXIT_CRASH, reason), now)
            return
        child = Child(name, popen, os.pidfd_open(popen.pid))
        self._children[popen.pid] = self._by_pidfd[child.pidfd] = child
        self._poller.register(child.pidfd, zmq.POLLIN)

    def _signal(self, name: str, number: signal.Signals) -> None:
        for child in self._children.values():
            if child.name == name:
                signal.pidfd_send_signal(child.pidfd, number)  # not reaped before `_bury`: never a stranger

    def _note(self, note: policies.Note) -> None:
        fields: dict[str, object] = {"name": note.name, "reason": note.reason}
        if note.retry_ms is not None:
            fields["retry_ms"] = note.retry_ms
        if note.event in ("process_failed", "instance_failed"):
            self._log.error(note.event, **fields)
        else:
            self._log.warning(note.event, **fields)

    def _greeting(self) -> str:
        host = shown_host(self._config.host)
        rtsp, http = self._config.rtsp.port, self._config.http.port
        lines = ["ready"]
        for stream in self._config.streams:
            if self._policy.processes[f"capture-{stream}"].state is not policies.State.FAILED:
                lines += [f"rtsp://{host}:{rtsp}/{stream}", f"http://{host}:{http}/{stream}.ts"]
        return "\n".join([*lines, f"http://{host}:{http}/api/stats"]) + "\n"

    # ---- figures -----------------------------------------------------------------------------------------

    def _current_figures(self, now: int) -> bytes:
        if now - self._figures_us >= FIGURES_AGE_MAX_US:
            self._figures_us = now
            self._figures = self._collect_figures(now)
        return self._figures

    def _collect_figures(self, now: int) -> bytes:
        pids = {child.name: pid for pid, child in self._children.items()}
        usage = self._meter.read([os.getpid(), *self._children], now)
        own = usage[os.getpid()]
        processes = [
            ProcessFigures(
                role="supervisor", name="supervisor", pid=os.getpid(), state="up",
                cpu_percent=own.cpu_percent, rss_bytes=own.rss_bytes,
                uptime_s=(now - self._started_us) / 1e6, restarts=0,
                counters={"messages_refused": self._refused},
            )
        ]  # fmt: skip
        for process in self._policy.processes.values():
            pid = pids.get(process.name, 0)
            taken = usage.get(pid, None)
            processes.append(
                ProcessFigures(
                    role=process.role, name=process.name, pid=pid, state=process.state.value,
                    cpu_percent=taken.cpu_percent if taken else 0.0,
                    rss_bytes=taken.rss_bytes if taken else 0,
                    uptime_s=(now - process.started_us) / 1e6 if pid else 0.0, restarts=process.restarts,
                )
            )  # fmt: skip
        failed = {
            stream: self._policy.processes[f"capture-{stream}"].reason
            for stream in self._config.streams
            if self._policy.processes[f"capture-{stream}"].state is policies.State.FAILED
        }
        return msgspec.json.encode(merge(self._config, processes, self._reports, failed))
