"""What a recorded viewer got: packets to access units to judged pictures, each with the times of its bytes.

Two payloads are understood: MPEG-TS (RFC 2250) and H.264 (RFC 6184), of which whatever came is put together as
FFmpeg does, so that what a server left out of a picture shows. Pictures are told by their slices, which no server
changes, and judged by decoding everything that the viewer got, in order.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av

from tests.support import check_picture, decoding
from tests.support.check_picture import CheckClip
from tests.support.file_times import content
from tests.support.recording import Recording
from tests.support.ts_check import PACKET

_START = b"\0\0\0\1"
_STAP_A, _FU_A = 24, 28
_SLICE, _IDR, _SPS, _PPS = 1, 5, 7, 8
_NAL = re.compile(rb"\0\0\x01([\s\S])")


@dataclass
class Received:
    """One access unit. came_s: when its first byte had arrived; first_s, last_s: it and the last one were read.

    time_90k: its DTS in TS, else its RTP timestamp. number: of the picture that it is in the clip, -1 where
    something is missing in it. shown: a decoder shows something for it; damaged: which is not what was drawn.
    """

    data: bytes
    came_s: float
    first_s: float
    last_s: float
    time_90k: int
    number: int = -1
    shown: bool = False
    damaged: bool = False


@dataclass
class Watched:
    """What one viewer got, in order. gaps: places where RTP's sequence numbers are not contiguous."""

    name: str
    pictures: list[Received]
    gaps: int
    ended: str


@dataclass(frozen=True)
class Rtp:
    """One packet of video. came_s, first_s, last_s: as of `Received`."""

    sequence: int
    marker: bool
    time_90k: int
    payload: bytes
    came_s: float
    first_s: float
    last_s: float


def rtp_packets(recording: Recording) -> Iterator[Rtp]:
    """The whole packets of channel 0, until neither `$` nor a response is: `ended` says so."""
    data, at = recording.data, 0
    while at + 4 <= len(data):
        if data[at] != ord("$"):
            end = data.find(b"\r\n\r\n", at)
            if end >= 0 and data[at : at + 9] != b"RTSP/1.0 ":
                recording.ended = "framing lost"
                return
            if end < 0:
                return
            length = re.search(rb"(?i)content-length: *(\d+)", data[at:end])
            at = end + 4 + (int(length[1]) if length else 0)
            continue
        start, end = at + 4, at + 4 + int.from_bytes(data[at + 2 : at + 4], "big")
        if end > len(data):
            return
        if data[at + 1] == 0:
            sequence, time_90k = (int.from_bytes(data[start + a : start + b], "big") for a, b in ((2, 4), (4, 8)))
            came_s, first_s, last_s = recording.arrived_s(at), recording.read_s(at), recording.read_s(end - 1)
            marker = bool(data[start + 1] & 0x80)
            yield Rtp(sequence, marker, time_90k, bytes(data[start + 12 : end]), came_s, first_s, last_s)
        at = end


def watched(recording: Recording, judge: "Judge") -> Watched:
    """Take a recording apart."""
    gaps, previous = 0, None

    def counted() -> Iterator[Rtp]:
        nonlocal gaps, previous
        for packet in rtp_packets(recording):
            gaps += previous is not None and packet.sequence != (previous + 1) & 0xFFFF
            previous = packet.sequence
            yield packet

    take_apart = units_of_ts if "MP2T" in recording.sdp else units_of_h264
    pictures = list(take_apart(counted()))[:-1]  # the last may be cut off by the end
    judge.judge(pictures)
    return Watched(recording.name, pictures, gaps, recording.ended)


def units_of_ts(packets: Iterable[Rtp]) -> Iterator[Received]:
    """The pictures in MPEG-TS (RFC 2250), each when the next one begins."""
    unit: Received | None = None
    data = bytearray()
    pid = -1
    for packet in packets:
        for at in range(0, len(packet.payload), PACKET):
            ts = packet.payload[at : at + PACKET]
            this = int.from_bytes(ts[1:3], "big") & 0x1FFF
            payload = 4 + (1 + ts[4] if ts[3] & 0x20 else 0)
            if not ts[3] & 0x10:
                continue
            if ts[1] & 0x40 and re.match(rb"\0\0\x01[\xe0-\xef]", ts[payload : payload + 4]):
                if unit is not None:
                    unit.data = bytes(data)
                    yield unit
                pid = this
                has_dts = ts[payload + 7] & 0x40
                time_90k = _timestamp(ts[payload + (14 if has_dts else 9) :])
                body = payload + 9 + ts[payload + 8]
                data = bytearray(ts[body:])
                unit = Received(b"", packet.came_s, packet.first_s, packet.last_s, time_90k)
            elif this == pid and unit is not None:
                data += ts[payload:]
                unit.last_s = packet.last_s
    if unit is not None:
        unit.data = bytes(data)
        yield unit


def _timestamp(field: bytes) -> int:
    """33 bits in 5 bytes, ISO/IEC 13818-1 table 2-21."""
    return (field[0] >> 1 & 7) << 30 | field[1] << 22 | field[2] >> 1 << 15 | field[3] << 7 | field[4] >> 1


def units_of_h264(packets: Iterable[Rtp]) -> Iterator[Received]:
    """Those of H.264 (RFC 6184): one ends with a marker, or, where that was left out, with another timestamp."""
    parts: list[Rtp] = []
    for packet in packets:
        if parts and packet.time_90k != parts[0].time_90k:
            yield _of_packets(parts)
            parts = []
        parts.append(packet)
        if packet.marker:
            yield _of_packets(parts)
            parts = []
    if parts:
        yield _of_packets(parts)


def _of_packets(parts: list[Rtp]) -> Received:
    data = b"".join(_annex_b(part.payload) for part in parts)
    first = parts[0]
    return Received(data, first.came_s, first.first_s, parts[-1].last_s, first.time_90k)


def _annex_b(payload: bytes) -> bytes:
    kind = payload[0] & 31
    if kind == _FU_A:
        begins = payload[1] & 0x80
        return (_START + bytes([payload[0] & 0xE0 | payload[1] & 31]) if begins else b"") + payload[2:]
    if kind != _STAP_A:
        return _START + payload
    found, at = b"", 1
    while at + 2 < len(payload):
        end = at + 2 + int.from_bytes(payload[at : at + 2], "big")
        found += _START + payload[at + 2 : end]
        at = end
    return found


class Judge:
    """Says of access units which picture of the clip each is, and what a decoder makes of them.

    What follows a sync point is decoded once however many viewers got just the same: the decoder knows no past
    beyond it.
    """

    def __init__(self, clip: CheckClip) -> None:
        units = [unit for unit in decoding.units(Path(clip.path)) if not unit.audio]
        self._numbers = {_digest(content(unit)): number for number, unit in enumerate(units)}
        assert len(self._numbers) == len(units), "two pictures of the clip are the same"
        first = units[0].data
        self._sets = b"".join(
            _START + nal for nal in re.split(b"\0+\0\1", first)[1:] if nal[0] & 31 in (_SPS, _PPS)
        )
        self._known: dict[bytes, list[tuple[bool, bool]]] = {}

    def judge(self, pictures: list[Received]) -> None:
        """Set number, shown and damaged of each."""
        for picture in pictures:
            slices = decoding.Unit(False, 0, 0, False, picture.data)
            picture.number = self._numbers.get(_digest(content(slices)), -1)
        start = 0
        for end in range(1, len(pictures) + 1):
            if end == len(pictures) or is_sync(pictures[end].data):
                self._judge_from_sync(pictures[start:end])
                start = end

    def _judge_from_sync(self, pictures: list[Received]) -> None:
        digest = hashlib.blake2b(b"".join(_digest(picture.data) for picture in pictures)).digest()
        if digest not in self._known:
            self._known[digest] = self._decode([picture.data for picture in pictures])
        for picture, (shown, damaged) in zip(pictures, self._known[digest], strict=True):
            picture.shown, picture.damaged = shown, damaged

    def _decode(self, units: list[bytes]) -> list[tuple[bool, bool]]:
        found = [(False, False)] * len(units)
        decoder = av.CodecContext.create("h264", "r")
        assert isinstance(decoder, av.VideoCodecContext)
        decoder.thread_count = 1
        packets: list[av.Packet[av.stream.Stream] | None] = []
        for number, data in enumerate(units):
            packet: av.Packet[av.stream.Stream] = av.Packet(self._sets + data if is_sync(data) else data)
            packet.pts = number
            packets.append(packet)
        for item in (*packets, None):
            try:
                frames = decoder.decode(item)
            except av.FFmpegError:
                continue  # nothing is shown for it
            for frame in frames:
                assert frame.pts is not None
                found[frame.pts] = True, check_picture.read(check_picture.from_frame(frame)).damaged
        return found


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def is_sync(data: bytes) -> bool:
    """Whether an access unit of H.264 is one that a decoder can start at."""
    return any(match[1][0] & 31 == _IDR for match in _NAL.finditer(data))
