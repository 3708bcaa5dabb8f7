"""Motion JPEG in RTP (RFC 2435): baseline JPEG, 4:2:0 or 4:2:2, at most 2040 by 2040 pixels. Pure.

The receiver writes the JPEG headers anew from a few bytes of each packet, and takes Huffman tables to be those of
the standard. So headers are read here, only the scan is sent, and what the receiver could not write again is
refused. The quantisation tables go along with each picture (Q 255).
"""

from typing import NamedTuple

from common.errors import MediaError
from common.sample import Track
from muxer.payload_format import Parts, PayloadFormat, Piece, cut, room

SIDE_MAX = 2040  # a byte that counts blocks of 8 pixels
PAYLOAD_TYPE = 26
SEGMENTS_MAX = 64  # before the scan
_QUALITY_IN_BAND = 255
_WITH_RESTARTS = 64  # added to the type
_NO_RESTART_COUNT = 0xFFFF  # the first and the last of a frame, count unknown (3.1.7)
_TABLE_BYTES = 64
_HEAD_BYTES = 8
_RESTART_HEAD_BYTES = 4
_BETTER = "take H.264, or MPEG-TS"

_SOF0, _SOF15, _DHT, _EOI, _SOS, _DQT, _DRI = 0xC0, 0xCF, 0xC4, 0xD9, 0xDA, 0xDB, 0xDD
_NOT_SOF = (_DHT, 0xC8, 0xCC)
_TYPES = {0x21: 0, 0x22: 1}  # by the sampling factors of the luma: 4:2:2, 4:2:0
_CHROMA_SAMPLING = 0x11
_END_OF_IMAGE = b"\xff\xd9"
# ITU-T T.81 annex K.3, by class and destination: how many codes of each length, and their values
_DC_VALUES = bytes(range(12))
_HUFFMAN = {
    0x00: bytes.fromhex("00010501010101010100000000000000") + _DC_VALUES,
    0x01: bytes.fromhex("00030101010101010101010000000000") + _DC_VALUES,
    0x10: bytes.fromhex(
        "0002010303020403050504040000017d"
        "01020300041105122131410613516107227114328191a1082342b1c11552d1f02433627282090a161718191a25262728292a34"
        "35363738393a434445464748494a535455565758595a636465666768696a737475767778797a838485868788898a9293949596"
        "9798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2e3e4e5e6e7e8e9eaf1"
        "f2f3f4f5f6f7f8f9fa"
    ),
    0x11: bytes.fromhex(
        "00020102040403040705040400010277"
        "000102031104052131061241510761711322328108144291a1b1c109233352f0156272d10a162434e125f11718191a26272829"
        "2a35363738393a434445464748494a535455565758595a636465666768696a737475767778797a82838485868788898a929394"
        "95969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae2e3e4e5e6e7e8e9ea"
        "f2f3f4f5f6f7f8f9fa"
    ),
}


class _Headers(NamedTuple):
    """What is before a scan. tables: that of the luma, that of the chroma. scan: where the scan starts."""

    kind: int
    width: int
    height: int
    restart_interval: int
    tables: bytes
    scan: int


class JpegFormat(PayloadFormat):
    """See the module's docstring."""

    def __init__(self, track: Track, payload_type: int) -> None:  # noqa: ARG002
        super().__init__(track.codec, f"JPEG/{self.rate_hz}", PAYLOAD_TYPE)
        _check_size(track.width, track.height)
        self._known: tuple[bytes, _Headers] | None = None  # the bytes before a scan, and what they say

    def split(self, data: Piece, sync: bool) -> Parts:  # noqa: ARG002
        """The scan in pieces behind RFC 2435's headers. Raises MediaError for what does not go."""
        data = bytes(data)
        if self._known is None or not data.startswith(self._known[0]):
            headers = _read(data)
            self._known = data[: headers.scan], headers
        headers = self._known[1]
        end = data.rfind(_END_OF_IMAGE, headers.scan)
        scan = memoryview(data)[headers.scan : end if end >= 0 else len(data)]
        if not scan:
            raise MediaError("a JPEG picture with nothing in it")
        interval = headers.restart_interval
        kind = headers.kind + (_WITH_RESTARTS if interval else 0)
        tail = bytes((kind, _QUALITY_IN_BAND, -(-headers.width // 8), -(-headers.height // 8)))
        if interval:
            tail += interval.to_bytes(2, "big") + _NO_RESTART_COUNT.to_bytes(2, "big")
        tables = b"\0\0" + len(headers.tables).to_bytes(2, "big") + headers.tables
        size = room(4 + len(tail))
        first = size - len(tables)
        packets: list[tuple[bytes, Piece]] = [(bytes(4) + tail + tables, scan[:first])]
        at = first
        for piece in cut(scan[first:], size):
            packets.append((at.to_bytes(4, "big") + tail, piece))
            at += len(piece)
        return Parts(packets)


def _check_size(width: int, height: int) -> None:
    if max(width, height) > SIDE_MAX:
        raise MediaError(f"JPEG of {width}x{height} does not go into RTP, at most {SIDE_MAX}: {_BETTER}")


def _read(data: bytes) -> _Headers:
    """What the headers of a picture say. Raises MediaError where they are damaged, or say what does not go."""
    if not data.startswith(b"\xff\xd8"):
        raise MediaError("a JPEG picture that does not begin with a start marker")
    tables: dict[int, bytes] = {}
    frame = b""
    interval = 0
    at = 2
    for _ in range(SEGMENTS_MAX):
        while data[at : at + 2] == b"\xff\xff":  # fill bytes
            at += 1
        marker, end = data[at + 1 : at + 2], at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        body = data[at + 4 : end]
        if data[at : at + 1] != b"\xff" or not marker or end > len(data) or end < at + 4:
            break
        match marker[0]:
            case kind if kind == _DQT:
                _read_quantisation(body, tables)
            case kind if kind == _DHT:
                _check_huffman(body)
            case kind if kind == _DRI:
                interval = int.from_bytes(body[:2], "big")
            case kind if kind == _SOS:
                return _headers(frame, body, tables, interval, end)
            case kind if kind == _SOF0:
                frame = body
            case kind if _SOF0 < kind <= _SOF15 and kind not in _NOT_SOF:
                raise MediaError(f"JPEG that is not baseline does not go into RTP: {_BETTER}")
        at = end
    raise MediaError("a JPEG picture whose headers are damaged")


def _read_quantisation(body: bytes, tables: dict[int, bytes]) -> None:
    at = 0
    while at < len(body):
        if body[at] >> 4:
            raise MediaError(f"JPEG with 16-bit quantisation tables does not go into RTP: {_BETTER}")
        tables[body[at] & 0x0F] = body[at + 1 : at + 1 + _TABLE_BYTES]
        at += 1 + _TABLE_BYTES


def _check_huffman(body: bytes) -> None:
    at = 0
    while at < len(body):
        size = 16 + sum(body[at + 1 : at + 17])
        if _HUFFMAN.get(body[at]) != body[at + 1 : at + 1 + size]:
            raise MediaError(f"JPEG with Huffman tables of its own does not go into RTP: {_BETTER}")
        at += 1 + size


def _headers(frame: bytes, scan: bytes, tables: dict[int, bytes], interval: int, end: int) -> _Headers:
    if len(frame) != 6 + 3 * 3 or frame[0] != 8 or frame[5] != 3 or len(scan) != 4 + 3 * 2 or scan[0] != 3:
        raise MediaError(f"JPEG that is not three components of 8 bits does not go into RTP: {_BETTER}")
    height, width = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
    _check_size(width, height)
    (_, luma, luma_table), (_, b, b_table), (_, r, r_table) = frame[6:9], frame[9:12], frame[12:15]
    if luma not in _TYPES or (b, r) != (_CHROMA_SAMPLING, _CHROMA_SAMPLING):
        raise MediaError(f"JPEG goes into RTP as 4:2:0 or 4:2:2 only: {_BETTER}")
    if (scan[2], scan[4], scan[6]) != (0x00, 0x11, 0x11) or b_table != r_table:
        raise MediaError(f"JPEG with tables in an order of its own does not go into RTP: {_BETTER}")
    both = tables.get(luma_table, b"") + tables.get(b_table, b"")
    if len(both) != 2 * _TABLE_BYTES or not width or not height:
        raise MediaError("a JPEG picture whose headers are damaged")
    return _Headers(_TYPES[luma], width, height, interval, both, end)
