"""The frames of one stream, shared by all its viewers, and each viewer's drop queue: a cursor into them. Pure.

Rules of the drop queue
-----------------------
1. It starts at a sync point: the newest in the ring (or, by setting, none of them), else the next to come.
   Nothing is sent before.
2. It holds what the viewer has not been sent yet: at most `frames_max` frames, none that has waited longer
   than `age_max_us` less the time that the kernel will take (`delay_us`).
3. When it is half full by age, disposable pictures are left out, which hurts no other picture, until it is empty.
4. On overflow video is left out up to the newest sync point behind the cursor, else up to the next to come.
   Audio goes on; what of it is over the limits is left out too, oldest first.
5. By setting, a viewer that overflows again and again gets no video but sync points for a while (`muxer.pace`); so
   does one that is `lowered`, for as long as it is.
6. Frames go whole or not at all, in order.
7. `seek` undoes what was taken but did not arrive, the state at that frame included.
8. Who starts at a sync point, or goes on there after a splice, is not given the pictures that lead it
   (`common.leading`), and misses nothing.
9. A viewer that another muxer served before goes on behind the sample that it had last (`resume`): with the next
   one if it has all before it and the ring all behind it, else at a sync point. (Behind what is lost before the
   ring, no picture comes into it up to a sync point: see `common.intake`.)
"""

from collections import deque
from enum import Enum

import msgspec

from common.drops import QUEUE_DROPS, Drop
from common.grid import Frame, FrameKind
from common.leading import LeadingPictures
from common.sample import Sample
from muxer.pace import Pace

RING_BYTES_MAX = 64 << 20
RING_FRAMES_MAX = 8192
START_AGE_MAX_US = 15_000_000  # a sync point older than this belongs to a source that stood still
_VIDEO, _AUDIO = FrameKind.VIDEO, FrameKind.AUDIO  # Python 3.11 is slow to look a member of an enum up


Origin = tuple[int, int]
Tally = tuple[int, ...]  # how many frames, in the order of QUEUE_DROPS; empty: none


class Entry(msgspec.Struct, gc=False):
    """One frame in the ring.

    sample: what it was made of (None for a CLOCK frame). arrived_us: when. origin: the newest sample up to here,
    by its epoch and number at the capture; None where there is no capture. leads: the number of the sync point
    that it leads, which only the ring knows; None for almost all.
    """

    frame: Frame
    sample: Sample | None
    arrived_us: int
    origin: Origin | None = None
    leads: int | None = None


class Ring:
    """The newest frames of a stream, numbered from 0: what the slowest permitted viewer may still be sent.

    It keeps what is younger than `age_max_us`, and everything from the sync point on that was the newest so long
    ago: a viewer who came then began with it, and may have the rest of its group under way. All this within
    RING_BYTES_MAX and RING_FRAMES_MAX (`trimmed` counts the frames that these limits cost). has_video: whether
    only a picture can be a sync point; the first picture sets it, whoever knows the tracks may before.
    led: the newest sync point, while pictures that lead it may still come.
    """

    def __init__(self, age_max_us: int) -> None:
        self._age_max_us = age_max_us
        self._entries: deque[Entry] = deque()
        self._bytes = 0
        self._syncs: deque[int] = deque()  # the sync points from the one that it keeps all from
        self.first = 0
        self.led: int | None = None
        self.has_video = False
        self.trimmed = 0
        self._leading = LeadingPictures()

    @property
    def head(self) -> int:
        """The number that the next frame will have."""
        return self.first + len(self._entries)

    @property
    def newest_sync(self) -> int | None:
        """The number of the newest sync point that it holds."""
        return self._syncs[-1] if self._syncs else None

    def __getitem__(self, number: int) -> Entry:
        """The frame `number`. Raises IndexError unless first <= number < head."""
        if number < self.first:
            raise IndexError(number)
        return self._entries[number - self.first]

    def append(self, entry: Entry) -> int:
        """Add a frame; returns its number."""
        number = self.head
        frame = entry.frame
        self._entries.append(entry)
        self._bytes += len(frame.data)
        is_picture = frame.kind is _VIDEO
        if is_picture and not self.has_video:
            self.has_video = True
            self._syncs.clear()  # they were audio frames
        if self.starts_here(frame):
            self._syncs.append(number)
        if is_picture and entry.sample is not None:
            if self._leading.leads(entry.sample):
                entry.leads = self.led
            else:
                self.led = number if self._leading.may_come else None  # then this is a sync point
        self._trim(entry.arrived_us)
        return number

    def starts_here(self, frame: Frame) -> bool:
        """Whether a viewer can start, or go on after a splice, with this frame."""
        return frame.sync and frame.kind is (_VIDEO if self.has_video else _AUDIO)

    def start(self, now_us: int) -> int:
        """The number that a new viewer starts from: the newest sync point, or the head."""
        if self.newest_sync is not None and now_us - self[self.newest_sync].arrived_us < START_AGE_MAX_US:
            return self.newest_sync
        return self.head

    def clear(self) -> None:
        """Forget the frames, not their numbers: the source has stopped."""
        self.first = self.head
        self._entries.clear()
        self._bytes = 0
        self._syncs.clear()

    def _trim(self, now_us: int) -> None:
        entries, syncs = self._entries, self._syncs
        while len(syncs) > 1 and now_us - self[syncs[1]].arrived_us >= self._age_max_us:
            syncs.popleft()
        while len(entries) > 1:
            over = self._bytes > RING_BYTES_MAX or len(entries) > RING_FRAMES_MAX
            is_kept = bool(syncs) and self.first == syncs[0]
            if not over and (is_kept or now_us - entries[0].arrived_us <= self._age_max_us):
                return
            self.trimmed += over
            if is_kept:
                syncs.popleft()
            self._bytes -= len(entries.popleft().frame.data)
            self.first += 1


class Limits(msgspec.Struct, frozen=True):
    """What a drop queue may hold; None: no limit of that kind.

    instant: it starts with what the ring holds. paced: rule 5 holds.
    """

    frames_max: int | None = None
    age_max_us: int | None = None
    instant: bool = True
    paced: bool = False


class _State(Enum):
    START = 0  # nothing until a sync point
    SPLICE = 1  # no video until a sync point
    OPEN = 2  # everything


class DropQueue:
    """One viewer's cursor into a ring, with the rules above.

    position: the next frame to consider. dropped: frames left out so far, but for those of rule 8; splices: times
    that video was left out up to a sync point. left_before: what was left out for the viewer between the frame
    taken last and the one before it. settled: the first frame of which the viewer has not been told, neither by
    sending it nor so. delay_us: how long the kernel will take to send what the viewer is given. lowered: whether
    somebody who sees more of the viewer has decided that it gets key frames only.
    """

    def __init__(self, ring: Ring, limits: Limits, now_us: int) -> None:
        self._ring = ring
        self._limits = limits
        self._pace = Pace()
        self._key_frames_only = False
        self._thin = False
        self.delay_us = 0
        self.lowered = False
        self.dropped = 0
        self.splices = 0
        self.left_before: Tally = ()
        self._reason = Drop.SYNC  # of the splice, for what had come when it began
        self._reason_until = 0
        self.restart(now_us)

    def restart(self, now_us: int) -> None:
        """Begin again at a sync point, as a new viewer does."""
        self.position = self._ring.start(now_us) if self._limits.instant else self._ring.head
        self._settle(self.position)
        self._state = _State.START
        self._video_from = 0
        self._opened_at: int | None = None
        # What the ring already holds has waited for this viewer only from now on.
        self._since_us = now_us
        self._since_number = self._ring.head
        self._had: Origin | None = None
        self._is_whole = False

    def resume(self, had: Origin, is_whole: bool, now_us: int) -> None:
        """Go on behind the sample `had`. is_whole: the viewer has all that a decoder needs up to there."""
        self.restart(now_us)
        ring = self._ring
        if ring.first == ring.head or _is_up_to(ring[ring.first], had):
            self.position = ring.first
            self._had = had
            self._is_whole = is_whole

    def go_on(self, number: int) -> None:
        """Go on with `number` for one who has had what was before, though it is not known how whole that was."""
        self.position = min(number, self._ring.head)
        self._settle(self.position)
        self._state = _State.SPLICE
        self._video_from = max(self.position, self._ring.newest_sync or 0)

    @property
    def caught_up(self) -> bool:
        """Whether it has been sent the newest frame: the next one, whichever it is, is wanted, and no gap before
        it is to be told."""
        if self._state is not _State.OPEN or self.settled != self._ring.head:
            return False
        return self._opened_at is None or self._opened_at != self._ring.led

    @property
    def waits_for_sync(self) -> bool:
        """Whether a sync point, asked for, would bring pictures again."""
        return self._state is not _State.OPEN and not self._key_frames_only

    def next(self) -> int | None:
        """The number of the next frame to send, past what is left out; None if there is none yet."""
        ring = self._ring
        if self.position < ring.first:
            self._leave_out(ring.first - self.position, Drop.NOT_KEPT)
            self.position = ring.first
            self._splice(ring.first, None, Drop.SYNC)
        while self.position < ring.head:
            entry = ring[self.position]
            frame = entry.frame
            if self._had is not None:
                if _is_up_to(entry, self._had):
                    if self._is_whole:
                        self._state = _State.OPEN
                    self.position += 1
                    continue
                self._had = None
            if self._state is _State.OPEN and entry.leads is not None and entry.leads == self._opened_at:
                self._leave_out(1, Drop.LEADING)
            elif self._wanted(frame):
                return self.position
            else:
                self._leave_out(1, self._why())
            self.position += 1
        return None

    def take(self, number: int) -> None:
        """`number`, which `next` gave, has been sent."""
        if self._state is not _State.OPEN and self._ring.starts_here(self._ring[number].frame):
            self._opened_at = number
            if self._key_frames_only:
                self._state = _State.SPLICE
                self._video_from = number + 1
            else:
                self._state = _State.OPEN
        self.position = number + 1
        self.left_before = tuple(self._left_out) if any(self._left_out) else ()
        self._settle(number + 1)

    def seek(self, number: int) -> None:
        """The next frame is `number`: what was taken from there on did not arrive, or all before it was sent."""
        if number == self.settled and self.position >= number:
            return  # nothing was taken, and what was left out since stays so
        if self._opened_at is not None and number <= self._opened_at:
            self._state = _State.SPLICE
            self._video_from = self._opened_at
            self._opened_at = None
        self.position = min(number, self._ring.head)
        self._settle(self.position)

    def enforce(self, now_us: int) -> None:
        """Leave out what is over the limits."""
        key_frames_only = self._pace.key_frames_only(now_us) or self.lowered
        if key_frames_only and not self._key_frames_only:
            self._splice(self.position, None, Drop.LOWERED)
        self._key_frames_only = key_frames_only
        number = self.next()
        if number is None:
            self._thin = False
            return
        if self._limits.age_max_us is not None and self._waited_us(number, now_us) > self._age_max_us // 2:
            self._thin = True
        reason = self._over(number, now_us)
        if reason is None:
            return
        newest, head = self._ring.newest_sync, self._ring.head
        self._splice(newest if newest is not None and newest > self.position else head, now_us, reason)
        while (number := self.next()) is not None and (reason := self._over(number, now_us)) is not None:
            if self._ring.starts_here(self._ring[number].frame):
                self._splice(head, None, reason)
            self._leave_out(1, reason)
            self.position = number + 1

    def _wanted(self, frame: Frame) -> bool:
        if self._state is _State.OPEN:
            return not (self._thin and frame.disposable and frame.kind is _VIDEO)
        if self._ring.starts_here(frame) and self.position >= self._video_from:
            return True
        return self._state is _State.SPLICE and frame.kind is not _VIDEO

    def _splice(self, video_from: int, now_us: int | None, reason: Drop) -> None:
        """Leave out video before `video_from`; now_us: when the viewer's own slowness is why, else None."""
        self._reason, self._reason_until = reason, self._ring.head
        if self._state is _State.OPEN:
            self._state = _State.SPLICE
            self.splices += 1
            if now_us is not None and self._limits.paced:
                self._pace.spliced(now_us)
        self._video_from = video_from

    def _leave_out(self, frames: int, reason: Drop) -> None:
        if self._state is not _State.START:
            self.dropped += 0 if reason is Drop.LEADING else frames
            self._left_out[QUEUE_DROPS.index(reason)] += frames

    def _why(self) -> Drop:
        """Why the frame at `position` is not wanted."""
        if self._state is _State.OPEN:
            return Drop.DISPOSABLE
        if self._key_frames_only:
            return Drop.LOWERED
        return self._reason if self.position < self._reason_until else Drop.SYNC

    def _settle(self, number: int) -> None:
        self.settled = number
        self._left_out = [0] * len(QUEUE_DROPS)

    def _over(self, number: int, now_us: int) -> Drop | None:
        """Whether the frame is over a limit, and which."""
        limits = self._limits
        if limits.age_max_us is not None and self._waited_us(number, now_us) > self._age_max_us:
            return Drop.AGE
        if limits.frames_max is not None and self._queued(number) > limits.frames_max:
            return Drop.QUEUE_FULL
        return None

    def _waited_us(self, number: int, now_us: int) -> int:
        return now_us - max(self._ring[number].arrived_us, self._since_us)

    @property
    def _age_max_us(self) -> int:
        age_max_us = self._limits.age_max_us or 0
        # However slow the kernel: what comes in just now must have a chance.
        return max(age_max_us - self.delay_us, age_max_us // 4)

    def _queued(self, number: int) -> int:
        """The wanted frames from `number` on that came since the start."""
        ring = self._ring
        queued, is_open = 0, self._state is _State.OPEN
        for n in range(number, ring.head):
            frame = ring[n].frame
            is_open = is_open or (n >= self._video_from and ring.starts_here(frame))
            queued += n >= self._since_number and (is_open or frame.kind is not _VIDEO)
        return queued


def _is_up_to(entry: Entry, had: Origin) -> bool:
    return entry.origin is not None and entry.origin[0] == had[0] and entry.origin[1] <= had[1]
