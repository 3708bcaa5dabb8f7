"""The command `framegate`: settings from the command line, then the role, the supervisor, or a question."""

import argparse
import getpass
import os
import secrets
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import msgspec
import tomli_w
import zmq
from rich.console import Console

from common import config as settings
from common import keys, passwords, sockets, wire
from common.endpoints import control_endpoint
from common.errors import EXIT_CRASH, EXIT_OK, EXIT_SETTINGS, FramegateError, MessageError, SettingsError
from common.figures import InstanceFigures
from common.instance import default_directory
from common.messages import Figures, FiguresRequest, Message, Order, Outcome
from deploy import supervisor, tables, top
from deploy.effective import check, settle

ROLES = {
    "capture": "one source: reads it and publishes its samples",
    "muxer": "one muxer: samples to frames of MPEG-TS in RTP",
    "server": "one server: RTSP and HTTP viewers",
}
ANSWER_WAIT_MS = 3000
ORDER_WAIT_MS = 600_000  # servers are replaced one after the other
ORDER_COUNT_MAX = 65_535  # what the message can hold; far beyond what can be had
_EXIT_INTERRUPTED = 130
_WIDTH_OF_NO_TERMINAL = 160  # of a pipe or a file

_DESCRIPTION = "Live cameras to any number of viewers over RTSP and HTTP."
_EXAMPLES = """\
examples:
  framegate serve                              a generated test picture
  framegate serve mock:holiday.mp4             a file, looped for ever, as if it were live
  framegate serve door=camera:0 mock:clip.mkv  a camera named door, and a file named clip
  framegate serve --config framegate.toml      everything from a file
  framegate stats                              what the running instance does

Open rtsp://127.0.0.1:8554/NAME or http://127.0.0.1:8080/NAME.ts in VLC, ffplay or mpv.
"""
_SERVE_EPILOG = """\
SOURCE is one of
  test:            a generated moving picture with a clock, a frame number and a tone;
                   test:size=640x480,fps=25,tone=off,bitrate_bps=1000000,sync_interval_ms=500 (any of them)
  mock:FILE        a file: mp4, mkv, mov, ts, raw .h264 or .h265, looped in real time
  camera:ID        a camera by number or path: camera:0, camera:/dev/video2 (see: framegate devices)
  rtsp://HOST/PATH an IP camera or another server; http:// and https:// too: MPEG-TS, HLS, MJPEG, a file
  exec:COMMAND     a program that writes a stream to its stdout: 'exec:ffmpeg -i … -f mpegts -'
  program:         what a Python program publishes, by capture.publisher.Publisher(NAME)
  screen:          this X display, $DISPLAY, or another one: screen::0
Its URL path is NAME; without one, a name is made from the source. With no source at all, neither here nor
in the file, test: is served. Flags and sources override the file.

The line `ready` and the URLs go to stdout, the log goes to stderr. SIGTERM or Ctrl-C ends everything.
exit codes: 0 stopped as asked, 78 the settings are wrong, 1 any other fault
"""
_PASSWORD_EPILOG = """\
Where the input is no terminal, its first line is the password.
What is printed for Digest does not show the password, but lets in whoever has it: keep the file to yourself.
With --basic not even that: but clients must then log in by Basic, over TLS (auth.basic).
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0] in ROLES:
        return _become(words[0], words[1:])  # with all its arguments, --help too
    parser = _parser()
    arguments, others = parser.parse_known_args(words)
    if arguments.run is _serve:  # argparse takes only the first of several groups of sources
        arguments.sources += [word for word in others if not word.startswith("-")]
        others = [word for word in others if word.startswith("-")]
    if others:
        parser.error(f"not understood: {' '.join(others)} (see {parser.prog} --help)")
    try:
        code: int = arguments.run(arguments)
        return code
    except SettingsError as error:
        sys.stderr.write(f"framegate: {error}\n")
        return EXIT_SETTINGS
    except FramegateError as error:
        sys.stderr.write(f"framegate: {error}\n")
        return EXIT_CRASH
    except KeyboardInterrupt:
        return _EXIT_INTERRUPTED
    except BrokenPipeError:  # `framegate stats | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_CRASH


def _parser() -> argparse.ArgumentParser:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="framegate", description=_DESCRIPTION, epilog=_EXAMPLES, formatter_class=plain, allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"framegate {version('framegate')}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    serve = commands.add_parser(
        "serve", help="serve streams until stopped", description="Serve streams until stopped.",
        epilog=_SERVE_EPILOG, formatter_class=plain, allow_abbrev=False,
    )  # fmt: skip
    serve.add_argument("sources", nargs="*", metavar="[NAME=]SOURCE", help="what to serve; see below")
    serve.add_argument("--config", metavar="FILE", help="settings in TOML (deploy/framegate.example.toml has all)")
    serve.add_argument("--host", metavar="ADDRESS", help="where to listen; 0.0.0.0 for all (default 127.0.0.1)")
    serve.add_argument("--here", metavar="NAME", help="which of the file's hosts this is (default: its host name)")
    serve.add_argument("--rtsp-port", type=int, metavar="PORT", help="RTSP port, 0 for a free one (default 8554)")
    serve.add_argument("--http-port", type=int, metavar="PORT", help="HTTP port, 0 for a free one (default 8080)")
    serve.add_argument(
        "--muxers",
        type=_count,
        metavar="N",
        help="muxer processes; auto: by the cores (default 1)",
    )
    serve.add_argument(
        "--servers",
        type=_count,
        metavar="N",
        help="server processes; auto: by the cores (default 1)",
    )
    serve.add_argument(
        "--files", type=int, metavar="N", help="processes that mock: files share (default 0: each has its own)"
    )
    _add_runtime_dir(serve, "one instance's own directory")
    serve.set_defaults(run=_serve)

    for role, does in ROLES.items():
        commands.add_parser(role, help=f"{does} (started by serve; --help for more)", add_help=False)

    devices = commands.add_parser(
        "devices", help="the cameras of this machine", allow_abbrev=False,
        description="Show the cameras of this machine, with formats, sizes and rates.",
    )  # fmt: skip
    devices.set_defaults(run=lambda _: _become("capture", ["--devices"]))

    checker = commands.add_parser(
        "check", help="validate a settings file", allow_abbrev=False,
        description="Validate a settings file. An error names the exact key; exit code 78.",
    )  # fmt: skip
    checker.add_argument("file", metavar="FILE")
    checker.set_defaults(run=_check)

    password = commands.add_parser(
        "password", help="the lines that let a user in", epilog=_PASSWORD_EPILOG, formatter_class=plain,
        description="Ask for a password and print a user's lines for the settings file.", allow_abbrev=False,
    )  # fmt: skip
    password.add_argument("user", metavar="USER")
    password.add_argument(
        "--realm", default=settings.Auth().realm, help="auth.realm of that file (default %(default)s)"
    )
    password.add_argument("--basic", action="store_true", help="a salted hash, for Basic alone")
    password.set_defaults(run=_password)

    pair = commands.add_parser(
        "keys", help="the keys of this host, for lines to other hosts", allow_abbrev=False,
        description="Make the file of a host's key pair, where there is none yet, and print the lines for its "
        "entry in [hosts] of the settings.",
    )  # fmt: skip
    pair.add_argument("file", metavar="FILE")
    pair.set_defaults(run=_keys)

    stats = commands.add_parser(
        "stats", help="the figures of a running instance", allow_abbrev=False,
        description="Show the figures of a running instance: processes, streams, viewers.",
    )  # fmt: skip
    stats.add_argument("--json", action="store_true", help="as JSON, as /api/stats has it")
    _add_runtime_dir(stats, "the directory of the instance")
    stats.set_defaults(run=_stats)

    live = commands.add_parser(
        "top", help="the same, anew every second", allow_abbrev=False,
        description="Show the figures of a running instance, anew every second. Keys: s the next order (by name, "
        "load, age, drops, time), f filter by a text, q quit.",
    )  # fmt: skip
    _add_runtime_dir(live, "the directory of the instance")
    live.set_defaults(run=_top)

    reload = commands.add_parser(
        "reload", help="let a running instance take its settings anew", allow_abbrev=False,
        description="Let a running instance take its settings anew (as SIGHUP does): streams come, go and change, "
        "and what no change concerns goes on. Waits until it is done. Settings that are wrong change nothing.",
    )  # fmt: skip
    reload.add_argument(
        "--servers", action="store_true", help="replace every server process too, one by one; the old ones drain"
    )
    _add_runtime_dir(reload, "the directory of the instance")
    reload.set_defaults(run=_reload)

    scale = commands.add_parser(
        "scale", help="run more, or fewer, muxers or servers", allow_abbrev=False,
        description="Let a running instance have another number of muxer or server processes, until it ends or "
        "the number in its settings changes.",
    )  # fmt: skip
    scale.add_argument("role", choices=["muxers", "servers"])
    scale.add_argument("count", type=int, metavar="N")
    _add_runtime_dir(scale, "the directory of the instance")
    scale.set_defaults(run=_scale)
    return parser


def _count(text: str) -> int:
    """A number of processes; `auto` is 0, which is chosen by the cores."""
    try:
        return 0 if text == "auto" else int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor auto") from None


def _add_runtime_dir(parser: argparse.ArgumentParser, what: str) -> None:
    default = str(default_directory()).replace("%", "%%")
    parser.add_argument("--runtime-dir", metavar="DIR", help=f"{what} (default {default})")


def _serve(arguments: argparse.Namespace) -> int:
    flags = {
        "--host": ("host", arguments.host),
        "--here": ("here", arguments.here),
        "--rtsp-port": ("rtsp.port", arguments.rtsp_port),
        "--http-port": ("http.port", arguments.http_port),
        "--muxers": ("processes.muxers", arguments.muxers),
        "--servers": ("processes.servers", arguments.servers),
        "--files": ("processes.files", arguments.files),
        "--runtime-dir": ("runtime_dir", arguments.runtime_dir),
    }
    return supervisor.serve(lambda: settle(arguments.config, flags, arguments.sources), _say)


def _say(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError:  # nobody reads on, or the disk is full: the streams are served all the same
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _become(role: str, arguments: list[str]) -> int:
    # -P: a folder that happens to be called like a role where the user stands is none of ours.
    os.execv(sys.executable, [sys.executable, "-P", "-m", role, *arguments])


def _check(arguments: argparse.Namespace) -> int:
    config = settings.load(arguments.file)
    try:
        check(config)
    except SettingsError as error:
        raise SettingsError(f"{arguments.file}: {error}") from None
    count = len(config.streams)
    print(f"{arguments.file}: ok, {count} {'stream' if count == 1 else 'streams'}")
    return EXIT_OK


def _password(arguments: argparse.Namespace) -> int:
    password = _asked_for(f"password of {arguments.user}: ")
    print(user_lines(arguments.user, arguments.realm, password, basic_only=arguments.basic), end="")
    return EXIT_OK


def _keys(arguments: argparse.Namespace) -> int:
    path = os.path.abspath(arguments.file)
    pair = keys.load(path) if os.path.exists(path) else keys.make(path)
    print(tomli_w.dumps({"public_key": pair.public_key, "key_file": path}), end="")
    return EXIT_OK


def _asked_for(prompt: str) -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass(prompt)
    if getpass.getpass("the same again: ") != password:
        raise SettingsError("these are two different passwords: try again")
    return password


def user_lines(user: str, realm: str, password: str, *, basic_only: bool) -> str:
    """The settings of a user who may watch everything, TOML. Raises SettingsError."""
    if not 0 < len(password) <= settings.PASSWORD_CHARACTERS_MAX:
        raise SettingsError(f"a password has 1 to {settings.PASSWORD_CHARACTERS_MAX} characters")
    if basic_only:
        proof = {"password_hash": passwords.hash_password(password, secrets.token_bytes(passwords.SALT_BYTES))}
    else:
        proof = {
            "digest_md5": passwords.digest_secret("MD5", user, realm, password),
            "digest_sha256": passwords.digest_secret("SHA-256", user, realm, password),
        }
    users = {"users": {user: proof}}
    settings.from_document({"auth": {"realm": realm}, **users})  # raises
    return tomli_w.dumps(users)


def _stats(arguments: argparse.Namespace) -> int:
    text = ask_for_figures(_directory(arguments))
    if arguments.json:
        print(text.decode())
    else:
        width = None if sys.stdout.isatty() else _WIDTH_OF_NO_TERMINAL
        console = Console(markup=False, highlight=False, width=width)
        tables.show(msgspec.json.decode(text, type=InstanceFigures), console)
    return EXIT_OK


def _top(arguments: argparse.Namespace) -> int:
    top.watch(lambda: ask_for_figures(_directory(arguments)))
    return EXIT_OK


def _directory(arguments: argparse.Namespace) -> Path:
    return Path(arguments.runtime_dir or default_directory())


def _reload(arguments: argparse.Namespace) -> int:
    return _order(arguments, Order(0, "reload", servers=arguments.servers))


def _scale(arguments: argparse.Namespace) -> int:
    roles: dict[str, Literal["muxer", "server"]] = {"muxers": "muxer", "servers": "server"}
    return _order(arguments, Order(0, "scale", roles[arguments.role], min(arguments.count, ORDER_COUNT_MAX)))


def _order(arguments: argparse.Namespace, order: Order) -> int:
    """Give the order, wait until it has been carried out, and say how that went."""
    directory = _directory(arguments)
    outcome = _ask(directory, order, ORDER_WAIT_MS)
    if not isinstance(outcome, Outcome):
        raise FramegateError(f"the framegate in {directory} answers with something else: see its log")
    out = sys.stderr if outcome.exit_code else sys.stdout
    out.write(f"framegate: {outcome.text}\n")
    return outcome.exit_code


def ask_for_figures(directory: Path) -> bytes:
    """`/api/stats` of the instance in `directory`, JSON. Raises FramegateError where none answers."""
    answer = _ask(directory, FiguresRequest(0), ANSWER_WAIT_MS)
    if not isinstance(answer, Figures):
        raise FramegateError(f"the framegate in {directory} answers with something else: see its log")
    return answer.json


def _ask(directory: Path, question: Message, wait_ms: int) -> Message:
    """The answer of the instance in `directory`. Raises FramegateError where none comes."""
    nobody = f"no framegate runs in {directory}: start one (framegate serve), or name its --runtime-dir"
    context: sockets.Context = zmq.Context()
    control = sockets.control_client(context, control_endpoint(os.path.abspath(directory)))
    try:
        if not control.poll(ANSWER_WAIT_MS if os.path.exists(directory / "control") else 0, zmq.POLLOUT):
            raise FramegateError(nobody)
        control.send_multipart(wire.encode(question))
        if not control.poll(wait_ms):
            raise FramegateError(f"the framegate in {directory} does not answer: see its log")
        answer: Message = wire.decode(control.recv_multipart())[0]
    except MessageError as error:
        raise FramegateError(f"the framegate in {directory} answers in another version: {error}") from None
    finally:
        control.close()
        context.term()
    return answer


if __name__ == "__main__":
    sys.exit(main())
