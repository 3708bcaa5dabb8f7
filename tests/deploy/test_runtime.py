"""The private directory, its lock, and the held ports."""

import os
import socket
import stat
from pathlib import Path

import pytest

from common.errors import SettingsError
from common.instance import default_directory
from deploy.runtime import RuntimeDirectory, hold_port, resolve, shown_host


@pytest.fixture(autouse=True)
def _umask() -> object:
    before = os.umask(0o022)
    yield
    os.umask(before)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


class TestDirectory:
    def test_is_made_private_and_removed(self, tmp_path: Path) -> None:
        path = tmp_path / "run"
        with RuntimeDirectory(path) as runtime:
            assert stat.S_IMODE(path.stat().st_mode) == 0o700
            assert runtime.write_settings("x = 1\n") == path / "framegate.toml"
            make_socket(path / "capture-a")
            assert all(stat.S_IMODE(file.stat().st_mode) & 0o077 == 0 for file in path.iterdir())
        assert not path.exists()

    def test_the_settings_are_for_our_user_alone_wherever_they_stand(self, tmp_path: Path) -> None:
        (tmp_path / "framegate.toml").write_text("another's, for everybody to read")
        with RuntimeDirectory(tmp_path) as runtime:
            os.umask(0)
            path = runtime.write_settings('password = "x"')
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert path.read_text() == 'password = "x"'

    def test_one_that_was_there_stays_without_what_was_ours(self, tmp_path: Path) -> None:
        path = tmp_path / "run"
        path.mkdir()
        (path / "capture-notes.txt").write_text("mine")
        (path / "capture-log").write_text("mine")
        with RuntimeDirectory(path) as runtime:
            runtime.write_settings("")
            for name in ("control", "capture-a", "muxer-0", "server-0"):
                make_socket(path / name)
        assert sorted(file.name for file in path.iterdir()) == ["capture-log", "capture-notes.txt"]

    def test_one_with_strange_files_in_it_is_left_to_their_owner(self, tmp_path: Path) -> None:
        path = tmp_path / "run"
        with RuntimeDirectory(path):
            (path / "note").write_text("mine")
        assert [file.name for file in path.iterdir()] == ["note"]

    def test_a_killed_predecessors_directory_is_swept_and_removed(self, tmp_path: Path) -> None:
        path = tmp_path / "run"
        pid = os.fork()
        if pid == 0:
            RuntimeDirectory(path).__enter__().write_settings("left = 1")
            make_socket(path / "muxer-3")
            os._exit(0)
        os.waitpid(pid, 0)
        assert {file.name for file in path.iterdir()} == {"lock", "framegate.toml", "muxer-3"}
        with RuntimeDirectory(path):
            assert {file.name for file in path.iterdir()} == {"lock"}
        assert not path.exists()

    def test_the_second_is_refused_with_the_pid_of_the_first(self, tmp_path: Path) -> None:
        with RuntimeDirectory(tmp_path / "run"):
            with pytest.raises(
                SettingsError, match=rf"pid {os.getpid()}\) runs in {tmp_path}/run: .*--runtime-dir"
            ):
                RuntimeDirectory(tmp_path / "run").__enter__()
            assert (tmp_path / "run" / "lock").exists()

    def test_a_lock_that_its_owner_removed_meanwhile_is_not_taken_for_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "run"
        path.mkdir(mode=0o700)
        real = os.open
        opened: list[int] = []

        def open_and_lose_it(name: str | Path, flags: int, mode: int = 0o777) -> int:
            descriptor = real(name, flags, mode)
            if not opened:  # between our open and our flock, the former owner leaves
                Path(name).unlink()
            opened.append(descriptor)
            return descriptor

        monkeypatch.setattr(os, "open", open_and_lose_it)
        with RuntimeDirectory(path):
            assert (path / "lock").exists()
            assert len(opened) == 2

    @pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
    def test_one_that_others_can_write_to_is_refused(self, tmp_path: Path, mode: int) -> None:
        path = tmp_path / "run"
        path.mkdir()
        path.chmod(mode)
        with pytest.raises(SettingsError, match=rf"mode {mode:o}\): chmod 700 it"):
            RuntimeDirectory(path).__enter__()
        assert list(path.iterdir()) == []

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
    def test_one_of_another_user_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "run"
        path.mkdir(mode=0o700)
        os.chown(path, 12345, -1)
        with pytest.raises(SettingsError, match="belongs to another user"):
            RuntimeDirectory(path).__enter__()

    def test_files_and_links_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        (tmp_path / "target").mkdir(mode=0o700)
        (tmp_path / "link").symlink_to(tmp_path / "target")
        for name in ("file", "link"):
            with pytest.raises(SettingsError, match=f"{name} is not a directory"):
                RuntimeDirectory(tmp_path / name).__enter__()

    def test_one_that_cannot_be_made_says_why(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match=r"cannot be made \(No such file or directory\)"):
            RuntimeDirectory(tmp_path / "no" / "parent").__enter__()

    def test_a_lock_that_is_a_link_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "run").mkdir(mode=0o700)
        (tmp_path / "run" / "lock").symlink_to(tmp_path / "victim")
        with pytest.raises(SettingsError, match="choose another --runtime-dir"):
            RuntimeDirectory(tmp_path / "run").__enter__()
        assert not (tmp_path / "victim").exists()

    def test_the_default(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
        assert default_directory() == tmp_path / "framegate"
        for unusable in ("", "relative", str(tmp_path / "missing")):
            monkeypatch.setenv("XDG_RUNTIME_DIR", unusable)
            monkeypatch.setattr(os, "geteuid", lambda: 0)
            assert default_directory() == Path("/run/framegate")
            monkeypatch.setattr(os, "geteuid", lambda: 1000)
            assert default_directory() == Path("/tmp/framegate-1000")


class TestPorts:
    def test_0_picks_a_free_one_and_keeps_it(self) -> None:
        with hold_port("127.0.0.1", 0, "--rtsp-port") as held:
            port = held.getsockname()[1]
            assert port > 0
            with pytest.raises(SettingsError, match=f"port {port} of 127.0.0.1 is in use: .*--http-port"):
                hold_port("127.0.0.1", port, "--http-port")
        hold_port("127.0.0.1", port, "--rtsp-port").close()

    @pytest.mark.parametrize("options", [[], [socket.SO_REUSEADDR], [socket.SO_REUSEPORT],
                                         [socket.SO_REUSEADDR, socket.SO_REUSEPORT]])  # fmt: skip
    def test_one_that_another_program_listens_on_is_refused(self, options: list[int]) -> None:
        with socket.socket() as other:
            for option in options:
                other.setsockopt(socket.SOL_SOCKET, option, 1)
            other.bind(("127.0.0.1", 0))
            other.listen()
            with pytest.raises(SettingsError, match="is in use"):
                hold_port("127.0.0.1", other.getsockname()[1], "--rtsp-port")

    def test_servers_share_it_and_connections_reach_them(self) -> None:
        with hold_port("127.0.0.1", 0, "--rtsp-port") as held:
            address = held.getsockname()
            with socket.socket() as one, socket.socket() as two:
                for server in (one, two):
                    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                    server.bind(address)
                    server.listen()
                two.close()
                with socket.create_connection(address, timeout=10) as viewer, one.accept()[0] as accepted:
                    assert accepted.getpeername() == viewer.getsockname()

    def test_a_host_that_is_not_ours(self) -> None:
        with pytest.raises(SettingsError, match=r"--host 192\.0\.2\.7 is no address of this machine"):
            hold_port("192.0.2.7", 0, "--rtsp-port")

    @pytest.mark.parametrize("host", ["no.such.host.invalid", "", "a" * 300, "\u2028", "1.2.3.4.5"])
    def test_a_host_that_is_none(self, host: str) -> None:
        with pytest.raises(SettingsError, match="--host"):
            hold_port(host or "..", 0, "--rtsp-port")

    def test_resolve_prefers_ipv4(self) -> None:
        assert resolve("localhost") == (socket.AF_INET, "127.0.0.1")
        assert resolve("::1") == (socket.AF_INET6, "::1")

    def test_the_host_shown_in_urls(self) -> None:
        assert shown_host("127.0.0.1") == "127.0.0.1"
        assert shown_host("::1") == "[::1]"
        outward = shown_host("0.0.0.0")
        assert outward != "0.0.0.0"
        assert socket.inet_aton(outward)
        assert shown_host("::").startswith("[")
