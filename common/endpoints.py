"""Where each process listens on its own host. Pure: names in, ZeroMQ endpoints out."""

import hashlib
from collections.abc import Sequence

from common.errors import SettingsError

UNIX_PATH_BYTES_MAX = 107  # sun_path of sockaddr_un, less its zero


def _path(runtime_dir: str, file_name: str) -> str:
    path = f"{runtime_dir}/{file_name}"
    if len(path.encode()) > UNIX_PATH_BYTES_MAX:
        raise SettingsError(
            f"the socket path {path} is over {UNIX_PATH_BYTES_MAX} bytes: choose a shorter --runtime-dir"
        )
    return path


def _ipc(runtime_dir: str, file_name: str) -> str:
    return f"ipc://{_path(runtime_dir, file_name)}"


def capture_endpoint(runtime_dir: str, stream: str) -> str:
    """Where the capture process that `stream` has for itself publishes its samples (XPUB)."""
    return _ipc(runtime_dir, f"capture-{stream}")


def files_endpoint(runtime_dir: str, process: str, stream: str) -> str:
    """Likewise, of a capture process that several streams share."""
    return _ipc(runtime_dir, f"{process}-{stream}")


def program_endpoint(runtime_dir: str, stream: str) -> str:
    """Where the capture of a `program:` stream takes samples from programs (XSUB)."""
    return _ipc(runtime_dir, f"program-{stream}")


def muxer_endpoint(runtime_dir: str, index: int) -> str:
    """Where muxer `index` serves frames (ROUTER)."""
    return _ipc(runtime_dir, f"muxer-{index}")


def control_endpoint(runtime_dir: str) -> str:
    """Where the supervisor hears its processes and answers for figures (ROUTER)."""
    return _ipc(runtime_dir, "control")


def tunnel_path(runtime_dir: str, index: int) -> str:
    """Where server `index` is handed the connections of its RTSP tunnels: a path, for datagrams."""
    return _path(runtime_dir, f"server-{index}-tunnels")


def owner_of(stream: str, processes: Sequence[str]) -> str:
    """The one of `processes`, by name, that has `stream`: the same for whoever asks, on every host.

    Rendezvous hashing: with one more process only the streams that the new one wins move.
    """
    return max(processes, key=lambda name: hashlib.blake2b(f"{stream}\0{name}".encode()).digest())
