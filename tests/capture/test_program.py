"""Programs that publish, and the source that takes what they do: over real sockets, in one process."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import zmq

from capture import program
from capture.program import ProgramSource
from capture.publisher import Publisher
from common import clock, intake, sockets, wire
from common.endpoints import program_endpoint
from common.errors import MediaError, SettingsError, SourceError
from common.messages import Announce, Describe, SampleMessage, SourceState
from common.sample import Codec, Sample, Track
from tests.support import clips
from tests.support.published import pretend_instance, read, source
from tests.support.wait import until

PICTURE = np.zeros((96, 128, 3), np.uint8)


@pytest.fixture
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("i")
    pretend_instance(path, door="program:", test="test:")
    return path


@pytest.fixture
def publisher(directory: Path) -> Iterator[Publisher]:
    with Publisher("door", fps=25, runtime_dir=directory) as made:
        yield made


def connect(publisher: Publisher, source: ProgramSource) -> None:
    """Until the program knows that samples are wanted. (A source connects while it is read.)"""

    def probe() -> bool:
        assert source.read(0) is None
        return publisher.demanded

    until(probe, 5, "the demand")


def test_pictures_come_out_as_h264_at_their_times(directory: Path, publisher: Publisher) -> None:
    assert not publisher.write_picture(PICTURE), "nobody wants it, and nothing is encoded"
    with source(directory, "door") as door:
        connect(publisher, door)
        times_us = [clock.now_us() + number * 40_000 for number in range(3)]
        for number, time_us in enumerate(times_us):
            assert publisher.write_picture(np.full((96, 128, 3), (0, 0, 80 * number), np.uint8), time_us)
        samples = read(door, 3)
        assert [(sample.time_us, sample.sync) for sample in samples] == [
            (times_us[0], True), (times_us[1], False), (times_us[2], False),
        ]  # fmt: skip
        (track,) = door.tracks
        assert (track.codec, track.width, track.height, track.fps) == (Codec.H264, 128, 96, 25.0)
        decoder = av.CodecContext.create("h264", "r")
        shown: list[Any] = []
        for sample in samples:
            shown += decoder.decode(av.Packet(bytes(sample.data)))
        reds = [int(picture.to_ndarray(format="bgr24")[50, 60, 2]) for picture in shown]
        assert np.allclose(reds, [0, 80, 160], atol=12)


def test_a_source_that_comes_late_or_again_starts_at_a_sync_point(directory: Path, publisher: Publisher) -> None:
    track, samples = clips.video(Codec.H264)
    for sample in samples[:15]:
        publisher.write_sample(sample)
    for _ in range(2):
        with source(directory, "door") as door:
            got = read(door, 15, publisher)
            assert [sample.sync for sample in got] == [number % 10 == 0 for number in range(15)]
            assert [bytes(sample.data) for sample in got] == [bytes(sample.data) for sample in samples[:15]]
            assert (door.tracks[0].width, door.tracks[0].config) == (track.width, track.config)
        until(lambda: not publisher.demanded, 5, "the end of the demand")


def test_times_of_another_clock_are_taken_for_now_and_keep_their_distances(
    directory: Path, publisher: Publisher
) -> None:
    _, samples = clips.video(Codec.H264, b_pictures=2)
    with source(directory, "door") as door:
        connect(publisher, door)
        for sample in samples[:5]:
            publisher.write_sample(sample)
        got = read(door, 5)
    assert abs(got[0].order_us - clock.now_us()) < 60_000_000
    offsets = {
        (mine.time_us - his.time_us, mine.order_us - his.order_us) for mine, his in zip(got, samples, strict=False)
    }
    assert len({offset for pair in offsets for offset in pair}) == 1


def test_picture_and_sound_wait_for_each_other(directory: Path) -> None:
    track, sounds = clips.audio(Codec.AAC)
    with (
        Publisher("door", track, Track(Codec.H264), runtime_dir=directory) as publisher,
        source(directory, "door") as door,
    ):
        connect(publisher, door)
        start_us = clock.now_us()
        publisher.write_sample(Sample(sounds[0].data, start_us, Codec.AAC))  # too early: no picture is known
        publisher.write_picture(PICTURE, start_us)
        publisher.write_sample(Sample(sounds[1].data, start_us + 21_333, Codec.AAC))
        got = read(door, 2)
        assert [sample.codec for sample in got] == [Codec.H264, Codec.AAC]
        assert door.tracks[1] == track


def test_a_program_that_ends_is_a_source_that_ends(directory: Path) -> None:
    with source(directory, "door") as door:
        for _ in range(2):
            assert door.read(0) is None
        publisher = Publisher("door", runtime_dir=directory)
        connect(publisher, door)
        publisher.write_picture(PICTURE)
        read(door, 1)
        publisher.close()
        publisher.close()
        with pytest.raises(SourceError, match="its program has ended"):
            read(door, 1)
    with source(directory, "door") as door, Publisher("door", runtime_dir=directory) as another:
        connect(another, door)
        another.write_picture(PICTURE)
        assert read(door, 1)[0].sync


def test_a_program_that_is_silent_is_told_from_one_that_has_not_begun(
    directory: Path, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "STALL_US", 100_000)
    with source(directory, "door") as door:
        connect(publisher, door)
        for _ in range(10):
            assert door.read(0.02) is None
        publisher.write_picture(PICTURE)
        read(door, 1)
        with pytest.raises(SourceError, match="its program has sent nothing for 0 s"):
            read(door, 1)


def test_a_key_frame_is_asked_of_the_program(directory: Path, publisher: Publisher) -> None:
    with source(directory, "door") as door:
        connect(publisher, door)

        def is_sync() -> bool:
            publisher.write_picture(PICTURE)
            return read(door, 1)[0].sync

        assert is_sync()
        assert not is_sync()
        door.request_key_frame()
        until(is_sync, 5, "a sync point")


def test_a_capture_that_has_missed_what_a_program_announced_asks_for_it(
    directory: Path, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "UNANNOUNCED_US", 0)
    with source(directory, "door") as door:
        connect(publisher, door)
        with monkeypatch.context() as lost:
            lost.setattr(sockets, "send", lambda *_: None)
            publisher.write_picture(PICTURE)

        def again() -> Sample | None:
            publisher.write_picture(PICTURE)
            return door.read(0.02)

        first = until(again, 5, "a sample")
        assert first is not None
        assert first.sync


def test_a_capture_that_hears_lies_takes_only_what_holds_together(directory: Path) -> None:
    video, aac = Track(Codec.H264), Track(Codec.AAC)

    def sample(number: int, time_us: int, codec: Codec = Codec.H264, epoch: int = 1) -> list[bytes]:
        message = SampleMessage(epoch, number, time_us, None, codec, True)
        return [bytes(frame) for frame in wire.encode(message, b"x")]

    said: list[list[bytes]] = [
        [b"nonsense"],
        sample(0, 10),  # before it was announced
        [bytes(frame) for frame in wire.encode(Announce(1, (video,)))],
        sample(0, 10),
        sample(1, 10),  # not later
        sample(2, 11, epoch=2),
        sample(2, 12, Codec.AAC),
        [bytes(frame) for frame in wire.encode(Describe(1, "door"))],
        [bytes(frame) for frame in wire.encode(Announce(1, (video, aac)))],
        sample(5, 13),  # three are missing
        sample(6, 5, Codec.AAC),
        [bytes(frame) for frame in wire.encode(SourceState(False, "the lid is on"))],
    ]
    endpoint = program_endpoint(str(directory), "door")
    with (
        zmq.Context() as context,
        sockets.program_out(context, endpoint) as liar,
        source(directory, "door") as door,
    ):
        until(lambda: door.read(0) or liar.poll(0), 5, "the subscription")
        for frames in said:
            liar.send_multipart(frames)
        assert [(s.time_us, s.codec) for s in read(door, 3)] == [(10, "h264"), (13, "h264"), (5, "aac")]
        assert door.tracks == (video, aac)
        with pytest.raises(SourceError, match="the lid is on"):
            read(door, 1)
        assert door.counters == {"damaged": 1, "gaps": 3, "refused": 2}


@pytest.mark.parametrize(
    ("picture", "pixel_format"),
    [
        (np.zeros((96, 128), np.uint8), "bgr24"),
        (np.zeros((96, 128, 3), np.float32), "bgr24"),
        (np.zeros((0, 0, 3), np.uint8), "bgr24"),
        (np.zeros((96, 128, 3), np.uint8), "vga"),
        (None, "bgr24"),
    ],
)
def test_what_is_no_picture_is_refused(
    directory: Path, publisher: Publisher, picture: Any, pixel_format: str
) -> None:
    with source(directory, "door") as door:
        connect(publisher, door)
        with pytest.raises(MediaError, match=f"no picture in {pixel_format}: an array"):
            publisher.write_picture(picture, pixel_format=pixel_format)


def test_what_is_no_sample_is_refused(publisher: Publisher) -> None:
    _, samples = clips.video(Codec.H264)
    with pytest.raises(MediaError, match="AAC must be described"):
        publisher.write_sample(Sample(b"x", 0, Codec.AAC))
    with pytest.raises(MediaError, match="a sample of 0 bytes"):
        publisher.write_sample(Sample(b"", 0, Codec.H264))
    publisher.write_sample(samples[0])
    with pytest.raises(MediaError, match="times must rise"):
        publisher.write_sample(samples[0])
    with pytest.raises(MediaError, match="a sample of mp3, but the tracks are h264"):
        publisher.write_sample(Sample(b"x", 0, Codec.MP3))
    with pytest.raises(MediaError, match="no H264 byte stream"):
        publisher.write_sample(Sample(b"x", 0, Codec.H264))


def test_where_there_is_nothing_to_publish_to_is_said(directory: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="the stream test is test:: only one with the source program:"):
        Publisher("test", runtime_dir=directory)
    with pytest.raises(SettingsError, match="no framegate runs in"):
        Publisher("door", runtime_dir=tmp_path / "none")


def test_where_it_cannot_listen_is_said(tmp_path: Path) -> None:
    endpoint = f"ipc://{tmp_path}/none/program-door"
    with pytest.raises(SourceError, match=re.escape(f"cannot listen on {endpoint}")):
        ProgramSource(endpoint).open()
