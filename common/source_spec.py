"""What a source text says: `mock:clip.mp4`, `camera:0`, `test:size=640x480,fps=25`. Pure.

mock:FILE           a media file, played in real time and looped for ever
camera:ID           a V4L2 camera: its number (camera:0 is /dev/video0) or its path; a path under /dev/v4l/by-id
                    still means the same camera after it was replugged
rtsp://… rtsps://…  an IP camera, or another server
http://… https://…  what libavformat reads there: a transport stream, HLS, MJPEG, a file
exec:COMMAND        a program that writes a stream to its stdout; quotes as in a shell, which there is none
program:            what a Python program publishes to the running instance: `capture.publisher.Publisher`
screen:[DISPLAY]    an X display, `screen::0`; that of the environment where none is named
test:[KEY=VALUE,…]  a generated picture with a clock, a frame number and a tone. Keys:
                    size=1280x720   pixels; both numbers are even
                    fps=30          pictures a second
                    tone=on|off     with sound or without
                    bitrate_bps=N, sync_interval_ms=N   as in [streams.NAME.encode]

What a text leaves open is None here: the stream's own settings decide it, then the source.
"""

import re
import shlex
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import msgspec

from common.errors import SettingsError

KINDS = ("mock:FILE", "camera:ID", "rtsp://…", "http(s)://…", "exec:COMMAND", "program:", "screen:", "test:")
NAME_CHARACTERS_MAX = 64  # of common.messages.STREAM_NAME_PATTERN
GENERATED_SIDE_MIN, GENERATED_SIDE_MAX = 128, 4096  # below, the clock cannot be read
FPS_MIN, FPS_MAX = 1, 240
BITRATE_BPS_MAX = 200_000_000
_SCHEMES = ("rtsp", "rtsps", "http", "https")
_USER = re.compile(r"://\S*@")  # up to the last @: what is in a password is not known
_QUERY = re.compile(r"(://[^?\s]*)\?\S*")
SYNC_INTERVAL_MS_MIN, SYNC_INTERVAL_MS_MAX = 100, 3_600_000


class FileSpec(msgspec.Struct, frozen=True):
    """`mock:`: a media file. path: as it was written, relative to the working directory."""

    path: str


class CameraSpec(msgspec.Struct, frozen=True):
    """`camera:`: a V4L2 device. device: its absolute path."""

    device: str


class UrlSpec(msgspec.Struct, frozen=True):
    """`rtsp://` and `http://`: something on the network. url: with the credentials that may be in it."""

    url: str


class CommandSpec(msgspec.Struct, frozen=True):
    """`exec:`: a program whose stdout is a stream. words: the program and its arguments."""

    words: tuple[str, ...]


class ProgramSpec(msgspec.Struct, frozen=True):
    """`program:`: samples of a Python program."""


class ScreenSpec(msgspec.Struct, frozen=True):
    """`screen:`: an X display. display: `:0`; empty for that of the environment."""

    display: str = ""


class GeneratedSpec(msgspec.Struct, frozen=True):
    """`test:`: the generated picture."""

    size: tuple[int, int] | None = None
    fps: float | None = None
    tone: bool | None = None
    bitrate_bps: int | None = None
    sync_interval_ms: int | None = None


SourceSpec = FileSpec | CameraSpec | UrlSpec | CommandSpec | ProgramSpec | ScreenSpec | GeneratedSpec


def parse(text: str) -> SourceSpec:
    """What `text` says. Raises SettingsError, with the text in it, for anything else."""
    kind, colon, rest = text.partition(":")
    if "\0" in text:
        raise SettingsError("a source cannot hold a zero byte")
    if colon and kind == "mock":
        if not rest:
            raise SettingsError(f"{text}: name a media file, for example mock:clip.mp4")
        return FileSpec(rest)
    if colon and kind == "camera":
        return CameraSpec(_device(text, rest))
    if colon and kind in _SCHEMES:
        return UrlSpec(_url(text))
    if colon and kind == "exec":
        return CommandSpec(_words(text, rest))
    if colon and kind == "program":
        if rest:
            raise SettingsError(f"{text}: nothing follows the colon: a program finds the stream by its name")
        return ProgramSpec()
    if colon and kind == "screen":
        if not re.fullmatch(r"(:[0-9]{1,5}(\.[0-9]{1,2})?)?", rest):
            raise SettingsError(f"{text}: an X display is :NUMBER, as in screen::0")
        return ScreenSpec(rest)
    if colon and kind == "test":
        return _generated(text, rest)
    raise SettingsError(f"{without_secrets(text)!r} is no source: it is one of {', '.join(KINDS)}")


def path_of(spec: SourceSpec) -> str | None:
    """The device or file that a source reads; None if it reads neither."""
    match spec:
        case FileSpec(path=path) | CameraSpec(device=path):
            return path
    return None


def default_name(spec: SourceSpec) -> str:
    """A stream name for a source that was given none: the file's, `camera0`, `test`."""
    match spec:
        case FileSpec(path=path):
            file_name = path.rpartition("/")[2]
            return _as_name(file_name.rpartition(".")[0] or file_name, "file")
        case CameraSpec(device=device):
            number = re.fullmatch(r"/dev/video([0-9]+)", device)
            return f"camera{number[1]}" if number else _as_name(device.rpartition("/")[2], "camera")
        case UrlSpec(url=url):
            parts = urlsplit(url)
            return _as_name(parts.path.rstrip("/").rpartition("/")[2] or parts.hostname or "", "camera")
        case CommandSpec(words=words):
            return _as_name(words[0].rpartition("/")[2], "program")
        case ProgramSpec():
            return "program"
        case ScreenSpec():
            return "screen"
        case GeneratedSpec():
            return "test"


def without_secrets(text: str) -> str:
    """The source text as it may be shown: without users, passwords and queries of the URLs in it."""
    return _QUERY.sub(r"\1?…", _USER.sub("://", text))


def _as_name(text: str, fallback: str) -> str:
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", text).lstrip("_.-")[:NAME_CHARACTERS_MAX].rstrip("-")
    return name or fallback


def _device(text: str, rest: str) -> str:
    if re.fullmatch(r"[0-9]{1,4}", rest):
        return f"/dev/video{int(rest)}"
    if rest.startswith("/") and not rest.endswith("/"):
        return rest
    raise SettingsError(f"{text}: a camera is a number (camera:0) or a path (camera:/dev/video0)")


def _url(text: str) -> str:
    shown = without_secrets(text)
    if re.search(r"\s", text):
        raise SettingsError(f"{shown}: a URL has no spaces")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise SettingsError(f"{shown}: no URL: its host or port cannot be read") from None
    if not text.startswith(f"{parts.scheme}://") or not parts.hostname or port == 0:
        raise SettingsError(f"{shown}: a URL is {parts.scheme}://HOST[:PORT]/PATH")
    return text


def _words(text: str, rest: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(rest))
    except ValueError as error:
        raise SettingsError(f"{without_secrets(text)}: {str(error).lower()}") from None
    if not words:
        raise SettingsError(f"{text}: name a program, for example exec:ffmpeg -i … -f mpegts -")
    return words


def _generated(text: str, rest: str) -> GeneratedSpec:
    values: dict[str, Any] = {}
    for part in rest.split(",") if rest else ():
        key, _, value = part.partition("=")
        if key not in _OPTIONS:
            raise SettingsError(f"{text}: {part!r} is none of {', '.join(f'{name}=' for name in _OPTIONS)}")
        if key in values:
            raise SettingsError(f"{text}: {key} is said twice")
        reads, expected = _OPTIONS[key]
        values[key] = reads(value)
        if values[key] is None:
            raise SettingsError(f"{text}: {key} is {expected}")
    return GeneratedSpec(**values)


def _size(value: str) -> tuple[int, int] | None:
    match = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", value)
    if match is None:
        return None
    width, height = int(match[1]), int(match[2])
    fits = all(GENERATED_SIDE_MIN <= side <= GENERATED_SIDE_MAX and side % 2 == 0 for side in (width, height))
    return (width, height) if fits else None


def _fps(value: str) -> float | None:
    if re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,6})?", value) is None:
        return None
    return float(value) if FPS_MIN <= float(value) <= FPS_MAX else None


def _whole(low: int, high: int) -> Callable[[str], int | None]:
    def read(value: str) -> int | None:
        if re.fullmatch(r"[0-9]{1,10}", value) is None:
            return None
        return int(value) if low <= int(value) <= high else None

    return read


_OPTIONS: dict[str, tuple[Callable[[str], Any], str]] = {
    "size": (
        _size,
        f"WIDTHxHEIGHT, even numbers from {GENERATED_SIDE_MIN} to {GENERATED_SIDE_MAX}",
    ),
    "fps": (_fps, f"a number from {FPS_MIN} to {FPS_MAX}"),
    "tone": ({"on": True, "off": False}.get, "on or off"),
    "bitrate_bps": (_whole(0, BITRATE_BPS_MAX), f"a whole number from 0 to {BITRATE_BPS_MAX}"),
    "sync_interval_ms": (
        _whole(SYNC_INTERVAL_MS_MIN, SYNC_INTERVAL_MS_MAX),
        f"a whole number from {SYNC_INTERVAL_MS_MIN} to {SYNC_INTERVAL_MS_MAX}",
    ),
}
