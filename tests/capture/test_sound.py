"""Sound beside pictures: a clock of its own, devices that come and go. A tone of libavdevice stands for a card."""

import random
import time
from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import islice, pairwise

import av
import numpy as np
import pytest

from capture import sound
from capture.sound import (
    BLOCKS_QUEUED_MAX,
    SAMPLE_RATE_HZ,
    Recorded,
    SoundOnClock,
    SoundTrack,
    WithSound,
    alsa_blocks,
)
from common import clock
from common.sample import Codec, Sample, Track
from tests.support.wait import until

SILENCE = np.zeros((2, 1024), np.float32)
BLOCK_US = 1024 * 1_000_000 / SAMPLE_RATE_HZ
VIDEO = Track(Codec.H264, 128, 96)
TONE = "sine=frequency=1000:sample_rate=44100"


@pytest.mark.parametrize("ppm", [1000, -1000])
def test_a_device_whose_clock_is_off_stays_with_the_picture(ppm: int) -> None:
    """Ten times what a bad crystal is off by, for a minute: 60 ms without correction."""
    choose = random.Random(ppm)
    encoder = SoundOnClock(Codec.AAC)
    off_us = []
    for number in range(round(60e6 / BLOCK_US)):
        end_us = (number + 1) * BLOCK_US * (1 - ppm / 1e6)  # a fast clock is early with each block
        for sample in encoder.encode(number * 1024, SILENCE, round(end_us) + choose.randint(0, 5000)):
            began_us = end_us - 3 * BLOCK_US  # what comes out is two blocks behind what goes in
            off_us.append(sample.time_us - began_us)
    assert len(off_us) > 2700
    assert max(map(abs, off_us)) < 40_000


def test_times_rise_whatever_the_device_does() -> None:
    encoder = SoundOnClock(Codec.AAC)
    times_us = []
    for first, arrived_us in ((0, 50_000), (1024, 70_000), (2048, 90_000), (90_000, 60_000), (91_024, 95_000)):
        times_us += [sample.time_us for sample in encoder.encode(first, SILENCE, arrived_us)]
    assert times_us == sorted(set(times_us))


def test_what_a_device_of_libavdevice_records() -> None:
    blocks = np.concatenate([block for block, *_ in islice(alsa_blocks(TONE, 1024, "lavfi"), 20)], axis=1)
    assert blocks.shape == (2, 20 * 1024)
    assert blocks.dtype == np.float32
    assert np.array_equal(blocks[0], blocks[1])
    turns = np.count_nonzero(np.diff(np.signbit(blocks[0])))
    assert turns == pytest.approx(2 * 1000 * 20 * 1024 / SAMPLE_RATE_HZ, abs=4), (
        "resampled, and no block is missing"
    )


class Card:
    """A device as libavdevice shows ALSA's. said_us: the wall clock's time of each frame of 10 ms."""

    def __init__(self, said_us: list[int]) -> None:
        self._said_us = said_us

    def __enter__(self) -> "Card":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def decode(self, audio: int) -> Iterator[av.AudioFrame]:
        del audio
        for said_us in self._said_us:
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 960), np.int16), "s16", "stereo")
            frame.sample_rate, frame.time_base, frame.pts = 48_000, Fraction(1, 1_000_000), said_us
            yield frame


def recorded(monkeypatch: pytest.MonkeyPatch, said_us: list[int]) -> list[Recorded]:
    monkeypatch.setattr(av, "open", lambda *_, **__: Card(said_us))
    return list(alsa_blocks("hw:0", 960))


@pytest.mark.parametrize(
    ("said_ago_us", "ago_us"), [(70_000, 70_000), (10_000, 10_000), (-10_000, 0), (3_600_000_000, 0)]
)
def test_the_driver_says_when_that_was(monkeypatch: pytest.MonkeyPatch, said_ago_us: int, ago_us: int) -> None:
    """By the wall clock: one that was set since says nothing."""
    said_us = time.time_ns() // 1000 - said_ago_us - 20_000
    (block,) = recorded(monkeypatch, [said_us, said_us + 10_000])
    assert clock.now_us() - block.end_us == pytest.approx(ago_us, abs=9_000)


def test_what_the_device_has_lost_is_known_by_its_times(monkeypatch: pytest.MonkeyPatch) -> None:
    said_us = time.time_ns() // 1000 - 200_000
    times = [said_us + number * 10_000 + (100_000 if number >= 4 else 0) for number in range(8)]
    assert [block.missing for block in recorded(monkeypatch, times)] == [0, 0, 4800, 0]
    times = [said_us + number * 10_000 + (3_600_000_000 if number >= 4 else 0) for number in range(8)]
    assert [block.missing for block in recorded(monkeypatch, times)] == [0, 0, 0, 0], "the clock was set"


def test_behind_a_gap_sound_is_where_it_belongs_at_once() -> None:
    def blocks(_: int) -> Iterator[Recorded]:
        for number in range(50):
            lost = 24_000 if number >= 20 else 0
            end_us = round(((number + 1) * 1024 + lost) * 1e6 / SAMPLE_RATE_HZ)
            yield Recorded(SILENCE, end_us, 24_000 if number == 20 else 0)

    track = SoundTrack(blocks, Codec.AAC)
    try:
        until(lambda: track.faults, 5, "the end of the device")
        times = [sample.time_us for sample in track.samples()]
    finally:
        track.close()
    assert track.gaps == 1
    steps = [after - before for before, after in pairwise(times)]
    assert [round(step / BLOCK_US) for step in steps if step > 2 * BLOCK_US] == [24]
    assert times[-1] == pytest.approx(47 * BLOCK_US + 500_000, abs=1_000)


def tone(block_samples: int) -> Iterator[Recorded]:
    """As fast as a sound card is."""
    for block, *_ in alsa_blocks(TONE, block_samples, "lavfi"):
        time.sleep(block_samples / SAMPLE_RATE_HZ)
        yield Recorded(block, clock.now_us())


class Pictures:
    """A camera that is always ready."""

    due_us = 0

    def __init__(self) -> None:
        self.tracks: tuple[Track, ...] = ()
        self.notes = ("a note",)
        self.counters: Mapping[str, int] = {"damaged": 1}
        self.asked = self.closed = 0

    def open(self) -> None:
        pass

    def read(self, timeout_s: float) -> Sample | None:
        del timeout_s
        self.tracks = (VIDEO,)
        return Sample(b"picture", 1, Codec.H264)

    def request_key_frame(self) -> None:
        self.asked += 1

    def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("codec", [Codec.AAC, Codec.OPUS])
def test_pictures_and_sound_are_one_source(codec: Codec) -> None:
    pictures = Pictures()
    source = WithSound(pictures, "hw:0", codec, tone)
    source.open()
    try:
        assert list(source.tracks) == []
        got: list[Sample] = []

        def both() -> bool:
            sample = source.read(0)
            assert sample is not None
            got.append(sample)
            return sum(sample.audio for sample in got) > 10

        until(both, 10, "sound")
        assert got[0].codec is Codec.H264, "no sound before the picture is known"
        picture, heard = source.tracks
        assert (picture.codec, heard.codec) == (Codec.H264, codec)
        assert source.tracks is source.tracks
        decoder = av.CodecContext.create(codec.value, "r")
        assert isinstance(decoder, av.AudioCodecContext)
        decoder.extradata = heard.config
        sounds = [frame for one in got if one.audio for frame in decoder.decode(av.Packet(bytes(one.data)))]
        assert np.abs(sounds[-1].to_ndarray()).max() > 0.05
        source.request_key_frame()
        assert source.notes == ("a note",)
        assert source.counters["damaged"] == 1
    finally:
        source.close()
    assert (pictures.asked, pictures.closed) == (1, 1)


def test_a_device_that_is_not_there_leaves_the_picture_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sound, "RETRY_S", 0.01)
    tries = 0

    def blocks(_: int) -> Iterator[Recorded]:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise OSError(5, "Input/output error")
        yield Recorded(SILENCE, clock.now_us())

    source = WithSound(Pictures(), "hw:9", Codec.AAC, blocks)
    source.open()
    try:
        until(lambda: source.notes[1:] == ("no sound from hw:9 yet: Input/output error",), 5, "the note")
        assert source.read(0) is not None
        until(lambda: tries > 3, 5, "another try")
        until(lambda: source.counters["sound_faults"] >= 3, 5, "its count")
    finally:
        source.close()


def test_what_is_not_fetched_is_left_out_and_counted() -> None:
    def blocks(_: int) -> Iterator[Recorded]:
        for _ in range(BLOCKS_QUEUED_MAX + 7):
            yield Recorded(SILENCE, clock.now_us())

    track = SoundTrack(blocks, Codec.AAC)
    try:
        until(lambda: track.faults, 5, "the end of the device")
        assert track.lost == 7
        assert len(track.samples()) > BLOCKS_QUEUED_MAX // 2
    finally:
        track.close()
