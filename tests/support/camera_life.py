"""One life of the camera source, driven as the capture process drives it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from capture.camera import CameraSource
from common import config
from common.errors import SourceError
from common.sample import Sample
from common.source_spec import CameraSpec

SAMPLE_S = 20.0  # by then a camera that works has given a picture, on however slow a machine
READ_S = 0.05  # as the process waits


def source_of(path: str, **settings: object) -> CameraSource:
    """A source with these settings of its stream, not yet open."""
    stream = config.from_document({"streams": {"a": {"source": "camera:0", **settings}}}).streams["a"]
    return CameraSource(CameraSpec(path), stream)


@contextmanager
def opened(path: str, **settings: object) -> Iterator[CameraSource]:
    """A source, open."""
    source = source_of(path, **settings)
    source.open()
    try:
        yield source
    finally:
        source.close()


def next_sample(source: CameraSource) -> Sample:
    """The next one. Raises SourceError as the source does."""
    give_up_s = time.monotonic() + SAMPLE_S
    while (sample := source.read(READ_S)) is None:
        assert time.monotonic() < give_up_s, "no sample"
    return sample


def read_until(source: CameraSource, probe: Callable[[], bool]) -> None:
    """Read on until `probe` is true."""
    give_up_s = time.monotonic() + SAMPLE_S
    while not probe():
        source.read(READ_S)
        assert time.monotonic() < give_up_s, source.counters


def until_fault(source: CameraSource) -> str:
    """Read on until its life ends; returns what it ends with."""
    give_up_s = time.monotonic() + SAMPLE_S
    try:
        while time.monotonic() < give_up_s:
            source.read(READ_S)
    except SourceError as fault:
        return str(fault)
    raise AssertionError(f"no fault within {SAMPLE_S} s")
