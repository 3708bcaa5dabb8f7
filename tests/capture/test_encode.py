"""Encoders and decoders of libavcodec, by what a decoder makes of their output."""

from fractions import Fraction
from itertools import pairwise
from typing import Literal

import av
import numpy as np
import pytest

from capture import encode
from capture.encode import JpegDecoder, PictureEncoder, SoundEncoder, new_context
from common import annexb, config
from common.errors import SourceError
from common.sample import Codec, Sample
from tests.support.media_files import media_file, packets

STEP_US = 40_000


def picture(number: int, width: int = 160, height: int = 120, pixels: str = "yuv420p") -> av.VideoFrame:
    luma = np.full((height, width), 40 + number * 10 % 160, np.uint8)
    data = np.vstack([luma, np.full((height // 2, width), 128, np.uint8)])
    frame = av.VideoFrame.from_ndarray(data, format="yuv420p")
    return frame if pixels == "yuv420p" else frame.reformat(format=pixels)


def encoded(encoder: PictureEncoder, count: int, *, step_us: int = STEP_US, start: int = 0) -> list[Sample]:
    samples: list[Sample] = []
    for number in range(start, start + count):
        samples += encoder.encode(picture(number), 1_000_000 + number * step_us)
    return samples


def decoded(samples: list[Sample]) -> list[av.VideoFrame]:
    context = av.CodecContext.create("h264", "r")
    context.thread_count = 1
    frames: list[av.VideoFrame] = []
    for data in [bytes(sample.data) for sample in samples] + [None]:
        frames += context.decode(None if data is None else av.Packet(data))
    return frames


def test_each_picture_comes_out_at_once_with_its_own_time() -> None:
    encoder = PictureEncoder(config.Encode(sync_interval_ms=400), 25)
    for number in range(30):
        samples = encoder.encode(picture(number), 5_000 + number * STEP_US)
        assert [sample.time_us for sample in samples] == [5_000 + number * STEP_US]
        assert samples[0].codec is Codec.H264
        assert samples[0].decode_time_us is None
        assert samples[0].sync is annexb.is_sync(samples[0].data, Codec.H264) is (number % 10 == 0)
        if samples[0].sync:
            assert encoder.track is not None
            assert annexb.parameter_sets(samples[0].data, Codec.H264) == encoder.track.config


def test_what_comes_out_is_the_picture() -> None:
    samples = encoded(PictureEncoder(config.Encode(), 25), 12)
    frames = decoded(samples)
    assert len(frames) == 12
    for number, frame in enumerate(frames):
        assert abs(float(frame.to_ndarray()[:120].mean()) - (40 + number * 10 % 160)) < 4


@pytest.mark.parametrize(("profile", "profile_idc"), [("baseline", 66), ("main", 77), ("high", 100)])
def test_the_profile_is_what_was_set(profile: str, profile_idc: int) -> None:
    settings = config.from_document({"streams": {"a": {"source": "test:", "encode": {"profile": profile}}}})
    encoder = PictureEncoder(settings.streams["a"].encode, 25)
    samples = encoded(encoder, 5)
    sets = annexb.parameter_sets(samples[0].data, Codec.H264)
    first_start, _ = annexb.nal_units(sets)[0]
    assert sets[first_start + 1] == profile_idc  # the SPS, 7.3.2.1.1
    assert len(decoded(samples)) == 5


def test_sync_points_keep_their_distance_when_the_camera_slows_down() -> None:
    encoder = PictureEncoder(config.Encode(sync_interval_ms=1000), 25)
    samples = encoded(encoder, 100, step_us=125_000)
    times = [sample.time_us for sample in samples if sample.sync]
    assert {after - before for before, after in pairwise(times)} == {1_000_000}


def test_a_key_frame_on_request_is_the_next_picture() -> None:
    encoder = PictureEncoder(config.Encode(sync_interval_ms=3_600_000), 25)
    encoded(encoder, 5)
    encoder.request_key_frame()
    assert [sample.sync for sample in encoded(encoder, 3, start=5)] == [True, False, False]


def test_another_size_is_a_new_track() -> None:
    encoder = PictureEncoder(config.Encode(), 25)
    encoder.encode(picture(0), 0)
    assert encoder.track is not None
    assert (encoder.track.width, encoder.track.height) == (160, 120)
    before = encoder.track
    sample = encoder.encode(picture(1, 320, 240), 40_000)[0]
    assert sample.sync
    assert encoder.track is not before
    assert (encoder.track.width, encoder.track.height, encoder.track.fps) == (320, 240, 25)


@pytest.mark.parametrize("pixels", ["nv12", "yuyv422", "rgb24", "yuvj422p", "gray"])
def test_pictures_of_any_format(pixels: str) -> None:
    encoder = PictureEncoder(config.Encode(), 25)
    sample = encoder.encode(picture(6, pixels=pixels), 0)[0]
    frame = decoded([sample])[0]
    assert abs(float(frame.to_ndarray()[:120].mean()) - 100) < 6


def test_odd_sizes_lose_a_row() -> None:
    odd = av.VideoFrame.from_ndarray(np.full((121, 161, 3), 90, np.uint8), format="rgb24")
    encoder = PictureEncoder(config.Encode(), 25)
    encoder.encode(odd, 0)
    assert encoder.track is not None
    assert (encoder.track.width, encoder.track.height) == (160, 120)


@pytest.mark.parametrize(("bitrate_bps", "most"), [(200_000, 320_000), (1_000_000, 1_300_000)])
def test_the_rate_is_bounded(bitrate_bps: int, most: int) -> None:
    encoder = PictureEncoder(config.Encode(bitrate_bps=bitrate_bps), 25)
    rng = np.random.default_rng(3)
    size = 0
    for number in range(100):
        noise = rng.integers(16, 235, (180, 160), dtype=np.uint8)
        frame = av.VideoFrame.from_ndarray(noise, format="yuv420p")
        size += sum(len(sample.data) for sample in encoder.encode(frame, number * STEP_US))
    assert size * 8 / 4 < most


class Board:
    """A machine whose own encoder is, or fails, as a test wants. tried: the encoders, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, own: str) -> None:
        self.tried: list[str] = []

        def made(name: str, mode: Literal["w"]) -> object:
            self.tried.append(name)
            context = new_context("libx264", mode)
            context.options = {"tune": "zerolatency", "forced-idr": "1"}
            return context if name == "libx264" or own == "works" else Failing(context, own)

        monkeypatch.setattr(encode, "new_context", made)


class Failing:
    """An encoder that cannot be opened, or not be used."""

    def __init__(self, context: object, where: str) -> None:
        self.__dict__.update(_context=context, where=where)

    def __getattr__(self, name: str) -> object:
        if name == self.__dict__["where"]:
            raise av.error.InvalidDataError(22, "no such thing", name)
        return getattr(self.__dict__["_context"], name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self.__dict__["_context"], name, value)


@pytest.mark.parametrize("codec", ["auto", "h264_v4l2m2m"])
@pytest.mark.parametrize("fault", ["open", "encode"])
def test_an_encoder_that_cannot_be_used_is_tried_once_and_the_next_one_encodes(
    monkeypatch: pytest.MonkeyPatch, codec: Literal["auto", "h264_v4l2m2m"], fault: str
) -> None:
    board = Board(monkeypatch, fault)
    encoder = PictureEncoder(config.Encode(codec=codec), 25)
    samples = encoded(encoder, 5)
    assert len(decoded(samples)) == 5
    encoder.close()
    assert encoded(encoder, 1, start=5)[0].sync
    assert board.tried == ["h264_v4l2m2m", "libx264", "libx264"]
    if codec == "auto":
        assert encoder.notes == ()
    else:
        assert len(encoder.notes) == 1
        assert encoder.notes[0].startswith("the encoder h264_v4l2m2m cannot be used here (")
        assert encoder.notes[0].endswith("): libx264 encodes")


def test_the_boards_own_encoder_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board(monkeypatch, "works")
    assert len(decoded(encoded(PictureEncoder(config.Encode(), 25), 5))) == 5
    assert board.tried == ["h264_v4l2m2m"]


def test_it_is_left_alone_where_the_settings_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board(monkeypatch, "works")
    encoded(PictureEncoder(config.Encode(codec="libx264"), 25), 5)
    assert board.tried == ["libx264"]


def test_an_encoder_that_fails_later_ends_this_life_of_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Failing] = []

    def create(name: str, mode: Literal["w"]) -> Failing:
        made.append(Failing(new_context(name, mode), "nowhere"))
        return made[-1]

    monkeypatch.setattr(encode, "new_context", create)
    encoder = PictureEncoder(config.Encode(codec="libx264"), 25)
    encoded(encoder, 2)
    made[0].__dict__["where"] = "encode"
    with pytest.raises(SourceError, match="the encoder libx264 failed"):
        encoded(encoder, 1, start=2)


def test_jpeg_pictures_are_decoded_whole_or_not_at_all() -> None:
    decoder = JpegDecoder()
    pictures = [packet.data for packet in packets(media_file("a.mjpeg", "mjpeg", None))]
    frame = decoder.decode(pictures[0])
    assert frame is not None
    assert (frame.width, frame.height) == (160, 120)
    assert decoder.decode(pictures[0][: len(pictures[0]) // 2]) is None
    assert decoder.decode(b"") is None
    assert decoder.decode(b"no jpeg at all") is None
    assert decoder.decode(pictures[1] + b"\0" * 500) is not None  # a buffer that was not quite full
    assert decoder.decode(memoryview(pictures[2])) is not None


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("codec", "lead", "later"), [(Codec.AAC, 1024, 1024), (Codec.OPUS, 312, 960)])
def test_sound_comes_back_as_it_was(codec: Codec, lead: int, later: int, channels: int) -> None:
    encoder = SoundEncoder(codec, 48_000, channels, 96_000)
    assert (encoder.track.codec, encoder.block_samples) == (codec, later)
    assert encoder.track.config
    size = encoder.block_samples
    time = np.arange(48 * size) / 48_000
    left = (0.3 * np.sin(2 * np.pi * 500 * time)).astype(np.float32)
    sound = np.stack([left, 0.5 * left])[:channels]
    frames: list[tuple[bytes, int]] = []
    for start in range(0, sound.shape[1], size):
        frames += encoder.encode(np.ascontiguousarray(sound[:, start : start + size]), start)
    assert [first for _, first in frames] == [size * index - lead for index in range(len(frames))]
    context = av.CodecContext.create("aac" if codec is Codec.AAC else "opus", "r")
    context.extradata = encoder.track.config
    heard = []
    for data, first in frames:
        packet = av.Packet(data)
        packet.pts, packet.time_base = first, Fraction(1, 48_000)
        heard += context.decode(packet)
    frame = heard[-20]
    again = frame.to_ndarray()
    assert again.shape == (channels, size)
    assert frame.pts is not None
    assert np.abs(again - sound[:, frame.pts : frame.pts + size]).max() < 0.05
