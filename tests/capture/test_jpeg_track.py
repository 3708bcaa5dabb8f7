"""Motion JPEG on its way to H.264: what is late or damaged is left out, and counted."""

import io

import av
import numpy as np
import pytest

from capture.file_times import Stamp
from capture.file_tracks import FileSample
from capture.jpeg_track import LATE_US_MAX, JpegTrack
from common import config
from common.sample import Codec, Track

TRACK = Track(Codec.MJPEG, 64, 48, 25.0)


@pytest.fixture(scope="module")
def picture() -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format="mjpeg") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 90, np.uint8), "rgb24")
        container.mux(stream.encode(frame.reformat(format="yuvj420p")))
        container.mux(stream.encode(None))
    return out.getvalue()


def sample(data: bytes) -> FileSample:
    return FileSample(TRACK, data, True, Stamp(0, 0, 40_000))


def jpeg_track(mjpeg: str = "encode") -> JpegTrack:
    document = {"streams": {"a": {"source": "test:", "mjpeg": mjpeg}}}
    return JpegTrack(config.from_document(document).streams["a"])


def test_a_picture_is_encoded_at_its_time(picture: bytes) -> None:
    track = jpeg_track()
    assert track.takes(TRACK)
    assert track.track is None
    (encoded,) = track.encode(sample(picture), 7_000_000, 0)
    assert (encoded.codec, encoded.sync, encoded.time_us) == (Codec.H264, True, 7_000_000)
    assert track.track is not None
    assert (track.track.codec, track.track.width, track.track.height) == (Codec.H264, 64, 48)


def test_a_late_picture_is_left_out(picture: bytes) -> None:
    track = jpeg_track()
    assert track.encode(sample(picture), 0, LATE_US_MAX + 1) == []
    assert (track.dropped, track.damaged) == (1, 0)
    assert track.encode(sample(picture), 0, LATE_US_MAX) != []


@pytest.mark.parametrize("data", [b"", b"no picture"])
def test_a_damaged_picture_is_left_out(data: bytes) -> None:
    track = jpeg_track()
    assert track.encode(sample(data), 0, 0) == []
    assert (track.dropped, track.damaged) == (0, 1)


def test_a_key_frame_comes_when_asked_for_and_after_a_close(picture: bytes) -> None:
    track = jpeg_track()
    track.request_key_frame()  # of what has not begun: nothing to do
    track.encode(sample(picture), 0, 0)
    assert not track.encode(sample(picture), 40_000, 0)[0].sync
    track.request_key_frame()
    assert track.encode(sample(picture), 80_000, 0)[0].sync
    track.close()
    assert track.encode(sample(picture), 120_000, 0)[0].sync


def test_what_is_to_be_passed_on_is_not_taken() -> None:
    assert not jpeg_track("pass").takes(TRACK)
    assert not jpeg_track().takes(Track(Codec.H264))
