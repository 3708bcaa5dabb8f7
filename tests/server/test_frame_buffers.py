"""One frame in every form its viewers need."""

import pytest
from msgspec.structs import replace

from common import grid
from common.header_numbers import NONE, Offset, RtpOffset
from common.sample import Codec, Sample, Track
from muxer.mpegts import TsMuxer
from server.datagrams import Datagrams
from server.frame_buffers import SHARED, Form, FrameBuffers, Framing, form, is_frame_size
from server.rtsp_message import encode_interleaved
from tests.support.frame_source import FrameSource, Judge
from tests.support.ts_check import TsCheck

FRAME = FrameSource(sequence=65535, clock_base=100, counters=[1, 2, 3, 4]).frame(sync=True, packets=20)
OTHER = Offset((RtpOffset(10, 20, 30),), (1, 15, 2, 0))


def made(wanted: Form) -> bytes:
    data = FrameBuffers(FRAME.message, FRAME.data).get(wanted)
    assert data is not None
    assert not isinstance(data, Datagrams)
    return bytes(data)


def test_the_muxers_own_form_is_the_very_buffer() -> None:
    buffers = FrameBuffers(FRAME.message, FRAME.data)
    assert buffers.get(SHARED) is FRAME.data
    assert buffers.get(form(Framing.INTERLEAVED, (0,), NONE)) is FRAME.data


def test_each_form_is_made_once() -> None:
    buffers = FrameBuffers(FRAME.message, FRAME.data)
    for wanted in (
        form(Framing.TS, (0,), NONE),
        form(Framing.INTERLEAVED, (4,), NONE),
        form(Framing.TS, (0,), OTHER),
    ):
        assert buffers.get(wanted) is buffers.get(wanted)
    assert FRAME.data == FrameBuffers(FRAME.message, FRAME.data).get(SHARED)  # and the original is untouched


def test_ts_does_not_show_rtp_numbers() -> None:
    assert form(Framing.TS, (7,), OTHER) == form(Framing.TS, (0,), Offset(counters=OTHER.counters))
    assert form(Framing.INTERLEAVED, (7,), OTHER) != form(Framing.INTERLEAVED, (0,), OTHER)


@pytest.mark.parametrize("offset", [NONE, OTHER])
@pytest.mark.parametrize("channel", [0, 6, 254])
def test_interleaved(channel: int, offset: Offset) -> None:
    data = made(form(Framing.INTERLEAVED, (channel,), offset))
    judge = Judge(channel=channel)
    judge.receive(bytes(data))
    assert not judge.unfinished
    assert judge.frames == [(1, 0)]
    rtp = offset.of(0)
    assert judge.sequence == (65535 + 3 + rtp.sequence) % 65536
    assert judge.clock == 100 + rtp.clock
    assert judge.ssrc == (FRAME.message.ssrc if rtp.ssrc is None else rtp.ssrc)
    counters = [judge.ts[at + 3] & 15 for at in (0, 188, 376)]
    assert counters == [(a + b) % 16 for a, b in zip((1, 2, 3), offset.counters[:3], strict=True)]


@pytest.mark.parametrize("offset", [NONE, OTHER])
def test_ts(offset: Offset) -> None:
    data = made(form(Framing.TS, (0,), offset))
    assert len(data) == 22 * 188
    judge = Judge(framed=False)
    judge.receive(data)
    assert judge.frames == [(1, 0)]
    assert data[3] & 15 == (1 + offset.counters[0]) % 16


def test_sizes() -> None:
    good = {16 + 188 * packets + row * 1332 for row in range(3) for packets in range(1, 8)}
    assert {size for size in range(3 * 1332 + 1) if is_frame_size(size)} == good


@pytest.mark.parametrize("offset", [NONE, OTHER])
def test_datagrams(offset: Offset) -> None:
    frame = FrameBuffers(FRAME.message, FRAME.data)
    data = frame.get(form(Framing.UDP, (6,), offset))
    assert isinstance(data, Datagrams)
    assert len(data) == len(FRAME.data) - 4 * 4
    judge = Judge()
    for segment, run, _ in data.runs:
        for at in range(0, len(run), segment):
            judge.receive(encode_interleaved(0, bytes(run[at : at + segment])))
    assert judge.frames == [(1, 0)]
    assert judge.sequence == (65535 + 3 + offset.of(0).sequence) % 65536
    assert form(Framing.UDP, (6,), offset) == form(Framing.UDP, (0,), offset)
    assert frame.get(form(Framing.UDP, (0,), offset)) is data


def test_of_a_new_clock_only_the_first_pcr_is_told() -> None:
    muxer = TsMuxer((Track(Codec.H264),), ssrc=1)
    picture = Sample(b"\0\0\0\1\x65" + bytes(5000), 0, Codec.H264)
    muxer.write(picture, 0)
    made = muxer.write(replace(picture, time_us=40_000), 40_000)
    data = bytes(made.data)
    flags = grid.pcr_flags(data)
    assert flags is not None
    told = bytes(grid.signal_discontinuity(data, flags))
    assert told[flags] == data[flags] | 0x80 != data[flags]
    assert told[:flags] + told[flags + 1 :] == data[:flags] + data[flags + 1 :]
    check = TsCheck()
    check.feed(grid.without_rtp(told))
    check.feed(grid.without_rtp(told))
    assert check.finish().discontinuities == 1


def test_a_frame_without_a_pcr_has_none() -> None:
    assert grid.pcr_flags(FrameSource().frame(1).data) is None
    assert grid.pcr_flags(FrameSource().frame(2).data) is not None
