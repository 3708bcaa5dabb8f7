"""What a subscriber makes of what is published to it: lives, losses, when to ask for a key frame. Pure."""

from common.leading import LeadingPictures
from common.messages import Announce, KeyFrameRequest, SampleMessage, SourceState
from common.sample import Codec, Sample, Track

REPEATED_US_MAX = 20_000_000  # a repeated sample older than this is of another host, with a clock of its own
UNANNOUNCED_US = 1_000_000  # for so long, nothing but samples that are not announced: their announcement was lost
KEY_FRAME_INTERVAL_US = 1_000_000  # a request at most this often: one slow viewer must not make everybody pay


class Intake:
    """One stream's samples on their way in.

    epoch: of the source; 0 before its first word. samples_…: as in `common.figures.StreamFigures`.
    state, reason: as in StreamFigures.
    """

    def __init__(self) -> None:
        self.epoch = 0
        self.tracks: tuple[Track, ...] = ()
        self._codecs: frozenset[Codec] = frozenset()  # of the tracks
        self._has_video = False
        self.samples_in = self.samples_used = 0
        self.samples_lost = self.samples_missed = 0
        self.samples_unannounced = self.samples_known = self.samples_awaiting_sync = 0
        self.state = "waiting"
        self.reason = ""
        self._sequence: int | None = None  # expected next; None at the start of a life
        self._heard_epoch = 0  # of the newest sample
        self._paused = False
        self._awaits_sync = True
        self._leading = LeadingPictures()
        self._leading_unwanted = True
        self._asked_at_us: int | None = None
        self._unannounced: int | None = None  # epoch of what came so last; None: samples of another have since
        self._unannounced_since_us: int | None = None

    def subscribed(self) -> None:
        """A subscription begins: what it was given, and told, before is no longer what it is given next."""
        self.epoch = 0
        self.state, self.reason = "waiting", ""
        self._paused = False
        self._unannounced = None

    def unsubscribed(self) -> None:
        """It ends. What is still under way is not for us: whoever subscribes again is given it once more."""
        self.epoch = 0
        self._paused = True

    def announce(self, message: Announce) -> None:
        """The source says what it sends."""
        if self._paused:
            return
        self._unannounced = None
        if message.epoch != self.epoch:
            self.epoch = message.epoch
            self._sequence = None
            self._awaits_sync = True
        if message.tracks != self.tracks:
            self.tracks = message.tracks
            self._codecs = frozenset(track.codec for track in self.tracks)
            self._has_video = any(not track.audio for track in self.tracks)
            self._awaits_sync = True

    def source_state(self, message: SourceState) -> None:
        """The source went up or down."""
        self.reason = message.reason
        self.state = "waiting" if message.up else "slate" if message.slate else "down"

    def sample(self, message: SampleMessage, data: bytes | memoryview) -> Sample | None:
        """The sample, if it is of use: its tracks are known and nothing that it needs was lost."""
        self.samples_in += 1
        if message.epoch != self.epoch or message.codec not in self._codecs:
            self.samples_unannounced += 1
            self._unannounced = message.epoch
            return None
        if self._unannounced != message.epoch:
            self._unannounced = None
        if self._sequence is not None and message.sequence != self._sequence:
            if message.sequence < self._sequence:
                self.samples_known += 1
                return None
            self.samples_lost += message.sequence - self._sequence
            self._awaits_sync = True
        if message.epoch != self._heard_epoch:
            self._heard_epoch = message.epoch
            self.samples_missed += message.sequence
        self._sequence = message.sequence + 1
        if self.state != "slate":
            self.state = "live"
        audio = message.codec.audio
        if message.sync and audio is not self._has_video:
            self._leading_unwanted = self._awaits_sync
            self._awaits_sync = False
        sample = Sample(data, message.time_us, message.codec, message.sync, message.decode_time_us)
        if not audio:
            leads = self._leading.leads(sample)
            if self._awaits_sync or (leads and self._leading_unwanted):
                self.samples_awaiting_sync += 1
                return None
        self.samples_used += 1
        return sample

    def asks_key_frame(self, viewers_wait: bool, now_us: int) -> bool:
        """Whether to ask the source for a key frame now: something was lost, or `viewers_wait` for one."""
        if not (viewers_wait or (self._awaits_sync and self.tracks)):
            return False
        if self._asked_at_us is not None and now_us - self._asked_at_us < KEY_FRAME_INTERVAL_US:
            return False
        self._asked_at_us = now_us
        return True

    def asks_announcement(self, now_us: int) -> bool:
        """Whether to ask the source now what it is: that it said so was lost. To be called often."""
        if self._unannounced is None:
            self._unannounced_since_us = None
            return False
        if self._unannounced_since_us is None:
            self._unannounced_since_us = now_us
        if now_us - self._unannounced_since_us < UNANNOUNCED_US:
            return False
        self._unannounced_since_us = now_us
        return True

    def request(self, viewers_wait: bool, now_us: int) -> KeyFrameRequest | None:
        """What to ask the source for now, if anything, for both reasons above."""
        unannounced = self.asks_announcement(now_us)
        asks = unannounced or self.asks_key_frame(viewers_wait, now_us)
        return KeyFrameRequest(unannounced) if asks else None


class FarArrivals:
    """When samples of another host came, on this host's clock, which is another: as `arrival_us` has it.

    The first of those that are repeated together says how old it is, and so how far apart the clocks are: the
    times between them are their own, however late they are looked at.
    """

    def __init__(self) -> None:
        self._apart_us: int | None = None

    def arrival_us(self, message: SampleMessage, sample: Sample, now_us: int) -> int:
        """See above."""
        if not message.repeated:
            self._apart_us = None
            return now_us
        if self._apart_us is None:
            self._apart_us = now_us - min(message.age_us, REPEATED_US_MAX) - sample.order_us
        return min(sample.order_us + self._apart_us, now_us)


def arrival_us(message: SampleMessage, sample: Sample, now_us: int) -> int:
    """When a sample came: a repeated one would have come at its decoding time, had we been there."""
    was_due = message.repeated and now_us - REPEATED_US_MAX < sample.order_us < now_us
    return sample.order_us if was_due else now_us
