"""The loop of a capture process: one stream of any kind, or several files, each when it is due.

A source that is alone is waited for in its own `read`. Files say when their next samples are due, and of several
those of a short while go out together: a wake-up costs as much as a sample.
"""

import time
from collections import Counter
from functools import partial

from capture.outlet import Outlet
from capture.policy import next_turn_us
from capture.stream_capture import StreamCapture
from common import clock, sockets
from common.captures import OWN, process_of, shared_processes, streams_of
from common.errors import SettingsError
from common.figures import RoleFigures
from common.poller import READ, Poller, wake
from common.role import Role

READ_WAIT_US = 50_000  # how late a signal, a key-frame request or a new subscriber can be heard


class Worker:
    """One capture process. name: as in `common.captures`."""

    def __init__(self, role: Role, name: str) -> None:
        self._role = role
        self._name = name
        self._alone = name.startswith(OWN)
        self._streams: dict[str, StreamCapture] = {}
        self._poller = Poller()
        self._poller.add(role.wake_fd, READ, wake)

    def run(self) -> None:
        """Work until the role is to stop. Raises SettingsError."""
        try:
            self._check()
            self._adopt()
            for stream in self._streams.values():
                stream.prepare()
            self._role.ready()
            while not self._role.stopping:
                now_us = clock.now_us()
                for stream in self._streams.values():
                    if stream.due_us <= now_us:
                        self._turn(stream, now_us)
                self._role.tick(now_us, self._figures)
                if self._role.take_changes():
                    self._adopt()
                    self._role.reconfigured()
                self._wait(now_us)
        finally:
            for name in list(self._streams):
                self._let_go(name)
            self._poller.close()

    def _check(self) -> None:
        """Raises SettingsError where the settings have no such process."""
        config = self._role.config
        if not self._alone:
            if self._name not in shared_processes(config):
                raise SettingsError(f"--files: processes.files is {config.processes.files}, and they count from 0")
            return
        name = self._name.removeprefix(OWN)
        if name not in config.streams:
            known = ", ".join(config.streams) or "none"
            raise SettingsError(f"--stream {name}: the settings have no such stream; they have: {known}")
        if process_of(config, name) != self._name:
            raise SettingsError(f"--stream {name}: {process_of(config, name)} has it, by processes.files")

    def _adopt(self) -> None:
        """Take on the streams that are this process's now; what is the same goes on."""
        config = self._role.config
        wanted = streams_of(config, self._name)
        for name in self._streams.keys() - set(wanted):
            self._let_go(name)
        for name in wanted:
            known = self._streams.get(name)
            if known is None:
                outlet = Outlet(sockets.samples_out(self._role.context, *self._role.lines.samples_out(name)))
                self._poller.add(outlet.socket.fileno(), READ, partial(self._heard, name))
            elif known.stream == config.streams[name]:
                continue
            else:
                known.close()
                outlet = known.outlet
            read_wait_us = READ_WAIT_US if self._alone else 0
            self._streams[name] = StreamCapture(name, config, outlet, self._role.log, read_wait_us)

    def _let_go(self, name: str) -> None:
        stream = self._streams.pop(name)
        stream.close()
        self._poller.remove(stream.outlet.socket.fileno())
        stream.outlet.close()

    def _heard(self, name: str, _events: int) -> None:
        self._streams[name].due_us = 0

    def _turn(self, stream: StreamCapture, now_us: int) -> None:
        try:
            stream.turn(now_us)
        except SettingsError as error:
            if self._alone:
                raise
            stream.down(str(error), ended=True)  # the others go on

    def _wait(self, turn_us: int) -> None:
        """Until something is due, or the report may be. A signal ends a long wait, and so does what is heard."""
        due_us = next_turn_us([stream.due_us for stream in self._streams.values()], turn_us, self._alone)
        wait_us = due_us - clock.now_us()
        if wait_us > READ_WAIT_US:
            self._poller.poll(wait_us)
        elif wait_us > 0:
            time.sleep(wait_us / 1e6)
            self._poller.poll(0)

    def _figures(self) -> RoleFigures:
        counters: Counter[str] = Counter()
        for stream in self._streams.values():
            counters.update(stream.counters)
        return RoleFigures(counters=dict(counters))
