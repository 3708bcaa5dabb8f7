"""A file as a live source, on a clock that only this test moves."""

import os
from itertools import pairwise
from pathlib import Path

import av
import pytest
from msgspec.structs import replace

from capture import mock
from capture.mock import MockSource
from common import config
from common.clock import ticks_90k
from common.errors import SettingsError, SourceEndedError, SourceError
from common.sample import Codec, Sample
from common.source_spec import FileSpec
from tests.support.media_files import FPS, Packet, media_file, packets, variant
from tests.support.virtual_clock import VirtualClock

READ_S = 0.05
SETTINGS = config.Stream(source="mock:")


def source_of(path: Path | str, clock: VirtualClock) -> MockSource:
    return MockSource(FileSpec(str(path)), SETTINGS, clock.now_us, clock.sleep_s)


def play(
    path: Path, seconds: float, clock: VirtualClock | None = None
) -> tuple[MockSource, list[tuple[int, Sample]]]:
    """The samples of the first `seconds`, each with the time when it came."""
    clock = clock or VirtualClock()
    end_us = clock.us + round(seconds * 1_000_000)
    source = source_of(path, clock)
    source.open()
    came: list[tuple[int, Sample]] = []
    try:
        while clock.us < end_us:
            sample = source.read(READ_S)
            if sample is not None:
                came.append((clock.us, sample))
    finally:
        source.close()
    return source, came


def of_track(came: list[tuple[int, Sample]], audio: bool) -> list[Sample]:
    return [sample for _, sample in came if sample.audio is audio]


ALL = ["a.mp4", "a.mkv", "a.ts", "a.mov", "a.avi", "a.h264", "a.hevc", "b.mp4", "a.mjpeg", "a.m4a", "a.mp3"]


def any_file(name: str) -> Path:
    encoder: str | None = "libx265" if name in ("a.hevc", "b.mp4") else "libx264"
    audio: str | None = {"a.h264": None, "a.hevc": None, "a.mjpeg": None, "a.mp3": "libmp3lame"}.get(name, "aac")
    if name == "a.mjpeg":
        encoder = "mjpeg"
    if name in ("a.m4a", "a.mp3"):
        encoder = None
    return media_file(name, encoder, audio)


@pytest.mark.parametrize("name", ALL)
def test_each_sample_comes_at_its_decoding_time_in_order_for_ever(name: str) -> None:
    source, came = play(any_file(name), 9)
    assert source.counters["loops"] >= 3
    assert source.counters["damaged"] == source.counters["stalls"] == source.counters["jumps"] == 0
    assert all(0 <= at_us - sample.order_us <= 1000 for at_us, sample in came)
    orders = [sample.order_us for _, sample in came]
    assert orders == sorted(orders)
    for audio in {sample.audio for _, sample in came}:
        track = of_track(came, audio)
        times = [sample.order_us for sample in track]
        assert times == sorted(set(times))
        assert track[0].sync
        step_us = 1_000_000 / (FPS if not audio else 1)
        shown = sorted(sample.time_us for sample in track)[:-8]  # the last wait for some that are shown before
        assert max(after - before for before, after in pairwise(shown)) < (2.1 * step_us if not audio else 60_000)
        assert min(after - before for before, after in pairwise(shown)) > 15_000


@pytest.mark.parametrize("name", ["a.h264", "a.hevc", "a.mjpeg", "a.m4a"])
def test_alone_a_track_has_no_seam_at_all(name: str) -> None:
    path = any_file(name)
    source, came = play(path, 9)
    assert source.counters["loops"] >= 3
    step_us = {"a.m4a": 64_000 / 3, "a.mjpeg": 40_000}.get(name, 100_000 / 3)
    decoded = [sample.order_us for _, sample in came]
    assert all(abs(after - before - step_us) <= 101 for before, after in pairwise(decoded))
    shown = sorted(sample.time_us for _, sample in came)
    assert all(abs(after - before - step_us) <= 101 for before, after in pairwise(shown[:-8]))


def test_the_first_sample_is_due_at_once_and_every_tick_of_a_ts_is_kept() -> None:
    path = media_file("a.ts")
    clock = VirtualClock(5_000_000_077)
    _, came = play(path, 1.5, clock)
    file = packets(path)
    first_us = min(packet.dts_us for packet in file)
    assert min(sample.order_us for _, sample in came) == 5_000_000_000 + first_us
    shifts = set()
    for audio in (False, True):
        theirs: list[Packet] = [packet for packet in file if packet.audio is audio]
        mine = of_track(came, audio)
        assert len(mine) > 40
        for sample, packet in zip(mine, theirs, strict=False):
            shifts.add(ticks_90k(sample.time_us) - packet.pts_us * 9 / 100)
            shifts.add(ticks_90k(sample.order_us) - packet.dts_us * 9 / 100)
    assert len(shifts) == 1


def test_passes_are_equal_and_sound_keeps_its_place_beside_the_picture() -> None:
    source, came = play(media_file("a.mp4"), 21)
    assert source.counters["loops"] in (10, 11)  # it reads ahead
    for audio in (False, True):
        track = of_track(came, audio)
        starts = [index for index, sample in enumerate(track) if sample.data == track[0].data]
        count = starts[1]
        assert starts == list(range(0, len(track), count))
        first = track[:count]
        lengths = {track[after].time_us - track[before].time_us for before, after in pairwise(starts)}
        assert len(lengths) == 1
        length_us = lengths.pop()
        assert length_us % 100 == 0
        assert 2_000_000 <= length_us < 2_050_000
        tenth = track[9 * count : 10 * count]
        assert [sample.data for sample in tenth] == [sample.data for sample in first]
        assert [sample.time_us - 9 * length_us for sample in tenth] == [sample.time_us for sample in first]


def test_b_pictures_have_a_decoding_time_and_others_none() -> None:
    _, came = play(media_file("a.mp4"), 1)
    video = of_track(came, False)
    assert any(sample.decode_time_us is not None for sample in video)
    assert all(sample.decode_time_us is None or sample.decode_time_us < sample.time_us for sample in video)
    _, came = play(media_file("plain.mp4", b_pictures=0), 1)
    assert all(sample.decode_time_us is None for _, sample in came)


def test_tracks_say_what_a_decoder_needs() -> None:
    clock = VirtualClock()
    source = source_of(media_file("a.ts"), clock)
    assert not source.tracks
    source.open()
    tracks = source.tracks
    video, audio = tracks
    assert (video.codec, video.width, video.height, video.fps) == (Codec.H264, 160, 120, 30)
    assert video.config.startswith(b"\0\0\0\1\x67")
    assert (audio.codec, audio.sample_rate_hz, audio.channels, len(audio.config)) == (Codec.AAC, 48000, 1, 2)
    while clock.us < 1_000_000_050 + 5_000_000:
        source.read(READ_S)
        assert source.tracks is tracks
    source.close()


def test_motion_jpeg_comes_as_h264_with_a_key_frame_when_asked() -> None:
    clock = VirtualClock()
    source = source_of(media_file("a.mov", "mjpeg", "aac"), clock)
    source.open()
    samples: list[Sample] = []
    while len(samples) < 100:
        if len(samples) == 50:
            source.request_key_frame()
        sample = source.read(READ_S)
        if sample is not None:
            assert len(source.tracks) == 2
            samples.append(sample)
    video = [sample for sample in samples if not sample.audio]
    assert source.tracks[0].codec is Codec.H264
    assert [sample.codec for sample in video] == [Codec.H264] * len(video)
    assert sum(sample.sync for sample in video) == 2
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    assert all(decoder.decode(av.Packet(bytes(sample.data))) for sample in video)
    source.close()


def test_read_waits_no_longer_than_it_may() -> None:
    clock = VirtualClock()
    source = source_of(media_file("slow.mp4", audio=None, fps=2, pictures=4, b_pictures=0), clock)
    source.open()
    assert source.read(0) is not None
    before = clock.us
    assert source.read(0) is None
    assert clock.us - before <= 1
    assert source.read(0.2) is None
    assert 200_000 <= clock.us - before <= 200_010
    assert source.read(1.0) is not None
    assert 499_900 <= clock.us - before <= 500_100
    source.close()


def test_read_when_it_is_due_it_never_waits() -> None:
    clock = VirtualClock()
    source = source_of(media_file("slow.mp4", audio=None, fps=2, pictures=4, b_pictures=0), clock)
    source.open()
    times = []
    for _ in range(10):
        clock.us = max(clock.us, source.due_us)
        before = clock.us
        sample = source.read(0)
        assert sample is not None
        assert clock.us - before <= 10
        times.append(sample.order_us)
    assert [round((later - first) / 1e4) for first, later in pairwise(times)] == [50] * 9
    source.close()


def test_after_a_stop_it_goes_on_from_where_it_stood() -> None:
    clock = VirtualClock()
    source = source_of(media_file("a.mp4", audio=None, b_pictures=0), clock)
    source.open()
    before = [sample for _ in range(10) if (sample := source.read(READ_S)) is not None]
    clock.us += 3_600_000_000
    after = [sample for _ in range(10) if (sample := source.read(READ_S)) is not None]
    assert source.counters["stalls"] == 1
    assert 0 <= clock.us - after[-1].time_us <= 1000
    assert (after[0].time_us - before[-1].time_us) % 100 in (33, 34, 66, 67, 0, 99, 1)
    assert {later.time_us - earlier.time_us for earlier, later in pairwise(after)} <= {33333, 33334}
    source.close()


def test_a_short_delay_is_caught_up_with() -> None:
    clock = VirtualClock()
    source = source_of(media_file("a.mp4", audio=None, b_pictures=0), clock)
    source.open()
    before = [sample for _ in range(10) if (sample := source.read(READ_S)) is not None]
    clock.us += 500_000
    after = [sample for _ in range(20) if (sample := source.read(READ_S)) is not None]
    times = [sample.time_us for sample in before + after]
    assert {later - earlier for earlier, later in pairwise(times)} <= {33333, 33334}
    assert 0 <= clock.us - times[-1] <= 1000
    assert source.counters["stalls"] == 0
    source.close()


def test_late_motion_jpeg_is_left_out_before_it_is_encoded() -> None:
    clock = VirtualClock()
    source = source_of(media_file("a.mjpeg", "mjpeg", None), clock)
    source.open()
    first = source.read(READ_S)
    assert first is not None
    clock.us += 900_000
    times = [sample.time_us for _ in range(30) if (sample := source.read(READ_S)) is not None]
    assert 10 <= source.counters["dropped_raw"] <= 20
    assert times[0] - first.time_us >= 700_000
    source.close()


def test_files_of_a_second_or_less_are_looped() -> None:
    source, came = play(media_file("one.mp4", audio=None, pictures=1, b_pictures=0), 2)
    assert source.counters["loops"] > 40
    assert all(sample.sync for _, sample in came)
    assert {later.time_us - earlier.time_us for (_, earlier), (_, later) in pairwise(came)} == {40_000}


def test_a_truncated_file_plays_on_and_counts() -> None:
    whole = media_file("a.mp4", muxer_options="movflags=faststart")
    cut = variant(whole, "cut.mp4", lambda data: data[: len(data) * 2 // 3])
    source, came = play(cut, 5)
    assert source.counters["loops"] >= 3
    assert 1 <= source.counters["damaged"] <= source.counters["loops"] + 2
    assert len(of_track(came, False)) > 100


def test_a_file_that_goes_away_or_turns_bad_is_an_error_at_the_seam(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(media_file("a.mp4").read_bytes())
    clock = VirtualClock()
    source = source_of(path, clock)
    source.open()
    assert source.read(READ_S) is not None
    path.unlink()
    with pytest.raises(SourceError, match=r"clip\.mp4: no such file"):
        read_on(source, 300)
    source.close()
    source.close()


def read_on(source: MockSource, times: int) -> list[Sample]:
    return [sample for _ in range(times) if (sample := source.read(READ_S)) is not None]


def test_a_file_that_is_replaced_plays_on_as_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(media_file("a.mp4").read_bytes())
    clock = VirtualClock()
    source = source_of(path, clock)
    source.open()
    read_on(source, 10)
    old = source.tracks
    other = tmp_path / "other.mp4"
    other.write_bytes(media_file("b.mp4", "libx265", None, size=(320, 240)).read_bytes())
    os.replace(other, path)
    samples = read_on(source, 400)
    assert source.tracks != old
    assert (source.tracks[0].codec, source.tracks[0].width) == (Codec.H265, 320)
    times = [sample.order_us for sample in samples if not sample.audio]
    assert times == sorted(set(times))
    assert len(source._ahead) < 100  # sound is no longer waited for
    source.close()


def test_a_file_that_is_not_to_begin_again_ends_with_its_last_sample() -> None:
    path, clock = any_file("a.mp4"), VirtualClock()
    source = MockSource(FileSpec(str(path)), replace(SETTINGS, loop=False), clock.now_us, clock.sleep_s)
    source.open()
    samples = len(packets(path))
    came: list[Sample] = []
    while len(came) < samples:
        came += read_on(source, 1)
    with pytest.raises(SourceEndedError, match="this is its end"):
        read_on(source, 1)
    source.close()
    assert source.counters["loops"] == 0


@pytest.mark.parametrize(
    ("path", "error"),
    [
        (lambda: variant(media_file("a.mp4"), "empty.mp4", lambda _: b""), SourceError),
        (lambda: Path("/nonexistent/clip.mp4"), SourceError),
        (lambda: media_file("a.mkv", "mpeg4"), SettingsError),
    ],
)
def test_what_cannot_be_opened_leaves_nothing_open(path: object, error: type[Exception]) -> None:
    assert callable(path)
    descriptors = len(os.listdir("/proc/self/fd"))
    source = source_of(path(), VirtualClock())
    with pytest.raises(error):
        source.open()
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_a_file_without_one_whole_sample_is_an_error() -> None:
    def spoil(data: bytes) -> bytes:
        at = data.index(b"mdat") + 4
        return data[:at] + b"\xff" * (len(data) - at)

    whole = media_file("a.mp4", audio=None, muxer_options="movflags=faststart")
    source = source_of(variant(whole, "spoilt.mp4", spoil), VirtualClock())
    with pytest.raises(SourceError, match="no whole sample in it"):
        source.open()


def test_what_is_read_ahead_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mock, "AHEAD_BYTES_MAX", 20_000)
    clock = VirtualClock()
    source = source_of(media_file("a.mp4"), clock)
    source.open()
    for _ in range(300):
        source.read(READ_S)
        assert source._ahead_bytes < 20_000 + 20_000
    source.close()


def test_a_home_directory_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(media_file("a.mp4").read_bytes())
    monkeypatch.setenv("HOME", str(tmp_path))
    source = source_of("~/clip.mp4", VirtualClock())
    source.open()
    source.close()


def test_motion_jpeg_is_passed_through_by_setting() -> None:
    path = media_file("a.mjpeg", "mjpeg", None)
    clock = VirtualClock()
    settings = config.Stream(source="mock:", mjpeg="pass")
    source = MockSource(FileSpec(str(path)), settings, clock.now_us, clock.sleep_s)
    source.open()
    samples = [sample for _ in range(40) if (sample := source.read(READ_S)) is not None]
    assert [track.codec for track in source.tracks] == [Codec.MJPEG]
    assert {(sample.codec, sample.sync) for sample in samples} == {(Codec.MJPEG, True)}
    assert [sample.data for sample in samples[:10]] == [packet.data for packet in packets(path)[:10]]
    source.close()
