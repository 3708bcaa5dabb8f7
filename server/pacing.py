"""How much of a stream a viewer's kernel may hold, and when a slow viewer is given more. Pure.

Theory of operation
-------------------
The bound: no frame is begun to be sent to a viewer when it is older than `viewer.age_max_ms`. Its first byte
leaves within the bound; its last byte follows at the viewer's own pace, which for a key frame on a slow path may
take longer than the bound itself. What a link takes to carry a byte is not ours to shorten and comes on top.

The muxer answers for how long a frame waits for a viewer (`muxer.ring`). What the kernel holds is latency that
nobody can take back, so there the bound is kept by asking the kernel itself, with no guess of anybody's rate:

1. TCP_NOTSENT_LOWAT: a frame is not begun while more than UNSENT_US of the stream has not left yet; a reader that
   does not keep up is felt at once. From then on, until it has taken everything, nothing else may be unsent
   (UNSENT_BYTES_SLOW), and its window must be open, so that a frame that is begun does leave.
2. SO_SNDBUF: with what is on its way it is half of the age bound, so that a viewer at half the stream's rate gets
   its newest frame in time even when the path's queues have swallowed all they could.
3. `Given`: when was the oldest byte given that has not been acknowledged? Less the shortest round trip that was
   ever seen, that is how long bytes stand in queues now. A viewer is given nothing beyond GATE_SHARE of the bound;
   when it has acknowledged what it had, it is. The muxer is told that delay: what waits has that much less time.

How much a viewer that is behind is given at once (`next_room_bytes`) is what its socket took the last time: twice
that if it took everything, so that who is fast has caught up soon, and who is slow is given a frame at a time.
"""

from collections import deque
from typing import NamedTuple

STREAM_BPS_ASSUMED = 4_000_000  # of a stream that nothing has come of yet
RATE_WINDOW_US = 2_000_000  # of media: a sync point, which may be all of a second's bytes, is in most of them
RATE_CHANGE = 1.5  # times more, or less, until buffers are sized anew
TIME_STEP_US_MAX = 10_000_000  # between two frames; more is another clock

IN_KERNEL_SHARE = 2  # of the age bound: one in so many
SKB_OVERHEAD = (5, 4)  # what the kernel counts for bytes in its buffers: some 1.1 to 1.25 times their number
BUFFER_BYTES_MIN = 128 << 10  # a common key frame goes in one piece
BUFFER_BYTES_MAX = 8 << 20
UNSENT_US = 32_000  # some wake-ups of this process late, and the path still has something to send
UNSENT_BYTES_MIN = 16 << 10
UNSENT_BYTES_MAX = 1 << 20
UNSENT_BYTES_SLOW = 1  # of a viewer that has been found slow: the kernel takes a frame when nothing is unsent

GIVEN_MAX = 64  # marks; beyond, the oldest of them are forgotten
GIVEN_STEP_US = 20_000  # what is given within it has one mark: so they reach 1.28 s back at least
LONG_US = 100_000  # in queues; also: what a slow viewer was ready for so long ago it may not be ready for now
GATE_SHARE = (2, 5)
DELAY_SHARE = (1, 2)  # of the bound: the most that the muxer is told
ROOM_BYTES_MAX = 1 << 20  # what is not taken of it was carried in vain from the muxer


class Room(NamedTuple):
    """How much may be sent now, and for how long that may stand in queues of the kernel (`ReadStart`)."""

    bytes: int
    delay_us: int = 0


class Buffers(NamedTuple):
    """What the kernel may hold of a viewer's stream: in all (as it counts), and not sent."""

    buffer_bytes: int
    unsent_bytes: int


def socket_buffers(bps: int, age_max_us: int, slow: bool = False) -> Buffers:
    """For a viewer of a stream of `bps` bits a second. slow: it has been found so."""
    up, down = SKB_OVERHEAD
    in_kernel = bps // 8 * age_max_us // (IN_KERNEL_SHARE * 1_000_000) * up // down
    unsent = bps // 8 * UNSENT_US // 1_000_000
    return Buffers(
        min(max(in_kernel, BUFFER_BYTES_MIN), BUFFER_BYTES_MAX),
        UNSENT_BYTES_SLOW if slow else min(max(unsent, UNSENT_BYTES_MIN), UNSENT_BYTES_MAX),
    )


class StreamRate:
    """A stream's bit rate, by the frames' own time, in windows of RATE_WINDOW_US.

    bps: what buffers are to be sized for: it moves only when the rate has changed by more than RATE_CHANGE.
    """

    __slots__ = ("_bytes", "_epoch", "_number", "_since_us", "bps")

    def __init__(self) -> None:
        self.bps = STREAM_BPS_ASSUMED
        self._epoch = self._number = -1
        self._since_us = 0
        self._bytes = 0

    def note(self, epoch: int, number: int, time_us: int, size: int) -> bool:
        """A frame came, perhaps not for the first time; whether `bps` has moved."""
        if epoch == self._epoch and number <= self._number:
            return False
        passed_us = time_us - self._since_us
        is_next = epoch == self._epoch and number == self._number + 1
        self._epoch, self._number = epoch, number
        if not is_next or not 0 <= passed_us < RATE_WINDOW_US + TIME_STEP_US_MAX:
            self._since_us, self._bytes = time_us, size
            return False
        if passed_us < RATE_WINDOW_US:
            self._bytes += size
            return False
        bps = self._bytes * 8_000_000 // passed_us
        self._since_us, self._bytes = time_us, size
        if bps * RATE_CHANGE >= self.bps and bps <= self.bps * RATE_CHANGE:
            return False
        self.bps = bps
        return True


class Given:
    """When what was given to a viewer, or to all in a lane, was given.

    Bytes are counted from the beginning of the connection, or of the lane.
    """

    __slots__ = ("_marks",)

    def __init__(self) -> None:
        self._marks: deque[tuple[int, int]] = deque(maxlen=GIVEN_MAX)  # given up to here, and when its first byte

    def note(self, given_bytes: int, now_us: int) -> None:
        """A frame was given, which makes so many bytes in all."""
        marks = self._marks
        if marks and now_us - marks[-1][1] < GIVEN_STEP_US:
            now_us = marks.pop()[1]
        marks.append((given_bytes, now_us))

    def since_us(self, arrived_bytes: int) -> int | None:
        """When the first byte behind these was given; None if there is none."""
        since_us = None
        for given_bytes, at_us in reversed(self._marks):  # what is on its way is near the end
            if given_bytes <= arrived_bytes:
                break
            since_us = at_us
        return since_us

    def take_over(self, other: "Given", arrived_bytes: int, shift_bytes: int) -> None:
        """What of `other`, whose counts are less by `shift_bytes`, has not arrived."""
        for given_bytes, at_us in other._marks:
            if given_bytes + shift_bytes > arrived_bytes:
                self._marks.append((given_bytes + shift_bytes, at_us))


def is_in_time(queued_us: int, age_max_us: int) -> bool:
    """Whether a viewer may be given more whose bytes stand in queues for so long."""
    part, whole = GATE_SHARE
    return queued_us * whole <= age_max_us * part


def slow_room(room_bytes: int, queued_us: int, round_trip_us: int, age_max_us: int) -> Room:
    """For a viewer that is behind. round_trip_us: the shortest, of which a frame's way is half."""
    part, whole = DELAY_SHARE
    return Room(room_bytes, min(queued_us + round_trip_us // 2, age_max_us * part // whole))


def next_room_bytes(taken_bytes: int, all_of_it: bool) -> int:
    """How much to ask for when so much was taken of what was asked for the last time; a frame comes at least."""
    return min(max(taken_bytes * 2 if all_of_it else taken_bytes, 1), ROOM_BYTES_MAX)
