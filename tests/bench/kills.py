"""kill -9 of each kind of process, again and again: how long until there are pictures, and what it costs.

    python -m tests.bench.kills [--times 20] [--roles capture,muxer,server]

One stream, the generated picture at 25 a second, and VIEWERS viewers over RTSP in two server processes. After a
kill of a capture or muxer, the time counts from the kill to the first picture that the last viewer got behind its
longest gap; of a server, to the first picture of a viewer that connects at once, and again while refused.
"""

import argparse
import statistics
import sys
import time
from contextlib import ExitStack
from itertools import pairwise
from typing import NamedTuple

from tests.support import judge
from tests.support.instance import PATIENT, Instance
from tests.support.rtsp_client import RtspClient
from tests.support.viewers import RtspViewer
from tests.support.wait import until

SOURCE = "cam=test:size=640x360,fps=25"
ROLES = ("capture", "muxer", "server")
VIEWERS = 4
SERVERS = 2
SETTLE_S = 4.0  # between being up again and the next kill: a life that does not lengthen the next wait
BACK_WITHIN_S = 20.0
CONNECT_AGAIN_S = 0.01


class Row(NamedTuple):
    """Of one role. times_s: of each kill. kept: connections that lived on, of so many that should have (a server's
    own cannot)."""

    role: str
    times_s: list[float]
    kept: int
    viewers: int
    restarts: int
    before_bytes: int
    after_bytes: int


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.kills", description=__doc__.split("\n\n")[0])
    parser.add_argument("--times", type=int, default=20, help="kills of each role")
    parser.add_argument("--roles", default=",".join(ROLES), help="which, separated by commas")
    asked = parser.parse_args()
    print("| kill -9 of | pictures again, median | worst | connections kept | restarts | memory before | after |")
    print("|---|---|---|---|---|---|---|")
    for role in asked.roles.split(","):
        row = measured(role, asked.times)
        print(
            f"| {row.role} | {statistics.median(row.times_s):.2f} s | {max(row.times_s):.2f} s "
            f"| {row.kept} of {row.viewers} | {row.restarts} "
            f"| {row.before_bytes / 1e6:.0f} MB | {row.after_bytes / 1e6:.0f} MB |"
        )
        sys.stdout.flush()


def measured(role: str, times: int) -> Row:
    """Kill one of them so many times, in an instance of its own."""
    with Instance(SOURCE, servers=SERVERS, config=PATIENT) as instance, ExitStack() as watching:
        instance.wait_live("cam")
        viewers = [watching.enter_context(RtspViewer(instance.rtsp("cam"))) for _ in range(VIEWERS)]
        for viewer in viewers:
            viewer.wait_bytes(50_000, BACK_WITHIN_S)
        settle()
        before_bytes = memory(instance)
        killed = instance.processes(role)[0]["name"]
        own = sum(viewer["id"].startswith(f"{killed}-") for viewer in instance.stats()["viewers"])
        times_s = [one_kill(instance, role, viewers) for _ in range(times)]
        after_bytes = memory(instance)
        kept = sum(viewer.error is None for viewer in viewers)
        restarts = sum(process["restarts"] for process in instance.processes(role))
    return Row(role, times_s, kept, VIEWERS - own, restarts, before_bytes, after_bytes)


def one_kill(instance: Instance, role: str, viewers: list[RtspViewer]) -> float:
    """Kill one, and wait until it is back; seconds until there were pictures."""
    killed = instance.processes(role)[0]
    killed_s = time.monotonic()
    instance.kill(role)
    took_s = connected_anew(instance.rtsp("cam")) - killed_s if role == "server" else 0.0
    until(lambda: is_back(instance, role, killed["pid"]), BACK_WITHIN_S, f"a new {role}")
    settle()
    if role != "server":
        took_s = max(first_picture_s(viewer, killed_s) for viewer in viewers) - killed_s
    return took_s


def first_picture_s(viewer: RtspViewer, killed_s: float) -> float:
    """When the first picture came behind the longest gap since the kill."""
    shown_s = [packet.at_s for packet in viewer.rtp[-5000:] if judge.starts_video(packet)]
    gaps = [(after - before, after) for before, after in pairwise(shown_s) if after >= killed_s]
    return max(gaps)[1]


def connected_anew(url: str) -> float:
    """When a viewer that connects now has its first picture."""
    give_up_s = time.monotonic() + BACK_WITHIN_S
    while True:
        try:
            with RtspClient(url) as client:
                client.start()
                while not judge.starts_video(packet := client.next_packet()):
                    pass
                return packet.at_s
        except (OSError, EOFError):
            if time.monotonic() > give_up_s:
                raise
            time.sleep(CONNECT_AGAIN_S)


def is_back(instance: Instance, role: str, pid: int) -> bool:
    """Whether another process does the work of the one with this pid."""
    try:
        process = instance.processes(role)[0]
    except OSError:  # we were let in by the server that was just killed
        return False
    return process["state"] == "up" and process["pid"] not in (0, pid)


def memory(instance: Instance) -> int:
    """Of all processes together, bytes."""
    return sum(process["rss_bytes"] for process in instance.stats()["processes"])


def settle() -> None:
    """Let what has come back come to rest, as in a life between two crashes."""
    time.sleep(SETTLE_S)


if __name__ == "__main__":
    main()
