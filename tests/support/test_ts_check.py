"""The checker finds each fault. The stream that it is tried on is written here, byte by byte."""

from collections.abc import Callable

import pytest

from tests.support.ts_check import TsCheck, _crc
from tests.support.ts_report import Report

PMT, VIDEO = 0x1000, 0x100


def packet(
    pid: int, counter: int, payload: bytes, *, start: bool = False, pcr: int | None = None, flags: int = 0
) -> bytes:
    """One TS packet; what the payload leaves is stuffing. pcr: 27 MHz."""
    field = b""
    if pcr is not None or flags or len(payload) < 184:
        clock = b"" if pcr is None else ((pcr // 300) << 15 | 0x7E00 | pcr % 300).to_bytes(6, "big")
        content = bytes((flags | (0x10 if clock else 0),)) + clock
        room = 184 - 1 - len(payload)
        field = bytes((room,)) + content.ljust(room, b"\xff")[: max(room, 0)]
    control = (0x20 if field else 0) | (0x10 if payload else 0)
    out = bytes((0x47, (0x40 if start else 0) | pid >> 8, pid & 0xFF, control | counter & 15)) + field + payload
    assert len(out) == 188
    return out


def section(table: int, content: bytes) -> bytes:
    body = bytes((table, 0xB0, len(content) + 9, 0, 1, 0xC1, 0, 0)) + content
    return (b"\0" + body + _checksum(body)).ljust(184, b"\xff")


def _checksum(body: bytes) -> bytes:
    register = _crc(body)
    return register.to_bytes(4, "big")


PAT_SECTION = section(0, b"\0\1\xf0\0")
PMT_SECTION = section(2, b"\xe1\0\xf0\0\x1b\xe1\0\xf0\0")


def stamp(prefix: int, ticks: int) -> bytes:
    return (
        prefix << 36
        | (ticks >> 30 & 7) << 33
        | (ticks >> 15 & 0x7FFF) << 17
        | (ticks & 0x7FFF) << 1
        | 0x1_0001_0001
    ).to_bytes(5, "big")


def pes(pts: int, data: bytes = b"picture", dts: int | None = None) -> bytes:
    head = b"\x80\x80\x05" + stamp(2, pts) if dts is None else b"\x80\xc0\x0a" + stamp(3, pts) + stamp(1, dts)
    return b"\0\0\1\xe0" + (len(head) + len(data)).to_bytes(2, "big") + head + data


def good(count: int = 20, step_ms: int = 40) -> list[bytes]:
    """Groups of PAT, PMT and a picture of one packet with its PCR."""
    packets = []
    for number in range(count):
        ms = number * step_ms
        packets += [
            packet(0, number, PAT_SECTION, start=True),
            packet(PMT, number, PMT_SECTION, start=True),
            packet(VIDEO, number, pes((ms + 100) * 90), start=True, pcr=ms * 27_000),
        ]
    return packets


def check(packets: list[bytes]) -> Report:
    checker = TsCheck()
    for one in packets:
        checker.feed(one)
    return checker.finish()


def test_a_good_stream_has_no_errors_and_all_its_pictures() -> None:
    report = check(good())
    assert report.errors == []
    assert [each.pts for each in report.pes[VIDEO]] == [(n * 40 + 100) * 90 for n in range(20)]
    assert {each.data for each in report.pes[VIDEO]} == {b"picture"}
    assert report.stream_types == {VIDEO: 0x1B}
    assert report.pcr_interval_max == 40 * 27_000
    assert report.dts_ahead_min == 100 * 90


def test_pieces_of_any_size() -> None:
    data = b"".join(good(5))
    checker = TsCheck()
    for at in range(0, len(data), 77):
        checker.feed(memoryview(data)[at : at + 77])
    assert checker.finish() == check(good(5))


def test_time_goes_on_across_33_bits() -> None:
    packets = []
    for number in range(10):
        base = (1 << 33) - 5 * 3600 + number * 3600
        packets += [
            packet(0, number, PAT_SECTION, start=True),
            packet(PMT, number, PMT_SECTION, start=True),
            packet(VIDEO, number, pes((base + 9000) % (1 << 33)), start=True, pcr=base % (1 << 33) * 300),
        ]
    report = check(packets)
    assert report.errors == []
    pts = [each.pts or 0 for each in report.pes[VIDEO]]
    assert [after - pts[0] for after in pts] == [n * 3600 for n in range(10)]


def changed(at: int, byte: int, value: int) -> Callable[[list[bytes]], list[bytes]]:
    def change(packets: list[bytes]) -> list[bytes]:
        damaged = bytearray(packets[at])
        damaged[byte] = value
        return [*packets[:at], bytes(damaged), *packets[at + 1 :]]

    return change


def replaced(at: int, *others: bytes) -> Callable[[list[bytes]], list[bytes]]:
    return lambda packets: [*packets[:at], *others, *packets[at + 1 :]]


def picture(number: int, content: bytes, ms: float | None = None, flags: int = 0) -> bytes:
    """The picture of group `number`, changed."""
    pcr = round((number * 40 if ms is None else ms) * 27_000)
    return packet(VIDEO, number, content, start=True, pcr=pcr, flags=flags)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (changed(5, 0, 0x46), "sync"),
        (lambda packets: [*packets, b"\x47" * 100], "sync"),
        (lambda packets: [p for p in packets if p[1:3] != b"\x40\0"], "table"),
        (lambda packets: [p for p in packets if p[1:3] != b"\x50\0"], "table"),
        (lambda packets: [p for n, p in enumerate(packets) if n % 3 == 2 or n % 9 < 3], "table"),  # 120 ms
        (changed(4, 10, 0xC3), "crc"),
        (changed(5, 3, 0x30 | 7), "continuity"),
        (lambda packets: packets[:5] + packets[6:], "continuity"),
        (lambda packets: [*packets[:6], *packets[5:6], *packets[5:]], "continuity"),  # three times
        (replaced(5, packet(VIDEO, 2, b"", pcr=40 * 27_000)), "continuity"),  # no payload, and it counts
        (lambda packets: [*packets, packet(0x333, 0, bytes(184))], "pid"),
        (lambda packets: [p for n, p in enumerate(packets) if n % 3 != 2], "pid"),
        (changed(5, 1, 0xC1), "transport"),
        (changed(5, 3, 0xF1), "transport"),
        (changed(5, 3, 0x01), "transport"),
        (changed(5, 4, 183), "transport"),
        (changed(5, 20, 0), "transport"),  # in the stuffing
        (replaced(5, picture(1, pes(140 * 90), ms=40.1)), "pcr"),
        (replaced(5, picture(1, pes(140 * 90), ms=0)), "pcr"),
        (lambda packets: [*packets[:9], *packets[18:]], "pcr"),
        (changed(5, 10, 0x00), "pcr"),  # reserved bits
        (lambda packets: good(5, step_ms=701), "pts_interval"),  # noqa: ARG005
        (replaced(5, picture(1, pes(39 * 90))), "pts"),  # after its time
        (replaced(5, picture(1, pes(100 * 90))), "pts"),  # not later than the one before
        (replaced(5, picture(1, pes(800 * 90))), "pts"),  # far ahead
        (replaced(5, picture(1, pes(140 * 90, dts=140 * 90))), "pts"),
        (replaced(5, picture(1, pes(140 * 90, dts=39 * 90))), "pts"),
        (replaced(5, picture(1, pes(140 * 90)[:-1])), "pes"),  # shorter than it says
        (replaced(5, picture(1, pes(140 * 90) + b"x")), "pes"),
        (replaced(5, picture(1, pes(140 * 90).replace(b"\0\0\1", b"\0\0\2", 1))), "pes"),
        (replaced(5, picture(1, b"\0\0\1\xe0\0\0" + pes(140 * 90)[6:])), "pes"),  # no length, and short
        (replaced(5, picture(1, b"\0\0\1\xc0" + pes(140 * 90)[4:])), "pes"),  # the stream_id of audio
        (replaced(5, picture(1, pes(140 * 90)[:9] + stamp(3, 140 * 90) + b"picture")), "pes"),
        (replaced(5, picture(1, pes(140 * 90, b""))), "pes"),
    ],
)  # fmt: skip
def test_each_fault_is_found(fault: Callable[[list[bytes]], list[bytes]], kind: str) -> None:
    report = check(fault(good()))
    assert any(error.startswith(f"{kind}: ") for error in report.errors), report.errors


def test_a_signalled_discontinuity_is_none() -> None:
    """Counters, clock and PTS may be anything after it."""
    packets = good()
    later = [picture(9, pes((100_000 + 100) * 90), ms=100_000, flags=0x80)]
    for number in range(1, 5):
        later += [
            packet(0, 19 + number, PAT_SECTION, start=True),
            packet(PMT, 19 + number, PMT_SECTION, start=True),
            picture(9 + number, pes((100_100 + number * 40) * 90), ms=100_000 + number * 40),
        ]
    report = check(packets + later)
    assert report.errors == []
    assert report.discontinuities == 1
    unsignalled = check([*packets, picture(9, pes((100_000 + 100) * 90), ms=100_000), *later[1:]])
    assert {error.split(": ")[0] for error in unsignalled.errors} >= {"continuity", "pcr", "pts_interval"}


def test_one_duplicate_is_allowed() -> None:
    packets = good()
    report = check(packets[:6] + packets[5:])
    assert [error for error in report.errors if error.startswith("continuity")] == []
    assert len(report.pes[VIDEO]) == 20
