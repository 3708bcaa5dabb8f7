"""What to do about each process, decided from what was seen of it. Pure: observations in, actions out.

Theory of operation
-------------------
The shell tells what it observes (`ready`, `heard`, `died`, `stop`, `hurry`) and asks `tick` what to do, at the
latest at `next_us`. It carries out the actions in their order and decides nothing itself.

    WAITING ──▶ STARTING ──Ready──▶ UP
                   ▲ │              │   death, or silence (killed first)
                   │ ▼              ▼
                  BACKOFF ◀─────────┘        nothing after a long life; else 100 ms, doubled to 10 s by each
                   │                         short life; shown as crash-loop from the fifth death on
                     exit code 78 ─▶ FAILED  never started again: the same settings cannot succeed

    UP ── drain ──▶ DRAINING     a server that ends when its viewers have gone, at the latest after `drain_us`

Rules
- Roles start in the order of ORDER; the next role when every process of the former has settled, or after
  `stage_wait_us`, so that one slow process delays the others but never forbids them.
- At most `starting_max` processes are starting at once: more would only make each other late.
- A muxer or server that finds its settings wrong before the instance is up ends the instance. A capture
  ends only its stream. When a role has no process left that could work, the instance ends.
- Silence is held against a process only while this code itself runs on time: after a pause of the
  supervisor (`doze_us`) all are given a new term.
- A process that is retired or drained is gone for good when it ends; one that is restarted is started again at
  once, and that is no death. Who is asked to end and does not, is killed after `kill_after_us`.
- Stopping: SIGTERM to all, SIGKILL after `kill_after_us`, and after `give_up_us` even what cannot be killed
  is no longer waited for.
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum

import msgspec

from common.errors import EXIT_CRASH, EXIT_OK, EXIT_SETTINGS

ORDER = ("muxer", "capture", "server")
STOP_ORDER = ("server", "capture", "muxer")
TICK_MAX_US = 1_000_000


class Limits(msgspec.Struct, frozen=True):
    """All waits, µs, and two counts. seldom: a life this many times longer than the wait saves it."""

    ready_wait_us: int = 30_000_000  # 16 Python starts at once on a small machine take some 10 s
    silence_us: int = 10_000_000  # ten reports missed
    stage_wait_us: int = 10_000_000
    backoff_us: int = 100_000
    backoff_max_us: int = 10_000_000
    calm_us: int = 30_000_000
    doze_us: int = 5_000_000
    drain_us: int = 3_600_000_000
    kill_after_us: int = 2_000_000
    give_up_us: int = 2_700_000  # the whole stop is promised in 3 s
    starting_max: int = 16
    seldom: int = 20
    crash_loop_deaths: int = 5  # in a row, none after `calm_us` of life


class State(StrEnum):
    """Where a process is in its life. ENDED: gone, while the instance stops."""

    WAITING = "waiting"
    STARTING = "starting"
    UP = "up"
    DRAINING = "draining"
    BACKOFF = "backoff"
    FAILED = "failed"
    ENDED = "ended"


class Process(msgspec.Struct):
    """One process of the instance, over all its lives.

    started_us: begin of this life. heard_us: its last word. due_us: when it is started again, in BACKOFF.
    wait_us: how long the next BACKOFF is, after a short life. killed: why this life was ended by us, else empty.
    reason: why its last life ended. deaths: how many lives in a row ended before they were calm.
    generation: of the settings it works by. leaving: it is not to live again. again: it is to live again at once.
    end_us: when it is asked to end, where that is to come; kill_us: when it is killed if it still lives.
    """

    role: str
    name: str
    state: State = State.WAITING
    started_us: int = 0
    heard_us: int = 0
    due_us: int = 0
    wait_us: int = 0
    restarts: int = 0
    killed: str = ""
    reason: str = ""
    deaths: int = 0
    generation: int = 0
    leaving: bool = False
    again: bool = False
    end_us: int | None = None
    kill_us: int | None = None

    @property
    def running(self) -> bool:
        """Whether an operating system's process exists."""
        return self.state in (State.STARTING, State.UP, State.DRAINING)

    @property
    def settled(self) -> bool:
        """Whether nothing of the start waits for it: a capture that dies again and again holds up nobody."""
        return self.state in (State.UP, State.FAILED) or (self.role == "capture" and self.reason != "")


class Start(msgspec.Struct, frozen=True):
    """Start this process."""

    name: str


class Terminate(msgspec.Struct, frozen=True):
    """Ask this process to end (SIGTERM)."""

    name: str


class Kill(msgspec.Struct, frozen=True):
    """End this process (SIGKILL)."""

    name: str


class Drain(msgspec.Struct, frozen=True):
    """Tell this server to take no new connections, and to end when it has none."""

    name: str


class Note(msgspec.Struct, frozen=True):
    """One line for the log. retry_ms: when the process is started again, None where it is not."""

    event: str
    name: str
    reason: str
    retry_ms: int | None = None


class AllUp(msgspec.Struct, frozen=True):
    """The instance is up. Said once."""


class Finish(msgspec.Struct, frozen=True):
    """Everything has ended: so does the supervisor."""

    exit_code: int


Action = Start | Terminate | Kill | Drain | Note | AllUp | Finish


class Policy:
    """The processes of one instance. `processes`: (role, name) of each, names unique."""

    def __init__(self, processes: Sequence[tuple[str, str]], limits: Limits, now_us: int) -> None:
        ordered = sorted(processes, key=lambda process: ORDER.index(process[0]))
        self.limits = limits
        self.generation = 0  # of the settings that a process reads which is started now
        self.processes = {name: Process(role=role, name=name, wait_us=limits.backoff_us) for role, name in ordered}
        self.stopping = False
        self._exit_code = EXIT_OK
        self._stop_us = 0
        self._killed_all = False
        self.all_up = False
        self._stage = 0  # ORDER[: _stage + 1] may start
        self._stage_us = now_us
        self._tick_us = now_us

    # ---- observations ------------------------------------------------------------------------------------

    def ready(self, name: str, now_us: int) -> None:
        """The process says that it does its work now."""
        process = self.processes[name]
        process.heard_us = now_us
        if process.state is State.STARTING:
            process.state = State.UP

    def heard(self, name: str, now_us: int) -> None:
        """The process has reported."""
        self.processes[name].heard_us = now_us

    def died(self, name: str, now_us: int, exit_code: int, reason: str) -> list[Action]:
        """The process is gone, or could not be started. `reason`: the same in words."""
        process = self.processes[name]
        process.reason = process.killed or reason
        process.end_us = process.kill_us = None
        if self.stopping:
            process.state = State.ENDED
            return []
        if process.leaving:
            del self.processes[name]
            return [Note("process_gone", name, process.killed or "no longer wanted")]
        if process.again:
            process.again = False
            process.state = State.WAITING
            return []
        if exit_code == EXIT_SETTINGS and not process.killed:
            process.state = State.FAILED
            actions: list[Action] = [Note("process_failed", name, process.reason)]
            return actions + self._end_if_hopeless(process, now_us)
        life_us = now_us - process.started_us
        if life_us >= self.limits.calm_us:
            process.wait_us, process.deaths = self.limits.backoff_us, 0
        process.deaths += 1
        process.state = State.BACKOFF
        dies_often = life_us < self.limits.seldom * process.wait_us
        process.due_us = now_us + process.wait_us * dies_often
        note = Note("process_died", name, process.reason, (process.due_us - now_us) // 1000)
        if dies_often:
            process.wait_us = min(2 * process.wait_us, self.limits.backoff_max_us)
        if process.deaths == self.limits.crash_loop_deaths:
            return [
                note,
                Note("crash_loop", name, f"died {process.deaths} times in a row, last: {process.reason}"),
            ]
        return [note]

    def add(self, role: str, name: str) -> None:
        """There is to be another process; `tick` starts it. `name` is new."""
        self.processes[name] = Process(role=role, name=name, wait_us=self.limits.backoff_us)

    def retire(self, name: str, now_us: int) -> list[Action]:
        """The process is to end for good."""
        process = self.processes[name]
        process.leaving = True
        if process.running:
            return self._ask_to_end(process, now_us)
        del self.processes[name]
        return []

    def drain(self, name: str, now_us: int) -> list[Action]:
        """The server is to end for good, when its viewers have gone."""
        process = self.processes[name]
        if process.state is not State.UP:
            return self.retire(name, now_us)
        process.leaving = True
        process.state = State.DRAINING
        process.end_us = now_us + self.limits.drain_us
        return [Drain(name)]

    def restart(self, name: str, now_us: int) -> list[Action]:
        """The process is to end, and to be started again at once with what the settings are now."""
        process = self.processes[name]
        if process.running:
            process.again = True
            return self._ask_to_end(process, now_us)
        process.state = State.WAITING
        process.wait_us = self.limits.backoff_us
        process.deaths = 0
        return []

    def _ask_to_end(self, process: Process, now_us: int) -> list[Action]:
        process.end_us = None
        if process.kill_us is None:
            process.kill_us = now_us + self.limits.kill_after_us
        return [Terminate(process.name)]

    def stop(self, now_us: int, exit_code: int = EXIT_OK) -> list[Action]:
        """End everything, in an orderly way. A second call changes nothing."""
        if self.stopping:
            return []
        self.stopping = True
        self._stop_us = now_us
        self._exit_code = exit_code
        return [Terminate(process.name) for role in STOP_ORDER for process in self._running(role)]

    def hurry(self) -> list[Action]:
        """End everything at once."""
        self._killed_all = True
        return [Kill(process.name) for role in STOP_ORDER for process in self._running(role)]

    def shown_state(self, name: str) -> str:
        """Its state, in a word for people."""
        process = self.processes[name]
        looping = process.state is State.BACKOFF and process.deaths >= self.limits.crash_loop_deaths
        return "crash-loop" if looping else process.state.value

    # ---- decisions ---------------------------------------------------------------------------------------

    def tick(self, now_us: int) -> list[Action]:
        """What is to be done now."""
        if now_us - self._tick_us > self.limits.doze_us:
            for process in self._running():
                process.heard_us = process.started_us = now_us
        self._tick_us = now_us
        if self.stopping:
            return self._stop_on(now_us)
        actions = self._end_the_silent(now_us) + self._end_the_asked(now_us)
        self._open_stages(now_us)
        actions += self._start_due(now_us)
        if not self.all_up and self._stage == len(ORDER) - 1 and self._settled(*ORDER):
            self.all_up = True
            actions.append(AllUp())
        return actions

    def next_us(self, now_us: int) -> int:
        """When `tick` is to be called again, at the latest."""
        times = [now_us + TICK_MAX_US]
        if self.stopping:
            times += [self._stop_us + self.limits.give_up_us]
            times += [] if self._killed_all else [self._stop_us + self.limits.kill_after_us]
        else:
            times += [self._deadline_us(process) for process in self._running() if not process.killed]
            asked = [p for p in self._running() if not p.killed]
            times += [at for p in asked for at in (p.end_us, p.kill_us) if at is not None]
            if self._count_starting() < self.limits.starting_max:
                backing_off = (p for p in self.processes.values() if p.state is State.BACKOFF)
                times += [process.due_us for process in backing_off]
            if self._stage < len(ORDER) - 1:
                times.append(self._stage_us + self.limits.stage_wait_us)
        return max(min(times), now_us)

    def _running(self, role: str | None = None) -> Iterator[Process]:
        return (p for p in self.processes.values() if p.running and role in (None, p.role))

    def _count_starting(self) -> int:
        return sum(process.state is State.STARTING for process in self.processes.values())

    def _settled(self, *roles: str) -> bool:
        return all(process.settled for process in self.processes.values() if process.role in roles)

    def _deadline_us(self, process: Process) -> int:
        if process.state is State.STARTING:
            return process.started_us + self.limits.ready_wait_us
        return process.heard_us + self.limits.silence_us

    def _end_the_silent(self, now_us: int) -> list[Action]:
        actions: list[Action] = []
        for process in self._running():
            if process.killed or now_us < self._deadline_us(process):
                continue
            if process.state is State.STARTING:
                fault = f"not ready after {self.limits.ready_wait_us / 1e6:g} s"
            else:
                fault = f"no report for {self.limits.silence_us / 1e6:g} s (hung)"
            process.killed = f"{fault}: killed"
            actions += [Note("process_hung", process.name, f"{fault}: it is killed"), Kill(process.name)]
        return actions

    def _end_the_asked(self, now_us: int) -> list[Action]:
        actions: list[Action] = []
        for process in self._running():
            if process.end_us is not None and now_us >= process.end_us:
                note = f"still has viewers after {self.limits.drain_us / 1e6:g} s: it is ended"
                actions += [Note("drain_over", process.name, note), *self._ask_to_end(process, now_us)]
            elif process.kill_us is not None and now_us >= process.kill_us and not process.killed:
                process.killed = "did not end when asked to: killed"
                actions += [Note("process_killed", process.name, "did not end when asked to"), Kill(process.name)]
        return actions

    def _open_stages(self, now_us: int) -> None:
        while self._stage < len(ORDER) - 1:
            late = now_us - self._stage_us >= self.limits.stage_wait_us
            if not late and not self._settled(*ORDER[: self._stage + 1]):
                return
            self._stage += 1
            self._stage_us = now_us

    def _start_due(self, now_us: int) -> list[Action]:
        actions: list[Action] = []
        open_roles = ORDER[: self._stage + 1]
        room = self.limits.starting_max - self._count_starting()
        for process in self.processes.values():
            if len(actions) >= room:
                break
            waiting = process.state is State.WAITING and process.role in open_roles
            again = process.state is State.BACKOFF and now_us >= process.due_us
            if waiting or again:
                process.restarts += again
                process.state = State.STARTING
                process.started_us = process.heard_us = now_us
                process.killed = ""
                process.generation = self.generation
                actions.append(Start(process.name))
        return actions

    def _end_if_hopeless(self, failed: Process, now_us: int) -> list[Action]:
        needed = failed.role != "capture" and not self.all_up
        peers = [process for process in self.processes.values() if process.role == failed.role]
        if not needed and any(process.state is not State.FAILED for process in peers):
            return []
        reason = f"no {failed.role} can run with these settings"
        return [Note("instance_failed", failed.name, reason), *self.stop(now_us, EXIT_SETTINGS)]

    def _stop_on(self, now_us: int) -> list[Action]:
        left = list(self._running())
        if not left:
            return [Finish(self._exit_code)]
        if now_us - self._stop_us >= self.limits.give_up_us:
            notes = [Note("process_left", process.name, "SIGKILL does not end it") for process in left]
            return [*notes, Finish(EXIT_CRASH)]
        if not self._killed_all and now_us - self._stop_us >= self.limits.kill_after_us:
            notes = [Note("process_killed", process.name, "did not end when asked to") for process in left]
            return [*notes, *self.hurry()]
        return []
