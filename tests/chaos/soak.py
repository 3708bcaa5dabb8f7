"""One soak: an instance, its viewers, a schedule, and what is found."""

import json
import os
import re
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from common.errors import FramegateError
from common.figures import InstanceFigures
from tests.chaos import verdict
from tests.chaos.actions import DRAIN_S, HUNG_AFTER_S, PROGRAM_STREAM, Actions, Program
from tests.chaos.schedule import CALM_S, schedule
from tests.chaos.verdict import Blame, Sighting
from tests.chaos.watchers import Decoded, HttpWatcher, Known, TcpWatcher, UdpWatcher, Watcher
from tests.support import books, check_picture
from tests.support.check_picture import CheckClip
from tests.support.instance import Instance
from tests.support.received import Judge
from tests.support.wait import until

LOOK_INTERVAL_S = 1.0
SETTLED_WITHIN_S = 60.0
SPARE_FDS = 12  # of a role: a question under way, another line
FIRST_PICTURE_S = 20.0
_DIED = re.compile(r"event=process_died name=(\S+) reason=(\"[^\"]*\"|\S+)")
_EXPECTED_DEATHS = re.compile(r"killed by SIGKILL|no report for|not ready after")


@dataclass
class Outcome:
    """What a soak found. blames: every fault, the first one first, at_s counted from the start."""

    seed: int
    blames: list[Blame] = field(default_factory=list)
    table: list[tuple[str, str]] = field(default_factory=list)
    begun: str = ""  # by the clock of the log


class Lookout:
    """Looks at the processes once a second, in a thread from entering to leaving the context."""

    def __init__(self, actions: Actions, watchers: Sequence[Watcher]) -> None:
        self.sightings: list[Sighting] = []
        self.silences = 0  # questions that were not answered
        self.blames: list[Blame] = []  # books that did not balance
        self._actions = actions
        self._by_name = {watcher.name: watcher for watcher in watchers}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lookout")

    def __enter__(self) -> "Lookout":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def look(self) -> dict[str, int]:
        """One look; the descriptors of each role."""
        stats = self._actions.stats()
        self.blames += [Blame(time.monotonic(), f"books: {fault}") for fault in books.faults(json.loads(stats))]
        figures = msgspec.json.decode(stats, type=InstanceFigures)
        for viewer in figures.viewers:
            watcher = self._by_name.get(viewer.user_agent.partition("#")[0])
            if watcher is not None:
                watcher.servers[viewer.user_agent] = viewer.id.rpartition("-")[0]
        held: dict[str, int] = {}
        for process in figures.processes:
            try:
                fds = len(os.listdir(f"/proc/{process.pid}/fd"))
            except OSError:
                continue  # it died meanwhile
            held[process.role] = held.get(process.role, 0) + fds
            self.sightings.append(Sighting(process.name, process.pid, process.uptime_s, process.rss_bytes, fds))
        return held

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_INTERVAL_S):
            try:
                self.look()
            except FramegateError:
                self.silences += 1  # the supervisor may have been stopped


def soak(seed: int, seconds: float, log: Path | None = None) -> Outcome:
    """Run one of so many seconds. log: where to write what the instance said."""
    outcome = Outcome(seed)
    try:
        _run(outcome, seconds, log)
    except AssertionError as error:  # it did not begin, or left something behind at its end
        outcome.blames.append(Blame(seconds, str(error)))
    return outcome


def _clip(path: Path, pictures: int, audio: bool) -> CheckClip:
    small = {"width": 256, "height": 160, "fps": 15, "sync_every": 15}
    return check_picture.make(path, pictures=pictures, b_pictures=2, audio=audio, **small)


def _run(outcome: Outcome, seconds: float, log: Path | None) -> None:
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
        clips = _clip(folder / "file.mp4", 150, True), _clip(folder / "program.mp4", 120, False)
        sources = {"file": f"mock:{clips[0].path}", PROGRAM_STREAM: "program:"}
        sources["test"] = "test:size=320x240,fps=10"
        instance = held.enter_context(Instance(config=settings(sources, 0), muxers=2, servers=2))
        program = Program(instance, clips[1])
        held.callback(program.kill)
        watchers = viewers(instance, Known(Judge(clips[0])), Known(Judge(clips[1])))
        for watcher in watchers:
            held.enter_context(watcher)
        actions = Actions(instance, watchers, program, lambda number: settings(sources, number))
        lookout = Lookout(actions, watchers)
        until(lambda: all(watcher.pictures_s for watcher in watchers), FIRST_PICTURE_S, "everybody's pictures")
        begin_s = time.monotonic()
        outcome.begun = time.strftime("%H:%M:%S", time.gmtime())
        with lookout:
            before = lookout.look()
            for event in schedule(outcome.seed, seconds):
                time.sleep(max(begin_s + event.at_s - time.monotonic(), 0.0))
                if time.monotonic() > begin_s + seconds - CALM_S:
                    break  # a busy machine does not get round to all of it
                actions.do(event)
            actions.settle()
            time.sleep(max(begin_s + seconds - time.monotonic(), verdict.BACK_S))
            after = _settled(actions, lookout, before)
        end_s = time.monotonic()
        _hold(outcome, instance, actions, watchers, lookout, end_s)
        outcome.blames += verdict.left_over(before, after, SPARE_FDS)
        outcome.blames = sorted(Blame((one.at_s or end_s) - begin_s, one.text) for one in outcome.blames)
        _tell(outcome, begin_s, watchers, lookout, actions)
        if log is not None:
            log.write_text(instance.log)


def settings(sources: dict[str, str], number: int) -> str:
    """The text of a settings file; bit 0 of `number` adds a stream, bit 1 changes what servers go by."""
    text = f"[processes]\nhung_after_ms = {HUNG_AFTER_S * 1000:.0f}\ndrain_max_s = {DRAIN_S:.0f}\n"
    text += f"[viewer]\nage_max_ms = {20_000 + (number >> 1 & 1)}\n"  # a busy machine's own lateness is not judged
    more = {"more": "test:size=160x128,fps=5"} if number & 1 else {}
    return text + "".join(f'[streams.{name}]\nsource = "{what}"\n' for name, what in {**sources, **more}.items())


def viewers(instance: Instance, file: Known, program: Known) -> list[Watcher]:
    """Each kind of viewer."""
    rtsp, http = instance.rtsp, instance.http
    return [
        TcpWatcher("file-tcp", rtsp("file"), file),
        UdpWatcher("file-udp", rtsp("file"), file),
        HttpWatcher("file-http", http("file"), file),
        TcpWatcher("file-native", rtsp("file") + "/native", file),
        TcpWatcher("test-tcp", rtsp("test"), Decoded()),
        HttpWatcher("prog-http", http(PROGRAM_STREAM), program),
        UdpWatcher("prog-udp-native", rtsp(PROGRAM_STREAM) + "/native", program),
    ]


def _settled(actions: Actions, lookout: Lookout, before: dict[str, int]) -> dict[str, int]:
    """The descriptors of each role when old servers have drained, or when that takes too long."""
    give_up_s = time.monotonic() + SETTLED_WITHIN_S

    def is_settled() -> bool:
        states = [process.state for process in actions.figures().processes]
        return states == ["up"] * len(states) and not verdict.left_over(before, lookout.look(), SPARE_FDS)

    while not is_settled() and time.monotonic() < give_up_s:
        time.sleep(LOOK_INTERVAL_S)
    return lookout.look()


def _hold(
    outcome: Outcome, instance: Instance, actions: Actions, watchers: Sequence[Watcher], lookout: Lookout,
    end_s: float,
) -> None:  # fmt: skip
    """Everything that is to hold, held against what was seen."""
    blames = outcome.blames
    for watcher in watchers:
        blames += watcher.blames
        blames += verdict.stuck(watcher.name, watcher.pictures_s, end_s, actions.done)
        blames += verdict.unexcused(watcher.ends, actions.done)
        blames += verdict.losses(watcher.name, watcher.gaps, actions.done)
    blames += lookout.blames
    blames += verdict.growing(lookout.sightings)
    blames += [Blame(one.start_s, one.fault) for one in actions.done if one.fault]
    for process in actions.figures().processes:
        if process.state != "up":
            blames.append(Blame(end_s, f"{process.name} is {process.state}: {process.reason}"))
    died = [match.groups() for line in instance.log_lines("process_died") if (match := _DIED.search(line))]
    for name, reason in died:
        if not _EXPECTED_DEATHS.search(reason):
            blames.append(Blame(0.0, f"{name} died by itself: {reason}"))
    if len(died) > actions.deaths:
        blames.append(Blame(0.0, f"{len(died)} processes died, {actions.deaths} were killed: {died}"))
    if zombies := instance.zombies():
        blames.append(Blame(end_s, f"nobody waited for {zombies}"))


def _tell(
    outcome: Outcome, begin_s: float, watchers: Sequence[Watcher], lookout: Lookout, actions: Actions
) -> None:
    table = outcome.table
    table.append(("begun", f"{outcome.begun} by the log's clock, seed {outcome.seed}"))
    backs = verdict.back_after(actions.done, {watcher.name: watcher.pictures_s for watcher in watchers})
    for what, gaps in sorted(backs.items()):
        median_s, worst = statistics.median(gap.seconds for gap in gaps), max(gaps)
        said = (
            f"{len(gaps)} times; longest without a picture: median {median_s:.2f} s, worst {worst.seconds:.2f} s"
        )
        table.append((what, f"{said} ({worst.viewer} at {worst.at_s - begin_s:.1f} s)"))
    for watcher in watchers:
        refusals = f", tried again {watcher.refusals.total()} times" if watcher.refusals else ""
        holes = f", {len(watcher.gaps)} gaps" if watcher.gaps else ""
        table.append(
            (watcher.name, f"{len(watcher.pictures_s)} pictures, {len(watcher.ends)} reconnects{holes}{refusals}")
        )
    last: dict[str, Sighting] = {}
    first: dict[str, Sighting] = {}
    for one in lookout.sightings:
        first.setdefault(one.process, one)
        last[one.process] = one
    for name in sorted(last):
        a, b = first[name], last[name]
        table.append(
            (name, f"{a.rss_bytes / 1e6:.0f} to {b.rss_bytes / 1e6:.0f} MB, {a.fds} to {b.fds} descriptors")
        )
    table.append(("processes killed", f"{actions.deaths}; questions not answered: {lookout.silences}"))
