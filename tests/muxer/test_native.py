"""The muxer of native payloads: headers, clocks, and what is refused."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import rtp_rows
from common.clock import RTP_WRAP, ticks
from common.errors import MediaError
from common.grid import Frame, FrameKind
from common.header_numbers import Mark
from common.sample import Codec, Payload, Sample, Track
from muxer.native import NativeMuxer
from tests.muxer.depacketise import aac, h264
from tests.muxer.test_h264_format import IDR, PPS, SLICE, SPS, annex_b

VIDEO = Track(Codec.H264, 64, 48, 25.0, config=annex_b(SPS, PPS))
AUDIO = Track(Codec.AAC, sample_rate_hz=48_000, channels=2, config=b"\x11\x90")
L16 = Track(Codec.L16, sample_rate_hz=48_000, channels=2)


def muxer(*tracks: Track, sequence: int = 65_533) -> NativeMuxer:
    return NativeMuxer(tracks or (VIDEO, AUDIO), ssrc=0xFFFF_FFFF, sequence=sequence)


def picture(time_us: int, size: int = 3000, sync: bool = False, decode_us: int | None = None) -> Sample:
    return Sample(annex_b((IDR if sync else SLICE) + b"\x55" * size), time_us, Codec.H264, sync, decode_us)


def sound(time_us: int, size: int = 300) -> Sample:
    return Sample(b"\x55" * size, time_us, Codec.AAC)


def headers(frame: Frame) -> list[tuple[int, int, int, int, int]]:
    """(first byte, marker and type, sequence, clock, SSRC) of each packet."""
    return [struct.unpack_from(">BBHII", packet) for packet in rtp_rows.packets(frame.data)]


def bodies(frame: Frame) -> list[bytes]:
    return [bytes(packet[12:]) for packet in rtp_rows.packets(frame.data)]


def test_a_frame_is_whole_and_says_where_both_streams_stand() -> None:
    made = muxer()
    first = made.write(picture(80_000, sync=True, decode_us=40_000), 0)
    assert (first.payload, first.track, first.kind, first.sync) == (Payload.NATIVE, 0, FrameKind.VIDEO, True)
    assert (first.time_us, first.packets, len(rtp_rows.walk(first.data))) == (40_000, 4, 4)
    assert (first.sequences, first.ssrcs, first.rates_hz) == ((65_533, 65_533), (0xFFFF_FFFF, 0), (90_000, 48_000))
    assert first.clocks == (3600, 1920)
    assert headers(first) == [
        (0x80, 96, 65_533, 7200, 0xFFFF_FFFF),
        (0x80, 96, 65_534, 7200, 0xFFFF_FFFF),
        (0x80, 96, 65_535, 7200, 0xFFFF_FFFF),
        (0x80, 96 | 0x80, 0, 7200, 0xFFFF_FFFF),
    ]
    assert h264(bodies(first)) == [SPS, PPS, IDR + b"\x55" * 3000]
    second = made.write(sound(50_000), 0)
    assert (second.track, second.kind, second.sync, second.sequences) == (1, FrameKind.AUDIO, False, (1, 65_533))
    assert headers(second) == [(0x80, 97 | 0x80, 65_533, 2400, 0)]
    assert aac(bodies(second)) == sound(50_000).data
    assert Mark(first, len(first.data)).is_followed_by(second)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 6000)), min_size=1, max_size=30))
def test_numbers_of_each_track_go_on(samples: list[tuple[bool, int]]) -> None:
    made = muxer()
    last: Mark | None = None
    for number, (is_picture, size) in enumerate(samples):
        time_us = number * 21_333
        frame = made.write(picture(time_us, size) if is_picture else sound(time_us, size), 0)
        assert last is None or last.is_followed_by(frame)
        assert [header[2] for header in headers(frame)] == [
            (frame.sequence + n) % 65536 for n in range(frame.packets)
        ]
        last = Mark(frame, len(frame.data))


def test_sound_begins_where_the_frame_before_ended() -> None:
    made = muxer(AUDIO)
    start_us = 1_000_007
    clocks = []
    for number in range(100):
        jitter_us = (number * 7919) % 1800 - 900
        clocks.append(
            headers(made.write(sound(start_us + number * 64_000 // 3 + jitter_us * (number > 0)), 0))[0][3]
        )
    assert clocks == [clocks[0] + 1024 * number for number in range(100)]
    after = made.write(sound(start_us + 101 * 64_000 // 3), 0)  # one is missing
    assert abs(headers(after)[0][3] - clocks[-1] - 2048) < 2
    assert after.sync


def test_a_sample_of_many_packets_of_pcm_goes_on_in_time() -> None:
    made = muxer(L16)
    frame = made.write(Sample(bytes(4 * 700), 0, Codec.L16), 0)
    assert [(kind, clock) for _, kind, _, clock, _ in headers(frame)] == [(96, 0), (96, 329), (96, 658)]
    assert headers(made.write(Sample(bytes(4 * 10), 14_583, Codec.L16), 0))[0][3] == 700


def test_the_clock_wraps() -> None:
    time_us = (RTP_WRAP + 90) * 100 // 9
    frame = muxer(VIDEO).write(picture(time_us), 0)
    assert headers(frame)[0][3] == ticks(time_us, 90_000) % RTP_WRAP == 90
    assert frame.clocks == (90,)


def test_a_change_of_what_is_in_band_needs_no_new_description_and_others_do() -> None:
    made = muxer()
    assert made.can_replace((AUDIO, Track(Codec.H264, 320, 240, config=annex_b(SPS[:-1] + b"\x01", PPS))))
    for tracks in (
        (VIDEO,), (Track(Codec.H265), AUDIO), (VIDEO, L16), (),
        (VIDEO, Track(Codec.AAC, config=b"\x12\x10")),
    ):  # fmt: skip
        assert not made.can_replace(tracks), tracks
    sequence = made.write(picture(0, 100), 0).sequences[0]
    made.replace_tracks((VIDEO, AUDIO))
    assert made.write(picture(1, 100), 0).sequences[0] == (sequence + 1) % 65536


@pytest.mark.parametrize("tracks", [(), (VIDEO, VIDEO), (AUDIO, AUDIO), (Track(Codec.MJPEG, 4000, 3000),)])
def test_tracks_that_cannot_be(tracks: tuple[Track, ...]) -> None:
    with pytest.raises(MediaError):
        NativeMuxer(tracks, ssrc=1)


@pytest.mark.parametrize(
    "sample", [Sample(b"", 0, Codec.H264), Sample(b"x", 0, Codec.H264), Sample(b"x", 0, Codec.OPUS)]
)
def test_a_refused_sample_changes_nothing(sample: Sample) -> None:
    made = muxer()
    with pytest.raises(MediaError):
        made.write(sample, 0)
    assert made.write(picture(0), 0).sequences == (65_533, 65_533)


def test_there_is_no_clock_to_send() -> None:
    made = muxer()
    made.tick(0)
    assert made.next_tick_us > 1 << 60
