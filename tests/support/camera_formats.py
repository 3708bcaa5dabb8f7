"""What the emulated USB camera of the tests can send: small pictures, for an emulated processor."""

from pathlib import Path

import numpy as np

from tests.support import check_picture
from tests.support.check_picture import CheckClip
from tests.support.decoding import units
from tests.support.media_files import media_file, packets
from tests.support.usb_descriptors import Format

_X265 = "bframes=0:log-level=none:keyint=10:scenecut=0:pools=1:frame-threads=1"


def h264(clip: CheckClip) -> Format:
    """The check pictures of a clip in H.264, made by `check_clip`."""
    return Format("H264", 160, 128, clip.fps, [unit.data for unit in units(clip.path)])


def check_clip(folder: Path, fps: int = 15) -> CheckClip:
    """60 pictures, a sync point every 10."""
    return check_picture.make(folder / "camera.mp4", pictures=60, sync_every=10, width=160, height=128, fps=fps)


def hevc(fps: int = 15) -> Format:
    """Moving noise in H.265, a sync point every 10 pictures."""
    path = media_file("a.ts", "libx265", None, b_pictures=0, pictures=20, options=f"x265-params={_X265}")
    return Format("HEVC", 160, 120, fps, [packet.data for packet in packets(path)])


def mjpeg(fps: int = 15) -> Format:
    """Moving noise, each picture for itself."""
    path = media_file("a.mjpeg", "mjpeg", None)
    return Format("MJPG", 160, 120, fps, [packet.data for packet in packets(path)], (5,))


def yuyv(fps: int = 15) -> Format:
    """Three plain pictures."""
    rows = [np.tile(np.array([luma, 100, luma, 160], np.uint8), 80 * 120) for luma in (60, 90, 120)]
    return Format("YUYV", 160, 120, fps, [row.tobytes() for row in rows], (5,))
