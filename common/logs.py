"""The log: one line an event on stderr, the event's name first, then key=value; nothing per packet.

Media never depend on it. A line that cannot be written at once, because the disk is full, or whoever reads the
pipe has gone or sleeps, is left out and counted.
"""

import logging
import os
import re
import select
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from common.config import Log

LINE_BYTES_MAX = 4096  # PIPE_BUF: a pipe that says it has room takes so many without a wait
NAME = "framegate"  # of our logger among those of the libraries

_STDERR = 2
_WANTS_QUOTES = re.compile(r'[\s="\x00-\x1f\x7f]')
_ESCAPES = str.maketrans(
    {'"': r"\"", "\\": r"\\", "\n": r"\n"} | {chr(n): rf"\x{n:02x}" for n in (*range(10), *range(11, 32), 127)}
)


class Lines:
    """stderr, line by line. lost: lines of this process that were left out, or cut off."""

    def __init__(self) -> None:
        self.lost = 0

    def write(self, line: str) -> None:
        """Write a line, which ends with a newline; at once, or not at all."""
        data = line.encode("utf-8", "backslashreplace")
        if len(data) > LINE_BYTES_MAX:
            data = data[: LINE_BYTES_MAX - 1] + b"\n"
            self.lost += 1
        try:
            has_room = bool(select.select((), (_STDERR,), (), 0)[1])
            self.lost += not has_room or os.write(_STDERR, data) < len(data)
        except OSError:
            self.lost += 1


lines = Lines()


class Event(NamedTuple):
    """What a line says: `str` of it stands in the logs of programs that use framegate as a library."""

    name: str
    values: Mapping[str, object]

    def __str__(self) -> str:
        return logfmt({"event": self.name, **self.values})


class Logger:
    """The logger of this process: `log.info("viewer_slow", stream=name, dropped=12)`."""

    def __init__(self) -> None:
        self._logger = logging.getLogger(NAME)

    def debug(self, event: str, **values: object) -> None:
        """For who looks for a fault."""
        self._logger.debug(Event(event, values))

    def info(self, event: str, **values: object) -> None:
        """What happens as it should."""
        self._logger.info(Event(event, values))

    def warning(self, event: str, **values: object) -> None:
        """What is mended without anybody."""
        self._logger.warning(Event(event, values))

    def error(self, event: str, **values: object) -> None:
        """What somebody has to mend."""
        self._logger.error(Event(event, values))


class _Handler(logging.Handler):
    def __init__(self, settings: Log, process: str) -> None:
        super().__init__()
        self._process = process
        self._render: Callable[[Mapping[str, object]], str] = logfmt
        if settings.format == "json":
            import json  # takes as long to load as all the rest of this

            self._render = json.JSONEncoder(ensure_ascii=False, default=str).encode

    def emit(self, record: logging.LogRecord) -> None:
        event = record.msg
        assert isinstance(event, Event)
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        fields = {
            "timestamp": f"{seconds}.{int(record.created % 1 * 1_000_000):06d}Z",
            "level": record.levelname.lower(),
            "process": self._process,
            "event": event.name,
            **event.values,
        }
        lines.write(self._render(fields) + "\n")


def configure(settings: Log, process: str) -> None:
    """Set up the log of this process, labelled with its name."""
    logger = logging.getLogger(NAME)
    logger.handlers = [_Handler(settings, process)]
    logger.setLevel(settings.level.upper())


def logfmt(fields: Mapping[str, object]) -> str:
    """key=value of each, separated by spaces; a value with signs of its own in quotes, on one line in any case."""
    return " ".join(f"{key}={_quoted('' if value is None else str(value))}" for key, value in fields.items())


def _quoted(text: str) -> str:
    return f'"{text.translate(_ESCAPES)}"' if _WANTS_QUOTES.search(text) else text
