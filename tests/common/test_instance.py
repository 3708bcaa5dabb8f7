"""How a program finds the instance: what is there, and what is said where it is not."""

import re
from pathlib import Path

import pytest

from common.config import Config, Host, Stream, dump
from common.errors import SettingsError
from common.instance import LOCK_FILE, SETTINGS_FILE, stream_of
from tests.support.published import pretend_instance


def test_a_stream_of_a_running_instance(tmp_path: Path) -> None:
    pretend_instance(tmp_path, door="program:", test="test:")
    for where in (tmp_path, str(tmp_path)):
        config, stream = stream_of("door", where)
        assert (config.runtime_dir, stream) == (str(tmp_path), Stream("program:"))
    assert stream_of("test", tmp_path)[1] == Stream("test:")
    with pytest.raises(SettingsError, match=re.escape(f"{tmp_path} has no stream yard; it has: door, test")):
        stream_of("yard", tmp_path)


def test_a_stream_of_another_host_is_not_to_be_had_here(tmp_path: Path) -> None:
    config = Config(
        here="edge", runtime_dir=str(tmp_path), hosts={"yard": Host("k" * 40, "f"), "edge": Host("k" * 40, "f")},
        streams={"door": Stream("program:", host="yard"), "lamp": Stream("program:", host="edge")},
    )  # fmt: skip
    pretend_instance(tmp_path)
    (tmp_path / SETTINGS_FILE).write_text(dump(config), "utf-8")
    assert stream_of("lamp", tmp_path)[1] == config.streams["lamp"]
    with pytest.raises(SettingsError, match=r"the source of the stream door is on the host yard"):
        stream_of("door", tmp_path)


def test_the_default_directory_is_looked_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "framegate").mkdir()
    pretend_instance(tmp_path / "framegate", door="test:")
    config, stream = stream_of("door", None)
    assert (config.runtime_dir, stream) == (str(tmp_path / "framegate"), Stream("test:"))


@pytest.mark.parametrize("fault", ["no lock", "empty lock", "no settings", "dead", "no directory"])
def test_none_runs(tmp_path: Path, fault: str) -> None:
    directory = tmp_path
    pretend_instance(tmp_path, door="test:")
    match fault:
        case "no lock":
            (tmp_path / LOCK_FILE).unlink()
        case "empty lock":
            (tmp_path / LOCK_FILE).write_text("")
        case "no settings":
            (tmp_path / SETTINGS_FILE).unlink()
        case "dead":
            (tmp_path / LOCK_FILE).write_text(f"{1 << 22 | 1}\n")  # beyond the largest pid there is
        case "no directory":
            directory = tmp_path / "none"
    with pytest.raises(SettingsError, match=re.escape(f"no framegate runs in {directory}: start one")):
        stream_of("door", directory)


def test_that_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> str:
        raise PermissionError

    monkeypatch.setattr(Path, "read_text", refused)
    with pytest.raises(SettingsError, match="belongs to another user"):
        stream_of("door", tmp_path)
