"""Frames as a muxer sends them, made by hand: nothing in them plays, everything in them can be checked.

Each TS packet's payload begins with the frame's epoch and number and the packet's index, so that what a viewer
got can be told from its bytes alone. It shares no code with the muxer.
"""

import struct
from dataclasses import dataclass, field

from common.messages import FrameMessage
from common.sample import Payload

PER_RTP = 7
PID = {0: 0x0100, 1: 0x0101}
LABEL = struct.Struct(">QQI")


@dataclass
class SourceFrame:
    """One frame: the fields of its FrameMessage that do not depend on who gets it, and its bytes."""

    message: FrameMessage
    data: bytes

    def addressed(
        self,
        *,
        to_live: bool = False,
        tickets: tuple[int, ...] = (),
        live: tuple[int, ...] = (),
        parked: tuple[int, ...] = (),
    ) -> FrameMessage:
        """The message with these addresses."""
        m = self.message
        return FrameMessage(
            m.stream, m.payload, m.track, m.epoch, m.number, m.kind, m.sync, m.time_us, m.sequences, m.clocks,
            m.ssrcs, m.rates_hz, m.counters, m.counts, m.packets, to_live, tickets, live, parked,
        )  # fmt: skip


@dataclass
class FrameSource:
    """Numbers frames as a muxer's stream does. base: where its RTP sequence, clock and counters begin."""

    stream: str = "cam"
    epoch: int = 1
    ssrc: int = 0x11223344
    sequence: int = 0
    clock_base: int = 0
    counters: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    number: int = 0

    def frame(
        self, kind: int = 0, sync: bool = False, packets: int = 3, time_us: int | None = None
    ) -> SourceFrame:
        """The next frame, of so many TS packets (two more, the tables, at a sync point). kind 2 has no payload."""
        if time_us is None:
            time_us = self.number * 40_000
        before = tuple(self.counters)
        pids = [0x0000, 0x1000] if sync and kind == 0 else []
        pids += [PID.get(kind, 0x0100)] * packets
        ts = [self._packet(pid, kind, index) for index, pid in enumerate(pids)]
        rows = [ts[i : i + PER_RTP] for i in range(0, len(ts), PER_RTP)]
        clock = (self.clock_base + time_us * 9 // 100) % (1 << 32)
        data = b""
        for offset, row in enumerate(rows):
            rtp = struct.pack(">BBHII", 0x80, 33, (self.sequence + offset) % 65536, clock, self.ssrc)
            packet = rtp + b"".join(row)
            data += b"$\0" + len(packet).to_bytes(2, "big") + packet
        a, b, c, d = ((now - then) % 16 for now, then in zip(self.counters, before, strict=True))
        message = FrameMessage(
            self.stream, Payload.TS, 0, self.epoch, self.number, kind, sync, time_us, (self.sequence,), (clock,),
            (self.ssrc,), (90_000,), (before[0], before[1], before[2], before[3]), (a, b, c, d), len(rows), False,
        )  # fmt: skip
        self.sequence = (self.sequence + len(rows)) % 65536
        self.number += 1
        return SourceFrame(message, data)

    def _packet(self, pid: int, kind: int, index: int) -> bytes:
        slot = (0x0000, 0x1000, 0x0100, 0x0101).index(pid)
        if kind == 2:  # an adaptation field alone repeats the counter
            control = 0x20 | (self.counters[slot] - 1) % 16
            body = b"\xb7\x10" + bytes(182)
        else:
            control = 0x10 | self.counters[slot]
            self.counters[slot] = (self.counters[slot] + 1) % 16
            body = LABEL.pack(self.epoch, self.number, index)
        return (b"\x47" + pid.to_bytes(2, "big") + bytes((control,)) + body).ljust(188, b"\xff")


class Judge:
    """Reads what one viewer was sent, and asserts that nothing in it is out of step.

    frames: (epoch, number) of each frame that came whole. sequence, ssrc, clock: of the last RTP packet.
    """

    def __init__(self, *, framed: bool = True, channel: int = 0) -> None:
        self.framed = framed
        self.channel = channel
        self.frames: list[tuple[int, int]] = []
        self.rtcp: list[bytes] = []
        self.sequence: int | None = None
        self.ssrc: int | None = None
        self.clock = 0
        self.ts = b""
        self._buffer = b""
        self._counters: dict[int, int] = {}

    def receive(self, data: bytes) -> None:
        """More of the viewer's bytes."""
        self._buffer += data
        if not self.framed:
            whole = len(self._buffer) // 188 * 188
            self._transport(self._buffer[:whole])
            self._buffer = self._buffer[whole:]
            return
        while len(self._buffer) >= 4:
            assert self._buffer[:1] == b"$", self._buffer[:40]
            end = 4 + int.from_bytes(self._buffer[2:4], "big")
            if len(self._buffer) < end:
                return
            channel, packet = self._buffer[1], self._buffer[4:end]
            self._buffer = self._buffer[end:]
            if channel == self.channel:
                self._rtp(packet)
            else:
                assert channel == self.channel + 1
                self.rtcp.append(packet)

    @property
    def unfinished(self) -> bool:
        """Whether the bytes end within a packet."""
        return bool(self._buffer)

    def _rtp(self, packet: bytes) -> None:
        first, kind, sequence, clock, ssrc = struct.unpack_from(">BBHII", packet)
        assert (first, kind) == (0x80, 33)
        assert self.sequence is None or sequence == (self.sequence + 1) % 65536, "a gap in the sequence"
        assert self.ssrc is None or ssrc == self.ssrc, "another SSRC"
        self.sequence, self.ssrc, self.clock = sequence, ssrc, clock
        self._transport(packet[12:])

    def _transport(self, data: bytes) -> None:
        assert len(data) % 188 == 0
        self.ts += data
        for at in range(0, len(data), 188):
            packet = data[at : at + 188]
            assert packet[0] == 0x47
            pid, counter = int.from_bytes(packet[1:3], "big") & 0x1FFF, packet[3] & 15
            payload = bool(packet[3] & 0x10)
            if pid in self._counters:
                assert counter == (self._counters[pid] + payload) % 16, "a continuity error"
            self._counters[pid] = counter
            if payload:
                epoch, number, _ = LABEL.unpack_from(packet, 4)
                if not self.frames or self.frames[-1] != (epoch, number):
                    self.frames.append((epoch, number))
