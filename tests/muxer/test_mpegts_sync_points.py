"""What the TS muxer puts before a picture, so that viewers can start there, and says of each frame."""

from common import annexb, grid
from common.grid import FrameKind
from common.sample import Codec, Sample, Track
from muxer.mpegts import TsMuxer
from tests.muxer.ts_muxers import AAC, H264, START, checked, h264_muxer, picture
from tests.support.ts_report import Pes


def units(pes: Pes) -> list[bytes]:
    return [pes.data[a:b] for a, b in annexb.nal_units(pes.data)]


def h264_pictures(config: bytes, *aus: tuple[bytes, bool]) -> list[list[bytes]]:
    """The units of each picture after muxing. aus: with or without `sync`."""
    muxer = TsMuxer((Track(Codec.H264, config=config),), ssrc=1)
    frames = [
        muxer.write(Sample(au, n * 20_000, Codec.H264, sync), n * 20_000) for n, (au, sync) in enumerate(aus)
    ]
    report = checked(frames)
    assert not report.errors
    return [units(pes) for pes in report.pes[grid.VIDEO_PID]]


AUD, SPS, PPS, IDR, SLICE = b"\x09\xf0", b"\x67one", b"\x68one", b"\x65idr", b"\x41slice"
NEW_SPS, NEW_PPS, OTHER_AUD, SEI = b"\x67two", b"\x68two", b"\x09\x10", b"\x06sei"


def au(*parts: bytes) -> bytes:
    return b"".join(START + part for part in parts)


def test_a_sync_point_gets_the_parameter_sets_that_it_lacks() -> None:
    config = au(SPS, PPS)
    assert h264_pictures(config, (au(IDR), True), (au(SLICE), False)) == [[AUD, SPS, PPS, IDR], [AUD, SLICE]]
    assert h264_pictures(config, (au(OTHER_AUD, IDR), True)) == [[OTHER_AUD, SPS, PPS, IDR]]
    assert h264_pictures(config, (au(SEI, IDR), True)) == [[AUD, SPS, PPS, SEI, IDR]]
    assert h264_pictures(config, (au(PPS, IDR), True)) == [[AUD, SPS, PPS, IDR]]
    assert h264_pictures(config, (au(AUD, SPS, PPS, IDR), True)) == [[AUD, SPS, PPS, IDR]]
    assert h264_pictures(b"", (au(IDR), True)) == [[AUD, IDR]]


def test_parameter_sets_in_band_are_remembered() -> None:
    new = au(NEW_SPS, NEW_PPS, IDR), True
    assert h264_pictures(au(SPS, PPS), new, (au(IDR), True)) == [[AUD, NEW_SPS, NEW_PPS, IDR]] * 2
    # ... also one kind of them, and before a picture that is no sync point
    assert h264_pictures(au(SPS, PPS), (au(SEI, NEW_PPS, SLICE), False), (au(IDR), True)) == [
        [AUD, SEI, NEW_PPS, SLICE],
        [AUD, SPS, NEW_PPS, IDR],
    ]
    # ... several of a kind, in a packet of their own
    two = au(SPS, PPS, NEW_PPS), False
    assert h264_pictures(b"", two, (au(IDR), True))[1] == [AUD, SPS, PPS, NEW_PPS, IDR]


def test_parameter_sets_over_the_limit_are_not_remembered() -> None:
    huge = b"\x67" + b"x" * 5000
    assert h264_pictures(au(SPS, PPS), (au(huge, IDR), True), (au(IDR), True)) == [
        [AUD, PPS, huge, IDR],
        [AUD, SPS, PPS, IDR],
    ]


def test_a_lead_that_is_longer_than_the_picture() -> None:
    """The stuffing then stands inside what the muxer put before the picture."""
    for size in range(150, 560):
        sps = b"\x67" + b"s" * size
        assert h264_pictures(au(sps, PPS), (au(IDR), True)) == [[AUD, sps, PPS, IDR]]
    for size in range(4000, 4090):
        sps = b"\x67" + b"s" * size
        pps = b"\x68" + b"p" * 4000
        assert h264_pictures(au(sps, pps), (au(IDR), True)) == [[AUD, sps, pps, IDR]]


def test_h265_sync_points() -> None:
    vps, sps, pps, cra, trail = b"\x40\1v", b"\x42\1s", b"\x44\1p", b"\x2a\1cra", b"\x02\1trail"
    muxer = TsMuxer((Track(Codec.H265, config=au(vps, sps, pps)),), ssrc=1)
    frames = [
        muxer.write(Sample(au(unit), n * 20_000, Codec.H265, unit is cra), n * 20_000)
        for n, unit in enumerate((cra, trail, cra))
    ]
    report = checked(frames)
    assert not report.errors
    delimiter = b"\x46\1\x50"
    assert [units(pes) for pes in report.pes[grid.VIDEO_PID]] == [
        [delimiter, vps, sps, pps, cra],
        [delimiter, trail],
        [delimiter, vps, sps, pps, cra],
    ]


def test_a_sync_point_can_be_started_from() -> None:
    """Tables first, random access indicator, PCR: each sync frame alone is a stream."""
    muxer = h264_muxer()
    frames = [
        muxer.write(
            Sample(picture(300, 0x65 if n % 5 == 0 else 0x41), n * 10_000, Codec.H264, n % 5 == 0), n * 10_000
        )
        for n in range(20)
    ]
    for number, frame in enumerate(frames):
        assert frame.sync == (number % 5 == 0)
        if frame.sync:
            report = checked([frame])
            assert not report.errors
            assert report.pcrs == 1
            assert [pes.random_access for pes in report.pes[grid.VIDEO_PID]] == [True]
    assert [pes.random_access for pes in checked(frames).pes[grid.VIDEO_PID]] == [n % 5 == 0 for n in range(20)]


def test_disposable_pictures_are_told() -> None:
    muxer = h264_muxer()
    kinds = [0x65, 0x41, 0x01, 0x21, 0x01]
    frames = [muxer.write(Sample(picture(99, kind), n, Codec.H264, n == 0), n) for n, kind in enumerate(kinds)]
    assert [frame.disposable for frame in frames] == [False, False, True, False, True]
    assert [frame.kind for frame in frames] == [FrameKind.VIDEO] * 5


def test_audio_frames_are_sync_points_only_on_their_own() -> None:
    alone = TsMuxer((AAC,), ssrc=1).write(Sample(b"x", 0, Codec.AAC), 0)
    beside = TsMuxer((AAC, H264), ssrc=1).write(Sample(b"x", 0, Codec.AAC), 0)
    assert (alone.kind, alone.sync, alone.disposable) == (FrameKind.AUDIO, True, False)
    assert (beside.kind, beside.sync, beside.disposable) == (FrameKind.AUDIO, False, False)
