"""Raw pictures as V4L2 lays them out in one buffer, and as libav takes them. Pure."""

from typing import NamedTuple

import av
import numpy as np


class Plane(NamedTuple):
    """Rows of width · bytes_up // bytes_down bytes, height // rows_down of them."""

    bytes_up: int = 1
    bytes_down: int = 1
    rows_down: int = 1


class RawFormat(NamedTuple):
    """One pixel format: libav's name of it, and its planes, one after the other."""

    av_name: str
    planes: tuple[Plane, ...]


# By the four characters of V4L2; what is cheap to encode comes first.
FORMATS = {
    "NV12": RawFormat("nv12", (Plane(), Plane(rows_down=2))),
    "YU12": RawFormat("yuv420p", (Plane(), Plane(1, 2, 2), Plane(1, 2, 2))),
    "YUYV": RawFormat("yuyv422", (Plane(2),)),
    "UYVY": RawFormat("uyvy422", (Plane(2),)),
    "YVYU": RawFormat("yvyu422", (Plane(2),)),
    "NV21": RawFormat("nv21", (Plane(), Plane(rows_down=2))),
    "GREY": RawFormat("gray", (Plane(),)),
    "RGB3": RawFormat("rgb24", (Plane(3),)),
    "BGR3": RawFormat("bgr24", (Plane(3),)),
}


class RawLayout:
    """Pictures of one format and size. size_bytes: of a whole one."""

    def __init__(self, fourcc: str, width: int, height: int, stride: int = 0) -> None:
        """stride: bytes from row to row of the first plane; 0 where rows have no padding."""
        raw = FORMATS[fourcc]
        self._av_name, self._width, self._height = raw.av_name, width, height
        self._planes: list[tuple[int, int, int, int]] = []  # offset, rows, stride, bytes of a row without padding
        first = raw.planes[0]
        stride = stride or width * first.bytes_up
        self.size_bytes = 0
        for plane in raw.planes:
            plane_stride = stride * plane.bytes_up // (plane.bytes_down * first.bytes_up)
            rows, row = height // plane.rows_down, width * plane.bytes_up // plane.bytes_down
            self._planes.append((self.size_bytes, rows, plane_stride, row))
            self.size_bytes += rows * plane_stride

    def picture(self, data: memoryview | bytes) -> av.VideoFrame | None:
        """A copy of the picture in `data`; None if it is cut short."""
        if len(data) < self.size_bytes:
            return None
        source = np.frombuffer(data, np.uint8)
        picture = av.VideoFrame(self._width, self._height, self._av_name)
        for (offset, rows, stride, row), plane in zip(self._planes, picture.planes, strict=True):
            target = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)  # type: ignore[call-overload]
            target[:rows, :row] = source[offset : offset + rows * stride].reshape(rows, stride)[:, :row]
        return picture
