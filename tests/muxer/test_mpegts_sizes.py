"""The TS muxer, size by size: each way that a frame can fill its packets."""

import pytest

from common import grid
from common.errors import MediaError
from common.sample import SAMPLE_BYTES_MAX, Codec, Sample, Track
from muxer.mpegts import TsMuxer
from muxer.rtp import SMALL_PACKETS_MAX
from tests.muxer.ts_muxers import H264, H264_AUD, checked, h264_muxer, picture


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
