"""The list of cameras as a person reads it."""

from capture.camera_controls import OfferedControl
from capture.camera_modes import Camera, OfferedFormat, OfferedRange, OfferedSize
from capture.devices import NONE_FOUND, as_text

WEBCAM = Camera(
    "/dev/video0", "HD Webcam", "uvcvideo", "usb-0000:00:14.0-1", ("/dev/v4l/by-id/usb-HD_Webcam-video-index0",),
    (
        OfferedFormat("YUYV", "YUYV 4:2:2", (OfferedSize(640, 480, (15.0, 29.97)), OfferedSize(320, 240))),
        OfferedFormat("NV12", "Y/UV 4:2:0", ranges=(OfferedRange(48, 1920, 16, 32, 1080, 2),)),
        OfferedFormat("UYVY", "UYVY 4:2:2", (OfferedSize(640, 480, (15.0, 29.97)), OfferedSize(320, 240))),
        OfferedFormat("Z16 ", "16-bit Depth", (OfferedSize(640, 480),)),
    ),
    (OfferedControl("brightness", 1, "number", -64, 64),),
)  # fmt: skip
FORBIDDEN = Camera("/dev/video2", problem="this user may not open it: add the user to the group video")

TEXT = """\
camera:0  HD Webcam  (usb-0000:00:14.0-1)
    also camera:/dev/v4l/by-id/usb-HD_Webcam-video-index0
    YUYV  YUYV 4:2:2
    UYVY  UYVY 4:2:2
        640x480 at 15, 29.97 fps
        320x240
    NV12  Y/UV 4:2:0
        48x32 to 1920x1080 in steps of 16x2
    formats that cannot be used: Z16
    controls
        brightness -64 to 64; default 0

camera:2  /dev/video2
    this user may not open it: add the user to the group video
"""


def test_the_list_is_what_a_person_types() -> None:
    assert as_text([WEBCAM, FORBIDDEN]) == TEXT


def test_no_camera_is_said() -> None:
    assert as_text([]) == NONE_FOUND
