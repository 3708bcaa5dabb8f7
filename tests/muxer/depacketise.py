"""Native RTP payloads back into samples, straight from the RFCs: it shares no code with the muxer."""

from collections.abc import Sequence

H264_TYPE, H265_TYPE = 0x1F, 0x7E


def payloads(packets: Sequence[tuple[bytes, bytes | memoryview]]) -> list[bytes]:
    """What a format gave, as it stands in the packets."""
    return [bytes(head) + bytes(piece) for head, piece in packets]


def h264(packets: Sequence[bytes]) -> list[bytes]:
    """NAL units (RFC 6184 5.6 to 5.8)."""
    units: list[bytes] = []
    open_unit: bytearray | None = None
    for packet in packets:
        kind = packet[0] & H264_TYPE
        if kind == 28:
            header, fragment = packet[1], packet[2:]
            assert fragment, "an empty fragment"
            assert not header & 0x20
            if header & 0x80:
                assert open_unit is None
                assert not header & 0x40, "a unit in one fragment"
                open_unit = bytearray((packet[0] & 0xE0 | header & 0x1F,))
            assert open_unit is not None
            assert open_unit[0] == packet[0] & 0xE0 | header & 0x1F
            open_unit += fragment
            if header & 0x40:
                units.append(bytes(open_unit))
                open_unit = None
            continue
        assert open_unit is None
        if kind == 24:
            found = _with_lengths(packet[1:])
            assert packet[0] & 0x60 == max(unit[0] & 0x60 for unit in found)
            units += found
        else:
            assert 1 <= kind <= 23
            units.append(packet)
    assert open_unit is None
    return units


def h265(packets: Sequence[bytes]) -> list[bytes]:
    """NAL units (RFC 7798 4.4)."""
    units: list[bytes] = []
    open_unit: bytearray | None = None
    for packet in packets:
        kind = packet[0] >> 1 & 0x3F
        if kind == 49:
            header, fragment = packet[2], packet[3:]
            assert fragment, "an empty fragment"
            unit_header = bytes((packet[0] & 0x81 | (header & 0x3F) << 1, packet[1]))
            if header & 0x80:
                assert open_unit is None
                assert not header & 0x40, "a unit in one fragment"
                open_unit = bytearray(unit_header)
            assert open_unit is not None
            assert bytes(open_unit[:2]) == unit_header
            open_unit += fragment
            if header & 0x40:
                units.append(bytes(open_unit))
                open_unit = None
            continue
        assert open_unit is None
        if kind == 48:
            found = _with_lengths(packet[2:])
            assert packet[1] & 7 == min(unit[1] & 7 for unit in found)
            units += found
        else:
            units.append(packet)
    assert open_unit is None
    return units


def _with_lengths(data: bytes) -> list[bytes]:
    units, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 2], "big")
        assert size
        assert at + 2 + size <= len(data)
        units.append(data[at + 2 : at + 2 + size])
        at += 2 + size
    assert len(units) > 1, "an aggregation of one"
    return units


def aac(packets: Sequence[bytes]) -> bytes:
    """One access unit (RFC 3640 3.2, mode AAC-hbr)."""
    sizes = set()
    data = b""
    for packet in packets:
        assert packet[:2] == b"\0\x10", "one AU header of 16 bits"
        assert not packet[3] & 7, "AU-Index"
        sizes.add(int.from_bytes(packet[2:4], "big") >> 3)
        data += packet[4:]
    assert sizes == {len(data)}
    return data


def jpeg(packets: Sequence[bytes]) -> tuple[dict[str, int], bytes, bytes]:
    """(type, width, height and restart interval, quantisation tables, scan) of one picture (RFC 2435 3.1)."""
    tables = scan = b""
    seen: set[tuple[int, ...]] = set()
    for packet in packets:
        assert int.from_bytes(packet[1:4], "big") == len(scan), "the fragment's offset"
        kind, quality, width, height = packet[4:8]
        at, interval = 8, 0
        if kind & 64:
            interval = int.from_bytes(packet[8:10], "big")
            assert packet[10:12] == b"\xff\xff"
            at = 12
        if not scan:
            assert quality == 255
            assert packet[at : at + 2] == b"\0\0"
            size = int.from_bytes(packet[at + 2 : at + 4], "big")
            tables = packet[at + 4 : at + 4 + size]
            at += 4 + size
        seen.add((kind, width * 8, height * 8, interval))
        scan += packet[at:]
    [(kind, width, height, interval)] = seen
    return {"type": kind, "width": width, "height": height, "interval": interval}, tables, scan
