"""Small frames for tests of what does not look inside them."""

from common.grid import Frame, FrameKind
from muxer.ring import Entry

NO_COUNTERS = (0, 0, 0, 0)


def entry(
    kind: FrameKind = FrameKind.VIDEO,
    sync: bool = False,
    at_us: int = 0,
    size: int = 1000,
    disposable: bool = False,
) -> Entry:
    """A frame in the ring, with `size` bytes that mean nothing."""
    frame = Frame(
        kind, sync, disposable, at_us, (0,), (0,), (0,), (90_000,), NO_COUNTERS, NO_COUNTERS, 1, bytes(size)
    )
    return Entry(frame, None, at_us)


def video(at_us: int = 0, sync: bool = False) -> Entry:
    """A picture."""
    return entry(FrameKind.VIDEO, sync, at_us)


def audio(at_us: int = 0) -> Entry:
    """An audio frame."""
    return entry(FrameKind.AUDIO, True, at_us)
