"""The command line as a user meets it."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from common import passwords
from common.config import load
from common.errors import EXIT_CRASH, EXIT_OK, EXIT_SETTINGS
from common.figures import InstanceFigures, ProcessFigures, StreamFigures, ViewerFigures
from common.source_spec import KINDS
from deploy import cli, tables

ROOT = Path(__file__).parents[2]
SOURCES = ", ".join(KINDS)
EXAMPLE = ROOT / "deploy" / "framegate.example.toml"


def framegate(*words: str, folder: Path | None = None, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-P", "-m", "deploy.cli", *words], stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=60, check=False, cwd=folder, env={**os.environ, **environment},
    )  # fmt: skip


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["serve", "--help"],
        ["check", "-h"],
        ["stats", "-h"],
        ["devices", "-h"],
        ["reload", "-h"],
        ["top", "-h"],
        ["scale", "-h"],
        ["password", "-h"],
    ],
)
def test_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(words)
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith("usage: framegate")
    assert max(len(line) for line in text.splitlines()) <= 110


def test_help_names_every_command_and_every_flag_of_serve(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--help"], ["serve", "--help"]):
        with pytest.raises(SystemExit):
            cli.main(words)
    text = capsys.readouterr().out
    commands = "serve capture muxer server devices check password stats reload scale top"
    flags = "[NAME=]SOURCE --config --host --rtsp-port --http-port --muxers --servers --runtime-dir"
    assert [word for word in f"{commands} {flags}".split() if word not in text] == []


def test_the_version_comes_from_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out.startswith("framegate 0.")


@pytest.mark.parametrize("words", [[], ["bogus"], ["serve", "--bogus"], ["check"], ["serve", "--rtsp-port", "x"],
                                   ["serve", "--servers", "x"], ["scale", "servers"], ["scale", "captures", "2"],
                                   ["reload", "x"],
                                   ["stats", "a"], ["serve", "--rtsp", "1"]])  # fmt: skip
def test_what_is_not_understood_is_said_in_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(words)
    assert end.value.code == 2
    assert "error: " in capsys.readouterr().err.splitlines()[-1]


class TestServe:
    @pytest.mark.parametrize(
        ("words", "line"),
        [
            (["nope"], f"'nope' is no source: it is one of {SOURCES}"),
            (["test:", "--rtsp-port", "1", "a="], f"'' is no source: it is one of {SOURCES}"),
            (["--http-port", "70000"], "--http-port 70000: Expected `int` <= 65535 - at `$.http.port`"),
            (["--servers", "-1"], "--servers -1: Expected `int` >= 0 - at `$.processes.servers`"),
            (["--rtsp-port", "9", "--http-port", "9"],
             "port 9 is asked for twice: $.rtsp.port has it, too - at `$.http.port`"),
            (["--config", "/missing"], "/missing: No such file or directory"),
            (["--host", "192.0.2.7", "--rtsp-port", "0"],
             "--host 192.0.2.7 is no address of this machine: choose one of its own, or 0.0.0.0 for all"),
            (["--runtime-dir", "/proc/no"],
             "/proc/no cannot be made (No such file or directory): choose another --runtime-dir"),
            (["--runtime-dir", "/" + "x" * 100], f"the socket path /{'x' * 100}/capture-test is over 107 bytes: "
             "choose a shorter --runtime-dir"),
        ],
    )  # fmt: skip
    def test_what_is_wrong_is_said_in_one_line_before_anything_starts(
        self, words: list[str], line: str, tmp_path: Path
    ) -> None:
        if "--runtime-dir" not in words:
            words = [*words, "--runtime-dir", str(tmp_path / "run")]
        done = framegate("serve", *words)
        assert done.stderr == f"framegate: {line}\n"
        assert done.stdout == ""
        assert done.returncode == EXIT_SETTINGS
        assert list(tmp_path.iterdir()) == []


class TestCheck:
    def test_the_example(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["check", str(EXAMPLE)]) == EXIT_OK
        assert capsys.readouterr().out == f"{EXAMPLE}: ok, 1 stream\n"

    @pytest.mark.parametrize(
        ("text", "fault"),
        [
            ("", None),
            ("[streams.a]\nsource = 'test:'\n[streams.b]\nsource = 'mock:x'", None),
            ("[rtsp]\nport = 'x'", "Expected `int`, got `str` - at `$.rtsp.port`"),
            ("[rtsp]\nprot = 1", "Object contains unknown field `prot` - at `$.rtsp`"),
            ("[streams.b]\nsource = 'b'",
             f"'b' is no source: it is one of {SOURCES} - at `$.streams.b.source`"),
            ("[streams.b]\nsource = 'test:'\nsound = 'hw:0'",
             "only a camera has sound beside it - at `$.streams.b.sound`"),
            ("x", "not TOML: Expected '=' after a key in a key/value pair (at end of document)"),
        ],
    )  # fmt: skip
    def test_files(self, text: str, fault: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        file = tmp_path / "f.toml"
        file.write_text(text)
        code = cli.main(["check", str(file)])
        shown = capsys.readouterr()
        if fault is None:
            assert (code, shown.err) == (EXIT_OK, "")
            assert shown.out == f"{file}: ok, {text.count('source')} streams\n"
        else:
            assert (code, shown.out) == (EXIT_SETTINGS, "")
            assert shown.err == f"framegate: {file}: {fault}\n"

    def test_what_is_no_file(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "bytes").write_bytes(b"\xff\xfe")
        for name, fault in (
            ("none", "No such file or directory"),
            ("", "Is a directory"),
            ("bytes", "not UTF-8 text"),
        ):
            assert cli.main(["check", f"{tmp_path}/{name}"]) == EXIT_SETTINGS
            assert capsys.readouterr().err == f"framegate: {tmp_path}/{name}: {fault}\n"


class TestRoles:
    def make(self, package: Path, program: str) -> None:
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "__main__.py").write_text(program)

    @pytest.mark.parametrize("role", ["capture", "muxer", "server"])
    def test_a_role_gets_all_its_arguments(self, role: str, tmp_path: Path) -> None:
        self.make(tmp_path / "fakes" / role, "import sys\nprint(sys.argv[1:])\nsys.exit(7)")
        self.make(tmp_path / role, "raise SystemExit('a folder of the user that is called like a role')")
        words = ["--help", "--config", "x", "-v", "a b", "--"]
        done = framegate(role, *words, folder=tmp_path, PYTHONPATH=f"{tmp_path / 'fakes'}{os.pathsep}{ROOT}")
        assert (done.returncode, done.stdout) == (7, f"{words}\n")

    def test_devices_asks_capture(self, tmp_path: Path) -> None:
        self.make(tmp_path / "capture", "import sys\nprint(sys.argv[1:])")
        assert framegate("devices", PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}").stdout == "['--devices']\n"


class TestPassword:
    def lines(self, monkeypatch: pytest.MonkeyPatch, *words: str, typed: str = "s3cret\n") -> int:
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        return cli.main(["password", *words])

    def test_what_it_prints_lets_in(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert self.lines(monkeypatch, "al ice", "--realm", "door") == EXIT_OK
        assert self.lines(monkeypatch, "bob", "--basic") == EXIT_OK
        printed = capsys.readouterr().out
        assert "s3cret" not in printed
        file = tmp_path / "f.toml"
        file.write_text(f'[auth]\nrealm = "door"\ndigest = "both"\n{printed}')
        users = load(file).users
        assert users["al ice"].digest_md5 == passwords.digest_secret("MD5", "al ice", "door", "s3cret")
        assert users["al ice"].digest_sha256 == passwords.digest_secret("SHA-256", "al ice", "door", "s3cret")
        assert passwords.fits_hash("s3cret", users["bob"].password_hash)
        assert cli.main(["check", str(file)]) == EXIT_OK

    def test_no_salt_is_used_twice(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        printed = [self.lines(monkeypatch, "a", "--basic") or capsys.readouterr().out for _ in range(2)]
        assert printed[0] != printed[1]

    @pytest.mark.parametrize(("words", "typed", "fault"), [
        (["a:b"], "x\n", "the user name 'a:b' is not"),
        (["a"], "\n", "a password has 1 to 256 characters"),
        (["a"], "", "a password has 1 to 256 characters"),
        (["a"], "x" * 257, "a password has 1 to 256 characters"),
        (["a", "--realm", 'a"b'], "x\n", "$.auth.realm"),
    ])  # fmt: skip
    def test_faults(
        self, words: list[str], typed: str, fault: str,
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    ) -> None:  # fmt: skip
        assert self.lines(monkeypatch, *words, typed=typed) == EXIT_SETTINGS
        said = capsys.readouterr().err
        assert fault in said
        assert len(said.splitlines()) == 1


class TestStats:
    def test_where_nothing_runs(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["stats", "--runtime-dir", str(tmp_path)]) == EXIT_CRASH
        assert capsys.readouterr().err == (
            f"framegate: no framegate runs in {tmp_path}: start one (framegate serve), or name its --runtime-dir\n"
        )

    def test_json_and_table(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        text = b'{"processes":[],"streams":[{"name":"door","source":"camera:0"}],"viewers":[]}'
        asked: list[Path] = []

        def answer(directory: Path) -> bytes:
            asked.append(directory)
            return text

        monkeypatch.setattr(cli, "ask_for_figures", answer)
        assert cli.main(["stats", "--json", "--runtime-dir", str(tmp_path)]) == EXIT_OK
        assert json.loads(capsys.readouterr().out) == json.loads(text)
        assert cli.main(["stats", "--runtime-dir", str(tmp_path)]) == EXIT_OK
        assert "camera:0" in capsys.readouterr().out
        assert asked == [tmp_path, tmp_path]


class TestOrders:
    def test_where_nothing_runs(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for words in (["reload"], ["reload", "--servers"], ["scale", "servers", "2"]):
            assert cli.main([*words, "--runtime-dir", str(tmp_path)]) == EXIT_CRASH
            assert f"no framegate runs in {tmp_path}" in capsys.readouterr().err


class TestTables:
    def shown(self, figures: InstanceFigures) -> str:
        console = Console(file=io.StringIO(), width=160, markup=False, highlight=False)
        tables.show(figures, console)
        assert isinstance(console.file, io.StringIO)
        return console.file.getvalue()

    def test_everything_is_in_it(self) -> None:
        viewer = ViewerFigures(
            "1",
            "door",
            "rtsp-tcp",
            "10.0.0.7:4",
            "VLC",
            "reading",
            12.4,
            100,
            3,
            1,
            5_500_000,
            7300,
            loss_percent=1.25,
        )
        text = self.shown(
            InstanceFigures(
                [ProcessFigures("muxer", "muxer-0", 42, "up", 12.6, 50_400_000, 61.5, 2)],
                [
                    StreamFigures(
                        "door", "camera:0", ["h264", "aac"], 1280, 720, 25.0, 4_000_000, 2.0, 1, 0, 9, 5, "live"
                    )
                ],
                [viewer],
            )
        )
        rows = {line.split()[0]: " ".join(line.split()) for line in text.splitlines() if line.strip()}
        assert rows["muxer-0"] == "muxer-0 42 up 13 % 50 MB 1:01 min 2"
        streams = [" ".join(line.split()) for line in text.splitlines() if line.startswith("door")]
        assert streams == [
            "door camera:0 live h264 aac 1280×720 25 4.00 2.0 s 1 5",
            "door 10.0.0.7:4 rtsp-tcp reading 12 ms 100 3 1.2 % 5.5 MB 2:01 h",
        ]

    def test_what_comes_from_outside_cannot_steer_the_terminal(self) -> None:
        text = self.shown(
            InstanceFigures([], [StreamFigures("a", "mock:\x1b[31m\u202e[red]x", state="down", reason="\x07")])
        )
        assert "mock:?[31m?[red]x" in text
        assert not {"\x1b", "\x07", "\u202e"} & set(text)

    def test_many_viewers_are_cut_and_said(self) -> None:
        viewer = ViewerFigures("1", "a", "http-ts", "peer", "ua", "reading", 1, 2, 3, 4, 5, 6)
        text = self.shown(InstanceFigures(viewers=[viewer] * 60))
        assert text.count("http-ts") == 50
        assert "and 10 more viewers" in text

    def test_nobody(self) -> None:
        assert "no viewers" in self.shown(InstanceFigures())
