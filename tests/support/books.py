"""Judges the books of an instance by its `/api/stats`: the identities that `common.figures` promises.

    assert books.faults(instance.stats()) == []          # at any moment, whatever has been killed
    assert books.faults_at_rest(instance.stats()) == []  # where nothing moves, and nothing was killed

The first are of one process each, and a process reports all its figures at once: they hold in every report, with
viewers coming, going and stalled, and in the first report behind a restart. The second compare processes, whose
reports are up to a second apart: sources must have come to their end (or never begun) and viewers must have been
gone, or stopped, for two seconds; and all muxers, servers and captures must be in their first lives.

`never_lost` is for paths that lose nothing: over ipc no frame may be missing without a reason.
"""

import time
from collections.abc import Callable, Collection, Iterator
from typing import Any

from tests.support.wait import POLL_S

Figures = dict[str, Any]


def faults(stats: Figures, never_lost: bool = True) -> list[str]:
    """Each identity within one process that does not hold, in a line."""
    return [
        *_captures(stats),
        *(fault for stream in stats["streams"] for fault in _stream(stream)),
        *_viewers(stats, never_lost),
        *_servers(stats, never_lost),
    ]


def faults_at_rest(stats: Figures, on_demand: Collection[str] = ()) -> list[str]:
    """Those, and each identity between two processes that does not hold.

    on_demand: streams whose muxer may have let go of its capture for a while: what it missed then, it cannot know.
    """
    captured = _capture_to_muxer(stats, on_demand)
    return [*faults(stats), *captured, *_muxers_to_servers(stats), *_positions(stats)]


def wait_at_rest(read: Callable[[], Figures], within_s: float = 10.0, on_demand: Collection[str] = ()) -> Figures:
    """The figures that `read` gives, as soon as they balance at rest. Raises AssertionError with what does not."""
    give_up_s = time.monotonic() + within_s
    while found := faults_at_rest(stats := read(), on_demand):
        assert time.monotonic() < give_up_s, found
        time.sleep(POLL_S)
    return stats


def drops(stats: Figures) -> dict[str, int]:
    """What all viewers that ever were have not been sent, by reason."""
    total: dict[str, int] = {}
    for delivery in stats["deliveries"]:
        for reason, frames in delivery["drops"].items():
            total[reason] = total.get(reason, 0) + frames
    return total


def _captures(stats: Figures) -> Iterator[str]:
    for process in _processes(stats, "capture"):
        counters = process["counters"]
        if counters:
            out = sum(counters[name] for name in ("samples", "oversize", "samples_withheld"))
            yield from _differ(
                f"{process['name']}: samples_read + slates", counters["samples_read"] + counters["slates"],
                "samples + oversize + samples_withheld", out,
            )  # fmt: skip


def _stream(stream: Figures) -> Iterator[str]:
    parts = "samples_unannounced", "samples_known", "samples_awaiting_sync", "samples_used"
    total = sum(stream[part] for part in parts)
    yield from _differ(f"{stream['name']}: samples_in", stream["samples_in"], " + ".join(parts), total)
    for payload in stream["payloads"]:
        name = f"{stream['name']}/{payload['payload']}"
        fates = "samples_missed", "samples_muxed", "samples_refused"
        total = sum(payload[fate] for fate in fates)
        yield from _differ(f"{name}: samples_used", stream["samples_used"], " + ".join(fates), total)
        made = payload["samples_muxed"] + payload["clock_frames"]
        yield from _differ(f"{name}: frames", payload["frames"], "samples_muxed + clock_frames", made)


def _viewers(stats: Figures, never_lost: bool) -> Iterator[str]:
    for viewer in stats["viewers"]:
        name = f"viewer {viewer['id']} ({viewer['user_agent']}, {viewer['transport']})"
        yield from _balance(name, viewer, never_lost)


def _servers(stats: Figures, never_lost: bool) -> Iterator[str]:
    for delivery in stats["deliveries"]:
        name = " ".join(delivery[field] or "-" for field in ("process", "stream", "payload", "transport"))
        yield from _balance(name, delivery, never_lost)
    for process in _processes(stats, "server"):
        if not process["counters"]:
            continue  # it has not reported yet
        taken = sum(
            delivery["frames_sent"]
            + sum(delivery["drops"].get(reason, 0) for reason in ("udp_queue", "udp_kernel", "unsent"))
            for delivery in stats["deliveries"]
            if delivery["process"] == process["name"]
        )
        yield from _differ(
            f"{process['name']}: frames_sent", process["counters"]["frames_sent"], "its deliveries", taken
        )


def _balance(name: str, books: Figures, never_lost: bool) -> Iterator[str]:
    sent = books["frames_sent"] + sum(books["drops"].values())
    yield from _differ(f"{name}: frames_due", books["frames_due"], f"frames_sent + {books['drops']}", sent)
    if never_lost and "lost" in books["drops"]:
        yield f"{name}: {books['drops']['lost']} frames are missing without a reason"


def _capture_to_muxer(stats: Figures, on_demand: Collection[str]) -> Iterator[str]:
    for stream in [stream for stream in stats["streams"] if stream["name"] not in on_demand]:
        (capture,) = [p for p in stats["processes"] if p["name"] == f"capture-{stream['name']}"]
        came = stream["samples_in"] - stream["samples_unannounced"] - stream["samples_known"]
        yield from _differ(
            f"{capture['name']}: samples", capture["counters"]["samples"],
            "in - unannounced - known + lost + missed", came + stream["samples_lost"] + stream["samples_missed"],
        )  # fmt: skip


def _muxers_to_servers(stats: Figures) -> Iterator[str]:
    out = sum(process["counters"].get("frames_out", 0) for process in _processes(stats, "muxer"))
    servers = _processes(stats, "server")
    come = sum(process["counters"].get(name, 0) for process in servers for name in ("frames_in", "frames_moved"))
    yield from _differ("muxers: frames_out", out, "frames_in + frames_moved", come)


def _positions(stats: Figures) -> Iterator[str]:
    """Of viewers of native payloads: MPEG-TS has its clock references, and is never at rest."""
    heads = {
        (stream["name"], payload["epoch"]): payload["frames"]
        for stream in stats["streams"]
        for payload in stream["payloads"]
        if payload["payload"] == "native"
    }
    for viewer in stats["viewers"]:
        head = heads.get((viewer["stream"], viewer["epoch"]))
        if head is not None:
            passed = viewer["frame_number"] + 1 + viewer["frames_behind"]
            yield from _differ(
                f"viewer {viewer['id']}: the stream's frames", head, "frame_number + 1 + frames_behind", passed
            )


def _processes(stats: Figures, role: str) -> list[Figures]:
    return [process for process in stats["processes"] if process["role"] == role]


def _differ(what: str, one: int, other: str, two: int) -> Iterator[str]:
    if one != two:
        yield f"{what} = {one}, but {other} = {two}"
