"""What a sequence parameter set says of size and picture order (ITU-T H.264 7.3.2.1.1, H.265 7.3.2.2). Pure.

All functions take one NAL unit with its header, without start code; MediaError says that it is malformed.
"""

from typing import NamedTuple

from common.errors import MediaError

SPS_BYTES_MAX = 4096
PICTURE_SIDE_MAX = 16888  # H.265 level 6.2; H.264's highest allows 16,888 too
_EXP_GOLOMB_ZEROS_MAX = 32
_FIELD_BITS_MAX = 16  # H.264 7.4.2.1.1, H.265 7.4.3.2.1
_PICTURE_ORDER_CYCLE_MAX = 255  # H.264 7.4.2.1.1
_SUB_WIDTH = (1, 2, 2, 1)  # by chroma_format_idc: monochrome, 4:2:0, 4:2:2, 4:4:4
_SUB_HEIGHT = (1, 2, 1, 1)
# profile_idc of H.264 that say chroma format, bit depth and scaling lists
_HIGH_PROFILES = frozenset({44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244})


class H264Sps(NamedTuple):
    """width, height: in pixels as shown, after cropping. order_type: pic_order_cnt_type. *_bits: of the field
    of that name in a slice header; order_lsb_bits is 0 unless order_type is 0."""

    width: int
    height: int
    separate_planes: bool
    frame_num_bits: int
    order_type: int
    order_lsb_bits: int
    frames_only: bool


class H265Sps(NamedTuple):
    """As H264Sps."""

    width: int
    height: int
    separate_planes: bool
    order_lsb_bits: int


class Bits:
    """The bits of a raw byte sequence payload, read in order."""

    def __init__(self, nal: bytes | memoryview, header_bytes: int) -> None:
        if len(nal) > SPS_BYTES_MAX:
            raise MediaError(f"a sequence parameter set of {len(nal)} bytes, at most {SPS_BYTES_MAX}")
        payload = bytes(nal[header_bytes:]).replace(b"\0\0\3", b"\0\0")
        self._bits = f"{int.from_bytes(payload, 'big'):0{8 * len(payload)}b}" if payload else ""
        self._at = 0

    def skip(self, count: int) -> None:
        self._at += count

    def u(self, count: int) -> int:
        """An unsigned number of `count` bits."""
        end = self._at + count
        if end > len(self._bits):
            raise MediaError("the sequence parameter set is cut short")
        value = int(self._bits[self._at : end], 2)
        self._at = end
        return value

    def ue(self) -> int:
        """An unsigned Exp-Golomb number (H.264 9.1)."""
        one = self._bits.find("1", self._at)
        zeros = one - self._at
        if one < 0 or zeros > _EXP_GOLOMB_ZEROS_MAX:
            raise MediaError("the sequence parameter set is damaged")
        self._at = one
        return self.u(zeros + 1) - 1

    def se(self) -> int:
        """A signed Exp-Golomb number (H.264 9.1.1)."""
        value = self.ue()
        return (value + 1) // 2 if value & 1 else -(value // 2)


def h264_picture_size(sps: bytes | memoryview) -> tuple[int, int]:
    """(width, height) in pixels as shown, after cropping."""
    return h264_sps(sps)[:2]


def h264_sps(sps: bytes | memoryview) -> H264Sps:
    """All of it that is of use here."""
    bits = Bits(sps, header_bytes=1)
    profile = bits.u(8)
    bits.skip(16)  # constraint flags, level
    bits.ue()  # seq_parameter_set_id
    chroma = 1
    separate_planes = 0
    if profile in _HIGH_PROFILES:
        chroma = bits.ue()
        if chroma > 3:
            raise MediaError("the sequence parameter set is damaged")
        if chroma == 3:
            separate_planes = bits.u(1)
        bits.ue()  # bit_depth_luma_minus8
        bits.ue()  # bit_depth_chroma_minus8
        bits.skip(1)  # qpprime_y_zero_transform_bypass_flag
        if bits.u(1):
            for index in range(12 if chroma == 3 else 8):
                if bits.u(1):
                    _skip_scaling_list(bits, 16 if index < 6 else 64)
    frame_num_bits = _field_bits(bits)  # log2_max_frame_num_minus4
    order_type = bits.ue()
    order_lsb_bits = 0
    if order_type == 0:
        order_lsb_bits = _field_bits(bits)  # log2_max_pic_order_cnt_lsb_minus4
    elif order_type == 1:
        bits.skip(1)  # delta_pic_order_always_zero_flag
        bits.se()  # offset_for_non_ref_pic
        bits.se()  # offset_for_top_to_bottom_field
        cycle = bits.ue()
        if cycle > _PICTURE_ORDER_CYCLE_MAX:
            raise MediaError("the sequence parameter set is damaged")
        for _ in range(cycle):
            bits.se()  # offset_for_ref_frame
    bits.ue()  # max_num_ref_frames
    bits.skip(1)  # gaps_in_frame_num_value_allowed_flag
    width = 16 * (bits.ue() + 1)
    map_units = bits.ue() + 1
    frames_only = bits.u(1)
    field_factor = 2 - frames_only
    height = 16 * map_units * field_factor
    if not frames_only:
        bits.skip(1)  # mb_adaptive_frame_field_flag
    bits.skip(1)  # direct_8x8_inference_flag
    if bits.u(1):
        unit = 0 if separate_planes else chroma
        left, right, top, bottom = (bits.ue() for _ in range(4))
        width -= (left + right) * _SUB_WIDTH[unit]
        height -= (top + bottom) * _SUB_HEIGHT[unit] * field_factor
    width, height = _sane(width, height)
    return H264Sps(
        width, height, bool(separate_planes), frame_num_bits, order_type, order_lsb_bits, bool(frames_only)
    )


def _skip_scaling_list(bits: Bits, size: int) -> None:
    """H.264 7.3.2.1.1.1."""
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.se()) & 0xFF
        last = following or last


def h265_picture_size(sps: bytes | memoryview) -> tuple[int, int]:
    """(width, height) in pixels as shown, after the conformance window."""
    return h265_sps(sps)[:2]


def h265_sps(sps: bytes | memoryview) -> H265Sps:
    """All of it that is of use here."""
    bits = Bits(sps, header_bytes=2)
    bits.skip(4)  # sps_video_parameter_set_id
    sub_layers = bits.u(3)  # less one
    bits.skip(1)  # sps_temporal_id_nesting_flag
    _skip_profile_tier_level(bits, sub_layers)
    bits.ue()  # sps_seq_parameter_set_id
    chroma = bits.ue()
    if chroma > 3:
        raise MediaError("the sequence parameter set is damaged")
    separate_planes = bits.u(1) if chroma == 3 else 0
    width, height = bits.ue(), bits.ue()
    if bits.u(1):
        unit = 0 if separate_planes else chroma
        left, right, top, bottom = (bits.ue() for _ in range(4))
        width -= (left + right) * _SUB_WIDTH[unit]
        height -= (top + bottom) * _SUB_HEIGHT[unit]
    bits.ue()  # bit_depth_luma_minus8
    bits.ue()  # bit_depth_chroma_minus8
    order_lsb_bits = _field_bits(bits)  # log2_max_pic_order_cnt_lsb_minus4
    return H265Sps(*_sane(width, height), bool(separate_planes), order_lsb_bits)


def _skip_profile_tier_level(bits: Bits, sub_layers: int) -> None:
    """H.265 7.3.3, with profilePresentFlag 1."""
    bits.skip(88 + 8)
    present = [(bits.u(1), bits.u(1)) for _ in range(sub_layers)]
    if sub_layers:
        bits.skip(2 * (8 - sub_layers))
    for profile, level in present:
        bits.skip(88 * profile + 8 * level)


def _field_bits(bits: Bits) -> int:
    """The length of a field that is given as log2 of its range, less 4: from 4 to 16 bits."""
    size = bits.ue() + 4
    if size > _FIELD_BITS_MAX:
        raise MediaError("the sequence parameter set is damaged")
    return size


def _sane(width: int, height: int) -> tuple[int, int]:
    if not (0 < width <= PICTURE_SIDE_MAX and 0 < height <= PICTURE_SIDE_MAX):
        raise MediaError(f"a picture of {width}x{height}: the sequence parameter set is damaged")
    return width, height
