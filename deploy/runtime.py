"""What an instance holds while it lives: its private directory, the lock in it, and its two ports.

Everything is claimed before the first process starts, and given back whatever ends the instance; what a
predecessor left that was killed is swept away by the next one.
"""

import errno
import fcntl
import os
import socket
import stat
from pathlib import Path
from types import TracebackType

from common.errors import SettingsError
from common.instance import LOCK_FILE, SETTINGS_FILE

NEW_SETTINGS_FILE = SETTINGS_FILE + ".new"
_MADE = "made"  # in the lock file: the directory was made by framegate, whoever ends last removes it
_SOCKETS = ("control", "capture-*", "files-*", "muxer-*", "program-*", "server-*")
_LOCK_TRIES_MAX = 10
_PRIVATE_UMASK = 0o077


class RuntimeDirectory:
    """The private directory of one instance, ours alone from entering to leaving the context.

    Raises SettingsError where it cannot be had. Its sockets and files are open to no other user: the umask
    of this process, which its children inherit, sees to that.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(os.path.abspath(path))
        self._made = False
        self._lock = -1

    def __enter__(self) -> "RuntimeDirectory":
        os.umask(_PRIVATE_UMASK)
        for _ in range(_LOCK_TRIES_MAX):
            self._make()
            try:
                if self._take_lock():
                    self._sweep()
                    return self
            except FileNotFoundError:
                pass  # the instance before us removed the directory between our two steps: make it again
            except OSError as error:
                raise SettingsError(f"{self.path}: {error.strerror}: choose another --runtime-dir") from None
        raise SettingsError(f"{self.path} comes and goes: choose another --runtime-dir")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sweep()
        self.path.joinpath(LOCK_FILE).unlink(missing_ok=True)
        if self._made:
            try:
                self.path.rmdir()
            except OSError:
                pass  # somebody keeps files of his own in it, or the next instance has it already
        os.close(self._lock)

    def write_settings(self, text: str) -> Path:
        """Write the settings that the processes read, passwords and all, at one stroke; returns their file.

        Raises SettingsError where they cannot be written; those before are there still.
        """
        path, new = self.path / SETTINGS_FILE, self.path / NEW_SETTINGS_FILE
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            new.unlink(missing_ok=True)
            with open(os.open(new, flags, 0o600), "w", encoding="utf-8") as file:
                file.write(text)
            new.replace(path)
        except OSError as error:
            raise SettingsError(
                f"{path} cannot be written: {error.strerror}: make room there, or choose another --runtime-dir"
            ) from None
        return path

    def _make(self) -> None:
        try:
            self.path.mkdir(mode=0o700)
            self._made = True
        except FileExistsError:
            pass
        except OSError as error:
            raise SettingsError(
                f"{self.path} cannot be made ({error.strerror}): choose another --runtime-dir"
            ) from None
        try:
            status = self.path.lstat()
        except FileNotFoundError:
            return  # removed since: taking the lock will say so
        if not stat.S_ISDIR(status.st_mode):
            raise SettingsError(f"{self.path} is not a directory: choose another --runtime-dir")
        if status.st_uid != os.geteuid():
            raise SettingsError(f"{self.path} belongs to another user: choose another --runtime-dir")
        if status.st_mode & 0o022:
            mode = stat.S_IMODE(status.st_mode)
            raise SettingsError(
                f"{self.path} can be written to by other users (mode {mode:o}): chmod 700 it, or choose "
                "another --runtime-dir"
            )

    def _take_lock(self) -> bool:
        path = self.path / LOCK_FILE
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.samestat(os.fstat(lock), os.stat(path)):
                os.close(lock)
                return False  # its former owner removed it before we had it
        except BlockingIOError:
            owner = os.pread(lock, 100, 0).decode("ascii", "replace").partition("\n")[0]
            os.close(lock)
            raise SettingsError(
                f"another framegate (pid {owner or 'unknown'}) runs in {self.path}: stop it, or start this one "
                "with another --runtime-dir and other ports"
            ) from None
        except FileNotFoundError:
            os.close(lock)
            raise
        self._made = self._made or _MADE in os.pread(lock, 100, 0).decode("ascii", "replace").split()
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n{_MADE if self._made else ''}\n".encode(), 0)
        self._lock = lock
        return True

    def _sweep(self) -> None:
        for pattern in _SOCKETS:
            for path in self.path.glob(pattern):
                if stat.S_ISSOCK(path.lstat().st_mode):
                    path.unlink(missing_ok=True)
        for name in (SETTINGS_FILE, NEW_SETTINGS_FILE):
            self.path.joinpath(name).unlink(missing_ok=True)


def resolve(host: str) -> tuple[socket.AddressFamily, str]:
    """The numeric address of `host`, IPv4 where it has both. Raises SettingsError."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise SettingsError(f"--host {host}: neither an address nor a name that can be looked up") from None
    family, _, _, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    return family, str(address[0])


def hold_port(host: str, port: int, flag: str) -> socket.socket:
    """A TCP port that stays ours while the socket lives, also when no server process does. 0: a free one.

    The socket never listens: it keeps the port from other programs, while our servers bind the same port
    with SO_REUSEPORT. Raises SettingsError that names `flag`.
    """
    family, address = resolve(host)
    held = socket.socket(family, socket.SOCK_STREAM)
    try:
        try:
            held.bind((address, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            # Perhaps only by connections of a former instance in TIME_WAIT. (Never tried first: a port
            # bound so could be bound so by a second instance too, until a server listens.)
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.bind((address, port))
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        # After the bind: had it been before, the port of another framegate would have been shared with it.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except OSError as error:
        held.close()
        raise SettingsError(_port_fault(error, host, port, flag)) from None
    return held


def _port_fault(error: OSError, host: str, port: int, flag: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is in use: stop the program that has it, or choose another by {flag}"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"--host {host} is no address of this machine: choose one of its own, or 0.0.0.0 for all"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"port {port} is not allowed for this user: choose one from 1024 on by {flag}"
    return f"port {port} of {host}: {error.strerror}: choose another by {flag}"


def shown_host(address: str) -> str:
    """How a viewer names this host in a URL. For the wildcard addresses: the address of the way outward."""
    if address in ("0.0.0.0", "::"):
        family = socket.AF_INET if address == "0.0.0.0" else socket.AF_INET6
        beyond = "192.0.2.1" if address == "0.0.0.0" else "2001:db8::1"  # RFC 5737, RFC 3849: nobody's
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((beyond, 9))  # sends nothing: it only asks the routing table
                address = str(probe.getsockname()[0])
            except OSError:
                address = "127.0.0.1" if family == socket.AF_INET else "::1"
    return f"[{address}]" if ":" in address else address
