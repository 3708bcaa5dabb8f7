"""The loop that starts the processes, hears them, sees them die, and carries out what `policy` decides.

Signal handlers only note; the death of a child makes its pidfd readable; so one poller wakes for everything.
Media never passes through here: a supervisor that is slow, or gone, hurts no picture while it is.
"""

import os
import secrets
import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import msgspec
import zmq

from common import config as settings
from common import logs, sockets, wire
from common.captures import process_of, processes_of
from common.clock import now_us
from common.endpoints import control_endpoint
from common.errors import EXIT_CRASH, MessageError
from common.figures import InstanceFigures, ProcessFigures, RoleFigures
from common.instance import default_directory
from common.messages import (
    Drain,
    Figures,
    FiguresRequest,
    Message,
    Order,
    Ready,
    Reconfigure,
    Reconfigured,
    Report,
)
from deploy import changes
from deploy import policy as policies
from deploy.children import Child, Children
from deploy.deaths import in_words
from deploy.generations import Asker, Generations, check_endpoints, waits_of
from deploy.metrics import exposition
from deploy.runtime import RuntimeDirectory, hold_port, resolve, shown_host
from deploy.signals import Signals
from deploy.stats import Meter, merge
from deploy.systemd import Notifier

FIGURES_AGE_MAX_US = 100_000  # many askers at once share one answer
_MESSAGES_A_TURN_MAX = 1000
_SECRET_BYTES = 32
_Say = Callable[[str], None]


def command_line(name: str, settings_file: Path) -> tuple[str, list[str]]:
    """The role and the arguments of a process, the same in every life."""
    kind, _, which = name.partition("-")
    role, option = {"capture": ("capture", "--stream"), "files": ("capture", "--files")}.get(
        kind, (kind, "--index")
    )
    return role, ["--config", str(settings_file), option, which]


def process_names(config: settings.Config) -> list[tuple[str, str]]:
    """The role and name of each process of an instance that starts."""
    muxers = [("muxer", f"muxer-{index}") for index in range(config.processes.muxers)]
    captures = [("capture", name) for name in processes_of(config)]
    return [*muxers, *captures, *(("server", f"server-{index}") for index in range(config.processes.servers))]


def serve(read: Callable[[], settings.Config], say: _Say, limits: policies.Limits | None = None) -> int:
    """Run one instance until it is told to stop; returns the exit code.

    read: the settings that are asked for, now and at each reload. say: prints text for the user who started it.
    Raises SettingsError before anything is started.
    """
    asked = config = read()
    logs.configure(config.log, "supervisor")
    address = resolve(config.host)[1]
    directory = Path(os.path.abspath(config.runtime_dir or default_directory()))
    check_endpoints(msgspec.structs.replace(config, runtime_dir=str(directory)))
    with ExitStack() as held:
        notifier = Notifier(os.environ)
        signals = held.enter_context(Signals())
        runtime = held.enter_context(RuntimeDirectory(directory))
        replace = msgspec.structs.replace
        if config.processes.servers:
            rtsp = held.enter_context(hold_port(config.host, config.rtsp.port, "--rtsp-port"))
            http = held.enter_context(hold_port(config.host, config.http.port, "--http-port"))
            for name, port in (("rtsp.tls_port", config.rtsp.tls_port), ("http.tls_port", config.http.tls_port)):
                if port:
                    held.enter_context(hold_port(config.host, port, name))
            config = replace(
                config,
                rtsp=replace(config.rtsp, port=rtsp.getsockname()[1]),
                http=replace(config.http, port=http.getsockname()[1]),
            )
        config = replace(
            config,
            host=address,
            runtime_dir=str(directory),
            auth=replace(config.auth, secret=config.auth.secret or secrets.token_hex(_SECRET_BYTES)),
        )
        settings_file = runtime.write_settings(settings.dump(config))

        def write(new: settings.Config) -> None:
            runtime.write_settings(settings.dump(new))

        limits = limits or policies.Limits(**waits_of(config.processes))
        generations = Generations(read, asked, config, write, logs.Logger())
        loop = Supervisor(generations, settings_file, signals, notifier, say, limits)
        return held.enter_context(loop).run()


class Supervisor:
    """The processes of one instance, from entering to leaving the context; `run` is the loop."""

    def __init__(
        self,
        generations: Generations,
        settings_file: Path,
        signals: Signals,
        notifier: Notifier,
        say: _Say,
        limits: policies.Limits,
    ) -> None:
        self._generations = generations
        self._settings_file = settings_file
        self._signals = signals
        self._notifier = notifier
        self._say = say
        self._log = logs.Logger()
        self._policy = policies.Policy(process_names(generations.config), limits, now_us())
        self._children = Children(generations.config.limits)
        self._lines: dict[str, bytes] = {}  # the way to each process that has spoken, by its name
        self._reports: dict[str, RoleFigures] = {}
        self._faults: dict[str, str] = {}  # the setting that ended a process, by its name; may be empty
        self._refused = 0
        self._meter = Meter()
        self._figures = InstanceFigures()
        self._figures_us = -FIGURES_AGE_MAX_US
        self._started_us = now_us()
        self._exit_code: int | None = None
        self._tick_us = now_us()  # when the policy may have something to be done
        self._poller = zmq.Poller()

    def __enter__(self) -> "Supervisor":
        self._context: sockets.Context = zmq.Context()
        endpoint = control_endpoint(self._config.runtime_dir)
        self._control = sockets.control_server(self._context, endpoint)
        self._poller.register(self._control, zmq.POLLIN)
        self._poller.register(self._signals.wake_fd, zmq.POLLIN)
        return self

    def __exit__(self, *_: object) -> None:
        self._children.close()
        self._control.close()
        self._context.term()

    def run(self) -> int:
        """Until everything has ended; returns the exit code."""
        now = now_us()
        self._tick(now)
        while self._exit_code is None:
            self._notifier.tick(now)
            due = [self._tick_us, self._notifier.due_us, self._generations.due_us]
            wait_us = min(at for at in due if at is not None) - now_us()
            events = dict(self._poller.poll(max(0, -(-wait_us // 1000))))
            now = now_us()
            if self._signals.wake_fd in events:
                self._obey(now)
            if self._control in events:
                self._hear(now)
            for child in [child for child in self._children if child.pidfd in events]:
                self._bury(child, now)
            if now >= self._tick_us:
                self._tick(now)
            self._change(now)
            if self._meter.due(now):
                self._measure(now)
        return self._exit_code

    def _tick(self, now: int) -> None:
        self._act(self._policy.tick(now), now)
        self._tick_us = self._policy.next_us(now)

    # ---- observations ------------------------------------------------------------------------------------

    def _obey(self, now: int) -> None:
        """Stop at the first signal that asks for it; at a second Ctrl-C, at once."""
        self._tick_us = now
        for number in self._signals.take():
            if not self._signals.asks_stop(number):
                self._generations.order(Asker(), Order(0, "reload"))
            elif not self._policy.stopping:
                self._log.info("stopping", reason=number.name)
                self._notifier.stopping()
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
            figures = self._current_figures(now)
            text = exposition(figures) if message.metrics else msgspec.json.encode(figures)
            reply = wire.encode(Figures(message.request, text))
            self._control.send_multipart([asker, *reply], zmq.NOBLOCK)
            return
        if isinstance(message, Order):
            self._generations.order(Asker(asker, message.request), message)
            return
        if not isinstance(message, Ready | Report | Reconfigured):
            raise MessageError("not for a supervisor")
        child = self._children.by_pid(message.pid)
        if child is None:
            raise MessageError("from no process of this instance, or from one that has died since")
        self._lines[child.name] = asker
        if isinstance(message, Report):  # that somebody lives makes nothing due any sooner
            report, before = msgspec.json.decode(message.figures, type=RoleFigures), self._reports.get(child.name)
            if report.same_viewers and before is not None:
                report.viewers, report.deliveries = before.viewers, before.deliveries
            self._reports[child.name] = report
            self._policy.heard(child.name, now)
            return
        self._tick_us = now
        if isinstance(message, Ready):
            self._policy.ready(child.name, now)
            if self._policy.processes[child.name].generation != self._policy.generation:
                self._tell(child.name, Reconfigure(self._policy.generation))
        else:
            self._policy.processes[child.name].generation = message.generation

    def _bury(self, child: Child, now: int) -> None:
        self._tick_us = now
        self._poller.unregister(child.pidfd)
        self._hear(now)  # its last report, which says more than its exit code
        death = self._children.bury(child)
        report = self._reports.pop(child.name, None)
        self._faults[child.name] = report.fault if report is not None else ""
        self._lines.pop(child.name, None)
        self._act(self._policy.died(child.name, now, death.exit_code, in_words(death)), now)

    def _measure(self, now: int) -> None:
        """Look at what each process takes; due once a second."""
        usage = self._meter.read([os.getpid(), *(child.popen.pid for child in self._children)], now)
        self._children.seen({pid: taken.rss_bytes for pid, taken in usage.items()})

    # ---- actions -----------------------------------------------------------------------------------------

    def _act(self, actions: list[policies.Action], now: int) -> None:
        for action in actions:
            match action:
                case policies.Start(name):
                    self._start(name, now)
                case policies.Terminate(name):
                    self._children.signal(name, signal.SIGTERM)
                case policies.Kill(name):
                    self._children.signal(name, signal.SIGKILL)
                case policies.Drain(name):
                    self._tell(name, Drain())
                case policies.Note():
                    self._note(action)
                case policies.AllUp():
                    self._log.info("ready", processes=len(self._policy.processes))
                    self._say(self._greeting())
                    self._notifier.up(self._status())
                case policies.Finish(exit_code):
                    self._exit_code = exit_code

    def _start(self, name: str, now: int) -> None:
        role, arguments = command_line(name, self._settings_file)
        try:
            child = self._children.start(name, role, arguments)
        except OSError as error:
            reason = f"cannot be started: {error.strerror}"
            self._act(self._policy.died(name, now, EXIT_CRASH, reason), now)
            return
        self._poller.register(child.pidfd, zmq.POLLIN)

    def _tell(self, name: str, message: Message) -> None:
        """Send this to a process; one that has not spoken yet reads the settings as they are, and is told then."""
        line = self._lines.get(name)
        if line is not None:
            self._control.send_multipart([line, *wire.encode(message)], zmq.NOBLOCK)

    def _change(self, now: int) -> None:
        """Go on with a change of the settings."""
        was_busy = self._generations.busy
        while do := self._generations.tick(self._policy, now):
            config = self._generations.config
            self._children.limits = config.limits
            logs.configure(config.log, "supervisor")
            for act in do:
                self._act(self._change_one(act, now), now)
            self._tick(now)
        for asker, outcome in self._generations.outcomes:
            self._control.send_multipart([asker.line, *wire.encode(outcome)], zmq.NOBLOCK)
        self._generations.outcomes.clear()
        if self._generations.busy and not was_busy:
            self._notifier.reloading(now)
        elif was_busy and not self._generations.busy:
            self._notifier.up(self._status())

    def _change_one(self, act: changes.Do, now: int) -> list[policies.Action]:
        match act:
            case changes.Add(role, name):
                self._policy.add(role, name)
            case changes.Tell(name):
                self._tell(name, Reconfigure(self._policy.generation))
            case changes.Restart(name):
                return self._policy.restart(name, now)
            case changes.Retire(name):
                return self._policy.retire(name, now)
            case changes.Replace(name):
                return self._policy.drain(name, now)
        return []

    def _status(self) -> str:
        return f"{len(self._config.streams)} streams, {len(self._policy.processes)} processes"

    @property
    def _config(self) -> settings.Config:
        return self._generations.config

    def _note(self, note: policies.Note) -> None:
        fields: dict[str, object] = {"name": note.name, "reason": note.reason}
        if note.retry_ms is not None:
            fields["retry_ms"] = note.retry_ms
        if note.event in ("process_failed", "instance_failed", "crash_loop", "process_hung"):
            self._log.error(note.event, **fields)
        elif note.event == "process_gone":
            self._log.info(note.event, **fields)
        else:
            self._log.warning(note.event, **fields)

    def _greeting(self) -> str:
        host = shown_host(self._config.host)
        rtsp, http = self._config.rtsp, self._config.http
        lines = ["ready"]
        if not self._config.processes.servers:
            return "ready\n"  # nobody can watch on this host
        for stream in self._config.streams:
            if not self._has_failed(stream):
                lines += [f"rtsp://{host}:{rtsp.port}/{stream}", f"http://{host}:{http.port}/{stream}.ts"]
                lines += [f"rtsps://{host}:{rtsp.tls_port}/{stream}"] if rtsp.tls_port else []
                lines += [f"https://{host}:{http.tls_port}/{stream}.ts"] if http.tls_port else []
        return "\n".join([*lines, f"http://{host}:{http.port}/api/stats"]) + "\n"

    def _has_failed(self, stream: str) -> bool:
        capture = self._policy.processes.get(process_of(self._config, stream))
        return capture is not None and capture.state is policies.State.FAILED

    # ---- figures -----------------------------------------------------------------------------------------

    def _current_figures(self, now: int) -> InstanceFigures:
        if now - self._figures_us >= FIGURES_AGE_MAX_US:
            self._figures_us = now
            self._figures = self._collect_figures(now)
        return self._figures

    def _collect_figures(self, now: int) -> InstanceFigures:
        pids = {child.name: child.popen.pid for child in self._children}
        usage = self._meter.read([os.getpid(), *pids.values()], now)
        own = usage[os.getpid()]
        processes = [
            ProcessFigures(
                role="supervisor", name="supervisor", pid=os.getpid(), state="up",
                cpu_percent=own.cpu_percent, rss_bytes=own.rss_bytes,
                uptime_s=(now - self._started_us) / 1e6, restarts=0,
                counters={"messages_refused": self._refused, "log_lines_lost": logs.lines.lost},
            )
        ]  # fmt: skip
        for process in self._policy.processes.values():
            pid = pids.get(process.name, 0)
            taken = usage.get(pid, None)
            processes.append(
                ProcessFigures(
                    role=process.role, name=process.name, pid=pid, state=self._policy.shown_state(process.name),
                    cpu_percent=taken.cpu_percent if taken else 0.0,
                    rss_bytes=taken.rss_bytes if taken else 0,
                    uptime_s=(now - process.started_us) / 1e6 if pid else 0.0, restarts=process.restarts,
                    reason=process.reason,
                )
            )  # fmt: skip
        failed = {
            stream: self._faults.get(capture) or self._policy.processes[capture].reason
            for stream in self._config.streams
            if self._has_failed(stream) and (capture := process_of(self._config, stream))
        }
        return merge(self._config, processes, self._reports, failed)
