"""deploy/run and deploy/test: what they do about the environment. A stand-in for python3 notes what it is asked
for instead of installing (the true installation is what these tests themselves run in)."""

import os
import re
import shutil
import subprocess
import time
import tomllib
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"
PATIENCE_S = 60

# `python -m venv DIR` copies the stand-in into DIR; `python -m pip install` makes a framegate that echoes.
_PYTHON = r"""#!/bin/sh
echo "$@" >>"$NOTES/calls"
case "$1 $2" in
"-c import sys"*) exit "${OLD:-0}" ;;
"-c import ensurepip"*) exit "${NO_VENV:-0}" ;;
"-V "*) echo "Python 3.9.2" ;;
"-m venv")
    [ ! -e "$NOTES/venv fails" ] || exit 1
    mkdir -p "$3/bin" && cp "$0" "$3/bin/python"
    ;;
"-m pip")
    if [ "$3" = --version ]; then [ ! -e "$NOTES/no pip" ] || exit 1; exit 0; fi
    until [ ! -e "$NOTES/pip waits" ]; do sleep 0.02; done
    [ ! -e "$NOTES/pip fails" ] || exit 1
    printf '#!/bin/sh\necho framegate "$@"\n' >"$(dirname "$0")/framegate"
    chmod +x "$(dirname "$0")/framegate"
    ;;
"-m pytest") echo "$@" in "$PWD" ;;
esac
"""


class Checkout:
    def __init__(self, root: Path, notes: Path) -> None:
        self.root = root
        self.notes = notes
        self.venv = root / ".venv"
        (root / "deploy").mkdir(parents=True)
        notes.mkdir()
        for name in ("run", "test", "environment.sh", "constraints.txt"):
            shutil.copy(DEPLOY / name, root / "deploy" / name)
        (root / "pyproject.toml").write_text("one")
        self.python = notes / "python3"
        self.python.write_text(_PYTHON)
        self.python.chmod(0o755)

    def start(
        self, script: Path | str, *words: str, folder: Path | None = None, more: dict[str, str] | None = None
    ) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [self.root / "deploy" / script, *words], cwd=folder or self.notes,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHON": str(self.python), "NOTES": str(self.notes), **(more or {})},
        )  # fmt: skip

    def run(
        self, script: Path | str, *words: str, folder: Path | None = None, more: dict[str, str] | None = None
    ) -> tuple[int, str, str]:
        popen = self.start(script, *words, folder=folder, more=more)
        stdout, stderr = popen.communicate(timeout=PATIENCE_S)
        return popen.returncode, stdout, stderr

    def calls(self) -> list[str]:
        """What python was asked for since the last call."""
        path = self.notes / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return [line for line in lines if line.startswith(("-m venv", "-m pip install"))]

    @property
    def made(self) -> str:
        return f"-m venv {self.venv}"

    def installed(self, what: str) -> str:
        return (
            "-m pip install --quiet --disable-pip-version-check --no-input "
            f"-c {self.root}/deploy/constraints.txt -e {what}"
        )


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path / "a checkout", tmp_path / "notes")


def test_the_first_start_installs_and_the_next_is_quiet(checkout: Checkout) -> None:
    code, stdout, stderr = checkout.run("run", "door=camera:0", "a b")
    assert (code, stdout) == (0, "framegate serve door=camera:0 a b\n")
    assert stderr == f"framegate: making a private environment in {checkout.venv} (once, about a minute)\n"
    assert checkout.calls() == [checkout.made, checkout.installed(".")]
    assert checkout.run("run") == (0, "framegate serve\n", "")
    assert checkout.calls() == []


def test_the_tests_add_what_they_need_and_run_can_use_it(checkout: Checkout) -> None:
    checkout.run("run")
    checkout.calls()
    code, stdout, _ = checkout.run("test", "-k", "x y")
    assert (code, stdout) == (0, f"-m pytest -k x y in {checkout.root}\n")
    assert checkout.calls() == [checkout.installed(".[test]")]
    checkout.run("run")
    checkout.run("test")
    assert checkout.calls() == []


@pytest.mark.parametrize("name", ["pyproject.toml", "deploy/constraints.txt"])
def test_a_change_of_what_is_installed_from_is_followed(checkout: Checkout, name: str) -> None:
    checkout.run("run")
    checkout.calls()
    (checkout.root / name).write_text("two")
    code, _, stderr = checkout.run("run")
    assert (code, stderr) == (0, f"framegate: bringing {checkout.venv} up to date\n")
    assert checkout.calls() == [checkout.installed(".")]


def test_from_anywhere_and_through_links(checkout: Checkout, tmp_path: Path) -> None:
    link = tmp_path / "elsewhere" / "framegate-run"
    link.parent.mkdir()
    link.symlink_to(checkout.root / "deploy" / "run")
    assert checkout.run(link, "test:", folder=Path("/"))[:2] == (0, "framegate serve test:\n")
    assert checkout.venv.exists()


@pytest.mark.parametrize("fault", ["pip fails", "venv fails"])
def test_what_was_interrupted_is_made_anew(checkout: Checkout, fault: str) -> None:
    (checkout.notes / fault).touch()
    code, stdout, stderr = checkout.run("run")
    assert (code, stdout) == (1, "")
    assert "see above" in stderr
    (checkout.venv / "half").touch()
    (checkout.notes / fault).unlink()
    checkout.calls()
    assert checkout.run("run")[:2] == (0, "framegate serve\n")
    assert checkout.calls() == [checkout.made, checkout.installed(".")]
    assert not (checkout.venv / "half").exists()


def test_an_environment_whose_python_was_upgraded_is_made_anew(checkout: Checkout) -> None:
    checkout.run("run")
    (checkout.root / "pyproject.toml").write_text("two")
    (checkout.notes / "no pip").touch()
    checkout.calls()
    assert checkout.run("run")[0] == 0
    assert checkout.calls() == [checkout.made, checkout.installed(".")]


def test_an_environment_of_somebody_else_is_used_and_never_removed(checkout: Checkout) -> None:
    (checkout.venv / "bin").mkdir(parents=True)
    shutil.copy(checkout.python, checkout.venv / "bin" / "python")
    (checkout.venv / "mine").touch()
    (checkout.notes / "no pip").touch()
    code, _, stderr = checkout.run("run")
    assert (code, stderr) == (
        1, f"framegate: {checkout.venv} has no pip that works, and was not made by framegate: remove it\n",
    )  # fmt: skip
    (checkout.notes / "no pip").unlink()
    assert checkout.run("run")[0] == 0
    assert checkout.calls() == [checkout.installed(".")]
    assert (checkout.venv / "mine").exists()


def test_two_at_a_time_install_once(checkout: Checkout) -> None:
    (checkout.notes / "pip waits").touch()
    first = checkout.start("run", "first")
    deadline = time.monotonic() + PATIENCE_S
    while not (checkout.venv / "bin" / "python").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    second = checkout.start("run", "second")
    assert second.stderr is not None
    assert second.stderr.readline() == "framegate: waiting for another start to finish its installation\n"
    (checkout.notes / "pip waits").unlink()
    assert first.communicate(timeout=PATIENCE_S)[0] == "framegate serve first\n"
    assert second.communicate(timeout=PATIENCE_S) == ("framegate serve second\n", "")
    assert checkout.calls() == [checkout.made, checkout.installed(".")]


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (
            {"PYTHON": "no-such-python"},
            "no-such-python is missing. On Debian or Ubuntu: apt-get install python3 python3-venv",
        ),
        (
            {"OLD": "1"},
            "Python 3.11 or newer is needed, PYTHON is Python 3.9.2. Another one: PYTHON=python3.12 SCRIPT",
        ),
        (
            {"NO_VENV": "1"},
            "the venv module of PYTHON is missing. On Debian or Ubuntu: apt-get install python3-venv",
        ),
    ],
)
def test_what_is_missing_is_named_and_nothing_is_left(checkout: Checkout, more: dict[str, str], line: str) -> None:
    said = line.replace("SCRIPT", f"{checkout.root}/deploy/run").replace("PYTHON is", f"{checkout.python} is")
    said = said.replace("of PYTHON", f"of {checkout.python}")
    assert checkout.run("run", more=more) == (1, "", f"framegate: {said}\n")
    assert not checkout.venv.exists()


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["project"]
    named = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    pins = [line for line in (DEPLOY / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pinned = {plain(pin) for pin in pins if re.fullmatch(r"[\w.-]+==[0-9][\w.]*", pin)}
    assert len(pinned) == len(pins)
    assert [dependency for dependency in named if plain(dependency) not in pinned] == []


def plain(requirement: str) -> str:
    """The name in a requirement, as registries compare it."""
    return re.sub(r"[-_.]+", "-", re.split(r"[=<>~ ;[]", requirement)[0]).lower()
