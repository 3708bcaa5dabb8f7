"""The command: which rows, transports, viewers and servers; then one table. See the package's docstring."""

import argparse
import json
import os
import platform
import resource
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

from tests.bench import media, model, mux, peers
from tests.bench.plot import plot
from tests.bench.run import ROWS, Case, Run, Setup, applies, measure
from tests.bench.servers import Server, Transport, UnavailableError, c_baseline, compiled, framegate
from tests.bench.table import table
from tests.bench.targets import verdicts

SERVERS: dict[str, Callable[[Path], Server]] = {
    "framegate": lambda _cache: framegate(),
    "framegate-files": lambda _cache: framegate(files=1),
    "c": c_baseline,
    **peers.PEERS,
}
TRANSPORTS: tuple[str, ...] = get_args(Transport)
MUX = "mux"
MUX_BYTES, MUX_ROUNDS = 17_000, 200


def _arguments() -> argparse.ArgumentParser:
    def words(known: tuple[str, ...]) -> Callable[[str], tuple[str, ...]]:
        def parse(text: str) -> tuple[str, ...]:
            chosen = known if text == "all" else tuple(text.split(","))
            if unknown := [word for word in chosen if word not in known]:
                raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(known)}")
            return chosen

        return parse

    def counts(text: str) -> tuple[int, ...]:
        return tuple(int(word) for word in text.split(","))

    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="framegate's cost beside others'.")
    add = parser.add_argument
    rows = (*ROWS, MUX)
    add(
        "--rows",
        type=words(rows),
        default=rows,
        metavar="ROW,...",
        help=f"all (default), or of: {', '.join(rows)}",
    )
    add("--transports", type=words(TRANSPORTS), default=TRANSPORTS, metavar="NAME,...",
        help=f"all (default), or of: {', '.join(TRANSPORTS)}")  # fmt: skip
    add("--servers", type=words(tuple(SERVERS)), default=tuple(SERVERS), metavar="NAME,...",
        help=f"all (default), or of: {', '.join(SERVERS)}")  # fmt: skip
    add("--viewers", type=counts, default=(1, 100, 500, 1000, 2000), metavar="N,...", help="of the row load")
    add("--join-viewers", type=int, default=500, metavar="N")
    add("--age-viewers", type=int, default=100, metavar="N")
    add("--spliced-viewers", type=int, default=1000, metavar="N")
    add("--streams", type=counts, default=(1, 10, 25, 50), metavar="N,...", help="of the row streams")
    add("--processes", type=counts, default=(1, 2, 4), metavar="N,...", help="of servers, in the row scale")
    add("--scale-viewers", type=int, default=500, metavar="N")
    add("--repeats", type=int, default=3, metavar="N")
    add("--seconds", type=float, default=10.0, help="the measuring window; a multiple of the clip's 10 s is fair")
    add("--warm", type=float, default=3.0, help="seconds between the last join and the window")
    add("--pin", action="store_true", help="the server on CPU 0, viewers and feeders on CPU 1")
    add("--clip", choices=("sei", "single"), default="sei", help="NAL units of a picture: slice and SEI, or slice")
    add("--json", type=Path, metavar="FILE", help="write every run's figures")
    add("--plot", type=Path, metavar="FILE.png", help="draw cores against viewers and streams; needs matplotlib")
    add("--cache", type=Path, metavar="DIR", help="where clip, programs and peers are kept")
    return parser


def _cases(options: argparse.Namespace) -> Iterator[Case]:
    for transport in options.transports:
        if "load" in options.rows:
            for viewers in options.viewers:
                yield Case("load", transport, viewers)
        if "join" in options.rows:
            yield Case("join", transport, options.join_viewers)
        if "age" in options.rows:
            yield Case("age", transport, options.age_viewers)
    if "spliced" in options.rows:
        yield Case("spliced", "rtsp-tcp", options.spliced_viewers)
    if "streams" in options.rows:
        for streams in options.streams:
            yield Case("streams", "rtsp-tcp", streams)
    if "scale" in options.rows:
        for processes in options.processes:
            yield Case("scale", "rtsp-tcp", options.scale_viewers, processes)


def _servers(options: argparse.Namespace, cache: Path) -> tuple[list[Server], dict[str, str]]:
    """Those that can be had, and why the others cannot."""
    found, missing = [], {}
    for name in options.servers:
        _say(f"looking for {name} …")
        try:
            found.append(SERVERS[name](cache))
        except UnavailableError as error:
            missing[name] = str(error)
    return found, missing


def _machine() -> dict[str, str]:
    cpu = platform.processor() or platform.machine()
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        cpu = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), cpu)
    return {
        "cpu": f"{os.cpu_count()} × {cpu}",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_version()}, {os.path.realpath(sys.executable)}",  # builds differ by half
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "load": f"{os.getloadavg()[0]:.2f} before the first run",
    }


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _raise_file_limit() -> None:
    """Thousands of viewers are thousands of descriptors, in the server and in the sink."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> int:
    """Run what was asked for; print the table."""
    options = _arguments().parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C: servers stopped, table printed
    _raise_file_limit()
    default_cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "framegate-bench"
    cache = (options.cache or default_cache).absolute()
    cache.mkdir(parents=True, exist_ok=True)
    machine = _machine()
    try:
        setup = Setup(
            compiled("sink", cache), media.clip(cache, options.clip), options.seconds, options.warm, options.pin
        )
    except UnavailableError as error:
        _say(f"bench: {error}")
        return 1
    servers, missing = _servers(options, cache)
    runs: list[Run] = []
    todo = [
        (case, server, repeat)
        for repeat in range(options.repeats)
        for case in _cases(options)
        for server in (*servers[repeat % max(len(servers), 1) :], *servers[: repeat % max(len(servers), 1)])
        if applies(case, server)
    ]
    try:
        for number, (case, server, repeat) in enumerate(todo, 1):
            _say(f"{number}/{len(todo)} {case.row} {case.transport} {case.viewers} {server.name}")
            runs.append(measure(setup, case, server, repeat))
            for note in runs[-1].notes():
                _say(f"    {note}")
    except KeyboardInterrupt:
        _say("interrupted: the table has what was measured")

    muxing = mux.ratios(MUX_BYTES, 0, MUX_ROUNDS) if MUX in options.rows else None
    names = [server.name for server in servers]
    print(table(runs, names))
    print()
    if (fitted := model.fit(runs)) is not None:
        print(model.described(fitted))
        print()
    print(verdicts(runs, muxing))
    print()
    print("Servers: " + ", ".join(f"{server.name} {server.version}" for server in servers))
    for name, reason in missing.items():
        print(f"Not measured: {name}: {reason}")
    print("Machine: " + "; ".join(f"{name} {value}" for name, value in machine.items()))
    print(f"Clip: {setup.clip.bitrate_bps / 1e6:.2f} Mbit/s, {media.FPS} pictures a second, {options.clip}")
    command = shlex.join(["python", "-m", "tests.bench", *sys.argv[1:]])
    print(f"Command: {command}")
    if options.json:
        document = {
            "machine": machine,
            "command": command,
            "servers": {server.name: server.version for server in servers},
            "missing": missing,
            "runs": [run.document() for run in runs],
        }
        options.json.write_text(json.dumps(document, indent=1))
    if options.plot:
        try:
            plot(runs, names, options.plot)
        except ImportError:
            _say("bench: no plot: pip install 'framegate[bench]' brings matplotlib")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
