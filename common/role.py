"""The shell every role process runs in: settings, log, signals, and the line to the supervisor.

A role's `worker.py` is given a `Role` and runs its loop until `role.stopping`; it adds `role.wake_fd` to what
it polls, calls `role.ready()` when it is up and `role.tick(now_us, figures)` on every turn. Signal handlers
only note; the loop acts. A role that the supervisor started dies with it, even when it is killed with -9.
"""

import argparse
import ctypes
import gc
import os
import signal
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
import zmq

from common import config as settings
from common import keys, logs, sockets, wire
from common.endpoints import control_endpoint
from common.errors import (
    EXIT_CRASH,
    EXIT_NO_MEMORY,
    EXIT_OK,
    EXIT_SETTINGS,
    FramegateError,
    MessageError,
    SettingsError,
)
from common.figures import RoleFigures
from common.lines import End, Far, Lines
from common.messages import Drain, Figures, FiguresRequest, Ready, Reconfigure, Reconfigured, Report

if TYPE_CHECKING:
    from common.far_lines import FarLines

REPORT_INTERVAL_US = 1_000_000
HEAR_INTERVAL_US = 100_000
READY_WAIT_MS = 1000
LAST_WORD_MS = 500
GC_THRESHOLD = 50_000  # new objects before the collector looks
SUPERVISOR_PID_VARIABLE = "FRAMEGATE_SUPERVISOR_PID"
_PR_SET_PDEATHSIG = 1


class Role:
    """One process in a role, until `close`.

    config: the settings; `take_changes` says when others have come. draining: no new work is to be begun.
    lines: where the lines to other processes are, by the settings.
    """

    def __init__(self, role: str, name: str, config: settings.Config, config_file: str = "") -> None:
        self.role = role
        self.name = name
        self.config = config
        self.draining = False
        self._config_file = config_file
        self._changed = False
        self._generation = 0
        self._answers: list[Figures] = []
        self._hear_at_us = 0
        self.log = logs.Logger()
        self.context: sockets.Context = zmq.Context()
        self.stopping = False
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._report_at_us = 0
        self._linger_ms = sockets.LINGER_MS
        self._keys = keys.load(config.hosts[config.here].key_file) if config.hosts else None
        self.lines = Lines(config, self._keys)
        self._far_lines = self._met(config)
        self._control = sockets.control_client(self.context, control_endpoint(config.runtime_dir))
        signal.set_wakeup_fd(self._wake_out.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note_stop)

    @property
    def wake_fd(self) -> int:
        """Readable after a signal, which has set `stopping`."""
        return self._wake_in.fileno()

    def ready(self, ports: dict[str, int] | None = None) -> None:
        """Tell the supervisor that this process does its work now."""
        if SUPERVISOR_PID_VARIABLE in os.environ:
            self._control.poll(READY_WAIT_MS, zmq.POLLOUT)  # a new line takes a moment to stand
        self._tell(wire.encode(Ready(self.role, self.name, os.getpid(), ports or {})))
        self.log.info("ready", **(ports or {}))
        # What is here now stays; what comes and goes with each frame makes no cycles. Unfrozen, the collector took
        # a quarter of a muxer's time.
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD)

    def tick(self, now_us: int, figures: Callable[[], RoleFigures]) -> None:
        """Send the report when it is due, and hear what the supervisor says."""
        if now_us >= self._hear_at_us:
            self._hear_at_us = now_us + HEAR_INTERVAL_US
            self._hear()
        if self._far_lines is not None:
            self._far_lines.look(now_us)
        if now_us >= self._report_at_us:
            self._report_at_us = now_us + REPORT_INTERVAL_US
            report = figures()
            report.counters["log_lines_lost"] = logs.lines.lost
            self._report(report)

    def tell_fault(self, fault: str) -> None:
        """The last report: why there will be no more. Waits a moment, so that it is heard before we are gone."""
        self._report(RoleFigures(fault=fault))
        self._linger_ms = LAST_WORD_MS

    def take_changes(self) -> bool:
        """Whether `config` has changed since the last call: work by it now, then say `reconfigured`."""
        changed, self._changed = self._changed, False
        return changed

    def reconfigured(self) -> None:
        """Tell the supervisor that this process works by the new settings."""
        self.log.info("reconfigured", generation=self._generation)
        self._tell(wire.encode(Reconfigured(self.name, os.getpid(), self._generation)))

    def watch(self, name: str, socket: sockets.Socket, end: End) -> None:
        """Look after a line that this process has reached out for; on this host there is nothing to look after."""
        if self._far_lines is not None and isinstance(end, Far):
            self._far_lines.watch(name, socket, end)

    def leave(self, socket: sockets.Socket) -> None:
        """Close such a line."""
        if self._far_lines is not None:
            self._far_lines.leave(socket)
        socket.close()

    @property
    def control(self) -> sockets.Socket:
        """The line to the supervisor, to poll (edge-triggered) where `ask_figures` is used."""
        return self._control

    def ask_figures(self, request: int, metrics: bool = False) -> bool:
        """Ask the supervisor for all figures; False where there is none. `figures_answers` has the answer."""
        return self._tell(wire.encode(FiguresRequest(request, metrics)))

    def figures_answers(self) -> list[Figures]:
        """The answers that have come since the last call."""
        self._hear()
        answers, self._answers = self._answers, []
        return answers

    def close(self) -> None:
        """Release the sockets. The process is about to end."""
        signal.set_wakeup_fd(-1)
        if self._far_lines is not None:
            self._far_lines.close()
        self._control.close(self._linger_ms)
        self.context.destroy(linger=0)  # also what a loop has left open that could not begin: it must not wait
        self._wake_in.close()
        self._wake_out.close()

    def _note_stop(self, _number: int, _frame: object) -> None:
        self.stopping = True

    def _met(self, config: settings.Config) -> "FarLines | None":
        """The lines to other hosts; None where there are none."""
        if self._keys is None:
            return None
        from common.far_lines import FarLines  # with a thread and asyncio, for those who need it

        far_lines = FarLines(self.context, self.log)
        far_lines.allow(host.public_key for host in config.hosts.values())
        return far_lines

    def _report(self, figures: RoleFigures) -> None:
        if self._far_lines is not None:
            figures.counters |= self._far_lines.counters
        self._tell(wire.encode(Report(self.role, self.name, os.getpid(), msgspec.json.encode(figures))))

    def _hear(self) -> None:
        while (frames := sockets.receive(self._control)) is not None:
            try:
                message, _ = wire.decode(frames)
            except MessageError as error:
                self.log.debug("message_refused", sender="supervisor", reason=str(error))
                continue
            match message:
                case Figures():
                    self._answers.append(message)
                case Reconfigure(generation):
                    self._reconfigure(generation)
                case Drain():
                    self.draining = True

    def _reconfigure(self, generation: int) -> None:
        try:
            self.config = settings.load(self._config_file)
        except SettingsError as error:  # the supervisor has checked it: somebody else wrote there since
            self.log.error("reconfigure_failed", reason=str(error))
            return
        self._generation = generation
        self._changed = True
        self.lines = Lines(self.config, self._keys)
        if self._far_lines is not None:
            self._far_lines.allow(host.public_key for host in self.config.hosts.values())
        logs.configure(self.config.log, self.name)

    def _tell(self, frames: list[wire.Buffer]) -> bool:
        try:
            sockets.send(self._control, frames)
        except zmq.Again:
            return False  # no supervisor (started by hand), or a hanging one: the missing report says enough
        return True


def run(role: str, name: str, config_file: str, loop: Callable[[Role], None]) -> int:
    """Run `loop` as one process in a role; returns its exit code (`common.errors`)."""
    _die_with_the_supervisor()
    try:
        config = settings.load(config_file)
        if not config.runtime_dir:
            raise SettingsError(f"{config_file}: name the supervisor's directory here: runtime_dir is empty")
        logs.configure(config.log, name)
        shell = Role(role, name, config, config_file)
        try:
            loop(shell)
        except SettingsError as error:
            shell.tell_fault(str(error))
            raise
        finally:
            shell.close()
    except SettingsError as error:
        logs.lines.write(f"framegate {name}: {error}\n")
        return EXIT_SETTINGS
    except FramegateError as error:
        logs.lines.write(f"framegate {name}: {error}\n")
        return EXIT_CRASH
    except MemoryError as error:
        logs.lines.write(f"framegate {name}: out of memory: {str(error) or 'no more can be had'}\n")
        return EXIT_NO_MEMORY
    return EXIT_OK


def arguments(role: str, description: str) -> argparse.ArgumentParser:
    """The argument parser of `python -m ROLE`, with what all roles have."""
    parser = argparse.ArgumentParser(prog=f"framegate {role}", description=description)
    parser.add_argument(
        "--config", required=True, metavar="FILE",
        help="the settings; the supervisor's own are framegate.toml in its runtime directory",
    )  # fmt: skip
    return parser


def _die_with_the_supervisor() -> None:
    parent = os.environ.get(SUPERVISOR_PID_VARIABLE)
    if parent is None:
        return  # started by hand
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(parent):  # it died before the call above
        os._exit(EXIT_CRASH)
