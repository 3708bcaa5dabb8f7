"""What slow viewers get, and what they do to the others: framegate and its peers, one table.

    python -m tests.bench.slow_viewers                            every server that can be had, a minute each
    python -m tests.bench.slow_viewers --servers framegate --plot ages.png
    python -m tests.bench.slow_viewers --seconds 60 --json ages.json

20 good viewers watch for 10 s alone; then five more come, all by RTSP over TCP, and stay for `--seconds`:

    stalled      reads nothing for 15 s, from its fifth second on
    half rate    reads at half the clip's bit rate, as much as it may 100 times a second
    tenth rate   reads at a tenth of it
    bytewise     reads one byte by a call, 20,000 a second: 4 % of the bit rate
    far          reads all there is, over a link whose round trip takes 300 ms (root, Linux; else left out)

The slow ones have a small receive buffer (SLOW_BUFFER_BYTES asked for): what waits does so at the server. Every
picture of the clip has a number and is a check pattern, and every byte is kept with its time and judged after the
run: what is shown and is not as it was drawn is broken, whatever the decoder says.

How to read the table
    got, left out     whole pictures; those missing between the first and the last of these
    cut               pictures with something missing inside: the server left out part of a frame
    broken            pictures that a player shows, and that are not as they were drawn
    gaps              places where RTP's sequence numbers are not contiguous
    oldest            the greatest age, in seconds: since the first good viewer had all of that picture. "begun":
                      when its first byte came to the viewer's machine, which a server answers for; "whole": when
                      its last was read, so with the time it took to pass at the viewer's own rate. What was there
                      before the viewer came does not count. What lay in the kernel's buffers when the stalled one
                      stopped reading is as old as the stall lasted, whoever sent it: "over 1 s" says how much
    over 1 s          pictures that were older than that when they were whole
    fresh after       from the end of the stall to the first picture that is less than 1 s old
    late p99          good viewers: 99th percentile of how late pictures were, by the clip's pace and the earliest
                      picture of that viewer; alone, and beside the slow ones
"""

import argparse
import json
import os
import shlex
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.bench import media, peers
from tests.bench.age_plot import plot
from tests.bench.ages import Aged, Figures, Timeline, figures, lateness_s, percentile, together
from tests.bench.servers import PATH, Job, Server, UnavailableError, framegate
from tests.support import check_picture
from tests.support.check_picture import CheckClip
from tests.support.far_link import FarLink, NoFarLinkError
from tests.support.received import Judge, Watched, watched
from tests.support.recording import Manner, Recorder, Recording

SERVERS: dict[str, Callable[[Path], Server]] = {"framegate": lambda _cache: framegate(), **peers.PEERS}
GOOD = 20
SETTLE_S, ALONE_S = 3.0, 10.0
STALL_S = (5.0, 20.0)
DELAY_MS = 300
SLOW_BUFFER_BYTES = 8192  # the kernel doubles it; its window is then what the slowest reads in some 0.4 s
BYTEWISE_BPS = 8 * 20_000
SECONDS_MIN, SECONDS_MAX = 25.0, 60.0  # for the stall; for the clip, which is longer than a viewer can be behind
JOIN_S_MAX = 15.0
UNPREPARE_S = 1.0  # gst-rtsp-server has let go of what it was asked for to see whether it is up
PICTURES = 80 * media.FPS


@dataclass(frozen=True)
class Result:
    """One server's run. rows: by viewer, "good" all of those together. late_p99_s: alone, and beside slow ones."""

    server: Server
    rows: dict[str, Figures]
    late_p99_s: tuple[float | None, float | None]
    ages: dict[str, list[tuple[float, float]]]

    def document(self) -> dict[str, Any]:
        """As JSON takes it; ages are (seconds since the slow ones came, age)."""
        rows = {name: asdict(row) | {"left_out": row.left_out} for name, row in self.rows.items()}
        return {"version": self.server.version, "viewers": rows, "late_p99_s": self.late_p99_s, "ages": self.ages}


def make_clip(cache: Path) -> tuple[CheckClip, media.Clip]:
    """Check pictures, 4 Mbit/s, 30 a second, a sync point every 2 seconds; as a file and as pictures."""
    path, pictures = cache / "clip-check.mp4", cache / "clip-check"
    form = CheckClip(path, PICTURES, media.FPS * media.SYNC_INTERVAL_S, media.FPS)
    if not pictures.is_dir():
        fresh, fresh_pictures = cache / "fresh-check.mp4", cache / "fresh-check"
        check_picture.make(
            fresh, pictures=form.pictures, sync_every=form.sync_every, fps=form.fps, width=544, height=416
        )
        media.split(fresh, fresh_pictures)
        fresh.rename(path)
        fresh_pictures.rename(pictures)
    size_bytes = sum(file.stat().st_size for file in pictures.iterdir())
    return form, media.Clip(path, pictures, size_bytes * 8 * form.fps / form.pictures)


def manners(bitrate_bps: float) -> dict[str, Manner]:
    """Of the slow viewers, but for the far one, who reads as good ones do."""
    small = SLOW_BUFFER_BYTES
    return {
        "stalled": Manner(stall_s=STALL_S, receive_buffer_bytes=small),
        "half rate": Manner(rate_bps=int(bitrate_bps / 2), receive_buffer_bytes=small),
        "tenth rate": Manner(rate_bps=int(bitrate_bps / 10), receive_buffer_bytes=small),
        "bytewise": Manner(rate_bps=BYTEWISE_BPS, piece_bytes=1, receive_buffer_bytes=small),
    }


def record(server: Server, clip: media.Clip, far: FarLink | None, seconds: float) -> list[Recording]:
    """Start the server, have all the viewers watch."""
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fg-slow-")))
        serving = server.start(stack, Job(clip, work, host=far.near if far else "127.0.0.1"))
        url = f"rtsp://{far.near if far else '127.0.0.1'}:{serving.rtsp_port}{PATH}"
        recorder = stack.enter_context(Recorder())
        good = [f"good {number}" for number in range(1, GOOD + 1)]
        slow = manners(clip.bitrate_bps)
        time.sleep(UNPREPARE_S)
        for name in good:
            recorder.add(name, url)
        recorder.play(good)
        recorder.run(SETTLE_S + ALONE_S)
        # Not long before their PLAY, and while the good ones go on reading: a server may send from SETUP on.
        joining = threading.Thread(target=_join, args=(recorder, url, slow, far))
        joining.start()
        recorder.run(JOIN_S_MAX, until=lambda: not joining.is_alive())
        joining.join()
        recorder.play([*slow, *(["far"] if far else [])])
        recorder.run(seconds)
        return recorder.recordings()


def _join(recorder: Recorder, url: str, slow: dict[str, Manner], far: FarLink | None) -> None:
    for name, manner in slow.items():
        recorder.add(name, url, manner)
    if far is not None:
        with far.far_side():
            recorder.add("far", url)


def judged(server: Server, recordings: list[Recording], clip: CheckClip, judge: Judge) -> Result:
    """The figures of a run. What was recorded is let go of."""
    since_s = min(r.played_s for r in recordings if not r.name.startswith("good"))
    until_s = max(r.times_s[-1] for r in recordings if r.times_s)
    played_s = {r.name: r.played_s for r in recordings}
    resumed_s = {r.name: r.played_s + r.manner.stall_s[1] for r in recordings if r.manner.stall_s[1]}
    everybody: list[Watched] = []
    for recording in recordings:
        everybody.append(watched(recording, judge))
        for picture in everybody[-1].pictures:
            picture.data = b""
        recording.data.clear()
    good = [viewer for viewer in everybody if viewer.name.startswith("good")]
    timeline = Timeline(clip, good)
    rows = {"good": together([figures(timeline, viewer, played_s[viewer.name]) for viewer in good])}
    by_good = [list(timeline.aged(viewer)) for viewer in good]
    ages: dict[str, list[Aged]] = {"good": by_good[-1]}
    for viewer in everybody:
        if viewer not in good:
            rows[viewer.name] = figures(timeline, viewer, played_s[viewer.name], resumed_s.get(viewer.name))
            ages[viewer.name] = list(timeline.aged(viewer))
    spans = ((since_s - ALONE_S, since_s), (since_s, until_s))
    alone, beside = (
        percentile([x for aged in by_good for x in lateness_s(aged, clip.fps, *span)], 99) for span in spans
    )
    points = {
        name: [(round(one.picture.last_s - since_s, 4), round(one.age_s, 4)) for one in aged]
        for name, aged in ages.items()
    }
    return Result(server, rows, (alone, beside), points)


def table(results: list[Result]) -> str:
    """In Markdown."""

    def seconds(value: float | None) -> str:
        return "" if value is None else f"{value:.2f}"

    def ms(value: float | None) -> str:
        return "" if value is None else f"{value * 1000:.0f}"

    heads = ["viewer", "server", "got", "left out", "cut", "broken", "gaps", "oldest begun, s", "whole, s",
             "over 1 s", "fresh after, s", "late p99 alone, ms", "beside, ms", "connection"]  # fmt: skip
    lines = [heads, ["---"] * len(heads)]
    for name in dict.fromkeys(name for result in results for name in result.rows):
        for result in results:
            if (row := result.rows.get(name)) is None:
                continue
            counts = (row.got, row.left_out, row.cut, row.broken, row.gaps)
            late = map(ms, result.late_p99_s) if name == "good" else ("", "")
            title = f"{GOOD} good" if name == "good" else name
            lines.append([
                title, result.server.name, *map(str, counts), seconds(row.began_s), seconds(row.age_s),
                str(row.stale), seconds(row.fresh_after_s), *late, row.ended or "kept",
            ])  # fmt: skip
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _arguments() -> argparse.ArgumentParser:
    def names(text: str) -> list[str]:
        chosen = text.split(",")
        if unknown := [name for name in chosen if name not in SERVERS]:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(SERVERS)}")
        return chosen

    def duration(text: str) -> float:
        if not SECONDS_MIN <= float(text) <= SECONDS_MAX:
            raise argparse.ArgumentTypeError(f"not from {SECONDS_MIN:.0f} to {SECONDS_MAX:.0f}")
        return float(text)

    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.slow_viewers", description="What slow viewers get, and do to the others."
    )
    add = parser.add_argument
    add("--servers", type=names, default=list(SERVERS), metavar="NAME,...", help=f"of: {', '.join(SERVERS)}")
    add("--seconds", type=duration, default=40.0, help="with the slow viewers; default 40")
    add("--json", type=Path, metavar="FILE", help="write all figures, and every picture's age")
    add("--plot", type=Path, metavar="FILE.png", help="draw ages over time; needs matplotlib")
    add("--cache", type=Path, metavar="DIR", help="where clip and peers are kept")
    return parser


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Run what was asked for; print the table."""
    options = _arguments().parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    default_cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "framegate-bench"
    cache = (options.cache or default_cache).absolute()
    cache.mkdir(parents=True, exist_ok=True)
    _say("making the clip, unless there is one …")
    form, clip = make_clip(cache)
    judge = Judge(form)
    results: list[Result] = []
    missing: dict[str, str] = {}
    with ExitStack() as stack:
        far = None
        try:
            far = stack.enter_context(FarLink(DELAY_MS))
        except NoFarLinkError as error:
            missing["the far viewer"] = str(error)
        for name in options.servers:
            _say(f"{name} …")
            try:
                server = SERVERS[name](cache)
                recordings = record(server, clip, far, options.seconds)
            except (UnavailableError, OSError, AssertionError) as error:
                missing[name] = str(error)
                continue
            results.append(judged(server, recordings, form, judge))
    print(table(results))
    print()
    print("Servers: " + ", ".join(f"{result.server.name} {result.server.version}" for result in results))
    for name, reason in missing.items():
        print(f"Not measured: {name}: {reason}")
    print(f"Clip: {clip.bitrate_bps / 1e6:.2f} Mbit/s, {form.fps} pictures a second, a sync point every "
          f"{form.sync_every / form.fps:.0f} s; {options.seconds:.0f} s with slow viewers")  # fmt: skip
    print("Command: " + shlex.join(["python", "-m", "tests.bench.slow_viewers", *sys.argv[1:]]))
    if options.json:
        options.json.write_text(json.dumps({r.server.name: r.document() for r in results}, indent=1))
    if options.plot:
        try:
            plot({r.server.name: r.ages for r in results}, options.plot)
        except ImportError:
            _say("bench: no plot: pip install 'framegate[bench]' brings matplotlib")
            return 1
    return 0 if results else 1


if __name__ == "__main__":
    sys.exit(main())
