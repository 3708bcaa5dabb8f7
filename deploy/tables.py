"""The figures of an instance as tables for a terminal."""

from collections.abc import Iterator, Sequence

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from common.figures import InstanceFigures

_VIEWERS_SHOWN_MAX = 50
_NUMBERS = frozenset({
    "pid", "CPU", "memory", "up", "restarts", "fps", "Mbit/s", "sync", "viewers", "lost", "age", "frames",
    "dropped", "loss", "sent", "for",
})  # fmt: skip


def show(figures: InstanceFigures, console: Console) -> None:
    """Print processes, streams and viewers."""
    for part in parts(figures):
        console.print(part)


def parts(figures: InstanceFigures) -> Iterator[RenderableType]:
    """Processes, streams and viewers, one after the other."""
    yield from _table("processes", ["name", "pid", "state", "CPU", "memory", "up", "restarts"], [
        [p.name, str(p.pid or "-"), _stated(p.state, "" if p.state == "up" else p.reason),
         f"{p.cpu_percent:.0f} %", f"{p.rss_bytes / 1e6:.0f} MB", _duration(p.uptime_s), str(p.restarts)]
        for p in figures.processes
    ])  # fmt: skip
    columns = ["name", "source", "state", "codecs", "picture", "fps", "Mbit/s", "sync", "viewers", "lost"]
    yield from _table("streams", columns, [
        [s.name, s.source, _stated(s.state, s.reason), " ".join(s.codecs) or "-",
         f"{s.width}×{s.height}" if s.width else "-", f"{s.fps:.4g}" if s.fps else "-",
         f"{s.bitrate_bps / 1e6:.2f}" if s.bitrate_bps else "-",
         f"{s.sync_interval_s:.1f} s" if s.sync_interval_s else "-", str(s.viewers), str(s.samples_lost)]
        for s in figures.streams
    ])  # fmt: skip
    shown = figures.viewers[:_VIEWERS_SHOWN_MAX]
    if not shown:
        yield Text("no viewers")
        return
    columns = ["stream", "peer", "by", "state", "age", "frames", "dropped", "loss", "sent", "for"]
    yield from _table("viewers", columns, [
        [v.stream, v.peer, v.transport, v.state, f"{v.age_ms:.0f} ms", str(v.frames_sent), str(v.frames_dropped),
         "-" if v.loss_percent is None else f"{v.loss_percent:.1f} %",
         f"{v.bytes_sent / 1e6:.1f} MB", _duration(v.connected_s)]
        for v in shown
    ])  # fmt: skip
    if len(shown) < len(figures.viewers):
        yield Text(f"and {len(figures.viewers) - len(shown)} more viewers: framegate stats --json")


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[RenderableType]:
    table = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in _NUMBERS else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_plain(cell) for cell in row))
    yield table
    yield Text()


def _stated(state: str, reason: str) -> str:
    return f"{state}: {reason}" if reason else state


def _plain(text: str) -> str:
    """Without control characters: names, reasons and user agents come from outside."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _duration(seconds: float) -> str:
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02} min"
    return f"{whole // 3600}:{whole // 60 % 60:02} h"
