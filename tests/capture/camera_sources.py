"""A camera source over a `fake_camera`, its clock, and pictures for the camera to give."""

from capture.camera import CameraSource
from common import config
from common.sample import Sample
from common.source_spec import CameraSpec
from tests.capture.fake_camera import PATH
from tests.support.media_files import media_file, packets

NOW_US = 50_000_000
STEP_US = 33_333
SIZES = [(160, 120, [30.0])]


class Clock:
    def __init__(self) -> None:
        self.us = NOW_US

    def now_us(self) -> int:
        return self.us


def source_of(clock: Clock, path: str = PATH, **settings: object) -> CameraSource:
    stream = config.from_document({"streams": {"a": {"source": "camera:0", **settings}}}).streams["a"]
    return CameraSource(CameraSpec(path), stream, clock.now_us)


def read_all(source: CameraSource) -> list[Sample]:
    """All that can be read now. A picture that is left out gives a None of its own."""
    samples = []
    nothing = 0
    while nothing < 25:
        sample = source.read(0)
        if sample is None:
            nothing += 1
        else:
            samples.append(sample)
    return samples


def h264_pictures() -> list[bytes]:
    """Annex B, a sync point every 30, parameter sets in each."""
    return [packet.data for packet in packets(media_file("cam.ts", audio=None, b_pictures=0))]


def jpegs() -> list[bytes]:
    return [packet.data for packet in packets(media_file("a.mjpeg", "mjpeg", None))]
