"""Ready-made TS packets into frames, and their continuity after a splice (for `write_packet`). Pure."""

from common.errors import MediaError
from common.grid import RATES_HZ, TS_BYTES, Frame, FrameKind, rtp_packets
from muxer.rtp import packetise_ts

FLAG_SYNC = 0x0001
FLAG_END = 0x0002
FLAG_AUDIO = 0x8000
FLAGS = FLAG_SYNC | FLAG_END | FLAG_AUDIO
FRAME_PACKETS_MAX = 65536  # 12 MB, as SAMPLE_BYTES_MAX

_SYNC_BYTE = 0x47
_NO_COUNTERS = (0, 0, 0, 0)


class PacketFeed:
    """Collects the packets of a frame until the one with FLAG_END, and numbers the RTP packets."""

    def __init__(self, ssrc: int) -> None:
        self._ssrc = ssrc
        self._sequence = 0
        self._packets = bytearray()
        self._flags = 0

    def add(self, packet: bytes | memoryview, time_us: int, clock: int, flags: int) -> Frame | None:
        """The frame that `packet` completes, else None. Raises MediaError for what is no TS packet."""
        if len(packet) != TS_BYTES or packet[0] != _SYNC_BYTE:
            raise MediaError(f"write_packet takes one TS packet of {TS_BYTES} bytes that starts with 0x47")
        if flags & ~FLAGS:
            raise MediaError(f"write_packet: unknown flags {flags & ~FLAGS:#x}")
        if len(self._packets) >= FRAME_PACKETS_MAX * TS_BYTES:
            raise MediaError(f"write_packet: {FRAME_PACKETS_MAX} packets and no end-of-frame flag (0x02)")
        self._packets += packet
        self._flags |= flags
        if not flags & FLAG_END:
            return None
        data = packetise_ts(bytes(self._packets), clock=clock, sequence=self._sequence, ssrc=self._ssrc)
        packets = rtp_packets(len(data))
        frame = Frame(
            kind=FrameKind.AUDIO if self._flags & FLAG_AUDIO else FrameKind.VIDEO,
            sync=bool(self._flags & FLAG_SYNC),
            disposable=False,
            time_us=time_us,
            sequences=(self._sequence,),
            clocks=(clock,),
            ssrcs=(self._ssrc,),
            rates_hz=RATES_HZ,
            counters=_NO_COUNTERS,
            counts=_NO_COUNTERS,
            packets=packets,
            data=data,
        )
        self._sequence = self._sequence + packets & 0xFFFF
        self._packets.clear()
        self._flags = 0
        return frame


class Continuity:
    """Keeps the continuity counters of every PID going across splices (ISO/IEC 13818-1 2.4.3.3).

    Before the first splice packets pass as they are, whatever their counters say.
    """

    def __init__(self) -> None:
        self._next: dict[int, int] = {}
        self._offset: dict[int, int] = {}
        self._unaligned: set[int] = set()

    def splice(self) -> None:
        """Frames were left out here: each PID's next packet goes on where its last one was."""
        self._unaligned = set(self._next)

    def apply(self, packets: bytearray) -> None:
        """Renumber whole TS packets in place."""
        for start in range(0, len(packets), TS_BYTES):
            pid = (packets[start + 1] & 0x1F) << 8 | packets[start + 2]
            counter = packets[start + 3] & 0x0F
            has_payload = packets[start + 3] >> 4 & 1
            if pid in self._unaligned:
                self._unaligned.remove(pid)
                # A packet without payload repeats the counter of the one before it.
                self._offset[pid] = self._next[pid] - (1 - has_payload) - counter
            counter = counter + self._offset.get(pid, 0) & 0x0F
            packets[start + 3] = packets[start + 3] & 0xF0 | counter
            self._next[pid] = counter + 1
