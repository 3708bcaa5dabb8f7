"""Small frames for tests of what does not look inside them."""

from common.grid import Frame, FrameKind
from common.sample import Codec, Sample
from muxer.ring import Entry, Ring

NO_COUNTERS = (0, 0, 0, 0)
LATER_US = 100_000_000


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


def disposable(at_us: int = 0) -> Entry:
    """A picture to which no other refers."""
    return entry(FrameKind.VIDEO, at_us=at_us, disposable=True)


def led(at_us: int = 0) -> Entry:
    """A sync point of an open group: pictures that come behind it are shown before it."""
    return _shown(entry(FrameKind.VIDEO, True, at_us), at_us, LATER_US)


def leading(at_us: int = 0) -> Entry:
    """A picture that is shown before the sync point behind which it comes, if that is `led`."""
    return _shown(video(at_us), at_us, LATER_US // 2)


def trailing(at_us: int = 0) -> Entry:
    """A picture that is shown behind every sync point before it."""
    return _shown(video(at_us), at_us, 2 * LATER_US)


def _shown(of: Entry, at_us: int, later_us: int) -> Entry:
    of.sample = Sample(b"", at_us + later_us, Codec.H265, sync=of.frame.sync, decode_time_us=at_us)
    return of


def audio(at_us: int = 0) -> Entry:
    """An audio frame."""
    return entry(FrameKind.AUDIO, True, at_us)


def fill(ring: Ring, letters: str, at_us: int = 0, step_us: int = 0) -> None:
    """Append a frame a letter: S a sync picture, v a picture, d a disposable one, a audio, c a clock frame.

    O a sync picture of an open group, l one that leads it, t one that does not.
    """
    for i, letter in enumerate(letters):
        at = at_us + i * step_us
        match letter:
            case "S":
                ring.append(video(at, sync=True))
            case "v":
                ring.append(video(at))
            case "d":
                ring.append(entry(at_us=at, disposable=True))
            case "a":
                ring.append(audio(at))
            case "O":
                ring.append(led(at))
            case "l":
                ring.append(leading(at))
            case "t":
                ring.append(trailing(at))
            case "c":
                ring.append(entry(FrameKind.CLOCK, False, at))
