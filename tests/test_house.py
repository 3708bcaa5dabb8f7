"""The rules of the house, read from the source: who imports whom, what is pure, what stands once only."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("capture", "common", "deploy", "muxer", "server")
EXAMPLES = ROOT / "deploy" / "examples"  # programs of users: they import what users import
MODULES = sorted(
    path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if EXAMPLES not in path.parents
)
TOP_LEVEL = {"pyproject.toml", "README.md", "tests", *PACKAGES}
LINES_MAX = 400

# Bytes, numbers and now_us in, values out. These must be; any other module whose docstring says Pure must be, too.
PURE = {
    "common": "adts annexb captures endpoints errors figures grid header_numbers intake leading messages "
    "passwords sample source_spec sps wire",
    "capture": "camera_modes glyphs known_tracks policy recent source standby sync_points timeline",
    "muxer": "aac_format audio_formats carriage fanout h264_format h265_format jpeg_format mpegts "
    "nal_format native outputs packet_feed parameter_sets payload_format psi ring rtp "
    "sdp stream timeline",
    "server": "auth auth_headers datagrams flow frame_buffers frame_mark greeting http_requests login_failures "
    "nonces rtcp rtsp_headers rtsp_message rtsp_state rtsp_steps rtsp_transport tunnel_text "
    "udp_backlog udp_convoys",
    "deploy": "changes deaths metrics policy rollout top_view",
}
PURE_BUT_FOR_ONE_CALL = {"common/clock", "common/config"}  # now_us; load
MAY_USE = {"muxer/fanout": "muxer.session"}  # it hands its sessions a clock of its own
IMPURE = {
    "asyncio", "ctypes", "fcntl", "io", "logging", "multiprocessing", "os", "pathlib", "psutil", "queue", "random",
    "secrets", "select", "selectors", "shutil", "signal", "socket", "ssl", "subprocess", "sys",
    "tempfile", "threading", "time", "uuid", "zmq",
    "common.logs", "common.role", "common.sockets",
}  # fmt: skip
IMPURE_CALLS = {"open", "print", "input", "now_us"}
ONCE = {"v4l2py": 1, "linuxpy": 1, "psutil": 1, "zmq.asyncio": 0}  # in at most so many modules
# What a process must not load to start: each life of one begins with all that it imports, and viewers wait for it.
HEAVY = {"asyncio", "av", "h11", "linuxpy", "numpy", "prometheus_client", "psutil", "pygments", "rich"}
NEEDS = {  # of these, by what starts
    "capture.__main__": set(),
    "muxer.__main__": {"numpy"},
    "server.__main__": {"h11", "numpy"},
    "capture.program": set(),
    "capture.mock": {"av", "numpy"},
    "capture.generated": {"av", "numpy"},
}
SOCKET_KINDS = "PUB|SUB|XPUB|XSUB|PUSH|PULL|DEALER|ROUTER|REQ|REP|PAIR|STREAM|CLIENT|SERVER|RADIO|DISH"


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(path: Path) -> Iterator[str]:
    """The dotted names of all that a module imports, at the top or inside: `a.b` for `from a import b`."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name(path)}:{node.lineno}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def prefixes(dotted: str) -> set[str]:
    parts = dotted.split(".")
    return {".".join(parts[: count + 1]) for count in range(len(parts))}


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_package_imports_common_and_itself_only(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    others = {*PACKAGES, "tests"} - {package, "common"}
    assert [dotted for dotted in imports(path) if dotted.split(".")[0] in others] == []


@cache
def says_pure(path: Path) -> bool:
    return re.search(r"\bPure\b", ast.get_docstring(tree(path)) or "") is not None


@cache
def pure_modules() -> list[str]:
    fixed = {f"{package}/{module}" for package, modules in PURE.items() for module in modules.split()}
    return sorted((fixed | {name(path)[:-3] for path in MODULES if says_pure(path)}) - PURE_BUT_FOR_ONE_CALL)


@pytest.mark.parametrize("module", pure_modules())
def test_pure_modules_have_no_sockets_clock_threads_or_logs(module: str) -> None:
    path = ROOT / f"{module}.py"
    assert path.exists(), "renamed? the list of pure modules wants its new name"
    assert [dotted for dotted in imports(path) if prefixes(dotted) & IMPURE] == []
    assert [dotted for dotted in imports(path) if dotted == "common.clock.now_us"] == []
    calls = [node.func for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
    assert [call.id for call in calls if isinstance(call, ast.Name) and call.id in IMPURE_CALLS] == []


@pytest.mark.parametrize("module", pure_modules())
def test_pure_modules_stand_on_pure_modules(module: str) -> None:
    pure = {module.replace("/", ".") for module in (*pure_modules(), *PURE_BUT_FOR_ONE_CALL)}
    ours = [dotted for dotted in imports(ROOT / f"{module}.py") if dotted.split(".")[0] in PACKAGES]
    assert [dotted for dotted in ours if not prefixes(dotted) & {*pure, MAY_USE.get(module)}] == []


def test_config_reads_a_file_in_load_only() -> None:
    path = ROOT / "common" / "config.py"
    reading = [
        function.name
        for function in ast.walk(tree(path))
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute) and node.attr.startswith("read")
    ]
    assert reading == ["load"]
    assert [dotted for dotted in imports(path) if prefixes(dotted) & (IMPURE - {"pathlib"})] == []


@pytest.mark.parametrize(("dependency", "modules_max"), ONCE.items())
def test_what_is_imported_in_one_module_only(dependency: str, modules_max: int) -> None:
    users = [name(path) for path in MODULES if any(dependency in prefixes(dotted) for dotted in imports(path))]
    assert len(users) <= modules_max, users


@pytest.mark.parametrize(("module", "needed"), NEEDS.items())
def test_a_process_loads_what_it_needs_only(module: str, needed: set[str]) -> None:
    program = f"import sys, {module}\nprint(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert HEAVY & set(loaded.stdout.split()) == needed


def test_zmq_sockets_are_made_in_one_module_only() -> None:
    kinds = re.compile(rf"\bzmq\.({SOCKET_KINDS})\b")
    made = re.compile(r"\bzmq\.Socket\(|\bfrom zmq\b")
    for path in MODULES:
        if name(path) != "common/sockets.py":
            text = path.read_text(encoding="utf-8")
            assert not kinds.search(text), name(path)
            assert not made.search(text), name(path)


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_modules_are_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LINES_MAX


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_modules_say_what_they_are(path: Path) -> None:
    if path.name != "__main__.py":
        assert ast.get_docstring(tree(path)), "a docstring comes first"
    assert path.stem not in sys.stdlib_module_names, "it shadows a module of the standard library"
    assert path.stem not in ("utils", "util", "helpers", "misc")


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_is_one_docstring_and_typed(package: str) -> None:
    statements = tree(ROOT / package / "__init__.py").body
    assert len(statements) == 1
    assert isinstance(statements[0], ast.Expr)
    assert (ROOT / package / "py.typed").exists()


def test_no_fault_is_swallowed() -> None:
    for path in MODULES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ExceptHandler):
                wide = node.type is None or (
                    isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException")
                )
                silent = all(isinstance(statement, ast.Pass) for statement in node.body)
                assert not (wide and silent), f"{name(path)}:{node.lineno}"


def test_the_top_level_is_what_was_fixed() -> None:
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    tops = {path.split("/")[0] for path in listed.stdout.split("\0") if path}
    assert {top for top in tops if not top.startswith(".")} == TOP_LEVEL
