"""How much of a stream a viewer's kernel may hold, and how much a slow viewer is given at once. Pure.

Theory of operation
-------------------
What the kernel holds is latency that nobody can take back, so it is bounded three times over:

1. TCP_NOTSENT_LOWAT: what the peer's window or the path does not take stays with us but for UNSENT_US of the
   stream: a reader that does not keep up is felt at once.
2. SO_SNDBUF: with what is on its way it is half of the age bound, so that a viewer at half the stream's rate gets
   its newest frame in time even when the path's queues have swallowed all they could.
3. `Pace`: a viewer that has been behind is given more only when what it was given before will have arrived within
   GATE_SHARE of the age bound, and then at most what it takes in ROOM_SHARE of it. Both together are told to the
   muxer, as the delay that frames still have before them.

On a long link the same rules hold: what is on its way there takes a round trip to be acknowledged whatever the
path can carry, which is a delay like any other.
"""

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

PACE_WINDOW_US = 500_000  # it is measured over one to two of these: small receive windows move by 300 ms' worth
PACE_US_MIN = 300_000  # less says nothing
PACE_FIRST_US_MIN = 150_000  # but more than nothing at all
PACE_SILENCE_US_MAX = 2_500_000  # nobody looked: it may have waited for us
PACE_MAX = 1 << 40  # bytes a second: far beyond every socket
GATE_SHARE = (2, 5)
ROOM_SHARE = (1, 20)  # small: the first of what is given is judged by when the last of it arrives
FAST = 2  # a viewer that takes so many times what the stream brings will have caught up soon
ROOM_BYTES = 1 << 20  # for those who are not slow, as far as is known: what their sockets do not take they say
DELAY_US_MAX = (1 << 32) - 1  # a U32 on the wire


class Room(NamedTuple):
    """How much may be sent now, and how long it takes until all of it has arrived (`ReadStart`)."""

    bytes: int
    delay_us: int = 0


class Buffers(NamedTuple):
    """What the kernel may hold of a viewer's stream: in all (as it counts), and not sent."""

    buffer_bytes: int
    unsent_bytes: int


def socket_buffers(bps: int, age_max_us: int) -> Buffers:
    """For a viewer of a stream of `bps` bits a second."""
    up, down = SKB_OVERHEAD
    in_kernel = bps // 8 * age_max_us // (IN_KERNEL_SHARE * 1_000_000) * up // down
    unsent = bps // 8 * UNSENT_US // 1_000_000
    return Buffers(
        min(max(in_kernel, BUFFER_BYTES_MIN), BUFFER_BYTES_MAX),
        min(max(unsent, UNSENT_BYTES_MIN), UNSENT_BYTES_MAX),
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


class Pace:
    """How fast one viewer takes what it is given, measured while something waits for it.

    bytes_per_s: None as long as that has not been seen. age_max_us: as in `common.config.Viewer`, µs.
    """

    __slots__ = ("_age_max_us", "_from", "_next", "bytes_per_s")

    def __init__(self, age_max_us: int) -> None:
        self._age_max_us = age_max_us
        self.bytes_per_s: int | None = None
        self._from: tuple[int, int] | None = None  # when, and what had been delivered then
        self._next = (0, 0)  # what `_from` will be when it is too old

    def note(self, now_us: int, delivered_bytes: int, backlog_bytes: int) -> None:
        """What has been delivered so far, and what has been given and is not (replies, which are few, blur it)."""
        at = now_us, delivered_bytes
        if not backlog_bytes:  # it has waited for us, who knows how long: it is faster than was seen
            if self._from is not None and self.bytes_per_s is not None:
                self.bytes_per_s = min(self.bytes_per_s * 2, PACE_MAX)
            self._from = None
            return
        if self._from is None or now_us - self._next[0] > PACE_SILENCE_US_MAX:
            self._from = self._next = at
            return
        passed_us = now_us - self._from[0]
        delivered = max(delivered_bytes - self._from[1], 0)
        enough_us = PACE_FIRST_US_MIN if self.bytes_per_s is None else PACE_US_MIN
        if passed_us >= (enough_us if delivered else PACE_WINDOW_US):
            self.bytes_per_s = delivered * 1_000_000 // passed_us
        if now_us - self._next[0] >= PACE_WINDOW_US:
            self._from, self._next = self._next, at

    def drain_us(self, backlog_bytes: int) -> int:
        """How long so much will take to arrive; 0 where the pace is not known."""
        if self.bytes_per_s is None or not backlog_bytes:
            return 0
        return min(backlog_bytes * 1_000_000 // max(self.bytes_per_s, 1), DELAY_US_MAX)

    def room(self, backlog_bytes: int, stream_bps: int) -> Room | None:
        """What it may be given now, of a stream of so many bits a second; None: nothing yet."""
        delay_us = self.drain_us(backlog_bytes)
        part, whole = GATE_SHARE
        if delay_us > self._age_max_us * part // whole:
            return None
        if self.bytes_per_s is None or self.bytes_per_s * 8 >= stream_bps * FAST:
            return Room(ROOM_BYTES, delay_us)
        part, whole = ROOM_SHARE
        room_bytes = min(self.bytes_per_s * self._age_max_us * part // (whole * 1_000_000), ROOM_BYTES)
        return Room(room_bytes, self.drain_us(backlog_bytes + room_bytes))
