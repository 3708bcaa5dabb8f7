"""Which of a camera's modes is taken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.camera_modes import Mode, OfferedFormat, OfferedRange, OfferedSize, Wanted, choose, usable

YUYV = OfferedFormat(
    "YUYV",
    "YUYV 4:2:2",
    (OfferedSize(640, 480, (15.0, 30.0)), OfferedSize(1280, 720, (10.0,)), OfferedSize(1920, 1080, (5.0,))),
)
MJPG = OfferedFormat(
    "MJPG",
    "Motion-JPEG",
    (OfferedSize(640, 480, (30.0, 60.0)), OfferedSize(1280, 720, (30.0,)), OfferedSize(1920, 1080, (29.97,))),
)
H264 = OfferedFormat("H264", "H.264", (OfferedSize(1280, 720, (30.0,)), OfferedSize(1920, 1080, (30.0,))))
HEVC = OfferedFormat("HEVC", "HEVC", (OfferedSize(1280, 720, (30.0,)), OfferedSize(3840, 2160, (30.0,))))
DEPTH = OfferedFormat("Z16 ", "16-bit depth", (OfferedSize(640, 480, (30.0,)),))
WEBCAM = (YUYV, MJPG)


@pytest.mark.parametrize(
    ("formats", "wanted", "width", "height", "fps", "mode"),
    [
        (WEBCAM, "auto", 0, 0, 0, Mode("MJPG", 1280, 720, 30.0)),  # raw has only 10 fps there
        (WEBCAM, "auto", 640, 480, 0, Mode("YUYV", 640, 480, 30.0)),  # raw has enough: no JPEG in between
        (WEBCAM, "auto", 640, 480, 60, Mode("MJPG", 640, 480, 60.0)),
        (WEBCAM, "auto", 1280, 720, 10, Mode("YUYV", 1280, 720, 10.0)),
        (WEBCAM, "auto", 1920, 1080, 30, Mode("MJPG", 1920, 1080, 29.97)),
        (WEBCAM, "auto", 1900, 1000, 0, Mode("MJPG", 1920, 1080, 29.97)),
        (WEBCAM, "auto", 0, 1080, 0, Mode("MJPG", 1920, 1080, 29.97)),
        (WEBCAM, "raw", 0, 0, 0, Mode("YUYV", 640, 480, 30.0)),
        (WEBCAM, "raw", 1280, 720, 0, Mode("YUYV", 1280, 720, 10.0)),
        (WEBCAM, "mjpeg", 640, 480, 0, Mode("MJPG", 640, 480, 60.0)),
        (WEBCAM, "h264", 0, 0, 0, None),
        ((YUYV, MJPG, HEVC, H264), "auto", 0, 0, 0, Mode("H264", 1280, 720, 30.0)),
        ((YUYV, MJPG, HEVC, H264), "auto", 1920, 1080, 0, Mode("H264", 1920, 1080, 30.0)),
        ((YUYV, MJPG, HEVC, H264), "auto", 3840, 2160, 0, Mode("HEVC", 3840, 2160, 30.0)),
        ((YUYV, MJPG, HEVC, H264), "h265", 0, 0, 0, Mode("HEVC", 1280, 720, 30.0)),
        ((YUYV, H264), "auto", 640, 480, 0, Mode("YUYV", 640, 480, 30.0)),  # the size was asked for
        ((DEPTH,), "auto", 0, 0, 0, None),
        ((DEPTH, YUYV), "auto", 640, 480, 0, Mode("YUYV", 640, 480, 30.0)),
        ((), "auto", 0, 0, 0, None),
        ((OfferedFormat("NV12", "silent driver"),), "auto", 0, 0, 0, Mode("NV12", 1280, 720, 0.0)),
        ((OfferedFormat("NV12", "silent driver"),), "auto", 800, 600, 0, Mode("NV12", 800, 600, 0.0)),
    ],
)
def test_the_nearest_mode_is_taken(
    formats: tuple[OfferedFormat, ...], wanted: Wanted, width: int, height: int, fps: float, mode: Mode | None
) -> None:
    assert choose(formats, wanted, width, height, fps) == mode


@pytest.mark.parametrize(
    ("width", "height", "size"),
    [(0, 0, (1280, 720)), (100, 50, (128, 96)), (9999, 9999, (1920, 1080)), (645, 483, (640, 480))],
)
def test_of_a_range_the_nearest_size_is_taken(width: int, height: int, size: tuple[int, int]) -> None:
    offer = OfferedFormat("YUYV", "loopback", ranges=(OfferedRange(128, 1920, 16, 96, 1080, 4),))
    assert choose((offer,), "auto", width, height, 0) == Mode("YUYV", *size, 0.0)


@given(
    st.integers(0, 5000), st.integers(0, 5000),
    st.integers(1, 5000), st.integers(0, 5000), st.integers(0, 64),
)  # fmt: skip
def test_what_is_nearest_is_in_the_range(width: int, height: int, low: int, span: int, step: int) -> None:
    nearest = OfferedRange(low, low + span, step, 1, 1, 0).nearest(width, height)
    assert low <= nearest[0] <= low + span
    assert (nearest[0] - low) % max(step, 1) == 0
    assert nearest[1] == 1


def test_what_is_usable() -> None:
    assert all(usable(fourcc, "auto") for fourcc in ("H264", "HEVC", "MJPG", "JPEG", "YUYV"))
    assert not any(usable(fourcc, "auto") for fourcc in ("Z16 ", "VP80", ""))
    assert usable("JPEG", "mjpeg")
    assert not usable("YUYV", "mjpeg")
    assert not usable("MJPG", "raw")
    assert not usable("HEVC", "h264")
