"""Sheets: what is left on one from a frame before never shows in the next."""

import ctypes
import random

import pytest

from common import grid
from common.sample import Codec, Sample, Track
from muxer.mpegts import TsMuxer
from muxer.sheet import ROWS_KEPT_MAX, Sheets
from tests.support.rtp_check import RtpCheck, rtp_packets
from tests.support.ts_check import TsCheck

MP2 = Track(Codec.MP2, sample_rate_hz=48_000)
KEPT_BYTES = ROWS_KEPT_MAX * grid.TS_PER_RTP * grid.TS_BODY_BYTES


def test_frames_of_all_sizes_in_any_order() -> None:
    """Markers, tables, sizes, stuffing and heads are each frame's own, on kept sheets and on larger ones."""
    choose = random.Random(1)
    muxer = TsMuxer((Track(Codec.H264),), ssrc=0xFFFF_FFFF, sequence=65_000, counters=(15, 15, 9, 9))
    ts, rtp = TsCheck(), RtpCheck()
    expected = []
    sizes = [choose.randrange(5, 5000 if number % 4 else 2 * KEPT_BYTES) for number in range(300)]
    sizes += [KEPT_BYTES + more for more in range(-220, 220, 3)]
    choose.shuffle(sizes)
    time_us = 10_000_000
    for number, size in enumerate(sizes):
        jump = number % 10 == 9  # of the samples' time
        now_us = number * 20_000
        time_us += 5_000_000 if jump else 20_000
        picture = b"\0\0\0\1\x41" + bytes([number % 255 + 1]) * (size - 5)
        frame = muxer.write(Sample(picture, time_us, Codec.H264, sync=False), now_us)
        packets = rtp_packets(frame.data)
        assert [packet[1] >> 7 for packet in packets] == [jump] + [0] * (len(packets) - 1)
        expected.append(b"\0\0\0\1\x09\xf0" + picture)
        for packet in packets:
            rtp.feed(packet)
            ts.feed(packet[12:])
    report = ts.finish()
    assert not rtp.errors
    assert not report.errors
    assert [pes.data for pes in report.pes[grid.VIDEO_PID]] == expected


def test_a_frame_stays_as_it_is_when_the_next_one_is_made() -> None:
    muxer = TsMuxer((MP2,), ssrc=1)
    frames = [muxer.write(Sample(bytes([n]) * 3000, n * 24_000, Codec.MP2), n * 24_000) for n in range(20)]
    assert [frame.data[-1] for frame in frames] == list(range(20))


def test_muxers_that_share_their_sheets_make_what_each_would_alone() -> None:
    """Of one and of many packets, with other SSRCs, numbers, tracks and times."""
    choose = random.Random(2)
    sheets = Sheets()
    tracks = [(Track(Codec.H264),), (MP2,), (Track(Codec.H265), MP2)]
    sharing, alone = (
        [TsMuxer(t, ssrc=n << 29 | 7, sequence=n * 999, sheets=shared) for n, t in enumerate(tracks)]
        for shared in (sheets, None)
    )
    for number in range(300):
        which = choose.randrange(len(tracks))
        track = choose.choice(tracks[which])
        start = b"" if track.audio else b"\0\0\0\1\x41"
        data = start + choose.randbytes(
            choose.choice([1, 100, 180, 400, 3000, choose.randrange(1, 2 * KEPT_BYTES)])
        )
        sample = Sample(data[:60_000] if track.audio else data, number * 9000, track.codec, track.audio)
        assert sharing[which].write(sample, number * 9000) == alone[which].write(sample, number * 9000)


def test_sheets_are_kept_up_to_a_size() -> None:
    sheets = Sheets()
    assert sheets[1] is sheets[1]
    assert sheets[1] is not sheets[2]
    assert sheets[ROWS_KEPT_MAX] is sheets[ROWS_KEPT_MAX]
    assert sheets[ROWS_KEPT_MAX + 1] is not sheets[ROWS_KEPT_MAX + 1]
    assert sorted(sheets) == [1, 2, ROWS_KEPT_MAX]


@pytest.mark.parametrize("size", [100, 5000])
def test_a_sample_may_be_any_view_of_bytes(size: int) -> None:
    data = bytes(range(100)) * (size // 100)
    ours = (ctypes.c_ubyte * size).from_buffer_copy(data)
    assert memoryview(ours).format != "B"
    views = (data, memoryview(data), memoryview(bytearray(data)), memoryview(ours))
    frames = [TsMuxer((MP2,), ssrc=1).write(Sample(view, 0, Codec.MP2), 0) for view in views]
    assert len({bytes(frame.data) for frame in frames}) == 1
