"""Small processes that stand in for capture, muxer and server: they keep common.role's word, and behave badly
when a file named after them says so."""

from pathlib import Path

ROLES = ("capture", "muxer", "server")
_PROGRAM = '''
import json, os, resource, select, signal, sys, time
from itertools import count
from pathlib import Path
from common import role
from common.clock import now_us
from common.errors import SettingsError
from common.figures import DeliveryFigures, RoleFigures, StreamFigures, ViewerFigures

ROLE = "{role}"
parser = role.arguments(ROLE, "a stand-in")
parser.add_argument("--index", type=int, default=0)
parser.add_argument("--stream")
arguments = parser.parse_args()
name = f"{{ROLE}}-{{arguments.stream or arguments.index}}"
notes = Path(os.environ["FAKE_NOTES"])
with (notes / f"{{name}}.lives").open("a") as lives:
    print(os.getpid(), *sys.argv[1:], file=lives)
(notes / f"{{name}}.limits").write_text(json.dumps({{
    "data": resource.getrlimit(resource.RLIMIT_DATA)[0],
    "files": resource.getrlimit(resource.RLIMIT_NOFILE),
    "cpus": sorted(os.sched_getaffinity(0)),
}}))


def told() -> str:
    """What the test wants of this process now."""
    try:
        return (notes / name).read_text()
    except FileNotFoundError:
        return ""


reports = count()


def figures() -> RoleFigures:
    if ROLE == "muxer":
        return RoleFigures({{"frames": 7}}, [StreamFigures("a", "test:", ["h264"], state="live")])
    if ROLE == "server" and next(reports) % 2:
        return RoleFigures(same_viewers=True)
    if ROLE == "server":
        viewer = ViewerFigures("1", "a", "http-ts", "peer", "ua", "reading", 1, 2, 3, 4, 5, 6)
        return RoleFigures(viewers=[viewer], deliveries=[DeliveryFigures("a", "ts", "http-ts", 1)])
    return RoleFigures()


def loop(shell: role.Role) -> None:
    if told() == "settings":
        while not shell.figures_answers():  # then the line to the supervisor stands, for its last word
            shell.ask_figures(1)
            select.select([shell.wake_fd], [], [], 0.02)
        raise SettingsError("told so")
    if told() == "die at start":
        os._exit(3)
    while told() == "not ready" and not shell.stopping:
        select.select([shell.wake_fd], [], [], 0.02)
        shell.tick(now_us(), figures)
    shell.ready()
    while not shell.stopping or told() == "deaf":
        if told() == "hang":
            while True:
                time.sleep(60)
        if told() == "eat":
            bytes(2 << 30)
        if told() == "die":
            os._exit(3)
        select.select([] if told() == "deaf" else [shell.wake_fd], [], [], 0.02)
        shell.tick(now_us(), figures)
        if shell.take_changes():
            shell.reconfigured()
        if shell.draining and told() != "watched":
            return


sys.exit(role.run(ROLE, name, arguments.config, loop))
'''


def write(folder: Path) -> None:
    """Write the stand-ins as packages into `folder`, for PYTHONPATH."""
    for role in ROLES:
        package = folder / role
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "__main__.py").write_text(_PROGRAM.format(role=role))
