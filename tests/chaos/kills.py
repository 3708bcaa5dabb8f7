"""How soon there are pictures again after a kill -9 of each kind of process: `python -m tests.chaos.kills`."""

import argparse
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import msgspec

from common.figures import InstanceFigures
from deploy.cli import ask_for_figures
from tests.chaos.watchers import Decoded, HttpWatcher, Known, TcpWatcher, UdpWatcher, Watcher
from tests.support import check_picture
from tests.support.instance import PATIENT, Instance
from tests.support.received import Judge
from tests.support.wait import until

ROLES = ("capture", "muxer", "server")
CALM_S = 3.0  # between two kills: the wait before a restart stays the shortest
WARM_UP_S = 10.0  # what comes round again has been judged, and costs the viewers no time
WITHIN_S = 30.0
PICTURE_S = 0.04  # what is between two pictures anyway


@dataclass
class Row:
    """What `times` kills of a role did. back_s: the longest time without pictures of any viewer, at each kill."""

    role: str
    back_s: list[float]
    viewers: int
    lost: list[int]  # connections, at each kill
    restarts: int
    rss_bytes: tuple[int, int]  # of all processes, before and after
    blames: list[str]


def measure(role: str, times: int, clip: check_picture.CheckClip) -> Row:
    """Kill a process of this role so many times: of two servers one and the other."""
    with ExitStack() as held:
        sources = [f"file=mock:{clip.path}", "test=test:size=320x240,fps=25"]
        instance = held.enter_context(Instance(*sources, servers=2, config=PATIENT))
        watchers = [held.enter_context(watcher) for watcher in _watchers(instance, Known(Judge(clip)))]
        until(lambda: all(watcher.pictures_s for watcher in watchers), WITHIN_S, "everybody's pictures")
        row = Row(role, [], len(watchers), [], 0, (0, 0), [])
        time.sleep(WARM_UP_S)
        before = _rss_bytes(_figures(instance))
        for number in range(times):
            time.sleep(CALM_S)
            found = [process for process in _figures(instance).processes if process.role == role]
            process = sorted(found, key=lambda process: process.name)[number % len(found)]
            at_s, ends = time.monotonic(), sum(len(watcher.ends) for watcher in watchers)
            os.kill(process.pid, signal.SIGKILL)
            until(lambda: _is_back(instance, process.name, process.pid), WITHIN_S, "another")  # noqa: B023
            begun_s = time.monotonic()
            until(lambda: all(w.pictures_s[-1] > begun_s for w in watchers), WITHIN_S, "pictures")  # noqa: B023
            row.back_s.append(max(_gap_s(watcher.pictures_s, at_s) for watcher in watchers) - PICTURE_S)
            row.lost.append(sum(len(watcher.ends) for watcher in watchers) - ends)
        figures = _figures(instance)
        row.restarts = sum(process.restarts for process in figures.processes)
        row.rss_bytes = before, _rss_bytes(figures)
    row.blames = [blame.text for watcher in watchers for blame in watcher.blames]
    return row


def _watchers(instance: Instance, file: Known) -> Sequence[Watcher]:
    rtsp, http = instance.rtsp, instance.http
    return [
        TcpWatcher("file-tcp", rtsp("file"), file),
        TcpWatcher("file-native", rtsp("file") + "/native", file),
        UdpWatcher("file-udp", rtsp("file"), file),
        HttpWatcher("file-http", http("file"), file),
        TcpWatcher("test-tcp", rtsp("test"), Decoded()),
        HttpWatcher("test-http", http("test"), Decoded()),
    ]


def _figures(instance: Instance) -> InstanceFigures:
    return msgspec.json.decode(ask_for_figures(instance.runtime_dir), type=InstanceFigures)


def _rss_bytes(figures: InstanceFigures) -> int:
    return sum(process.rss_bytes for process in figures.processes)


def _is_back(instance: Instance, name: str, pid: int) -> bool:
    (process,) = [process for process in _figures(instance).processes if process.name == name]
    return process.state == "up" and process.pid != pid


def _gap_s(pictures_s: Sequence[float], at_s: float) -> float:
    return max(after_s - before_s for before_s, after_s in pairwise(pictures_s) if after_s >= at_s)


def main() -> int:
    """Returns 0 where nothing broken was shown."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.kills", description=__doc__)
    parser.add_argument("--times", type=int, default=20, metavar="N", help="of each kind (default %(default)s)")
    arguments = parser.parse_args()
    blames = []
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        clip = check_picture.make(
            Path(folder, "file.mp4"), pictures=100, sync_every=50, width=256, height=160, b_pictures=2, audio=True
        )
        print("killed | pictures again: median, worst | connections lost | restarts | memory, all processes")
        for role in ROLES:
            row = measure(role, arguments.times, clip)
            median_s, worst_s = statistics.median(row.back_s), max(row.back_s)
            before, after = (rss / 1e6 for rss in row.rss_bytes)
            print(
                f"{role} | {median_s:.2f} s, {worst_s:.2f} s | {min(row.lost)} to {max(row.lost)} of {row.viewers}"
                f" | {row.restarts} | {before:.0f} to {after:.0f} MB",
                flush=True,
            )
            blames += row.blames
    print(*blames, sep="\n", end="")
    return 1 if blames else 0


if __name__ == "__main__":
    raise SystemExit(main())
