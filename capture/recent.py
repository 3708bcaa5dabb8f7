"""What a subscriber that has just come is given of what was published before it came. Pure.

The samples since the newest sync point, and whole groups before it while they are younger than RECENT_US: so a
decoder behind a new subscriber can start at once, and one that was killed and comes back misses nothing.
"""

from collections import deque
from collections.abc import Iterator

from common.messages import SampleMessage
from common.sample import Sample, Track

RECENT_US = 2_000_000  # a process that died is back in about one second
GROUP_US_MAX = 15_000_000  # x264 alone makes groups of ten seconds
BYTES_MAX = 16 << 20  # ten seconds of 12 Mbit/s; one sample of SAMPLE_BYTES_MAX
SAMPLES_MAX = 800  # ten seconds with sound; they go out at once, and must fit into the socket's queue

_Kept = tuple[SampleMessage, bytes]


class Recent:
    """The newest groups of one life of a source. cut: groups that went over a limit: none of it was kept."""

    def __init__(self) -> None:
        self.cut = 0
        self._has_video = False
        self._groups: deque[list[_Kept]] = deque()  # each begins with a sync point
        self._samples = self._bytes = 0

    def begin(self, tracks: tuple[Track, ...]) -> None:
        """Other tracks, or none: what came before is of no use."""
        self._has_video = any(not track.audio for track in tracks)
        self._groups.clear()
        self._samples = self._bytes = 0

    def add(self, message: SampleMessage, sample: Sample) -> None:
        """`sample` is published, as `message`."""
        if sample.sync and sample.audio is not self._has_video:
            self._groups.append([])
        elif not self._groups:
            return
        data = bytes(sample.data)
        self._groups[-1].append((message, data))
        self._samples += 1
        self._bytes += len(data)
        while len(self._groups) > 1 and (self._over or sample.order_us - _start_us(self._groups[1]) >= RECENT_US):
            self._forget(self._groups.popleft())
        if self._over or sample.order_us - _start_us(self._groups[0]) > GROUP_US_MAX:
            self._forget(self._groups.popleft())
            self.cut += 1

    def __iter__(self) -> Iterator[_Kept]:
        """All of it in order; empty before the first sync point."""
        for group in self._groups:
            yield from group

    @property
    def _over(self) -> bool:
        return self._bytes > BYTES_MAX or self._samples > SAMPLES_MAX

    def _forget(self, group: list[_Kept]) -> None:
        self._samples -= len(group)
        self._bytes -= sum(len(data) for _, data in group)


def _start_us(group: list[_Kept]) -> int:
    message = group[0][0]
    return message.time_us if message.decode_time_us is None else message.decode_time_us
