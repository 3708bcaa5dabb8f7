"""What a UDP viewer has not been sent yet, and how much of it may leave now. Pure.

A key frame handed to the network at once overflows the first buffer behind which there is less than what is before
it: a player's socket holds some 100 to 200 kB, a slow link's queue less. So what is beyond a burst goes out at a
pace, and so do the frames of the past that a new viewer is shown. (Frames of a live stream that are within the
burst go out at once, uncounted: they come at the stream's own pace.)
"""

from collections import deque
from typing import NamedTuple

from common.rtp_rows import PACKET_BYTES_MAX
from server.datagrams import Datagrams, Run

QUEUED_US_MAX = 500_000  # at the pace: a frame for which more is waiting is not queued
SLICE_US = 2_000  # what leaves at once, behind the burst: some packets, so that the kernel cuts them apart
ROOM_US = 50_000  # of what is queued at a muxer, until it is asked for more


class Pacing(NamedTuple):
    """bytes_per_s: 0 for no pacing at all. burst_bytes: so much may leave at once.

    packet_bytes_min: what a smaller packet counts as: in a receiver's buffer it takes as much as a large one.
    """

    bytes_per_s: int
    burst_bytes: int
    packet_bytes_min: int = PACKET_BYTES_MAX

    @property
    def queued_bytes_max(self) -> int:
        """The most that a new frame may find before it."""
        return self.bytes_per_s * QUEUED_US_MAX // 1_000_000

    @property
    def credit_bytes_max(self) -> int:
        """What may leave at once: the burst, but some slices at least, or a late wake-up would slow it down."""
        return max(self.burst_bytes, 2 * SLICE_US * self.bytes_per_s // 1_000_000)

    @property
    def room_bytes(self) -> int:
        """What a viewer that catches up is given in one turn."""
        return self.bytes_per_s * ROOM_US // 1_000_000


class Backlog:
    """The queue of one viewer, or of several who have the same before them. queued_bytes: what is in it."""

    __slots__ = ("_begun", "_credit_bytes", "_filled_us", "_frames", "_pacing", "queued_bytes")

    def __init__(self, pacing: Pacing, now_us: int) -> None:
        self._pacing = pacing
        self._frames: deque[deque[Run]] = deque()
        self._begun = False  # whether the first of them has left in part
        self._credit_bytes = pacing.credit_bytes_max
        self._filled_us = now_us
        self.queued_bytes = 0

    @property
    def frames(self) -> int:
        """How many there are, the one that has left in part included."""
        return len(self._frames)

    def add(self, frame: Datagrams) -> bool:
        """Queue a frame; False: there is too much before it."""
        if self.queued_bytes > self._pacing.queued_bytes_max:
            return False
        self._frames.append(deque(frame.runs))
        self.queued_bytes += len(frame)
        return True

    def take(self, now_us: int) -> Run | None:
        """What may leave now, whole packets; ask until there is nothing."""
        self._fill(now_us)
        if not self._frames or self._credit_bytes <= 0:
            return None
        runs = self._frames[0]
        segment_bytes, data, track = runs.popleft()
        counted_bytes = max(segment_bytes, self._pacing.packet_bytes_min)
        packets = min(max(self._credit_bytes // counted_bytes, 1), -(-len(data) // segment_bytes))
        taken = min(packets * segment_bytes, len(data))
        if taken < len(data):
            runs.appendleft(Run(segment_bytes, data[taken:], track))
        self._begun = bool(runs)
        if not runs:
            self._frames.popleft()
        self.queued_bytes -= taken
        self._credit_bytes -= max(taken, packets * self._pacing.packet_bytes_min)
        return Run(segment_bytes, data[:taken], track)

    def drop_frame(self) -> None:
        """What was taken last is lost: so the rest of its frame is of no use."""
        if self._begun:
            self._begun = False
            self.queued_bytes -= sum(len(run.data) for run in self._frames.popleft())

    def has_rested(self, now_us: int) -> bool:
        """Whether it is as good as new."""
        self._fill(now_us)
        return not self._frames and self._credit_bytes >= self._pacing.credit_bytes_max

    def copy(self) -> "Backlog":
        """Another that goes on from here."""
        other = Backlog(self._pacing, self._filled_us)
        other._frames = deque(runs.copy() for runs in self._frames)
        other._begun = self._begun
        other._credit_bytes = self._credit_bytes
        other.queued_bytes = self.queued_bytes
        return other

    def _fill(self, now_us: int) -> None:
        passed_us = max(now_us - self._filled_us, 0)
        credit_bytes = self._credit_bytes + passed_us * self._pacing.bytes_per_s // 1_000_000
        if credit_bytes >= self._pacing.credit_bytes_max or passed_us >= SLICE_US:
            self._credit_bytes = min(credit_bytes, self._pacing.credit_bytes_max)
            self._filled_us = now_us
