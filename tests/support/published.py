"""A directory that looks like a running instance's, and the capture's end of a `program:` stream in it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from capture.program import ProgramSource
from capture.publisher import Publisher
from common import config as settings
from common.endpoints import program_endpoint
from common.instance import LOCK_FILE, SETTINGS_FILE
from common.sample import Sample
from tests.support.wait import until


def pretend_instance(directory: Path, **streams: str) -> None:
    """An instance that runs as this very process, with these sources by stream name."""
    config = settings.Config(
        runtime_dir=str(directory),
        streams={name: settings.Stream(source=source) for name, source in streams.items()},
    )
    (directory / SETTINGS_FILE).write_text(settings.dump(config), "utf-8")
    (directory / LOCK_FILE).write_text(f"{os.getpid()}\nmade\n", "ascii")


@contextmanager
def source(directory: Path, stream: str) -> Iterator[ProgramSource]:
    """One life of the source of a stream."""
    made = ProgramSource(program_endpoint(str(directory), stream))
    made.open()
    try:
        yield made
    finally:
        made.close()


def read(source: ProgramSource, count: int, publisher: Publisher | None = None) -> list[Sample]:
    """The next samples, while `publisher` looks after who subscribes."""
    samples: list[Sample] = []

    def enough() -> bool:
        if publisher is not None:
            assert publisher.demanded or not samples
        sample = source.read(0.02)
        if sample is not None:
            samples.append(sample)
        return len(samples) >= count

    until(enough, 10, f"{count} samples")
    return samples
