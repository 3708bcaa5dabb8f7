"""The TS muxer, sample by sample: what is in a frame, every size of it, and what libavformat makes of it."""

import io
from collections.abc import Sequence

import av
import numpy as np
import pytest

from common import annexb, grid
from common.clock import PTS_WRAP, ticks_90k
from common.errors import MediaError
from common.grid import Counters, Frame, FrameKind
from common.sample import SAMPLE_BYTES_MAX, Codec, Sample, Track
from muxer.mpegts import NEVER_US, TsMuxer
from muxer.rtp import SMALL_PACKETS_MAX
from tests.support import clips
from tests.support.ts_check import Pes, Report, RtpCheck, TsCheck, rtp_packets

AAC = Track(Codec.AAC, sample_rate_hz=48_000, channels=2)
H264 = Track(Codec.H264)
START = b"\0\0\0\1"
H264_AUD = START + b"\x09\xf0"
TS_AUDIO = (Codec.AAC, Codec.MP2, Codec.MP3, Codec.AC3, Codec.OPUS)


def checked(frames: Sequence[Frame]) -> Report:
    """What the checkers say of frames that follow each other; the numbers in the frames must be the bytes' own."""
    ts, rtp = TsCheck(), RtpCheck()
    for frame in frames:
        packets = rtp_packets(frame.data)
        assert packets[0][2:4] == frame.sequence.to_bytes(2, "big")
        assert {packet[4:12] for packet in packets} == {
            frame.clock.to_bytes(4, "big") + frame.ssrc.to_bytes(4, "big")
        }
        counts, first = [0, 0, 0, 0], list(frame.counters)
        for packet in packets:
            rtp.feed(packet)
            ts.feed(packet[12:])
            for at in range(12, len(packet), 188):
                index = grid.PIDS.index((packet[at + 1] & 0x1F) << 8 | packet[at + 2])
                if packet[at + 3] & 0x10:
                    assert packet[at + 3] & 0x0F == (first[index] + counts[index]) & 0x0F
                    counts[index] += 1
        assert tuple(counts) == frame.counts
    assert not rtp.errors
    return ts.finish()


def picture(size: int, kind: int = 0x41, fill: int = 0x88) -> bytes:
    """An access unit of exactly `size` bytes (5 at least)."""
    return START + bytes((kind,)) + bytes([fill]) * (size - 5)


def h264_muxer(sequence: int = 0, counters: Counters = (0, 0, 0, 0), version: int = 0) -> TsMuxer:
    return TsMuxer((H264,), ssrc=0x12345678, sequence=sequence, counters=counters, version=version)


# ---- sizes ----------------------------------------------------------------------------------------------


def sizes_near(packets: int) -> range:
    """Sizes around `packets` full packets, whatever headers come before."""
    return range(max(packets * 184 - 60, 1), packets * 184 + 12)


@pytest.mark.parametrize("delimited", [False, True])
@pytest.mark.parametrize("with_dts", [False, True])
@pytest.mark.parametrize("with_pcr", [False, True])
def test_every_size_of_a_picture(delimited: bool, with_dts: bool, with_pcr: bool) -> None:
    """1 to 400 bytes, and around the boundaries of packets, rows, and the two ways of building."""
    boundaries = [7, 8, 13, 14, 15, SMALL_PACKETS_MAX - 3, SMALL_PACKETS_MAX, SMALL_PACKETS_MAX + 1, 48, 49, 50]
    sizes = [*range(5, 401), *(size for packets in boundaries for size in sizes_near(packets))]
    muxer = h264_muxer()
    frames, expected = [], []
    for number, size in enumerate(sizes):
        time_us = 1_000_000 + number * 10_000
        au = (H264_AUD if delimited else b"") + picture(size, fill=number % 255 + 1)
        decode_us = time_us - 5000 if with_dts else None
        # No time goes by for two of three pictures: they have no PCR.
        now_us = time_us if with_pcr else 1_000_000 + number // 3 * 30_000
        frames.append(muxer.write(Sample(au, time_us, Codec.H264, number == 0, decode_us), now_us))
        expected.append(au if delimited else H264_AUD + au)
    report = checked(frames)
    assert not report.errors
    assert (report.pcrs == len(sizes)) == with_pcr
    assert [pes.data for pes in report.pes[grid.VIDEO_PID]] == expected
    assert [pes.pts for pes in report.pes[grid.VIDEO_PID]] == [
        90_000 + number * 900 for number in range(len(sizes))
    ]
    assert all((pes.dts is not None) == with_dts for pes in report.pes[grid.VIDEO_PID])


@pytest.mark.parametrize("clock", [False, True])
def test_every_size_of_an_audio_frame(clock: bool) -> None:
    """As the track with the PCR, and beside a video track, where PCRs have packets of their own."""
    tracks = (Track(Codec.MP2, sample_rate_hz=48_000),) if clock else (Track(Codec.MP2), H264)
    muxer = TsMuxer(tracks, ssrc=1)
    frames, expected = [], []
    if not clock:
        frames.append(muxer.write(Sample(picture(200, 0x65), 999_000, Codec.H264), 999_000))
    for number, size in enumerate([*range(1, 401), *sizes_near(7), *sizes_near(8)]):
        time_us = 1_000_000 + number * 10_000
        data = bytes([number % 255 + 1]) * size
        frames.append(muxer.write(Sample(data, time_us, Codec.MP2), time_us))
        expected.append(data)
    report = checked(frames)
    assert not report.errors
    assert [pes.data for pes in report.pes[grid.AUDIO_PID]] == expected


@pytest.mark.parametrize("spare", [0, 1, 2, 3, 100, 182, 183])
def test_the_stuffing_of_a_large_frame(spare: int) -> None:
    """Each way that the last packet of a matrix can be filled."""
    muxer = h264_muxer()
    size = 20_000
    while (22 + 6 + size) % 184 != (184 - spare) % 184:  # adaptation field and PES header, delimiter
        size += 1
    frames = [
        muxer.write(Sample(picture(size), 1000 + n, Codec.H264, sync=False), 1000 + n * 10_000) for n in range(3)
    ]
    report = checked(frames)
    assert [len(pes.data) for pes in report.pes[grid.VIDEO_PID]] == [6 + size] * 3
    last = bytes(frames[1].data[-188:])
    assert last[3] >> 4 == (3 if spare else 1)
    assert not spare or last[4] == spare - 1


def test_the_length_of_a_pes_packet_is_exact_as_far_as_it_goes() -> None:
    """Beyond 65,535 bytes a video PES packet has no length, an audio one does not exist."""
    room = 65_535 - 8 - 6  # header behind the length, delimiter
    muxer = h264_muxer()
    frames = [
        muxer.write(Sample(picture(room + more), n * 33_000, Codec.H264, n == 0), n * 33_000)
        for n, more in enumerate([0, 1, -1, 200, 100_000])
    ]
    starts = [bytes(grid.without_rtp(frame.data)).index(b"\0\0\1\xe0") for frame in frames]
    lengths = [
        int.from_bytes(grid.without_rtp(frame.data)[start + 4 : start + 6], "big")
        for frame, start in zip(frames, starts, strict=True)
    ]
    assert lengths == [65_535, 0, 65_534, 0, 0]
    assert not checked(frames).errors

    audio = TsMuxer((Track(Codec.AC3),), ssrc=1)
    audio.write(Sample(bytes(65_535 - 8), 0, Codec.AC3), 0)
    with pytest.raises(MediaError, match="65528 bytes does not go into a PES packet"):
        audio.write(Sample(bytes(65_535 - 7), 0, Codec.AC3), 0)


def test_the_largest_sample() -> None:
    muxer = h264_muxer(sequence=65_000)
    data = picture(SAMPLE_BYTES_MAX, 0x65)
    frame = muxer.write(Sample(memoryview(data), 0, Codec.H264), 0)
    report = checked([frame])
    assert not report.errors
    assert report.pes[grid.VIDEO_PID][0].data == H264_AUD + data
    assert muxer.sequence == (65_000 + grid.rtp_packets(len(frame.data))) & 0xFFFF


# ---- what stands before the picture ---------------------------------------------------------------------


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


# ---- libavformat reads it -------------------------------------------------------------------------------


def demuxed(ts: bytes) -> dict[int, list[tuple[bytes, int, int]]]:
    """What libavformat reads: data, PTS and DTS of every packet, by PID."""
    found: dict[int, list[tuple[bytes, int, int]]] = {}
    with av.open(io.BytesIO(ts), "r", format="mpegts") as container:
        for packet in container.demux():
            if packet.size:
                assert packet.pts is not None
                assert packet.dts is not None
                read = bytes(packet), packet.pts % PTS_WRAP, packet.dts % PTS_WRAP
                found.setdefault(packet.stream.id, []).append(read)
    return found


def shifted(samples: Sequence[Sample], by_us: int) -> list[Sample]:
    return [
        Sample(
            sample.data,
            sample.time_us + by_us,
            sample.codec,
            sample.sync,
            None if sample.decode_time_us is None else sample.decode_time_us + by_us,
        )
        for sample in samples
    ]


@pytest.mark.parametrize("start_us", [10_000_000, (PTS_WRAP * 100 // 9) - 500_000])
@pytest.mark.parametrize("audio_codec", TS_AUDIO)
@pytest.mark.parametrize(("video_codec", "b_pictures"), [(Codec.H264, 0), (Codec.H264, 3), (Codec.H265, 2)])
def test_libavformat_reads_what_was_written(
    video_codec: Codec, b_pictures: int, audio_codec: Codec, start_us: int
) -> None:
    """Every byte and time of every sample, also where 33 bits of PTS end."""
    video_track, pictures = clips.video(video_codec, b_pictures=b_pictures)
    audio_track, sounds = clips.audio(audio_codec)
    samples = sorted(shifted(pictures + sounds, start_us), key=lambda sample: sample.order_us)
    muxer = TsMuxer((video_track, audio_track), ssrc=1)
    frames = [muxer.write(sample, sample.order_us) for sample in samples]
    report = checked(frames)
    assert not report.errors
    ts = b"".join(grid.without_rtp(frame.data) for frame in frames)
    found = demuxed(ts)
    assert set(found) == {grid.VIDEO_PID, grid.AUDIO_PID}

    delimiter = annexb.AUD[video_codec]
    assert found[grid.VIDEO_PID] == [
        (
            sample.data if annexb.has_aud(sample.data, video_codec) else delimiter + bytes(sample.data),
            ticks_90k(sample.time_us) % PTS_WRAP,
            ticks_90k(sample.order_us) % PTS_WRAP,
        )
        for sample in samples
        if sample.codec is video_codec
    ]
    skip = 7 if audio_codec is Codec.AAC else 0  # ADTS
    assert [(data[skip:], pts) for data, pts, _ in found[grid.AUDIO_PID]] == [
        (sample.data, ticks_90k(sample.time_us) % PTS_WRAP) for sample in samples if sample.codec is audio_codec
    ]


@pytest.mark.parametrize("codec", TS_AUDIO)
def test_libavcodec_plays_audio_alone(codec: Codec) -> None:
    """What was a second of tone is one again: the PMT says all that a decoder needs."""
    track, samples = clips.audio(codec)
    muxer = TsMuxer((track,), ssrc=1)
    frames = [muxer.write(sample, sample.time_us) for sample in samples]
    assert not checked(frames).errors
    ts = b"".join(grid.without_rtp(frame.data) for frame in frames)
    with av.open(io.BytesIO(ts), "r", format="mpegts") as container:
        decoded = list(container.decode(audio=0))
        stream = container.streams.audio[0]
        # One decoder reads both layers, so a stream of one second may still be called the other.
        names = {Codec.MP2: "mp3float", Codec.MP3: "mp3float"}
        assert stream.codec_context.name == names.get(codec, codec.value)
        assert stream.codec_context.sample_rate == 48_000
        assert stream.codec_context.channels == 2
    assert 0.9 * 48_000 < sum(frame.samples for frame in decoded) <= 1.1 * 48_000
    middle = decoded[len(decoded) // 2].to_ndarray().astype(float)
    assert float(np.abs(middle).max()) > 0.1


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
