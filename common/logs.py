"""The log: one line an event on stderr, the event's name first, then key=value; nothing per packet.

Media never depend on it. A line that cannot be written at once, because the disk is full, or whoever reads the
pipe has gone or sleeps, is left out and counted.
"""

import logging
import os
import select
from typing import TextIO, cast

import structlog

from common.config import Log

Logger = structlog.typing.FilteringBoundLogger
LINE_BYTES_MAX = 4096  # PIPE_BUF: a pipe that says it has room takes so many without a wait

_STDERR = 2


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

    def flush(self) -> None:
        """Nothing waits."""


lines = Lines()


def configure(settings: Log, process: str) -> None:
    """Set up the log of this process, labelled with its name."""
    text = structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "process", "event"])
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer() if settings.format == "json" else text,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[settings.level.upper()]
        ),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, lines)),
    )
    structlog.contextvars.bind_contextvars(process=process)


def logger() -> Logger:
    """The logger of this process: `log.info("viewer_slow", stream=name, dropped=12)`."""
    return cast(Logger, structlog.get_logger())
