"""The key pair of a host, for its lines to other hosts: made, and read, as a file for its owner alone."""

import os
import stat
import tomllib
from pathlib import Path

import msgspec
import tomli_w
import zmq

from common.errors import SettingsError
from common.lines import KeyPair

_FILE_BYTES_MAX = 4096
_HEAD = "# The key pair of one host of framegate. The secret key is for nobody else: do not copy this file.\n"


def make(path: str | Path) -> KeyPair:
    """Make a new pair and its file. Raises SettingsError where that cannot be, or is there already."""
    public_key, secret_key = (key.decode("ascii") for key in zmq.curve_keypair())
    keys = KeyPair(public_key, secret_key)
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None
    with open(file, "w", encoding="ascii") as out:
        out.write(_HEAD + tomli_w.dumps(msgspec.to_builtins(keys)))
    return keys


def load(path: str | Path) -> KeyPair:
    """The pair in a file. Raises SettingsError that names the file: where it is none, or others may read it."""
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            text = file.read(_FILE_BYTES_MAX).decode("ascii")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a key file"
        raise SettingsError(f"{path}: {reason}: make one by framegate keys {path}") from None
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO) and status.st_uid == os.geteuid():
        raise SettingsError(f"{path}: other users may read or write it: chmod 600 {path}")
    try:
        keys = msgspec.convert(tomllib.loads(text), KeyPair)
        matches = zmq.curve_public(keys.secret_key.encode("ascii")).decode("ascii") == keys.public_key
    except (ValueError, zmq.ZMQError):  # of tomllib, msgspec and pyzmq
        matches = False
    if not matches:
        raise SettingsError(f"{path}: not a key file: make one by framegate keys FILE")
    return keys
