"""What a live stream is read from: a URL on the network, or a program's stdout."""

import ctypes
import os
import shutil
import signal
import subprocess
import threading
from typing import Protocol

import av
from av.container import InputContainer
from av.error import FFmpegError

from common.errors import SourceError
from common.source_spec import CommandSpec, UrlSpec, without_secrets

OPEN_S = 10.0  # to connect, and to be told what there is
READ_S = 5.0  # without a byte
SAID_BYTES_MAX = 2000  # of what a program said last on its stderr
END_S = 0.5  # a program that is told to end has so long
_PROBE_US = 2_000_000  # of a stream is looked at, where it does not say what is in it
_PROBE_RAW_US = 200_000  # the same, of one that is what the settings say
_RAW = {"h264": "h264", "h265": "hevc", "mjpeg": "mjpeg"}  # libavformat's names, by the setting `format`
_PROTOCOLS = "rtsp,rtsps,rtp,srtp,udp,tcp,tls,http,https,httpproxy,crypto,data"  # never file
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class LiveInput(Protocol):
    """One connection. name: for the log, without secrets."""

    name: str

    def open(self) -> InputContainer:
        """Connect, and wait for what is in it. Called once, in a thread. Raises SourceError."""

    def end(self) -> str:
        """The last call in that thread: free what it used. Why it is over, where that is known better, else ""."""

    def close(self) -> None:
        """Make a waiting `open`, or read, come back soon. Not called in that thread."""


class UrlInput:
    """See `LiveInput`."""

    def __init__(self, spec: UrlSpec) -> None:
        self.name = without_secrets(spec.url)
        self._url = spec.url

    def open(self) -> InputContainer:
        options = {"protocol_whitelist": _PROTOCOLS}
        if self._url.startswith("rtsp"):
            options["rtsp_flags"] = "prefer_tcp"
        return _opened(self._url, self.name, options)

    def end(self) -> str:
        return ""

    def close(self) -> None:
        pass  # a read comes back after READ_S at the latest


class CommandInput:
    """See `LiveInput`. The program dies with this process, and is in a group of its own with all it starts."""

    def __init__(self, spec: CommandSpec, raw: str = "auto") -> None:
        """Start it. raw: what its stdout is if it is no container, as the setting `format`. Raises SourceError."""
        self._format = _RAW.get(raw)
        self.name = without_secrets(f"exec:{spec.words[0]}")
        self._said = b""
        if shutil.which(spec.words[0]) is None:
            raise SourceError(f"{self.name}: there is no such program")
        try:
            self._process = subprocess.Popen(
                spec.words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        except OSError as error:
            raise SourceError(f"{self.name}: {error.strerror}") from None
        self._listener = threading.Thread(target=self._listen, name=f"stderr of {self.name}", daemon=True)
        self._listener.start()

    def open(self) -> InputContainer:
        assert self._process.stdout is not None
        url = f"pipe:{self._process.stdout.fileno()}"
        return _opened(url, self.name, {"protocol_whitelist": "pipe,fd,data"}, self._format)

    def end(self) -> str:
        try:
            code = self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            return "it has closed its stdout"
        finally:
            self._listener.join(END_S)
            for pipe in (self._process.stdout, self._process.stderr):
                if pipe is not None:
                    pipe.close()
        said = without_secrets(self._said.decode("utf-8", "replace").strip().rpartition("\n")[2].strip())
        ended = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return f"{ended}: {said}" if said else ended

    def close(self) -> None:
        for number, wait_s in ((signal.SIGTERM, END_S), (signal.SIGKILL, END_S)):
            try:
                os.killpg(self._process.pid, number)
                self._process.wait(wait_s)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                pass  # gone already, with all it started; or to be killed

    def _listen(self) -> None:
        assert self._process.stderr is not None
        while said := self._process.stderr.read(SAID_BYTES_MAX):
            self._said = (self._said + said)[-SAID_BYTES_MAX:]


def _opened(url: str, name: str, options: dict[str, str], raw: str | None = None) -> InputContainer:
    options["analyzeduration"] = str(_PROBE_RAW_US if raw else _PROBE_US)
    try:
        return av.open(url, "r", raw, options, timeout=(OPEN_S, READ_S), metadata_errors="replace")
    except (FFmpegError, OSError) as error:
        raise SourceError(f"{name}: {in_words(error)}") from None
    except UnicodeError:
        raise SourceError(f"{name}: no media in it") from None


def in_words(error: FFmpegError | OSError) -> str:
    """What went wrong, without the URL that PyAV puts behind it."""
    if isinstance(error, av.error.ExitError):
        return f"no answer within {OPEN_S:g} s"
    return error.strerror or type(error).__name__


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
