"""One pass through files of all kinds, against what libavformat itself says of them."""

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import pytest

from capture import demux
from capture.demux import MediaFile
from capture.file_tracks import FileSample
from common import annexb
from common.adts import parse_config
from common.errors import SettingsError, SourceError
from common.sample import Codec
from tests.support.media_files import FPS, HEIGHT, PICTURES, SYNC_EVERY, WIDTH, media_file, packets, variant


def read(path: Path) -> tuple[MediaFile, list[FileSample]]:
    file = MediaFile(str(path))
    try:
        return file, list(file.samples())
    finally:
        file.close()


def decoded(samples: list[FileSample], decoder: str) -> list[av.VideoFrame]:
    """The pictures, from the samples alone: no parameter sets from beside the stream. Strict."""
    context = av.CodecContext.create(decoder, "r")
    context.thread_count = 1
    context.options = {"err_detect": "explode"}
    frames: list[av.VideoFrame] = []
    for data in [sample.data for sample in samples] + [None]:
        frames += context.decode(None if data is None else av.Packet(data))  # type: ignore[attr-defined]
    return frames


CLOSED_GROUPS = "x265-params=open-gop=0:bframes=2:keyint=30:scenecut=0:log-level=none:pools=1"


@pytest.mark.parametrize(
    ("name", "encoder"),
    [("a.mp4", "libx264"), ("a.mov", "libx264"), ("a.ts", "libx264"), ("a.flv", "libx264"), ("a.mp4", "libx265"),
     ("a.ts", "libx265")],
)  # fmt: skip
def test_times_are_those_of_the_file(name: str, encoder: str) -> None:
    path = media_file(name, encoder)
    file, samples = read(path)
    for audio in (False, True):
        mine = [sample for sample in samples if sample.track.audio is audio]
        theirs = [packet for packet in packets(path) if packet.audio is audio]
        assert len(mine) == len(theirs) > 50
        for sample, packet in zip(mine, theirs, strict=True):
            assert abs(sample.stamp.time_us - packet.pts_us) <= Fraction(1, 2)
            assert abs(sample.stamp.decode_us - packet.dts_us) <= Fraction(1, 2)
    assert file.damaged == 0
    assert file.notes == ()


@pytest.mark.parametrize("encoder", ["libx264", "libx265"])
def test_matroska_gets_the_decoding_times_that_it_does_not_say(encoder: str) -> None:
    _, samples = read(media_file("a.mkv", encoder))
    video = [sample.stamp for sample in samples if not sample.track.audio]
    assert len(video) == PICTURES
    assert [stamp.decode_us for stamp in video] == sorted({stamp.decode_us for stamp in video})
    assert all(stamp.decode_us <= stamp.time_us for stamp in video)
    steps = [after.decode_us - before.decode_us for before, after in pairwise(video)]
    assert all(abs(step - 1_000_000 / FPS) <= 1000 for step in steps)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.avi", "a.h264", "b.mp4", "b.mkv", "b.ts", "b.hevc"])
def test_pictures_decode_from_the_samples_alone(name: str) -> None:
    encoder, decoder, options = ("libx264", "h264", "") if name[0] == "a" else ("libx265", "hevc", CLOSED_GROUPS)
    raw = name.endswith((".h264", ".hevc"))
    path = media_file(name, encoder, None if raw else "aac", options=options)
    _, samples = read(path)
    video = [sample for sample in samples if not sample.track.audio]
    frames = decoded(video, decoder)
    assert len(frames) == PICTURES
    assert (frames[0].width, frames[0].height) == (WIDTH, HEIGHT)
    syncs = [index for index, sample in enumerate(video) if sample.sync]
    assert syncs[0] == 0
    assert len(syncs) == PICTURES // SYNC_EVERY
    codec = video[0].track.codec
    for index, sample in enumerate(video):
        assert annexb.is_sync(sample.data, codec) is sample.sync is (index in syncs)
        if sample.sync:
            assert annexb.parameter_sets(sample.data, codec) == sample.track.config
            assert len(decoded(video[index:], decoder)) == PICTURES - index
    track = video[0].track
    assert (track.width, track.height, track.fps) == (WIDTH, HEIGHT, FPS)


@pytest.mark.parametrize(("encoder", "muxer"), [("libx264", "h264"), ("libx265", "hevc")])
@pytest.mark.parametrize("b_pictures", [0, 2])
def test_raw_streams_get_times_by_rate_and_picture_order(encoder: str, muxer: str, b_pictures: int) -> None:
    _, raw = read(media_file(f"a.{muxer}", encoder, None, muxer=muxer, b_pictures=b_pictures))
    _, truth = read(media_file("a.mp4", encoder, None, b_pictures=b_pictures))
    assert len(raw) == len(truth) == PICTURES
    shift_us = raw[0].stamp.time_us - truth[0].stamp.time_us
    assert (raw[0].stamp.time_us > raw[0].stamp.decode_us) is (b_pictures > 0)
    for mine, theirs in zip(raw, truth, strict=True):
        assert abs(mine.stamp.time_us - theirs.stamp.time_us - shift_us) <= 2
    assert [sample.stamp.decode_us for sample in raw] == [
        round(turn * 1_000_000 / FPS) for turn in range(PICTURES)
    ]


def test_a_raw_stream_that_says_no_rate_has_25() -> None:
    options = "x265-params=vui-timing-info=0:log-level=none:pools=1"
    _, samples = read(media_file("a.hevc", "libx265", None, muxer="hevc", options=options))
    assert samples[0].track.fps == 25
    assert samples[1].stamp.decode_us - samples[0].stamp.decode_us == 40_000


def test_avi_whose_presentation_times_are_guessed_is_put_in_order() -> None:
    _, avi = read(media_file("a.avi"))
    _, truth = read(media_file("a.mp4"))
    mine = [sample.stamp.time_us for sample in avi if not sample.track.audio]
    theirs = [sample.stamp.time_us for sample in truth if not sample.track.audio]
    shift_us = mine[0] - theirs[0]
    assert all(abs(a - b - shift_us) <= 2 for a, b in zip(mine, theirs, strict=True))


@pytest.mark.parametrize(
    ("name", "encoder", "codec", "config_bytes"),
    [
        ("a.m4a", "aac", Codec.AAC, 5),
        ("a.aac", "aac", Codec.AAC, 2),
        ("a.ts", "aac", Codec.AAC, 2),
        ("a.mp3", "libmp3lame", Codec.MP3, 0),
        ("a.mp2", "mp2", Codec.MP2, 0),
        ("a.ac3", "ac3", Codec.AC3, 0),
        ("a.ogg", "libopus", Codec.OPUS, 19),
        ("a.wav", "pcm_mulaw", Codec.PCMU, 0),
        ("a.au", "pcm_alaw", Codec.PCMA, 0),
        ("a.aiff", "pcm_s16be", Codec.L16, 0),
    ],
)
def test_sound_alone(name: str, encoder: str, codec: Codec, config_bytes: int) -> None:
    path = media_file(name, None, encoder)
    file, samples = read(path)
    assert file.tracks_count == 1
    track = samples[0].track
    assert (track.codec, track.channels, len(track.config)) == (codec, 1, config_bytes)
    assert track.sample_rate_hz == (8000 if encoder in ("pcm_mulaw", "pcm_alaw") else 48_000)
    ends = [sample.stamp.time_us + sample.stamp.duration_us for sample in samples]
    assert all(
        abs(after.stamp.time_us - end) <= 2 for end, after in zip(ends[1:-1], samples[2:], strict=True)
    )  # the first one may be shorter: the encoder's lead-in
    assert 1_900_000 < ends[-1] - samples[0].stamp.time_us < 2_200_000


def test_adts_headers_go_and_become_the_configuration() -> None:
    _, from_ts = read(media_file("a.ts", None, "aac"))
    _, from_mp4 = read(media_file("a.m4a", None, "aac"))
    assert [sample.data for sample in from_ts] == [sample.data for sample in from_mp4][: len(from_ts)]
    assert parse_config(from_ts[0].track.config) == parse_config(from_mp4[0].track.config)


@pytest.mark.parametrize(
    ("name", "muxer"), [("a.mjpeg", "mjpeg"), ("a.mpjpeg", "mpjpeg"), ("a.mov", None), ("a.avi", None)]
)
def test_motion_jpeg(name: str, muxer: str | None) -> None:
    file, samples = read(media_file(name, "mjpeg", None, muxer=muxer))
    assert len(samples) == PICTURES
    assert all(sample.sync and sample.data[:2] == b"\xff\xd8" for sample in samples)
    assert samples[0].track.codec is Codec.MJPEG
    assert (samples[0].track.width, samples[0].track.height) == (WIDTH, HEIGHT)
    assert file.damaged == 0


def test_a_file_that_begins_inside_a_group_begins_at_its_first_sync_point() -> None:
    whole = media_file("a.ts")
    cut = variant(whole, "cut.ts", lambda data: data[188 * 300 :])
    _, all_samples = read(whole)
    _, samples = read(cut)
    video = [sample for sample in samples if not sample.track.audio]
    assert video[0].sync
    assert video[0].data == all_samples[[s.data for s in all_samples].index(video[0].data)].data
    assert len(video) == PICTURES - SYNC_EVERY
    assert len(decoded(video, "h264")) == len(video)
    first_audio = next(sample for sample in samples if sample.track.audio)
    assert abs(first_audio.stamp.time_us - video[0].stamp.decode_us) < 200_000


def test_a_cover_picture_is_no_track() -> None:
    path = media_file("a.mp3", None, "libmp3lame")
    cover = media_file("cover.mjpeg", "mjpeg", None, muxer="mjpeg", pictures=1)
    tagged = variant(path, "tagged.mp3", lambda data: _id3(cover.read_bytes()) + data)
    with av.open(str(tagged)) as container:
        assert len(container.streams.video) == 1
    file, samples = read(tagged)
    assert file.tracks_count == 1
    assert {sample.track.codec for sample in samples} == {Codec.MP3}


def test_sound_that_cannot_be_carried_is_left_out_with_its_name() -> None:
    file, samples = read(media_file("a.mkv", "libx264", "flac"))
    assert not any(sample.track.audio for sample in samples)
    assert len(samples) == PICTURES
    assert len(file.notes) == 1
    assert "its audio is flac, which cannot be carried" in file.notes[0]


@pytest.mark.parametrize(
    ("name", "encoders", "words"),
    [
        ("a.mkv", ("mpeg4", "aac"), "its video is mpeg4: only H.264, H.265 and MJPEG can be carried"),
        ("a.webm", ("libvpx", None), "its video is vp8: only"),
        ("a.flac", (None, "flac"), "its audio is flac, which cannot be carried"),
    ],
)
def test_what_cannot_be_carried_is_refused_by_name(
    name: str, encoders: tuple[str | None, str | None], words: str
) -> None:
    path = media_file(name, *encoders)
    with pytest.raises(SettingsError, match=words) as caught:
        MediaFile(str(path))
    assert str(path) in str(caught.value)


def test_a_file_without_a_sync_point_is_refused() -> None:
    cut = variant(media_file("a.ts"), "cut.ts", lambda data: data[188 * 300 : 188 * 600])
    with pytest.raises(SettingsError, match="no picture that a decoder could start at"):
        read(cut)


def test_the_search_for_a_sync_point_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demux, "SYNC_SEARCH_SAMPLES_MAX", 5)
    cut = variant(media_file("a.ts"), "cut.ts", lambda data: data[188 * 300 :])
    with pytest.raises(SettingsError, match="no picture that a decoder could start at"):
        read(cut)


def test_tags_that_are_no_text_do_no_harm() -> None:
    spoilt = variant(media_file("a.avi"), "a.avi", lambda data: data.replace(b"Lavf", b"\xe9\xff\xe9\xff"))
    assert b"\xe9\xff" in spoilt.read_bytes()
    _, samples = read(spoilt)
    assert len([sample for sample in samples if not sample.track.audio]) == PICTURES


def test_a_stream_that_comes_up_on_the_way_is_not_heard_and_does_no_harm() -> None:
    def late(data: bytes) -> bytes:
        """The last sound tag but a few of an FLV file becomes one of a text stream."""
        at, tags = 13, []
        while at < len(data):
            tags.append(at)
            at += 11 + int.from_bytes(data[at + 1 : at + 4], "big") + 4
        sounds = [at for at in tags if data[at] == 8]
        return data[: sounds[-10]] + b"\x12" + data[sounds[-10] + 1 :]

    whole = media_file("a.flv", pictures=400)
    changed = variant(whole, "late.flv", late)
    _, samples = read(whole)
    file, fewer = read(changed)
    assert file.tracks_count == 2
    assert len(fewer) == len(samples) - 1
    assert file.damaged == 0


def _nothing(_: bytes) -> bytes:
    return b""


def _half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _noise(data: bytes) -> bytes:
    return bytes(byte ^ 0x5A for byte in data)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_nothing, "is empty"),
        (_half, "no media file, or one cut short at its head"),
        (_noise, "no media file, or one cut short at its head"),
    ],
)
def test_what_cannot_be_read_is_one_line(change: Callable[[bytes], bytes], words: str) -> None:
    path = variant(media_file("a.mp4"), "bad.mp4", change)
    with pytest.raises(SourceError, match=words) as caught:
        MediaFile(str(path))
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_what_is_no_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        MediaFile(str(tmp_path / "none.mp4"))
    with pytest.raises(SourceError, match="is not a file"):
        MediaFile(str(tmp_path))
    with pytest.raises(SourceError, match="no such file"):
        MediaFile("http://127.0.0.1:1/clip.mp4")


@pytest.mark.parametrize(
    ("name", "muxer_options"), [("a.mp4", "movflags=faststart"), ("a.ts", ""), ("a.mkv", ""), ("a.avi", "")]
)
def test_a_file_that_is_cut_short_plays_what_is_there(name: str, muxer_options: str) -> None:
    whole = media_file(name, muxer_options=muxer_options)
    cut = variant(whole, name, lambda data: data[: len(data) * 2 // 3 + 11])
    _, samples = read(cut)
    video = [sample for sample in samples if not sample.track.audio]
    assert PICTURES // 2 < len(video) < PICTURES
    assert len(decoded(video[:-2], "h264")) == len(video) - 2


def test_damaged_packets_are_left_out_and_counted() -> None:
    whole = media_file("a.mp4", "libx264", "aac", muxer_options="movflags=faststart")
    first = next(packet for packet in packets(whole) if not packet.audio and not packet.key)

    def damage(data: bytes) -> bytes:
        at = data.index(first.data)
        return data[:at] + b"\xff\xff\xff\xff" + data[at + 4 :]  # a NAL unit of 4 GB

    file, samples = read(variant(whole, "damaged.mp4", damage))
    assert file.damaged == 1
    assert len([sample for sample in samples if not sample.track.audio]) == PICTURES - 1


def _id3(jpeg: bytes) -> bytes:
    """An ID3v2.3 tag with a cover picture."""
    content = b"\0image/jpeg\0\3\0" + jpeg
    frame = b"APIC" + len(content).to_bytes(4, "big") + b"\0\0" + content
    size = len(frame)
    return b"ID3\3\0\0" + bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0)) + frame
