"""TR 101 290 over time: any frame rate, jitter, jumps of time, wraps, splices, and a day of it."""

import random
import tracemalloc
from collections.abc import Iterable
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common import grid
from common.clock import PTS_WRAP, RTP_WRAP, ticks_90k
from common.grid import Frame, FrameKind
from common.header_numbers import Mark, Offset, RtpOffset, next_offset, renumbered
from common.sample import Codec, Sample, Track
from muxer.mpegts import NEVER_US, STALLED_US, TsMuxer
from tests.support.live import Arrival, late, merged, pictures, play, sounds
from tests.support.rtp_check import RtpCheck, rtp_packets
from tests.support.ts_check import TsCheck
from tests.support.ts_report import Report

VIDEO = Track(Codec.H264)
AUDIO = Track(Codec.AAC, sample_rate_hz=48_000, channels=2)
SECOND_US = 1_000_000
HOUR_US = 3600 * SECOND_US
LATE_FEW_MS = 2000  # a worker's timer


def muxed(arrivals: Iterable[Arrival], *tracks: Track) -> list[tuple[int, Frame]]:
    choose = random.Random(1)
    return list(play(TsMuxer(tracks, ssrc=1), arrivals, lambda: choose.randint(0, LATE_FEW_MS)))


def checked(frames: Iterable[tuple[int, Frame]]) -> Report:
    """What the checkers say; the numbers of RTP must be in order."""
    ts, rtp = TsCheck(), RtpCheck()
    markers = 0
    for at_us, frame in frames:
        packets = rtp_packets(frame.data)
        markers += packets[0][1] >> 7
        for packet in packets:
            rtp.feed(packet)
            ts.feed(packet[12:], at_us)
    assert not rtp.errors
    assert rtp.markers == markers, "only the first packet of a frame may have it"
    report = ts.finish()
    assert report.discontinuities >= rtp.markers
    return report


def assert_clean(report: Report, fps: float = 30.0) -> None:
    """No error at all; PTSs that are further apart than 700 ms are the source's."""
    if 0 < fps < 1.5:
        assert report.pts_interval_errors
        report.pts_interval_errors.clear()
    assert not report.errors
    assert report.pcr_arrival_interval_max_us <= 40_000


@pytest.mark.parametrize("jitter_us", [0, 3000, 80_000])
@pytest.mark.parametrize("with_audio", [False, True])
@pytest.mark.parametrize("fps", [1, 5, 12.5, 24, 25, 29.97, 30, 60])
def test_every_frame_rate(fps: float, with_audio: bool, jitter_us: int) -> None:
    choose = random.Random(fps)
    start_us = 77 * SECOND_US
    video = pictures(fps, 10, start_us=start_us)
    samples = merged(video, sounds(10, start_us=start_us)) if with_audio else video
    frames = muxed(late(samples, lambda: choose.randint(0, jitter_us)), VIDEO, *([AUDIO] if with_audio else []))
    report = checked(frames)
    assert_clean(report, fps)
    assert report.discontinuities == 0
    assert [(pes.pts, pes.dts) for pes in report.pes[grid.VIDEO_PID]] == [
        (ticks_90k(sample.time_us), None) for sample in video
    ]
    assert [pes.random_access for pes in report.pes[grid.VIDEO_PID]] == [sample.sync for sample in video]
    clock_frames = sum(frame.kind is FrameKind.CLOCK for _, frame in frames)
    if fps >= 29 and jitter_us < 2000:
        assert clock_frames == 0, "each costs every viewer a send"


@pytest.mark.parametrize("jitter_us", [0, 50_000])
@pytest.mark.parametrize(
    ("codec", "rate_hz", "frame"),
    [
        (Codec.AAC, 48_000, 1024),
        (Codec.AAC, 8000, 1024),
        (Codec.MP2, 32_000, 1152),
        (Codec.AC3, 48_000, 1536),
        (Codec.OPUS, 48_000, 120),
        (Codec.OPUS, 48_000, 2880),
    ],
)
def test_audio_alone(codec: Codec, rate_hz: int, frame: int, jitter_us: int) -> None:
    choose = random.Random(frame)
    samples = sounds(5, start_us=SECOND_US, codec=codec, rate_hz=rate_hz, frame=frame)
    arrivals = late(samples, lambda: choose.randint(0, jitter_us))
    report = checked(muxed(arrivals, Track(codec, sample_rate_hz=rate_hz, channels=2)))
    assert_clean(report)
    assert len(report.pes[grid.AUDIO_PID]) == len(samples)


@pytest.mark.parametrize("codec", [Codec.H264, Codec.H265])
@pytest.mark.parametrize("fps", [15, 30])
def test_b_pictures(fps: float, codec: Codec) -> None:
    samples = pictures(fps, 5, start_us=SECOND_US, codec=codec, b_pictures=True)
    report = checked(muxed(late(samples, lambda: 0), Track(codec)))
    assert_clean(report)
    assert [(pes.pts, pes.dts) for pes in report.pes[grid.VIDEO_PID]] == [
        (ticks_90k(sample.time_us), ticks_90k(sample.order_us)) for sample in samples
    ]


@pytest.mark.parametrize("skew_us", [-60_000, 60_000])
def test_tracks_that_do_not_come_together(skew_us: int) -> None:
    """One track's latency is another than the other's, as with an encoder beside a microphone."""
    arrivals = sorted(
        late(pictures(25, 10), lambda: max(skew_us, 0)) + late(sounds(10), lambda: max(-skew_us, 0)),
        key=lambda arrival: arrival[0],
    )
    assert_clean(checked(muxed(arrivals, VIDEO, AUDIO)))


# ---- time that is not even ------------------------------------------------------------------------------


def test_a_source_that_gets_slower_is_followed() -> None:
    """From 20 to 400 ms of latency: late pictures at first, then none, and never a PCR that goes back."""
    samples = pictures(30, 20)
    arrivals = [
        (sample.order_us + (20_000 if number < 150 else 400_000), sample) for number, sample in enumerate(samples)
    ]
    frames = muxed(arrivals, VIDEO)
    report = checked(frames)
    late_ones = [error for error in report.pts_errors if "after its DTS" in error]
    assert 10 < len(late_ones) < 80
    report.pts_errors = [error for error in report.pts_errors if error not in late_ones]
    # While nothing came, the tables and PCRs did.
    assert_clean(report)
    settled = checked(frames[300:])
    assert_clean(settled)
    assert settled.dts_ahead_min > 0


@pytest.mark.parametrize("ppm", [-100, 100])
def test_clocks_that_drift_apart_are_followed(ppm: int) -> None:
    """100 ppm is 360 ms an hour: more than the lead of the decoding times."""
    samples = pictures(5, 5400, start_us=SECOND_US)
    muxer = TsMuxer((VIDEO,), ssrc=1)
    leads = []
    for sample in samples:
        small = Sample(sample.data[:200], sample.time_us, Codec.H264, sample.sync)
        now_us = sample.time_us + sample.time_us * ppm // 1_000_000
        frame = muxer.write(small, now_us)
        leads.append((ticks_90k(sample.time_us) - frame.clock) / 90)
    assert min(leads) > 30
    assert max(leads) < 250
    assert max(leads[1000:]) - min(leads[1000:]) < 100


@pytest.mark.parametrize("jump_us", [-3_600 * SECOND_US, -5 * SECOND_US, -500_000, 5 * SECOND_US])
def test_time_that_jumps(jump_us: int) -> None:
    """The source's time, not ours: it is signalled, and tables and PCRs go on at once."""
    before, after = (
        pictures(25, 3, start_us=4000 * SECOND_US),
        pictures(25, 3, start_us=4003 * SECOND_US + jump_us),
    )
    arrivals = late(before, lambda: 0) + [(sample.time_us - jump_us, sample) for sample in after]
    frames = muxed(arrivals, VIDEO)
    report = checked(frames)
    assert_clean(report)
    assert report.discontinuities == 1
    jumped = next(number for number, (_, frame) in enumerate(frames) if rtp_packets(frame.data)[0][1] & 0x80)
    frame = frames[jumped][1]
    assert frame.time_us == after[0].time_us
    assert frame.counts[:2] == (1, 1), "tables, as a decoder starts anew"
    assert sum(rtp_packets(frame.data)[0][1] >> 7 for _, frame in frames) == 1
    pts = [pes.pts for pes in report.pes[grid.VIDEO_PID]]
    assert pts == [ticks_90k(sample.time_us) for sample in before + after]


def test_a_jump_that_an_audio_frame_brings() -> None:
    """The PCR is then in a packet of its own, on the video PID, and says so."""
    arrivals = late(merged(pictures(25, 2), sounds(2)), lambda: 0)
    sound = sounds(0.05, start_us=100 * SECOND_US)[0]
    frames = muxed([*arrivals, (2 * SECOND_US, sound)], VIDEO, AUDIO)
    report = checked(frames)
    assert_clean(report)
    assert report.discontinuities == 1
    assert rtp_packets(frames[-1][1].data)[0][1] & 0x80


def test_pictures_that_come_all_at_once() -> None:
    """A program that writes a file's samples without waiting: no clock is far behind them."""
    samples = pictures(30, 20, start_us=SECOND_US)
    report = checked((0, TsMuxer((VIDEO,), ssrc=1).write(sample, 5)) for sample in samples[:1])
    assert_clean(report)
    muxer = TsMuxer((VIDEO,), ssrc=1)
    report = checked((0, muxer.write(sample, 5)) for sample in samples)
    assert report.pts_ahead_max <= 700 * 90
    assert_clean(report)


def test_a_source_that_stalls() -> None:
    """CLOCK frames go on for a while, then not; what comes after is signalled and clean."""
    first, second = pictures(25, 2), pictures(25, 2, start_us=10 * SECOND_US)
    muxer = TsMuxer((VIDEO,), ssrc=1)
    frames = list(play(muxer, late(first + second, lambda: 1000)))
    stall_start_us = first[-1].time_us + 1000
    idle = [
        at_us
        for at_us, frame in frames
        if frame.kind is FrameKind.CLOCK and stall_start_us < at_us < 10 * SECOND_US
    ]
    assert SECOND_US < max(idle) - stall_start_us <= STALLED_US
    report = checked(frames)
    assert len(report.pts_interval_errors) <= 1
    report.pts_interval_errors.clear()
    assert_clean_but_for_arrival(report)
    assert report.discontinuities == 1

    last_us = second[-1].time_us + 1000
    assert muxer.tick(last_us + STALLED_US + SECOND_US) is None
    assert muxer.next_tick_us == NEVER_US


def assert_clean_but_for_arrival(report: Report) -> None:
    report.pcr_arrival_interval_max_us = 0
    assert_clean(report)


def test_pictures_without_a_decoding_time_out_of_order() -> None:
    """Small steps back are no discontinuity: the clock goes on."""
    samples = pictures(25, 4)
    swapped = [samples[number ^ 1] for number in range(len(samples))]
    muxer = TsMuxer((VIDEO,), ssrc=1)
    frames = list(play(muxer, [(number * 40_000, sample) for number, sample in enumerate(swapped)]))
    report = checked(frames)
    assert report.discontinuities == 0
    others = [error for error in report.pts_errors if "does not go forward" not in error]
    assert len(others) <= 1, "at most the first late one"
    assert [e for e in report.errors if not e.startswith("pts: ")] == []


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(-2 * SECOND_US, 2 * SECOND_US), st.integers(-50_000, 200_000)), max_size=60))
def test_no_time_can_break_the_stream(steps: list[tuple[int, int]]) -> None:
    """Whatever the clocks do: every PCR that goes back is signalled, and every packet is in order."""
    muxer = TsMuxer((VIDEO, AUDIO), ssrc=1)
    order_us = now_us = 0
    frames = []
    for number, (order_step, now_step) in enumerate(steps):
        order_us, now_us = order_us + order_step, now_us + now_step
        sample = (
            Sample(b"\0\0\0\1\x41" + b"\x88" * 100, order_us, Codec.H264, number == 0)
            if number % 3
            else Sample(b"x" * 50, order_us, Codec.AAC)
        )
        frames.append((0, muxer.write(sample, now_us)))
        tick = muxer.tick(now_us + 37_000)
        if tick is not None:
            frames.append((0, tick))
    report = checked(frames)
    assert not [error for error in report.pcr_errors if "not go forward" in error or "not signalled" in error]
    kinds = {error.split(": ")[0] for error in report.errors}
    assert kinds <= {"pts", "pts_interval", "pcr", "table"}


# ---- ticks ----------------------------------------------------------------------------------------------


def test_ticks() -> None:
    muxer = TsMuxer((VIDEO,), ssrc=9, sequence=65_535)
    first = muxer.write(pictures(5, 1)[0], 50_000)
    due_us = muxer.next_tick_us
    assert 50_000 < due_us <= 90_000
    assert muxer.tick(due_us - 1) is None
    frame = muxer.tick(due_us)
    assert frame is not None
    assert (frame.kind, frame.sync, frame.disposable) == (FrameKind.CLOCK, False, True)
    assert frame.counts == (0, 0, 0, 0), "a PCR has no payload"
    assert frame.counters == muxer.counters
    assert (frame.clock - first.clock) % RTP_WRAP == ticks_90k(due_us - 50_000)
    assert frame.time_us > first.time_us
    assert len(frame.data) == 16 + 188
    assert muxer.tick(due_us) is None
    second = muxer.tick(muxer.next_tick_us)
    assert second is not None
    assert second.counts == (1, 1, 0, 0)
    assert len(second.data) == 16 + 3 * 188
    assert second.sequence == (frame.sequence + 1) & 0xFFFF


# ---- wraps ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fps", [5, 30])
def test_all_numbers_wrap(fps: float) -> None:
    """PTS, DTS and PCR after 33 bits, the RTP timestamp after 32; the sequence after 16."""
    for end_ticks in (PTS_WRAP, RTP_WRAP):
        start_us = end_ticks * 100 // 9 - 3 * SECOND_US
        samples = merged(pictures(fps, 6, start_us=start_us, b_pictures=fps > 20), sounds(6, start_us=start_us))
        muxer = TsMuxer((VIDEO, AUDIO), ssrc=1, sequence=65_500)
        frames = list(play(muxer, late(samples, lambda: 0)))
        report = checked(frames)
        assert_clean(report)
        assert report.discontinuities == 0
        assert frames[0][1].clock > frames[-1][1].clock, "it has wrapped"
        assert muxer.sequence < 65_500
        last = report.pes[grid.AUDIO_PID][-1].pts
        assert last is not None
        assert last % PTS_WRAP == ticks_90k(samples[-1].time_us) % PTS_WRAP or fps


# ---- splices --------------------------------------------------------------------------------------------


LIVE = muxed(late(merged(pictures(10, 4), sounds(4)), lambda: 5000), VIDEO, AUDIO)


@settings(max_examples=25, deadline=None)
@given(st.data(), st.integers(0, 65_535), st.tuples(*[st.integers(0, 15)] * 4))
def test_any_selection_of_frames_can_be_numbered_through(
    data: st.DataObject, sequence: int, counters: tuple[int, int, int, int]
) -> None:
    """What a viewer gets after drops: one stream with no gap in any number, every frame whole."""
    runs = data.draw(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 12)), min_size=1, max_size=20))
    ts, rtp = TsCheck(), RtpCheck()
    offset, last = Offset((RtpOffset(sequence, 0, 0xABCDEF01),), counters), None
    at, kept = 0, []
    for left_out, taken in runs:
        at += left_out
        for _, frame in LIVE[at : at + taken]:
            if last is not None:
                offset = next_offset(last, offset, frame)
            out = renumbered(frame.data, frame, offset)
            last = Mark(frame, len(frame.data))
            kept.append(frame)
            for packet in rtp_packets(bytes(out)):
                rtp.feed(packet)
                ts.feed(packet[12:])
        at += taken
    report = ts.finish()
    assert not rtp.errors
    assert rtp.ssrc in (0xABCDEF01, None)
    # Pictures, tables and PCRs that were left out are missed, and nothing else.
    assert {error.split(": ")[0] for error in report.errors} <= {"pts_interval", "pts", "pcr", "table", "pid"}
    assert sum(len(pes) for pes in report.pes.values()) <= sum(frame.kind is not FrameKind.CLOCK for frame in kept)


# ---- a day ----------------------------------------------------------------------------------------------


def test_a_day() -> None:
    """24 hours across the end of 33 bits: no drift between picture and sound, nothing grows, numbers in order."""
    start_us = PTS_WRAP * 100 // 9 - 20 * HOUR_US
    picture, sync_picture = (b"\0\0\0\1" + kind + b"\x88" * 400 for kind in (b"\x41", b"\x65"))
    muxer = TsMuxer((VIDEO, AUDIO), ssrc=1)
    choose = random.Random(24)
    sequence, clock, wraps = 0, 0, 0
    now_us = 0
    traced = []
    for half_second in range(24 * 7200):
        time_us = start_us + half_second * 500_000
        # Our clock is 20 ppm faster than the source's: 1.7 s in the day.
        now_us = time_us + (time_us - start_us) // 50_000 + choose.randrange(30_000)
        sync = half_second % 20 == 0
        for sample in (
            Sample(sync_picture if sync else picture, time_us, Codec.H264, sync),
            Sample(b"\x21" * 100, time_us + 777, Codec.AAC),
        ):
            frame = muxer.write(sample, now_us)
            assert frame.sequence == sequence
            sequence = (sequence + grid.rtp_packets(len(frame.data))) & 0xFFFF
            assert _pts(frame) == ticks_90k(sample.time_us) % PTS_WRAP
            lead = (ticks_90k(sample.time_us) - frame.clock) % RTP_WRAP / 90
            assert 20 < lead < 200, f"after {half_second / 2} s the clock is {lead} ms behind"
            wraps += frame.clock < clock
            clock = frame.clock
        if half_second == 22 * 7200:
            tracemalloc.start()
        elif half_second > 22 * 7200 and half_second % 1000 == 0 and tracemalloc.is_tracing():
            traced.append(tracemalloc.get_traced_memory()[0])
            if half_second > 23 * 7200:
                tracemalloc.stop()
    assert wraps == 2
    # 16 bytes lost a frame would be 200 kB.
    assert len(traced) > 5
    assert max(traced) - min(traced) < 20_000
    tail = merged(*(make(3, start_us=start_us + 24 * HOUR_US) for make in (sounds, partial(pictures, 25))))
    assert_clean(checked([(0, muxer.write(sample, now_us + sample.time_us - tail[0].time_us)) for sample in tail]))


def _pts(frame: Frame) -> int:
    """The PTS in the one PES packet of a frame."""
    ts = bytes(frame.data[:1332])
    at = max(ts.find(b"\0\0\1\xe0"), ts.find(b"\0\0\1\xc0"))
    five = int.from_bytes(ts[at + 9 : at + 14], "big")
    return five >> 33 << 30 & 0x1_C000_0000 | five >> 17 << 15 & 0x3FFF_8000 | five >> 1 & 0x7FFF
