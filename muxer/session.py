"""The media session: what one viewer is given of one stream. See the table of verbs in the README.

    session = new_media_session(Track(Codec.H264), Track(Codec.AAC, config=...))
    session.read_start(lambda packet: connection.send(packet))
    session.write_sample(Sample(data, time_us, Codec.H264, sync=True))

A sample is muxed to MPEG-TS and packetised to RTP once, into a ring; the session is a drop queue over that ring
and a gate: open after `read_start`, shut after `read_stop`. While it is shut the source goes on and the queue
drops whole frames, up to a sync point. The packets that the callback gets are numbered without a gap.

Rules
-----
1. The callback gets RTP packets (RFC 3550), each whole; those of one frame follow each other.
2. `read_stop`, also from inside the callback: not one more packet after it returns. The rest of a frame that
   was cut so comes first after the next `read_start`.
3. An override of `on_send_sample` is called with each sample when it is sent and may hand another sample to the
   default, or packets of its own to `on_send_packet`.
4. A session is fed by `write_sample` or by `write_packet`, never by both.
5. `close` tells the reader by an empty packet, as a socket's `recv` does.
6. A session may be used from several threads; callbacks run in the thread that causes them.
7. Below 25 samples a second call `flush_buffer` every 40 ms: it adds the clock references that are due.
"""

import secrets
import threading
from collections import deque
from collections.abc import Callable

from common import grid, rtp_rows
from common.clock import RTP_WRAP, now_us, ticks_90k
from common.errors import MediaError, SessionError
from common.grid import Frame
from common.header_numbers import NONE, SEQUENCE_WRAP, Mark, Offset, next_offset, renumbered
from common.sample import Payload, Sample, Track
from muxer.mpegts import TsMuxer
from muxer.packet_feed import Continuity, PacketFeed
from muxer.ring import DropQueue, Entry, Limits
from muxer.stream import Stream

QUEUE_FRAMES_MAX = 10  # the ancestor's
UNSENT_PACKETS_MAX = 16384  # of a frame cut by read_stop: what a sample of SAMPLE_BYTES_MAX makes, and some

Packet = bytes | memoryview
Callback = Callable[[Packet], object]


class MediaSession:
    """One reader of one stream. The module's docstring has the rules.

    stream: shared with other sessions, or this one's own. clock: gives µs, monotonic.
    """

    def __init__(self, stream: Stream, limits: Limits, clock: Callable[[], int] = now_us) -> None:
        self.stream = stream
        self.queue = DropQueue(stream.ring, limits, clock())
        self._clock = clock
        self._lock = threading.RLock()
        self._callback: Callback | None = None
        self._reading = False
        self._closed = False
        self._flushing = False
        self._sending: Entry | None = None
        self._unsent: deque[Packet] = deque()
        self._last: Mark | None = None  # the frame sent last, and what was added to its numbers
        self._offset: Offset = NONE
        self._own_muxer: TsMuxer | None = None
        self._feed: PacketFeed | None = None
        self._continuity = Continuity()
        self._splices_seen = 0
        self._samples_written = False

    # -- the source's side ----------------------------------------------------------------------------

    def write_sample(self, sample: Sample) -> None:
        """Mux one sample, queue its frame and flush.

        Raises MediaError for a sample that MPEG-TS cannot carry, SessionError after `close` or `write_packet`.
        """
        with self._lock:
            self._check_fed_by_program("write_sample")
            if self._feed is not None:
                raise SessionError("write_sample: this session is fed by write_packet; make another for samples")
            self._samples_written = True
            self.stream.write(sample, self._clock())
            self.flush_buffer()

    def write_packet(self, data: bytes | memoryview, time_us: int, flags: int = 0) -> None:
        """Queue one ready-made TS packet (188 bytes); a whole frame is flushed at its last one.

        flags: 0x01 the frame is a sync point, 0x02 this packet is its last, 0x8000 it is audio.
        Raises MediaError for what is no TS packet, SessionError after `close` or `write_sample`.
        """
        with self._lock:
            self._check_fed_by_program("write_packet")
            if self._samples_written:
                raise SessionError("write_packet: this session is fed by write_sample; make another for packets")
            if self._feed is None:
                self._feed = PacketFeed(secrets.randbits(32))
            frame = self._feed.add(data, time_us, ticks_90k(time_us) % RTP_WRAP, flags)
            if frame is not None:
                self.stream.ring.append(Entry(frame, None, self._clock()))
                self.flush_buffer()

    def close(self) -> None:
        """End the stream: the reader gets an empty packet, everything is let go. A second call does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._reading = False
            self._unsent.clear()
            self.stream.ring.clear()
            if self._callback is not None:
                callback, self._callback = self._callback, None
                callback(b"")

    # -- the reader's side ----------------------------------------------------------------------------

    def read_start(self, callback: Callback) -> None:
        """Open the gate and flush. `callback` gets each RTP packet and may call `read_stop` from inside."""
        with self._lock:
            self._check_open("read_start")
            self._callback = callback
            self._reading = True
            self.flush_buffer()

    def read_stop(self) -> None:
        """Shut the gate at once: not one more packet after this returns. The source goes on, the queue drops."""
        with self._lock:
            self._reading = False

    def flush_buffer(self) -> int:
        """Send what is queued, until the queue is empty or the gate is shut. Returns the frames sent."""
        with self._lock:
            if self._feed is None and not self._closed:
                self.stream.tick(self._clock())
            return self.flush_queue()

    def flush_queue(self) -> int:
        """As `flush_buffer`, on a shared stream whose owner adds the clock references."""
        with self._lock:
            if self._closed or self._flushing:
                return 0  # called from inside the callback: the flush that called it goes on by itself
            self.queue.enforce(self._clock())
            self._flushing = True
            try:
                return self._flush()
            finally:
                self._flushing = False

    def get_sdp_string(self) -> str:
        """The session description (RFC 8866), valid also before the first sample."""
        with self._lock:
            return self.stream.sdp(self._clock(), session_id=1)

    # -- to override ----------------------------------------------------------------------------------

    def on_send_sample(self, sample: Sample) -> None:
        """Called with each sample when it is sent. The default sends it as MPEG-TS in RTP."""
        entry = self._sending
        if entry is not None and sample is entry.sample:
            self._send_frame(entry.frame)
            return
        if self._own_muxer is None:
            kept = (track for track in self.stream.tracks if track.audio is not sample.audio)
            same = (track for track in self.stream.tracks if track.codec is sample.codec)
            tracks = (next(same, Track(sample.codec)), *kept)
            self._own_muxer = TsMuxer(tracks, ssrc=secrets.randbits(32))
        self._send_frame(self._own_muxer.write(sample, self._clock()))

    def on_send_packet(self, packet: Packet) -> None:
        """Called with each RTP packet. The default hands it to the callback, or keeps it while the gate is shut.

        Raises MediaError when UNSENT_PACKETS_MAX are kept: `on_send_sample` sends more than one frame can be.
        """
        if len(self._unsent) >= UNSENT_PACKETS_MAX:
            raise MediaError(f"{UNSENT_PACKETS_MAX} packets sent while the gate is shut")
        self._unsent.append(packet)
        self._hand_over()

    def on_send_entry(self, number: int, entry: Entry) -> None:
        """Called with each frame of the ring when it is sent. The default gives its sample to `on_send_sample`."""
        del number
        self._sending = entry
        try:
            if entry.sample is not None:
                self.on_send_sample(entry.sample)
            elif self._feed is not None:
                self._send_ready_made(entry.frame)
            elif type(self).on_send_sample is MediaSession.on_send_sample:
                self._send_frame(entry.frame)  # a clock reference: an encoding of its own has its own
        finally:
            self._sending = None

    # -- inside ---------------------------------------------------------------------------------------

    def _check_open(self, verb: str) -> None:
        if self._closed:
            raise SessionError(f"{verb}: this session is closed; make a new one")

    def _check_fed_by_program(self, verb: str) -> None:
        self._check_open(verb)

    def _flush(self) -> int:
        sent = 0
        self._hand_over()
        while self._reading and (number := self.queue.next()) is not None:
            self.queue.take(number)
            self.on_send_entry(number, self.stream.ring[number])
            sent += 1
        return sent

    def _hand_over(self) -> None:
        while self._reading and self._unsent and self._callback is not None:
            self._callback(self._unsent.popleft())

    def _send_frame(self, frame: Frame) -> None:
        data = renumbered(frame.data, frame, self._next_offset(frame))
        native = frame.payload is Payload.NATIVE
        for packet in rtp_rows.packets(data) if native else grid.packets(data):
            self.on_send_packet(packet)

    def _send_ready_made(self, frame: Frame) -> None:
        if self.queue.splices != self._splices_seen:
            self._splices_seen = self.queue.splices
            self._continuity.splice()
        sequence = (frame.sequence + self._next_offset(frame).of(0).sequence) % SEQUENCE_WRAP
        for packet in grid.packets(frame.data):
            own = bytearray(packet)
            own[2:4] = sequence.to_bytes(2, "big")
            sequence = (sequence + 1) % SEQUENCE_WRAP
            body = own[grid.RTP_HEADER_BYTES :]
            self._continuity.apply(body)
            own[grid.RTP_HEADER_BYTES :] = body
            self.on_send_packet(bytes(own))

    def _next_offset(self, frame: Frame) -> Offset:
        self._offset = next_offset(self._last, self._offset, frame)
        self._last = Mark(frame, len(frame.data))
        return self._offset


def new_media_session(*tracks: Track, queue_frames_max: int = QUEUE_FRAMES_MAX) -> MediaSession:
    """A session fed by the program itself, by `write_sample` or `write_packet`.

    tracks: what the samples will be; without any, the first sample says (one track). queue_frames_max: the drop
    queue's length. Raises MediaError for a codec that MPEG-TS cannot carry.
    """
    stream = Stream("session", ssrc=secrets.randbits(32), age_max_us=0)
    if tracks:
        stream.announce(tracks)
    return MediaSession(stream, Limits(frames_max=queue_frames_max))
