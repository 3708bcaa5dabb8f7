"""The TS muxer: what it refuses, and how it goes on with other tracks or another's numbers."""

import pytest

from common import grid
from common.errors import MediaError
from common.sample import SAMPLE_BYTES_MAX, Codec, Sample, Track
from muxer.mpegts import NEVER_US, TsMuxer
from tests.muxer.ts_muxers import AAC, H264, START, checked, h264_muxer, picture

# ---- misuse ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("codec", "remedy"),
    [(Codec.MJPEG, "H.264"), (Codec.PCMU, "AAC"), (Codec.PCMA, "AAC"), (Codec.L16, "AAC")],
)
def test_what_ts_cannot_carry_is_refused_by_name(codec: Codec, remedy: str) -> None:
    with pytest.raises(MediaError, match=f"MPEG-TS cannot carry {codec.upper()}: encode it to {remedy}"):
        TsMuxer((Track(codec, sample_rate_hz=8000, channels=1),), ssrc=1)


@pytest.mark.parametrize(
    ("tracks", "message"),
    [
        ((), "at least one"),
        ((H264, Track(Codec.H265)), "at most one video"),
        ((AAC, Track(Codec.MP3)), "at most one video and one audio"),
        ((Track(Codec.AAC),), "AAC needs its AudioSpecificConfig"),
        ((Track(Codec.AAC, config=b"\x11"),), "cut short"),
        ((Track(Codec.AAC, sample_rate_hz=47_999, channels=2),), "47999 Hz"),
        ((Track(Codec.OPUS, config=b"OpusHed"),), "no OpusHead"),
        ((Track(Codec.OPUS, channels=9),), "Opus of 9 channels"),
        ((Track(Codec.OPUS, config=b"OpusHead\1\2" + bytes(8) + b"\xff"),), "mapping family 255"),
    ],
)
def test_wrong_tracks_are_refused(tracks: tuple[Track, ...], message: str) -> None:
    with pytest.raises(MediaError, match=message):
        TsMuxer(tracks, ssrc=1)


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (Sample(b"x", 0, Codec.MP3), "no MP3 track"),
        (Sample(b"", 0, Codec.AAC), "a sample of 0 bytes"),
        (Sample(bytes(SAMPLE_BYTES_MAX + 1), 0, Codec.H264), "12000001 bytes, allowed are 1 to 12000000"),
        (Sample(bytes(8185), 0, Codec.AAC), "8185 bytes, at most 8184"),
        (Sample(b"\0\0\0\x05\x65abcd", 0, Codec.H264), "H264 sample that does not begin with a start code"),
        (Sample(bytes(100), 0, Codec.H264), "start code"),
        (Sample(b"\0\0\0\1", 0, Codec.H264), "start code"),
        (Sample((START + b"\x06x") * 5000, 0, Codec.H264), "over 4096 NAL units"),
    ],
)
def test_wrong_samples_are_refused_and_change_nothing(sample: Sample, message: str) -> None:
    muxer, other = (TsMuxer((H264, AAC), ssrc=1) for _ in range(2))
    assert muxer.write(Sample(picture(100), 0, Codec.H264), 0) == other.write(
        Sample(picture(100), 0, Codec.H264), 0
    )
    with pytest.raises(MediaError, match=message):
        muxer.write(sample, 20_000)
    good = Sample(picture(100), 40_000, Codec.H264, sync=False)
    assert muxer.write(good, 40_000) == other.write(good, 40_000)


def test_a_decoding_time_behind_the_presentation_is_left_out() -> None:
    muxer = h264_muxer()
    frames = [
        muxer.write(Sample(picture(100), n * 20_000, Codec.H264, n == 0, n * 20_000 + 7), n * 20_000)
        for n in range(3)
    ]
    report = checked(frames)
    assert not report.errors
    assert [pes.dts for pes in report.pes[grid.VIDEO_PID]] == [None] * 3


# ---- going on -------------------------------------------------------------------------------------------


def test_other_tracks_get_a_new_table_and_the_numbers_go_on() -> None:
    muxer = h264_muxer(version=31)
    frames = [muxer.write(Sample(picture(500), n * 20_000, Codec.H264, n == 0), n * 20_000) for n in range(5)]
    assert muxer.version == 31
    muxer.replace_tracks((Track(Codec.H265), AAC))
    assert muxer.version == 0
    with pytest.raises(MediaError, match="no H264 track"):
        muxer.write(Sample(picture(500), 0, Codec.H264), 0)
    frames.append(muxer.write(Sample(b"aac", 100_000, Codec.AAC), 100_000))
    frames.append(muxer.write(Sample(START + b"\x26\1idr", 110_000, Codec.H265), 110_000))
    report = checked(frames)
    assert not report.errors
    assert report.stream_types == {grid.VIDEO_PID: 0x24, grid.AUDIO_PID: 0x0F}
    assert frames[5].counts[:2] == (1, 1)

    with pytest.raises(MediaError, match="cannot carry MJPEG"):
        muxer.replace_tracks((Track(Codec.MJPEG),))
    assert muxer.version == 0
    muxer.write(Sample(b"aac", 130_000, Codec.AAC), 130_000)


def test_another_muxer_goes_on_from_the_numbers() -> None:
    first = h264_muxer(sequence=65_530, counters=(3, 14, 15, 0))
    frames = [first.write(Sample(picture(5000), n * 20_000, Codec.H264, n == 0), n * 20_000) for n in range(5)]
    assert frames[0].sequence == 65_530
    assert frames[0].counters == (3, 14, 15, 0)
    second = h264_muxer(sequence=first.sequence, counters=first.counters)
    frames += [
        second.write(Sample(picture(5000), n * 20_000, Codec.H264, n == 5), n * 20_000) for n in range(5, 9)
    ]
    report = checked(frames)
    assert not report.errors
    assert report.discontinuities == 1, "its clock is another: said in the first PCR"


def test_a_muxer_without_samples_has_nothing_to_do() -> None:
    muxer = h264_muxer()
    assert muxer.next_tick_us == NEVER_US
    assert muxer.tick(10**9) is None
