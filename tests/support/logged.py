"""What is logged meanwhile, also what is below the level, as values."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from common import logs


@contextmanager
def logged() -> Iterator[list[dict[str, object]]]:
    """A list that grows by a line each: its values, `event` and `log_level`."""
    said: list[dict[str, object]] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            assert isinstance(record.msg, logs.Event)
            said.append({**record.msg.values, "event": record.msg.name, "log_level": record.levelname.lower()})

    logger, listener = logging.getLogger(logs.NAME), Listener()
    before = logger.level
    logger.addHandler(listener)
    logger.setLevel(logging.DEBUG)
    try:
        yield said
    finally:
        logger.removeHandler(listener)
        logger.setLevel(before)
