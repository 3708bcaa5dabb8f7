"""Raw pictures from a camera's buffer, against what libav makes of the same picture."""

import av
import numpy as np
import pytest

from capture.raw_pictures import FORMATS, RawLayout

WIDTH, HEIGHT = 64, 48


def rows_of(plane: av.video.plane.VideoPlane, rows: int, row: int) -> bytes:
    lines = np.frombuffer(bytes(plane), np.uint8).reshape(-1, plane.line_size)
    return lines[:rows, :row].tobytes()


def reference(av_name: str) -> av.VideoFrame:
    """A picture of noise in that format."""
    noise = np.random.default_rng(5).integers(16, 235, (HEIGHT * 3 // 2, WIDTH), dtype=np.uint8)
    return av.VideoFrame.from_ndarray(noise, format="yuv420p").reformat(format=av_name)


def packed(fourcc: str, padding: int) -> bytes:
    """The buffer that a driver would fill, each row of the first plane `padding` bytes longer than it must be."""
    picture = reference(FORMATS[fourcc].av_name)
    first = FORMATS[fourcc].planes[0]
    out = b""
    for plane, layout in zip(picture.planes, FORMATS[fourcc].planes, strict=True):
        row = WIDTH * layout.bytes_up // layout.bytes_down
        gap = padding * layout.bytes_up // (layout.bytes_down * first.bytes_up)
        rows = HEIGHT // layout.rows_down
        lines = np.frombuffer(rows_of(plane, rows, row), np.uint8).reshape(rows, row)
        out += np.pad(lines, ((0, 0), (0, gap)), constant_values=0xEE).tobytes()
    return out


@pytest.mark.parametrize("fourcc", FORMATS)
@pytest.mark.parametrize("padded", [False, True])
def test_a_picture_comes_out_as_it_was(fourcc: str, padded: bool) -> None:
    raw = FORMATS[fourcc]
    padding = 16 * raw.planes[0].bytes_up if padded else 0
    layout = RawLayout(fourcc, WIDTH, HEIGHT, (WIDTH * raw.planes[0].bytes_up + padding) if padded else 0)
    data = packed(fourcc, padding)
    assert layout.size_bytes == len(data)
    picture = layout.picture(data)
    assert picture is not None
    assert (picture.width, picture.height, picture.format.name) == (WIDTH, HEIGHT, raw.av_name)
    original = reference(raw.av_name)
    for mine, theirs, plane in zip(picture.planes, original.planes, raw.planes, strict=True):
        rows, row = HEIGHT // plane.rows_down, WIDTH * plane.bytes_up // plane.bytes_down
        assert rows_of(mine, rows, row) == rows_of(theirs, rows, row)


def test_a_picture_is_a_copy() -> None:
    layout = RawLayout("GREY", WIDTH, HEIGHT)
    buffer = bytearray(b"\x40" * layout.size_bytes)
    picture = layout.picture(memoryview(buffer))
    assert picture is not None
    buffer[:] = b"\x80" * len(buffer)  # the driver fills it again
    assert rows_of(picture.planes[0], HEIGHT, WIDTH) == b"\x40" * WIDTH * HEIGHT


def test_a_picture_that_is_cut_short_is_none() -> None:
    layout = RawLayout("NV12", WIDTH, HEIGHT)
    assert layout.picture(b"\0" * (layout.size_bytes - 1)) is None
    assert layout.picture(b"\0" * (layout.size_bytes + 100)) is not None
