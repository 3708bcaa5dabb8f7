"""The generated source on a clock that only this test moves, by what a decoder sees and hears."""

import time
from itertools import pairwise

import av
import numpy as np
import pytest

from capture.card import Card
from capture.generated import DEFAULT_SIZE, GeneratedSource
from common import config, source_spec
from common.errors import SettingsError, SourceError
from common.sample import Codec, Sample
from common.source_spec import GeneratedSpec
from tests.support.virtual_clock import VirtualClock

SETTINGS = config.Stream(source="test:")


def source_of(text: str, clock: VirtualClock, settings: config.Stream = SETTINGS) -> GeneratedSource:
    spec = source_spec.parse(text)
    assert isinstance(spec, GeneratedSpec)
    return GeneratedSource(spec, settings, clock.now_us, clock.sleep_s, clock.wall_us)


def play(source: GeneratedSource, clock: VirtualClock, seconds: float) -> list[tuple[int, Sample]]:
    """The samples of so long, each with the time when it came."""
    end_us = clock.us + round(seconds * 1_000_000)
    came = []
    while clock.us < end_us:
        sample = source.read(0.05)
        if sample is not None:
            came.append((clock.us, sample))
    return came


def decoded(samples: list[Sample]) -> list[av.VideoFrame]:
    context = av.CodecContext.create("h264", "r")
    context.thread_count = 1
    frames: list[av.VideoFrame] = []
    for sample in samples:
        frames += context.decode(av.Packet(bytes(sample.data)))
    return frames


def test_picture_and_sound_come_at_their_times_on_one_clock() -> None:
    clock = VirtualClock()
    start_us = clock.us
    source = source_of("test:size=160x128,fps=25", clock)
    source.open()
    came = play(source, clock, 5)
    video = [sample for _, sample in came if not sample.audio]
    audio = [sample for _, sample in came if sample.audio]
    assert 124 <= len(video) <= 126
    assert {after.time_us - before.time_us for before, after in pairwise(video)} == {40_000}
    assert {after.time_us - before.time_us for before, after in pairwise(audio)} <= {21_333, 21_334}
    assert video[0].time_us % 100 == audio[0].time_us % 100 == 0
    assert video[0].time_us == audio[0].time_us
    assert 0 <= start_us - video[0].time_us < 100
    assert 234 <= len(audio) <= 237
    assert all(0 <= at_us - sample.time_us < 1000 for at_us, sample in came)
    orders = [sample.order_us for _, sample in came]
    assert orders == sorted(orders)
    source.close()


def test_tracks_are_known_when_it_is_open() -> None:
    clock = VirtualClock()
    source = source_of("test:size=320x240,fps=15", clock)
    source.open()
    tracks = source.tracks
    assert [track.codec for track in tracks] == [Codec.H264, Codec.AAC]
    assert (tracks[0].width, tracks[0].height, tracks[0].fps) == (320, 240, 15)
    assert (tracks[1].sample_rate_hz, tracks[1].channels) == (48_000, 1)
    assert all(track.config for track in tracks)
    play(source, clock, 3)
    assert source.tracks == tracks
    silent = source_of("test:size=320x240,tone=off", clock)
    silent.open()
    assert [track.codec for track in silent.tracks] == [Codec.H264]
    assert all(not sample.audio for _, sample in play(silent, clock, 1))


@pytest.mark.parametrize(("width", "height"), [(640, 480), (162, 134)])
def test_the_picture_shows_its_own_time_and_number(width: int, height: int) -> None:
    clock = VirtualClock(3_000_000_000)
    source = source_of(f"test:size={width}x{height},fps=10,tone=off", clock)
    source.open()
    video = [sample for _, sample in play(source, clock, 3)]
    frames = decoded(video)
    assert 30 <= len(frames) == len(video) <= 31
    card = Card(width, height)
    for number, (sample, frame) in enumerate(zip(video, frames, strict=True)):
        wall_us = sample.time_us + 1_700_000_000_000_000
        text = time.strftime("%H:%M:%S", time.localtime(wall_us // 1_000_000)) + f".{wall_us // 1000 % 1000:03}"
        card.paint(text, number, wall_us)
        seen = frame.to_ndarray(format="yuv420p").astype(np.int16)
        off = np.abs(seen - card.pixels)
        assert off.mean() < 4
        card.paint(text, number + 1, wall_us)
        wrong = np.abs(seen - card.pixels)
        assert wrong.sum() > off.sum()


def test_the_beep_begins_with_the_second_of_the_clock_as_the_flash_does() -> None:
    clock = VirtualClock(2_000_300_000)  # three tenths after a full second, on the wall too
    source = source_of("test:size=160x128,fps=50", clock)
    source.open()
    came = [sample for _, sample in play(source, clock, 4)]
    context = av.CodecContext.create("aac", "r")
    context.extradata = source.tracks[1].config
    heard = []
    audio = [sample for sample in came if sample.audio]
    for sample in audio:
        heard += [frame.to_ndarray()[0] for frame in context.decode(av.Packet(bytes(sample.data)))]
    level = np.abs(np.concatenate(heard))
    at_us = audio[0].time_us + np.arange(len(level)) * 1_000_000 / 48_000
    loud = at_us[level > 0.1]
    assert 0.15 < level.max() < 0.25
    within_second = loud % 1_000_000
    assert within_second.min() < 10_000
    assert within_second.max() < 105_000
    assert len(np.unique(loud // 1_000_000)) == 4
    video = [sample for sample in came if not sample.audio]
    bright = [float(frame.to_ndarray(format="yuv420p")[92:128].mean()) for frame in decoded(video)]
    flashing = {
        sample.time_us % 1_000_000
        for sample, mean in zip(video, bright, strict=True)
        if mean > (min(bright) + max(bright)) / 2
    }
    assert flashing
    assert max(flashing) < 100_000


@pytest.mark.parametrize(
    ("text", "stream", "size", "fps", "gap_us"),
    [
        ("test:", {}, DEFAULT_SIZE, 30, 2_000_000),
        ("test:", {"width": 640, "height": 360, "fps": 20.0}, (640, 360), 20, 2_000_000),
        ("test:size=160x128,fps=5", {"width": 640, "height": 360, "fps": 20.0}, (160, 128), 5, 2_000_000),
        ("test:size=160x128", {"encode": {"sync_interval_ms": 500}}, (160, 128), 30, 500_000),
        (
            "test:size=160x128,sync_interval_ms=1000",
            {"encode": {"sync_interval_ms": 500}},
            (160, 128),
            30,
            1_000_000,
        ),
    ],
)
def test_what_the_text_says_comes_before_the_settings(
    text: str, stream: dict[str, object], size: tuple[int, int], fps: int, gap_us: int
) -> None:
    clock = VirtualClock()
    settings = config.from_document({"streams": {"a": {"source": text} | stream}}).streams["a"]
    source = source_of(text, clock, settings)
    source.open()
    track = source.tracks[0]
    assert ((track.width, track.height), track.fps) == (size, fps)
    keys = [sample.time_us for _, sample in play(source, clock, 4.5) if sample.sync and not sample.audio]
    assert {after - before for before, after in pairwise(keys)} == {gap_us}


@pytest.mark.parametrize(("key", "value"), [("width", 161), ("height", 121), ("width", 100), ("height", 9000)])
def test_sizes_that_cannot_be_are_settings_errors(key: str, value: int) -> None:
    settings = config.from_document({"streams": {"a": {"source": "test:", key: value}}}).streams["a"]
    with pytest.raises(SettingsError, match=f"{key} {value}: a test picture has even sides from 128 to 4096"):
        source_of("test:", VirtualClock(), settings)


def test_a_key_frame_is_the_next_picture_after_the_request() -> None:
    clock = VirtualClock()
    source = source_of("test:size=160x128,tone=off,sync_interval_ms=3600000", clock)
    source.open()
    assert [sample.sync for _, sample in play(source, clock, 0.3)].count(True) == 1
    source.request_key_frame()
    after = [sample.sync for _, sample in play(source, clock, 0.3)]
    assert after[0]
    assert after.count(True) == 1


def test_pictures_that_would_be_late_are_left_out_and_counted() -> None:
    clock = VirtualClock()
    source = source_of("test:size=160x128,fps=50,tone=off", clock)
    source.open()
    before = play(source, clock, 0.2)[-1][1].time_us
    clock.us += 500_000
    sample = source.read(0.05)
    assert sample is not None
    assert sample.time_us - before in range(480_000, 540_001, 20_000)
    assert 23 <= source.counters["dropped_raw"] <= 26


def test_a_process_that_stood_still_begins_anew() -> None:
    clock = VirtualClock()
    source = source_of("test:size=160x128", clock)
    source.open()
    play(source, clock, 0.5)
    clock.us += 60_000_000
    with pytest.raises(SourceError, match=r"held up for 59\.\d s|held up for 60\.\d s"):
        play(source, clock, 0.5)
    source.close()
    source.close()


def test_read_waits_no_longer_than_it_may() -> None:
    clock = VirtualClock()
    source = source_of("test:size=160x128,fps=2,tone=off", clock)
    source.open()
    assert source.read(0) is not None
    before = clock.us
    assert source.read(0.2) is None
    assert 200_000 <= clock.us - before <= 200_010
    assert source.read(0) is None
    assert source.read(1) is not None
    assert 499_900 <= clock.us - before <= 500_100
