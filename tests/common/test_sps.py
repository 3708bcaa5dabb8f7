"""What a sequence parameter set says of a picture's size: of real encoders, and of what they seldom write."""

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import annexb, sps
from common.errors import MediaError
from common.sample import Codec
from tests.support import clips


@pytest.mark.parametrize(
    ("size", "pixel_format", "parameters"),
    [
        ((128, 96), "yuv420p", ""),
        ((98, 50), "yuv420p", ""),  # cropped
        ((98, 50), "yuv420p", "cqm=jvt"),  # scaling lists
        ((98, 52), "yuv420p", "interlaced=1"),  # fields: cropping in fours of lines
        ((99, 51), "yuv444p", ""),
        ((98, 51), "yuv422p", ""),
        ((97, 51), "gray", ""),
        ((98, 50), "yuv420p10le", ""),
        ((3840, 16), "yuv420p", ""),
    ],
)
def test_the_size_of_h264_pictures(size: tuple[int, int], pixel_format: str, parameters: str) -> None:
    track, _ = clips.video(Codec.H264, pictures=2, size=size, pixel_format=pixel_format, parameters=parameters)
    assert annexb.picture_size(track.config, Codec.H264) == size


@pytest.mark.parametrize(
    ("size", "pixel_format", "parameters"),
    [
        ((128, 96), "yuv420p", ""),
        ((98, 50), "yuv420p", ""),
        ((98, 50), "yuv420p", "temporal-layers=3:bframes=2"),
        ((99, 51), "yuv444p", ""),
        ((98, 51), "yuv422p", ""),
        ((98, 50), "yuv420p10le", ""),
        ((4096, 64), "yuv420p", ""),
    ],
)
def test_the_size_of_h265_pictures(size: tuple[int, int], pixel_format: str, parameters: str) -> None:
    track, _ = clips.video(Codec.H265, pictures=2, size=size, pixel_format=pixel_format, parameters=parameters)
    assert annexb.picture_size(track.config, Codec.H265) == size


class Bits:
    """Writes what an encoder seldom writes."""

    def __init__(self) -> None:
        self.text = ""

    def u(self, count: int, value: int) -> "Bits":
        self.text += f"{value:0{count}b}"
        return self

    def ue(self, *values: int) -> "Bits":
        for value in values:
            digits = f"{value + 1:b}"
            self.text += "0" * (len(digits) - 1) + digits
        return self

    def se(self, *values: int) -> "Bits":
        return self.ue(*(2 * value - 1 if value > 0 else -2 * value for value in values))

    def unit(self, header: bytes) -> bytes:
        """The unit, with stop bit and emulation prevention."""
        text = self.text + "1"
        text += "0" * (-len(text) % 8)
        payload = int(text, 2).to_bytes(len(text) // 8, "big")
        return header + re.sub(rb"\0\0(?=[\0-\3])", b"\0\0\3", payload)


def test_an_sps_of_picture_order_type_1_and_scaling_lists() -> None:
    bits = Bits().u(8, 244).u(16, 30).ue(0).ue(3).u(1, 1).ue(0, 0).u(1, 0)  # 4:4:4, separate planes
    bits.u(1, 1)  # scaling lists: twelve
    bits.u(1, 1).se(*[1] * 16)
    bits.u(1, 1).se(-8)  # next scale 0: the rest is as it is
    bits.u(4, 0)
    bits.u(1, 1).se(3, -3, *[0] * 62)
    bits.u(5, 0)
    bits.ue(4, 1).u(1, 0).se(-1, 1).ue(3).se(2, -2, 5)  # order type 1
    bits.ue(4).u(1, 0).ue(9, 7).u(1, 1).u(1, 1).u(1, 1).ue(1, 2, 3, 4).u(1, 0)
    assert sps.h264_picture_size(bits.unit(b"\x67")) == (160 - 3, 128 - 7)


def test_an_sps_of_type_2_with_emulation_prevention() -> None:
    bits = Bits().u(8, 66).u(16, 0).ue(127).ue(0, 2, 0).u(1, 0).ue(0, 0).u(1, 1).u(1, 1).u(1, 0).u(1, 0)
    unit = bits.unit(b"\x67")
    assert b"\0\0\3" in unit
    assert sps.h264_picture_size(unit) == (16, 16)


@pytest.mark.parametrize(
    "unit",
    [
        b"",
        b"\x67",
        b"\x67\x42",
        b"\x67\x42\0\x1e" + bytes(3000),  # no end to the zeros
        b"\x67\x42\0\x1e" + bytes(5000),
        Bits().u(8, 100).u(16, 0).ue(0).ue(4).unit(b"\x67"),
        Bits().u(8, 66).u(16, 0).ue(0).ue(0, 1).u(1, 0).se(0, 0).ue(256).unit(b"\x67"),
        # cropped to nothing, and beyond every level
        Bits().u(8, 66).u(16, 0).ue(0).ue(0, 2, 0).u(1, 0).ue(0, 0).u(3, 7).ue(4, 4, 0, 0).unit(b"\x67"),
        Bits().u(8, 66).u(16, 0).ue(0).ue(0, 2, 0).u(1, 0).ue(99999, 0).u(3, 6).unit(b"\x67"),
    ],
)
def test_a_damaged_h264_sps_is_refused(unit: bytes) -> None:
    with pytest.raises(MediaError):
        sps.h264_picture_size(unit)


@given(st.binary(max_size=120), st.sampled_from([sps.h264_picture_size, sps.h265_picture_size]))
def test_any_sps_gives_a_size_or_media_error(data: bytes, read: Callable[[bytes], tuple[int, int]]) -> None:
    try:
        width, height = read(data)
    except MediaError:
        return
    assert 0 < width <= sps.PICTURE_SIDE_MAX
    assert 0 < height <= sps.PICTURE_SIDE_MAX
