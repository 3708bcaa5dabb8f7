"""The tables of a transport stream: PAT and PMT (ISO/IEC 13818-1 2.4.4), one TS packet each. Pure."""

from functools import cache
from typing import NamedTuple

from common.grid import PAT_PID, PMT_PID, TS_BODY_BYTES

PROGRAM = 1
TRANSPORT_STREAM_ID = 1
_PAT_TABLE, _PMT_TABLE = 0, 2
_REGISTRATION = 0x05  # registration_descriptor, 2.6.8
_EXTENSION = 0x7F  # extension_descriptor of EN 300 468


class Elementary(NamedTuple):
    """One elementary stream in the PMT."""

    stream_type: int
    pid: int
    descriptors: bytes = b""


def registration(format_identifier: bytes) -> bytes:
    """A registration_descriptor (2.6.8)."""
    return bytes((_REGISTRATION, len(format_identifier))) + format_identifier


def extension(content: bytes) -> bytes:
    """An extension_descriptor (EN 300 468 6.2.18)."""
    return bytes((_EXTENSION, len(content))) + content


def pat_packets() -> list[bytes]:
    """The packet of the PAT under each of the 16 continuity counters."""
    section = _section(_PAT_TABLE, TRANSPORT_STREAM_ID, 0, PROGRAM.to_bytes(2, "big") + _reference(PMT_PID))
    return _packets(PAT_PID, section)


def pmt_packets(streams: list[Elementary], clock_pid: int, version: int) -> list[bytes]:
    """The packet of the PMT under each of the 16 continuity counters. version: 0 to 31."""
    content = _reference(clock_pid) + b"\xf0\0"
    for stream in streams:
        content += bytes((stream.stream_type,)) + _reference(stream.pid)
        content += (0xF000 | len(stream.descriptors)).to_bytes(2, "big") + stream.descriptors
    return _packets(PMT_PID, _section(_PMT_TABLE, PROGRAM, version, content))


def crc32(data: bytes) -> int:
    """CRC-32 of MPEG (annex A): over a whole section with its CRC it is 0."""
    crc = 0xFFFFFFFF
    table = _crc_table()
    for byte in data:
        crc = crc << 8 & 0xFFFFFFFF ^ table[crc >> 24 ^ byte]
    return crc


@cache
def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        crc = byte << 24
        for _ in range(8):
            crc = crc << 1 ^ (0x04C11DB7 if crc & 0x80000000 else 0)
        table.append(crc & 0xFFFFFFFF)
    return table


def _reference(pid: int) -> bytes:
    return (0xE000 | pid).to_bytes(2, "big")


def _section(table: int, identifier: int, version: int, content: bytes) -> bytes:
    """A section of the long form (2.4.4.11), current, the only one of its table."""
    section = (
        bytes((table,))
        + (0xB000 | len(content) + 9).to_bytes(2, "big")
        + identifier.to_bytes(2, "big")
        + bytes((0xC1 | version << 1, 0, 0))
        + content
    )
    return section + crc32(section).to_bytes(4, "big")


def _packets(pid: int, section: bytes) -> list[bytes]:
    body = (b"\0" + section).ljust(TS_BODY_BYTES, b"\xff")
    return [bytes((0x47, 0x40 | pid >> 8, pid & 0xFF, 0x10 | counter)) + body for counter in range(16)]
