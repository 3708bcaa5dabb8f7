"""The log: one line an event on stderr, the event's name first, then key=value; nothing per packet."""

import logging
import sys
from typing import cast

import structlog

from common.config import Log

Logger = structlog.typing.FilteringBoundLogger


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
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )
    structlog.contextvars.bind_contextvars(process=process)


def logger() -> Logger:
    """The logger of this process: `log.info("viewer_slow", stream=name, dropped=12)`."""
    return cast(Logger, structlog.get_logger())
