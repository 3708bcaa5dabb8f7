"""The file of a host's key pair."""

import os
import re
import stat
from pathlib import Path

import pytest
import zmq

from common import keys
from common.config import PUBLIC_KEY_PATTERN
from common.errors import SettingsError


def test_a_new_pair_is_its_owners_alone_and_is_read_back(tmp_path: Path) -> None:
    file = tmp_path / "host.key"
    old = os.umask(0)
    try:
        made = keys.make(file)
    finally:
        os.umask(old)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert keys.load(file) == made
    assert zmq.curve_public(made.secret_key.encode()).decode() == made.public_key
    assert re.search(PUBLIC_KEY_PATTERN, made.public_key)
    assert keys.make(tmp_path / "other.key") != made


def test_a_pair_is_never_written_over(tmp_path: Path) -> None:
    file = tmp_path / "host.key"
    made = keys.make(file)
    with pytest.raises(SettingsError, match=r"host\.key: File exists$"):
        keys.make(file)
    assert keys.load(file) == made


def test_what_others_may_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "host.key"
    keys.make(file)
    file.chmod(0o640)
    with pytest.raises(SettingsError, match=r"other users may read or write it: chmod 600 /"):
        keys.load(file)


@pytest.mark.parametrize(
    "text",
    [
        "", "\0", "é", "public_key = 1", 'public_key = "a"\nsecret_key = "b"',
        f'public_key = "{"a" * 40}"\nsecret_key = "{"b" * 40}"', "x" * 10_000,
    ],
)  # fmt: skip
def test_what_is_no_pair_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "host.key"
    file.write_text(text, "utf-8")
    file.chmod(0o600)
    with pytest.raises(SettingsError, match=r"host\.key: not a key file: make one by framegate keys"):
        keys.load(file)


def test_a_missing_file_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"No such file or directory: make one by framegate keys /"):
        keys.load(tmp_path / "none")
