"""The settings of a running instance, and its way from one generation of them to the next.

An order (`framegate reload`, `framegate scale`, SIGHUP) waits until the instance is up and the order before it is
done. Settings that are wrong change nothing. Settings that a process cannot work with, though nothing was found
wrong with them, are taken back: the generation after them is the one before them again.
"""

from collections import deque
from collections.abc import Callable

import msgspec

from common import config as settings
from common import logs
from common.captures import endpoint_of
from common.endpoints import control_endpoint, muxer_endpoint
from common.errors import EXIT_CRASH, EXIT_OK, EXIT_SETTINGS, SettingsError
from common.messages import TEXT_MAX, Order, Outcome
from deploy import changes
from deploy.policy import Policy, State
from deploy.rollout import Rollout

ORDERS_MAX = 16
_replace = msgspec.structs.replace


class Asker(msgspec.Struct, frozen=True):
    """Who gave an order, on the control socket; without a line: a signal."""

    line: bytes = b""
    request: int = 0


class Generations:
    """config: in force, or on its way to be. write: puts it where the processes read it; raises SettingsError.

    read: what the user wants now (file, flags and sources); raises SettingsError.
    """

    def __init__(
        self, read: Callable[[], settings.Config], asked: settings.Config, config: settings.Config,
        write: Callable[[settings.Config], None], log: logs.Logger,
    ) -> None:  # fmt: skip
        self.config = config
        self.outcomes: list[tuple[Asker, Outcome]] = []  # to be sent
        self._read = read
        self._was_read = self._reading = asked  # the last time; `_asked` has the numbers that were scaled to
        self._asked = asked
        self._write = write
        self._log = log
        self._orders: deque[tuple[Asker, Order]] = deque()
        self._rollout: Rollout | None = None
        self._asker = Asker()
        self._said = ""
        self._added: set[str] = set()  # servers, by the rollout
        self._before: tuple[settings.Config, settings.Config] | None = None  # asked for, in force; to go back to

    @property
    def busy(self) -> bool:
        """Whether a change is under way."""
        return self._rollout is not None

    @property
    def due_us(self) -> int | None:
        """When `tick` must be called again, at the latest."""
        return self._rollout.due_us if self._rollout is not None else None

    def order(self, asker: Asker, order: Order) -> None:
        """Take an order; its outcome comes in time."""
        if len(self._orders) >= ORDERS_MAX:
            self._answer(asker, EXIT_CRASH, f"{ORDERS_MAX} orders wait already: try again later")
        else:
            self._orders.append((asker, order))

    def tick(self, policy: Policy, now_us: int) -> list[changes.Do]:
        """What is to be done now. Call it again when that has been done, until nothing comes."""
        if policy.stopping:
            return []
        if self._rollout is None and self._orders and policy.all_up:
            self._begin(policy, *self._orders.popleft(), now_us)
        if self._rollout is None:
            return []
        do = self._rollout.tick(policy.processes, now_us)
        self._added |= {act.name for act in do if isinstance(act, changes.Add) and act.role == "server"}
        if self._rollout.fault:
            return self._take_back(policy, self._rollout.fault, now_us)
        if self._rollout.finished and not do:
            self._rollout = None
            self._log.info("reloaded", generation=policy.generation, changes=self._said)
            self._answer(self._asker, EXIT_OK, self._said)
        return do

    # ---- inside ------------------------------------------------------------------------------------------

    def _begin(self, policy: Policy, asker: Asker, order: Order, now_us: int) -> None:
        try:
            asked = self._wanted(order)
            changes.check_fixed(self._asked, asked)
            old = self.config
            new = _replace(
                asked,
                host=old.host,
                runtime_dir=old.runtime_dir,
                rtsp=_replace(asked.rtsp, port=old.rtsp.port),
                http=_replace(asked.http, port=old.http.port),
                auth=_replace(asked.auth, secret=asked.auth.secret or old.auth.secret),
            )
            check_endpoints(new)
            self._write(new)
        except SettingsError as error:
            self._log.error("reload_refused", reason=str(error))
            self._answer(asker, EXIT_SETTINGS, f"nothing has changed: {error}")
            return
        servers = [p.name for p in policy.processes.values() if p.role == "server" and not p.leaving]
        replaced = servers if order.servers else changes.stale_servers(old, new, servers)
        self._said = changes.in_words(old, new, len(replaced))
        self._asker = asker
        self._before = self._asked, old
        self._asked, self._was_read = asked, self._reading
        self._start(policy, old, new, replaced, now_us)

    def _start(
        self, policy: Policy, old: settings.Config, new: settings.Config, replaced: list[str], now_us: int
    ) -> None:
        present = {p.name: p.role for p in policy.processes.values() if not p.leaving}
        draining = [p.name for p in policy.processes.values() if p.state is State.DRAINING]
        policy.generation += 1
        self.config = new
        self._added = set()
        if (waits := waits_of(new.processes)) != waits_of(old.processes):
            policy.limits = _replace(policy.limits, **waits)
        self._rollout = Rollout(changes.steps(old, new, present, draining, replaced), policy.generation, now_us)

    def _take_back(self, policy: Policy, fault: str, now_us: int) -> list[changes.Do]:
        """The settings before hold again."""
        failed = [name for name in self._added if not _is_up(policy, name)]
        self._rollout = None
        try:
            if self._before is not None:
                self._write(self._before[1])
        except SettingsError as error:
            fault, self._before = f"{fault}. The settings before cannot be put back: {error}", None
            self._answer(self._asker, EXIT_CRASH, fault)
        if self._before is None:
            self._log.error("reload_not_undone", reason=fault)
            return []
        self._log.error("reload_undone", reason=fault)
        self._answer(self._asker, EXIT_CRASH, f"{fault}. The settings before hold again")
        bad = self.config
        self._asked, good = self._before
        self._before = None
        self._asker, self._said = Asker(), "the settings before hold again"
        for name in failed:
            policy.processes[name].leaving = True
        up = [name for name in self._added if name not in failed]
        self._start(policy, bad, good, changes.stale_servers(bad, good, up), now_us)
        return [changes.Retire(name) for name in failed]

    def _wanted(self, order: Order) -> settings.Config:
        """What is asked for: read anew, or as it was with another number of processes. Raises SettingsError."""
        if order.verb == "scale":
            count = order.count
            if not order.role or not 1 <= count <= settings.PROCESSES_MAX:
                what = f"{order.role or 'process'}s"
                raise SettingsError(f"{count} {what}: from 1 to {settings.PROCESSES_MAX} can be had")
            if self._asked.hosts and not (order.role == "server" and self._asked.processes.servers):
                raise SettingsError("other hosts go by this number: change the settings of all - at `$.hosts`")
            return _replace(self._asked, processes=_replace(self._asked.processes, **{f"{order.role}s": count}))
        was, read = self._was_read, self._read()
        self._reading = read
        numbers = {
            key: getattr(self._asked.processes, key)  # scaled to since, and the file says what it said
            for key in ("muxers", "servers")
            if getattr(read.processes, key) == getattr(was.processes, key)
        }
        return _replace(read, processes=_replace(read.processes, **numbers))

    def _answer(self, asker: Asker, exit_code: int, text: str) -> None:
        if asker.line:
            self.outcomes.append((asker, Outcome(asker.request, exit_code, text[:TEXT_MAX])))


def _is_up(policy: Policy, name: str) -> bool:
    process = policy.processes.get(name)
    return process is not None and process.state is State.UP


def waits_of(processes: settings.Processes) -> dict[str, int]:
    """The waits of `deploy.policy.Limits` that are settings."""
    return {"silence_us": processes.hung_after_ms * 1000, "drain_us": processes.drain_max_s * 1_000_000}


def check_endpoints(config: settings.Config) -> None:
    """Raises SettingsError where a socket's path would be too long."""
    for stream in config.streams:
        endpoint_of(config, stream)
    muxer_endpoint(config.runtime_dir, config.processes.muxers - 1)
    control_endpoint(config.runtime_dir)
