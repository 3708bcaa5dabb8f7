"""The MPEG-TS muxer (ISO/IEC 13818-1): one sample in, one frame of `common.grid` out. Pure.

Theory of operation
-------------------
A frame is, in this order: PAT and PMT when due; a packet with nothing but a PCR when one is due and the
sample's own packets cannot hold it; the sample as one PES packet. The content of its packets is one flat run of
bytes (adaptation field, PES header, sample) that is cut into bodies of 184 bytes on a sheet (`muxer.sheet`); only
the first and the last packet, with stuffing before its share of the run, have a head that is not just the next in
line.

PTS and DTS are the sample's own; PCR and RTP timestamp are the clock of `muxer.timeline`. TR 101 290 wants PCRs
at most 40 ms and tables at most 100 ms apart: where no sample comes in time, `tick` makes a CLOCK frame.
"""

from struct import Struct

from common.clock import RTP_WRAP, ticks_90k
from common.errors import MediaError
from common.grid import (
    AUDIO_PID,
    COUNTER_MASK,
    PIDS,
    RATES_HZ,
    ROW_BYTES,
    TS_BODY_BYTES,
    TS_BYTES,
    TS_PER_RTP,
    VIDEO_PID,
    Counters,
    Frame,
    FrameKind,
)
from common.sample import SAMPLE_BYTES_MAX, TIME_US_MAX, Sample, Track
from muxer import psi
from muxer.carriage import carriage
from muxer.rtp import packetise_ts
from muxer.sheet import PlainHeads, Sheets
from muxer.timeline import LEAD_US, Timeline

TABLES_JOIN_US = 60_000  # from then on a frame takes the tables along
TABLES_INTERVAL_US = 90_000  # a CLOCK frame is made for them
PCR_JOIN_US = 15_000  # from then on an audio frame takes a PCR along: the next frame may come too late
PCR_INTERVAL_US = 36_000  # a CLOCK frame is made for it; above the 33.4 ms between pictures at 29.97 fps
PCR_GAP_US = 100_000  # a longer one is signalled as a discontinuity (TR 101 290 2.3b)
STALLED_US = 1_500_000  # a source silent for this long gets no more CLOCK frames; 1 fps is no stall
NEVER_US = TIME_US_MAX

_LONG_AGO_US = -2 * TIME_US_MAX
_PES_BYTES_MAX = 65535
_DISCONTINUITY, _RANDOM_ACCESS, _PCR = 0x80, 0x40, 0x10  # flags of the adaptation field (2.4.3.4)
_PCR_FIELD = Struct(">BBIH")  # length, flags, the base's upper 32 bits and its last, 6 reserved, the extension
_SYNC_FIELD = bytes((1, _RANDOM_ACCESS))
_PES = Struct(">4sHHB")  # start code and stream_id, length, flags, bytes of timestamps (2.4.3.6)
_PTS_ONLY, _PTS_AND_DTS = 0x8480, 0x84C0  # the payload is aligned to the PES packet
_TIMESTAMP = Struct(">BHH")
_FILL = b"\xff" * TS_BODY_BYTES
# _STUFFING[n]: an adaptation field of n bytes with nothing in it
_STUFFING = [b"", b"\0", *(bytes((n - 1, 0)) + _FILL[: n - 2] for n in range(2, TS_BODY_BYTES + 1))]


class _Heads:
    """The heads of the packets of one PID, by continuity counter."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.with_field = self._each_counter(start=0, control=3)
        self.field_only = self._each_counter(start=0, control=2)
        self.first = self._each_counter(start=1, control=1)
        self.first_with_field = self._each_counter(start=1, control=3)
        self.plain = PlainHeads(self._each_counter(start=0, control=1)[0])

    def _each_counter(self, start: int, control: int) -> tuple[bytes, ...]:
        high, low = start << 6 | self._pid >> 8, self._pid & 0xFF
        return tuple(bytes((0x47, high, low, control << 4 | counter)) for counter in range(16))


_HEADS = {pid: _Heads(pid) for pid in (VIDEO_PID, AUDIO_PID)}  # of all streams


class _Elementary:
    """One track in the stream, and how it is carried."""

    def __init__(self, track: Track, *, is_clock: bool) -> None:
        self.codec = track.codec
        self.carriage = carriage(track)
        self.kind = FrameKind.AUDIO if track.audio else FrameKind.VIDEO
        self.is_audio = track.audio
        self.pid = AUDIO_PID if track.audio else VIDEO_PID
        self.index = PIDS.index(self.pid)
        self.is_clock = is_clock
        # Every picture has a PCR: it costs 8 bytes. A short audio frame would need a packet more.
        self.pcr_join_us = PCR_JOIN_US if track.audio else 1
        self.pes_start = b"\0\0\1" + bytes((self.carriage.stream_id,))
        self.heads = _HEADS[self.pid]


class TsMuxer:
    """Muxes the samples of one stream.

    tracks: at most one video and one audio track. ssrc: of the RTP packets. sequence, counters: of the next
    RTP packet, and of the next packet on each of `common.grid.PIDS`, to go on from. version: of the PMT. sheets:
    to share with other muxers that the same thread works with; None: its own.
    next_tick_us: when `tick` has something to do, unless a sample comes before; NEVER_US if it has not.
    Raises MediaError that names a codec that MPEG-TS cannot carry, and what to do.
    """

    def __init__(
        self,
        tracks: tuple[Track, ...],
        *,
        ssrc: int,
        sequence: int = 0,
        counters: Counters = (0, 0, 0, 0),
        version: int = 0,
        sheets: Sheets | None = None,
    ) -> None:
        self._ssrcs = (ssrc,)
        self.sequence = sequence
        self.counters = counters
        self.version = version & 31
        self.next_tick_us = NEVER_US
        self._timeline = Timeline(len(FrameKind))
        self._sheets = Sheets() if sheets is None else sheets
        self._sample_now_us = self._pcr_now_us = self._tables_now_us = 0
        self._pat = psi.pat_packets()
        self._use(tracks, self.version)

    def replace_tracks(self, tracks: tuple[Track, ...]) -> None:
        """Go on with other tracks: a new version of the PMT; numbers and clock go on."""
        version = (self.version + 1) & 31
        self._use(tracks, version)
        self.version = version

    def write(self, sample: Sample, now_us: int) -> Frame:
        """Mux one sample, whole.

        Raises MediaError for a codec that is not among the tracks, and for data that is empty, over
        SAMPLE_BYTES_MAX, or not in the form that `Sample` says; nothing has changed then.
        """
        for track in self._tracks:
            if track.codec is sample.codec:
                break
        else:
            raise MediaError(f"the stream has no {sample.codec.upper()} track")
        if not 0 < len(sample.data) <= SAMPLE_BYTES_MAX:
            raise MediaError(f"a sample of {len(sample.data)} bytes, allowed are 1 to {SAMPLE_BYTES_MAX}")
        payload = track.carriage.wrap(sample.data, sample.sync)
        before, rest = payload.begin, payload.rest
        order_us = sample.order_us
        header = _pes_header(track, sample.time_us, order_us, len(before) + len(rest))
        clock_us, jumped = self._timeline.on_sample(track.kind, order_us, sample.time_us, now_us)
        self._sample_now_us = now_us
        if jumped:
            self._pcr_us = self._tables_us = _LONG_AGO_US

        sync = sample.sync and track.is_clock
        tables = clock_us - self._tables_us >= TABLES_JOIN_US or (sync and not track.is_audio)
        lead = self._tables(clock_us, now_us) if tables else b""
        field = _SYNC_FIELD if sync else b""
        if clock_us - self._pcr_us >= track.pcr_join_us:
            if track.is_clock:
                field = self._pcr_field(clock_us, now_us, _RANDOM_ACCESS if sync else 0)
            else:
                lead += self._pcr_packet(clock_us, now_us)
        clock = ticks_90k(clock_us) % RTP_WRAP

        counter = self.counters[track.index]
        size = len(field) + len(header) + len(before) + len(rest)
        spare = -size % TS_BODY_BYTES
        packets = (size + spare) // TS_BODY_BYTES
        last = b""
        if packets == 1:
            field = _stuffed(field, spare)
        elif spare:
            last = track.heads.with_field[counter + packets - 1 & COUNTER_MASK] + _STUFFING[spare]
        lead_packets = len(lead) // TS_BYTES
        total = lead_packets + packets
        rows = -(-total // TS_PER_RTP)
        heads = track.heads.plain[rows][counter - lead_packets & COUNTER_MASK]
        lead += (track.heads.first_with_field if field else track.heads.first)[counter]
        data = self._sheets[rows].fill(
            total, lead, heads, last, field + header + before, rest, clock, self.sequence, self._ssrcs[0], jumped
        )
        video, audio = (0, packets) if track.is_audio else (packets, 0)
        return self._frame(track.kind, sync, payload.disposable, order_us, clock, +tables, video, audio, data)

    def tick(self, now_us: int) -> Frame | None:
        """The CLOCK frame that is due; None if there is none, or no sample has come for STALLED_US."""
        if now_us < self.next_tick_us:
            return None
        if now_us - self._sample_now_us > STALLED_US:
            self.next_tick_us = NEVER_US
            return None
        clock_us = self._timeline.at(now_us)
        if clock_us <= self._pcr_us:
            self.next_tick_us = now_us + PCR_INTERVAL_US
            return None
        tables = clock_us - self._tables_us >= TABLES_JOIN_US
        packets = (self._tables(clock_us, now_us) if tables else b"") + self._pcr_packet(clock_us, now_us)
        clock = ticks_90k(clock_us) % RTP_WRAP
        data = packetise_ts(packets, clock=clock, sequence=self.sequence, ssrc=self._ssrcs[0])
        return self._frame(FrameKind.CLOCK, False, True, clock_us + LEAD_US, clock, +tables, 0, 0, data)

    def _use(self, tracks: tuple[Track, ...], version: int) -> None:
        video = [track for track in tracks if not track.audio]
        audio = [track for track in tracks if track.audio]
        if len(video) > 1 or len(audio) > 1 or not tracks:
            raise MediaError("a stream has at most one video and one audio track, and at least one of them")
        clock = (video or audio)[0]
        elementaries = [_Elementary(track, is_clock=track is clock) for track in video + audio]
        streams = [psi.Elementary(e.carriage.stream_type, e.pid, e.carriage.descriptors) for e in elementaries]
        self._tracks = elementaries
        self._clock = elementaries[0]
        self._pmt = psi.pmt_packets(streams, self._clock.pid, version)
        self._pcr_us = self._tables_us = _LONG_AGO_US

    def _tables(self, clock_us: int, now_us: int) -> bytes:
        """PAT and PMT."""
        self._tables_us = clock_us
        self._tables_now_us = now_us
        pat, pmt, _, _ = self.counters
        return self._pat[pat] + self._pmt[pmt]

    def _pcr_field(self, clock_us: int, now_us: int, flags: int) -> bytes:
        """An adaptation field (2.4.3.4) with `flags` and a PCR: 33 bits of 90 kHz, 9 bits of 27 MHz."""
        flags |= _PCR | _DISCONTINUITY if clock_us - self._pcr_us > PCR_GAP_US else _PCR
        self._pcr_us = clock_us
        self._pcr_now_us = now_us
        base, extension = divmod(clock_us * 27, 300)
        return _PCR_FIELD.pack(7, flags, base >> 1 & 0xFFFF_FFFF, (base & 1) << 15 | 0x7E00 | extension)

    def _pcr_packet(self, clock_us: int, now_us: int) -> bytes:
        """A packet of the clock's PID with no payload: it repeats the counter before it (2.4.3.3)."""
        field = self._pcr_field(clock_us, now_us, 0)
        head = self._clock.heads.field_only[self.counters[self._clock.index] - 1]
        return head + _stuffed(field, TS_BODY_BYTES - len(field))

    def _frame(
        self,
        kind: FrameKind,
        sync: bool,
        disposable: bool,
        time_us: int,
        clock: int,
        tables: int,
        video: int,
        audio: int,
        data: bytes,
    ) -> Frame:
        """The frame of `data`, with so many packets of each PID; the numbers move on behind it."""
        sequence, counters = self.sequence, self.counters
        a, b, c, d = counters
        self.counters = a + tables & 15, b + tables & 15, c + video & 15, d + audio & 15
        packets = -(-len(data) // ROW_BYTES)
        self.sequence = sequence + packets & 0xFFFF
        pcr_due_us, tables_due_us = self._pcr_now_us + PCR_INTERVAL_US, self._tables_now_us + TABLES_INTERVAL_US
        self.next_tick_us = pcr_due_us if pcr_due_us < tables_due_us else tables_due_us
        return Frame(
            kind,
            sync,
            disposable,
            time_us,
            (sequence,),
            (clock,),
            self._ssrcs,
            RATES_HZ,
            counters,
            (tables, tables, video, audio),
            packets,
            data,
        )


def _stuffed(field: bytes, spare: int) -> bytes:
    """The adaptation field, which may be empty, made longer by `spare` bytes."""
    return bytes((field[0] + spare,)) + field[1:] + _FILL[:spare] if field else _STUFFING[spare]


def _pes_header(track: _Elementary, time_us: int, order_us: int, size: int) -> bytes:
    """The header of a PES packet (2.4.3.6) with `size` bytes behind it. Raises MediaError if that is too much."""
    if order_us < time_us:
        flags, times = _PTS_AND_DTS, _timestamp(3, time_us) + _timestamp(1, order_us)
    else:
        flags, times = _PTS_ONLY, _timestamp(2, time_us)
    length = 3 + len(times) + size
    if length > _PES_BYTES_MAX:
        if track.is_audio:
            raise MediaError(f"an audio frame of {size} bytes does not go into a PES packet")
        length = 0  # only video may be unbounded
    return _PES.pack(track.pes_start, length, flags, len(times)) + times


def _timestamp(mark: int, time_us: int) -> bytes:
    """A PTS or DTS: 4 bits of `mark`, then 3, 15 and 15 bits, each with a marker bit behind it (2.4.3.6)."""
    ticks = ticks_90k(time_us)
    return _TIMESTAMP.pack(mark << 4 | ticks >> 29 & 0xE | 1, ticks >> 14 & 0xFFFE | 1, ticks << 1 & 0xFFFE | 1)
