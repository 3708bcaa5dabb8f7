"""Where an instance lives, and how a program of the same user finds it."""

import os
from pathlib import Path

import msgspec

from common import config as settings
from common.errors import SettingsError

SETTINGS_FILE = "framegate.toml"  # what its processes read
LOCK_FILE = "lock"  # begins with the pid of its supervisor


def default_directory() -> Path:
    """Where an instance lives if nothing else is said: one place a user."""
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(base) and os.path.isdir(base):
        return Path(base, "framegate")
    return Path("/run/framegate") if os.geteuid() == 0 else Path(f"/tmp/framegate-{os.geteuid()}")


def stream_of(name: str, runtime_dir: str | Path | None) -> tuple[settings.Config, settings.Stream]:
    """The settings of the running instance, and of its stream `name`.

    runtime_dir: where it lives; None for the default. Raises SettingsError where it does not run, or has no such
    stream.
    """
    directory = Path(os.path.abspath(runtime_dir or default_directory()))
    try:
        pid = int((directory / LOCK_FILE).read_text("ascii").split()[0])
        config = settings.load(directory / SETTINGS_FILE)
    except PermissionError:
        raise SettingsError(f"{directory} belongs to another user's framegate: run as that user") from None
    except (OSError, ValueError, IndexError, SettingsError):
        pid, config = 0, settings.Config()
    if not pid or not Path(f"/proc/{pid}").exists():
        raise SettingsError(
            f"no framegate runs in {directory}: start one (framegate serve), or name its runtime_dir"
        )
    stream = config.streams.get(name)
    if stream is None:
        known = ", ".join(config.streams)
        raise SettingsError(f"the framegate in {directory} has no stream {name}; it has: {known}")
    if stream.host != config.here:
        raise SettingsError(f"the source of the stream {name} is on the host {stream.host}: it is to be had there")
    return msgspec.structs.replace(config, runtime_dir=str(directory)), stream
