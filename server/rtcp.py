"""RTCP: our reports and goodbyes, and what the viewers report (RFC 3550 section 6). Pure.

Every packet we make is a compound: a sender report and our canonical name first, as 6.1 wants it.
"""

import struct

import msgspec

NTP_UNIX_OFFSET_S = 2_208_988_800  # from 1900 to 1970
REPORT_BLOCKS_MAX = 31  # five bits
PACKETS_MAX = 32  # in one compound

_SR, _RR, _SDES, _BYE = 200, 201, 202, 203
_CNAME = 1
_HEADER = struct.Struct(">BBH")
_SENDER = struct.Struct(">IQIII")
_BLOCK = struct.Struct(">IIIIII")


class ReportBlock(msgspec.Struct, frozen=True):
    """What one receiver says of one source (6.4.1).

    fraction_lost: 0 to 1, since the report before. packets_lost: in all; less than 0 where more came twice.
    sequence: the highest that came, and its wraps above 16 bits. jitter: in units of the RTP clock. last_report:
    the middle 32 bits of the NTP time in the newest sender report that it has, 0 for none; delay: since that, in
    1/65536 s.
    """

    ssrc: int
    fraction_lost: float
    packets_lost: int
    sequence: int
    jitter: int
    last_report: int
    delay: int


def ntp_time(wall_us: int) -> int:
    """A wall clock time, µs since 1970, as a 64-bit NTP timestamp."""
    seconds, micros = divmod(wall_us, 1_000_000)
    return ((seconds + NTP_UNIX_OFFSET_S) % (1 << 32)) << 32 | (micros << 32) // 1_000_000


def sender_report(ssrc: int, ntp: int, clock: int, packets: int, octets: int, cname: str) -> bytes:
    """A sender report with our canonical name.

    ntp and clock: the same instant on both clocks. packets, octets: RTP packets sent and the bytes of their
    payload; both wrap at 2^32.
    """
    sender = _SENDER.pack(ssrc, ntp, clock, packets & 0xFFFFFFFF, octets & 0xFFFFFFFF)
    return _packet(_SR, 0, sender) + _canonical_name(ssrc, cname)


def goodbye(ssrc: int, ntp: int, clock: int, packets: int, octets: int, cname: str) -> bytes:
    """The last sender report, and BYE."""
    report = sender_report(ssrc, ntp, clock, packets, octets, cname)
    return report + _packet(_BYE, 1, ssrc.to_bytes(4, "big"))


def parse_reports(data: bytes) -> list[ReportBlock] | None:
    """The report blocks in a compound packet; None for what is no RTCP (clients send such things)."""
    blocks: list[ReportBlock] = []
    at = 0
    for _ in range(PACKETS_MAX):
        if at == len(data):
            return blocks if at else None
        if len(data) - at < _HEADER.size:
            return None
        first, kind, words = _HEADER.unpack_from(data, at)
        end = at + 4 + 4 * words
        if first >> 6 != 2 or not 192 <= kind <= 223 or end > len(data):
            return None
        if kind in (_SR, _RR):
            start = at + (8 if kind == _RR else 28)
            count = first & 0x1F
            if start + count * _BLOCK.size > end:
                return None
            for n in range(count):
                ssrc, lost, *others = _BLOCK.unpack_from(data, start + n * _BLOCK.size)
                in_all = (lost & 0xFFFFFF) - (lost << 1 & 0x1000000)  # 24 bits with a sign
                blocks.append(ReportBlock(ssrc, (lost >> 24) / 256, in_all, *others))
        at = end
    return None


def _packet(kind: int, count: int, body: bytes) -> bytes:
    return _HEADER.pack(0x80 | count, kind, len(body) // 4) + body


def _canonical_name(ssrc: int, cname: str) -> bytes:
    text = cname.encode()[:255]
    item = bytes((_CNAME, len(text))) + text
    chunk = ssrc.to_bytes(4, "big") + item + bytes(4 - len(item) % 4)  # ends with one to four zeros
    return _packet(_SDES, 1, chunk)
