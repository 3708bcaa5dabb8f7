"""H.264 and H.265 byte streams: which NAL units an access unit has, and what they say about it. Pure.

Annex B (ITU-T H.264 and H.265) puts a start code, 00 00 01, before each NAL unit; MP4 and Matroska put a
length instead (ISO/IEC 14496-15), which the last functions turn into start codes. Most answers come from the
units before the first slice, so that the bulk of a picture is never looked at.

`codec` is Codec.H264 or Codec.H265 everywhere. Hostile bytes give a harmless answer or MediaError.
"""

import msgspec
import numpy as np

from common.errors import MediaError
from common.sample import Codec
from common.sps import h264_picture_size, h265_picture_size

_H264, _H265 = Codec.H264, Codec.H265  # Python 3.11 is slow to look a member of an enum up, or to hash it

START_CODE = b"\0\0\1"
LONG_START_CODE = b"\0\0\0\1"  # the first unit of an access unit, and parameter sets, need the long form (B.1.2)
AUD = {
    Codec.H264: LONG_START_CODE + b"\x09\xf0",  # any slice type may follow (H.264 7.3.2.4)
    Codec.H265: LONG_START_CODE + b"\x46\x01\x50",  # likewise (H.265 7.3.2.5)
}
NAL_UNITS_MAX = 4096  # an 8K picture in one slice a row has some 500
_WORD = np.dtype("<u2")
_ZERO_BITS = np.uint16(0xFEFF)
_SMALL_BYTES = 3000  # up to here it takes longer to call numpy than to search without it
_LEAD_BYTES = 256  # what comes before the first slice is seldom longer

H264_SLICES = frozenset(range(1, 6))
H264_IDR = 5
H264_SPS, H264_PPS, H264_AUD = 7, 8, 9
H265_SLICES = frozenset(range(32))
H265_IRAP = frozenset(range(16, 24))  # BLA, IDR, CRA
H265_VPS, H265_SPS, H265_PPS, H265_AUD = 32, 33, 34, 35
# No other picture of the same temporal sub-layer refers to these; encoders have them in the highest only.
H265_DISPOSABLE = frozenset(range(0, 16, 2))

SYNC_SLICES = {Codec.H264: frozenset({H264_IDR}), Codec.H265: H265_IRAP}
PARAMETER_SETS = {Codec.H264: (H264_SPS, H264_PPS), Codec.H265: (H265_VPS, H265_SPS, H265_PPS)}
AUD_KIND = {Codec.H264: H264_AUD, Codec.H265: H265_AUD}
# How an access unit with nothing before its first slice begins: `disposable` by its first 5 bytes.
SLICE_STARTS = {
    Codec.H264: {
        LONG_START_CODE + bytes((header,)): not header & 0x60
        for header in range(256)
        if header & 0x1F in H264_SLICES
    },
    Codec.H265: {
        LONG_START_CODE + bytes((header,)): header >> 1 & 0x3F in H265_DISPOSABLE
        for header in range(256)
        if header >> 1 & 0x3F in H265_SLICES
    },
}


class Unit(msgspec.Struct, frozen=True, gc=False):
    """One NAL unit: its nal_unit_type, and where it stands, without start code: data[start:end]."""

    kind: int
    start: int
    end: int


def nal_units(au: bytes | memoryview) -> list[tuple[int, int]]:
    """Where each NAL unit stands: (start, end), without start codes and trailing zeros.

    Raises MediaError beyond NAL_UNITS_MAX.
    """
    data = bytes(au)
    spans: list[tuple[int, int]] = []
    starts = [at + len(START_CODE) for at in _start_codes(data)]
    ends = [start - len(START_CODE) for start in starts[1:]]
    for start, end in zip(starts, [*ends, len(data)], strict=False):
        if end > start and not data[end - 1]:
            end = start + len(data[start:end].rstrip(b"\0"))
        if end > start:
            if len(spans) == NAL_UNITS_MAX:
                raise MediaError(f"over {NAL_UNITS_MAX} NAL units in one access unit")
            spans.append((start, end))
    return spans


def _start_codes(data: bytes) -> list[int]:
    """Where each start code is."""
    starts: list[int] = []
    if len(data) <= _SMALL_BYTES:
        at = data.find(START_CODE)
        while at >= 0:
            starts.append(at)
            at = data.find(START_CODE, at + len(START_CODE))
        return starts
    words = np.frombuffer(data, _WORD, len(data) // 2)
    # 00 00 | 01 or 00 | 00 01: of two bytes that begin at an even place, the first is 0 and the second 0 or 1.
    for word in ((words & _ZERO_BITS) == 0).nonzero()[0].tolist():
        at = data.find(START_CODE, max(2 * word - 1, 0), 2 * word + len(START_CODE))
        if at >= 0 and (not starts or at > starts[-1]):
            starts.append(at)
    return starts


def leading_units(au: bytes | memoryview, codec: Codec) -> list[Unit]:
    """The units of an access unit up to its first slice, which is the last one and whose `end` is not sought.

    Empty where `au` does not begin with a start code. Raises MediaError beyond NAL_UNITS_MAX.
    """
    units, complete = _leading(bytes(au[:_LEAD_BYTES]), codec, len(au))
    if not complete and len(au) > _LEAD_BYTES:
        units, _ = _leading(bytes(au), codec, len(au))
    return units


def _leading(data: bytes, codec: Codec, size: int) -> tuple[list[Unit], bool]:
    """The leading units in `data`, and whether no more of it need be looked at. size: of the access unit."""
    slices, shift, mask = (H264_SLICES, 0, 0x1F) if codec is _H264 else (H265_SLICES, 1, 0x3F)
    units: list[Unit] = []
    at = data.find(START_CODE)
    if (data[:at] if at >= 0 else data).strip(b"\0"):
        return units, True  # something else comes first: no Annex B
    while at >= 0 and at + 3 < len(data):
        start = at + 3
        kind = data[start] >> shift & mask
        if kind in slices:
            units.append(Unit(kind, start, size))
            return units, True
        at = data.find(START_CODE, start)
        end = at if at >= 0 else len(data)
        if not data[end - 1]:
            end = start + len(data[start:end].rstrip(b"\0"))
        if end > start:
            if len(units) == NAL_UNITS_MAX:
                raise MediaError(f"over {NAL_UNITS_MAX} NAL units in one access unit")
            units.append(Unit(kind, start, end))
    return units, False


def has_aud(au: bytes | memoryview, codec: Codec) -> bool:
    """Whether the access unit begins with an access unit delimiter."""
    units = leading_units(au, codec)
    return bool(units) and units[0].kind == AUD_KIND[codec]


def is_sync(au: bytes | memoryview, codec: Codec) -> bool:
    """Whether a decoder can start here: an IDR picture, in H.265 any IRAP (IDR, CRA, BLA).

    A recovery point of gradual refresh is none.
    """
    units = leading_units(au, codec)
    return bool(units) and units[-1].kind in SYNC_SLICES[codec]


def disposable(au: bytes | memoryview, codec: Codec) -> bool:
    """Whether no other picture refers to this one: H.264 nal_ref_idc 0, H.265 sub-layer non-reference types.

    False where there is no slice.
    """
    units = leading_units(au, codec)
    return bool(units) and unit_disposable(au, units[-1], codec)


def unit_disposable(au: bytes | memoryview, unit: Unit, codec: Codec) -> bool:
    """`disposable`, of one unit of the access unit."""
    if codec is _H265:
        return unit.kind in H265_DISPOSABLE
    return unit.kind in H264_SLICES and not au[unit.start] & 0x60


def parameter_sets(au: bytes | memoryview, codec: Codec) -> bytes:
    """The parameter sets before the first slice, each with its start code, in their order; empty if none."""
    wanted = PARAMETER_SETS[codec]
    return b"".join(
        LONG_START_CODE + bytes(au[unit.start : unit.end])
        for unit in leading_units(au, codec)
        if unit.kind in wanted
    )


def picture_size(parameter_sets: bytes, codec: Codec) -> tuple[int, int]:
    """(width, height) in pixels as shown, after cropping, from the first SPS.

    Raises MediaError if there is none, or a malformed one.
    """
    kind, read = (H264_SPS, h264_picture_size) if codec is Codec.H264 else (H265_SPS, h265_picture_size)
    for unit in leading_units(parameter_sets, codec):
        if unit.kind == kind:
            return read(parameter_sets[unit.start : unit.end])
    raise MediaError(f"no sequence parameter set in the {codec.upper()} configuration")


def annexb_from_lengths(sample: bytes | memoryview, length_size: int) -> bytes:
    """An access unit of length-prefixed NAL units (ISO/IEC 14496-15 5.3.2) as Annex B.

    length_size: bytes of each length, 1, 2 or 4. Raises MediaError where lengths and bytes disagree.
    """
    parts: list[bytes | memoryview] = []
    view = memoryview(sample)
    at = 0
    while at < len(view):
        start = at + length_size
        end = start + int.from_bytes(view[at:start], "big")
        if end > len(view) or start > len(view):
            raise MediaError("a NAL unit is longer than its sample: the file is damaged")
        if end > start:
            if len(parts) == 2 * NAL_UNITS_MAX:
                raise MediaError(f"over {NAL_UNITS_MAX} NAL units in one access unit")
            parts += (LONG_START_CODE, view[start:end])
        at = end
    return b"".join(parts)


def config_from_avcc(avcc: bytes) -> tuple[bytes, int]:
    """(parameter sets as Annex B, length_size) of an avcC record (ISO/IEC 14496-15 5.3.3.1).

    Raises MediaError if it is malformed.
    """
    if len(avcc) < 7 or avcc[0] != 1:
        raise MediaError("no avcC configuration record of version 1")
    sets, at = _length_prefixed_sets(avcc, 6, avcc[5] & 0x1F)
    if at >= len(avcc):
        raise MediaError("the avcC configuration record is cut short")
    more, _ = _length_prefixed_sets(avcc, at + 1, avcc[at])
    return sets + more, _length_size(avcc[4])


def config_from_hvcc(hvcc: bytes) -> tuple[bytes, int]:
    """(parameter sets as Annex B, length_size) of an hvcC record (ISO/IEC 14496-15 8.3.3.1).

    Units other than parameter sets (SEI) are left out. Raises MediaError if it is malformed.
    """
    if len(hvcc) < 23 or hvcc[0] != 1:
        raise MediaError("no hvcC configuration record of version 1")
    config = b""
    at = 23
    for _ in range(hvcc[22]):
        if at + 3 > len(hvcc):
            raise MediaError("the hvcC configuration record is cut short")
        kind = hvcc[at] & 0x3F
        sets, at = _length_prefixed_sets(hvcc, at + 3, int.from_bytes(hvcc[at + 1 : at + 3], "big"))
        if kind in PARAMETER_SETS[Codec.H265]:
            config += sets
    return config, _length_size(hvcc[21])


def _length_size(flags: int) -> int:
    size = (flags & 3) + 1
    if size == 3:
        raise MediaError("NAL unit lengths of 3 bytes are not allowed")
    return size


def _length_prefixed_sets(record: bytes, at: int, count: int) -> tuple[bytes, int]:
    """`count` units with 16-bit lengths from `at` on, as Annex B, and where they end."""
    sets: list[bytes] = []
    for _ in range(count):
        start = at + 2
        at = start + int.from_bytes(record[at:start], "big")
        if start > len(record) or at > len(record):
            raise MediaError("the configuration record is cut short")
        sets.append(LONG_START_CODE + record[start:at])
    return b"".join(sets), at
