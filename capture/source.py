"""What a source of samples is. Pure: the protocol and its rules, no source.

A `Source` is driven by one thread, the loop of `capture.worker`, which calls nothing else while a call runs:

    open    once. Raises SourceError if the device or file cannot be read now (the loop makes a new source
            and tries again), SettingsError if no retry can help. Either way nothing is left open.
    read    again and again. Returns the next sample, or None where none came, after `timeout_s` at the
            latest, to some 20 ms; 0 does not wait. SourceError ends this life of the source. A live source
            that has been silent for its own stall limit raises it too: silence is never endless.
    due_us  when `read` has something to do, µs, of a source that knows it, a file; read then, it does not wait.
            0 of all others, and where that is now.
    close   once after a successful `open`; whatever happened, it frees everything and raises nothing.

Samples come in decoding order of all tracks together, at about their decoding time: a live source as they
happen, a file by the clock. Times are µs on the monotonic clock. The decoding times of one track rise strictly.
What cannot keep that promise (a damaged picture, one without its time) is left out and counted, and in a
track whose pictures lean on each other so are the following ones until the next sync point.

`tracks` is empty until what a decoder must know is complete; no sample comes before. It can change in a later
life of the camera's encoder: then before a sync sample, and as a new tuple.
"""

from collections.abc import Mapping
from typing import Protocol

from common.sample import Sample, Track


class Source(Protocol):
    """One life of a source, from `open` to `close`. See the rules above."""

    @property
    def tracks(self) -> tuple[Track, ...]:
        """At most one video and one audio track, video first; empty while not known."""

    @property
    def counters(self) -> Mapping[str, int]:
        """What this life has left out or repeated, by name; only ever counted up."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of a source that does work: a track left out, a size not to be had."""

    @property
    def due_us(self) -> int:
        """When to read it, if that is known; 0: now."""

    def open(self) -> None:
        """Take the device or file. Raises SourceError, SettingsError."""

    def read(self, timeout_s: float) -> Sample | None:
        """The next sample, or None if none is due within `timeout_s`. Raises SourceError."""

    def request_key_frame(self) -> None:
        """Make the next picture a sync point, if the source can; else do nothing."""

    def close(self) -> None:
        """Free everything. Raises nothing."""
