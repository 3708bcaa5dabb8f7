"""A viewer's own header numbers: they go on without a gap, whatever is left out."""

from hypothesis import given
from hypothesis import strategies as st

from common.header_numbers import NONE, Offset, RtpOffset, next_offset
from common.messages import FrameMessage
from common.sample import Payload
from server.frame_mark import FrameMark
from tests.support.frame_source import FrameSource, SourceFrame

COUNTER = st.integers(0, 15)
OFFSETS = st.builds(
    lambda *values: Offset((RtpOffset(*values[:3]),), values[3]),
    st.integers(0, 65535),
    st.integers(0, (1 << 32) - 1),
    st.none() | st.just(9),
    st.tuples(COUNTER, COUNTER, COUNTER, COUNTER),
)


def mark(frame: SourceFrame) -> FrameMark:
    return FrameMark(frame.message, len(frame.data), frame.message.time_us)


def own(offset: Offset, frame: FrameMessage) -> tuple[int, list[int], int]:
    """The sequence, counters and SSRC that the viewer gets `frame` with."""
    counters = [(a + b) % 16 for a, b in zip(frame.counters, offset.counters, strict=True)]
    rtp = offset.of(frame.track)
    return (frame.sequence + rtp.sequence) % 65536, counters, frame.ssrc if rtp.ssrc is None else rtp.ssrc


def test_a_mark_is_where_the_next_frame_begins() -> None:
    source = FrameSource(sequence=65535, counters=[15, 0, 14, 3])
    first, second = source.frame(sync=True, packets=20), source.frame()
    found = mark(first)
    assert (found.packets, found.sequences, found.counters) == (4, (3,), (0, 1, 2, 3))
    assert found.position == (1, 0)
    assert found.is_followed_by(second.message)
    assert not found.is_followed_by(source.frame().message)
    assert not found.is_followed_by(first.message)
    assert FrameMark(first.message, len(first.data), 70_000).age_us == 70_000


def test_the_first_frame_gives_its_numbers() -> None:
    frame = FrameSource(sequence=77).frame(sync=True)
    assert next_offset(None, Offset((RtpOffset(5, 6, 7),), (1, 2, 3, 4)), frame.message) == NONE


@given(OFFSETS, st.lists(st.tuples(st.booleans(), st.integers(0, 2), st.integers(1, 30)), min_size=1, max_size=20))
def test_whatever_is_left_out_the_viewers_numbers_are_contiguous(
    offset: Offset, frames: list[tuple[bool, int, int]]
) -> None:
    source = FrameSource(sequence=65500, ssrc=5)
    first = source.frame(sync=True)
    last = mark(first)
    sequence, counters, ssrc = own(offset, first.message)
    sequence += 1
    counters = [(a + b) % 16 for a, b in zip(counters, first.message.counts, strict=True)]
    for taken, kind, packets in frames:
        frame = source.frame(kind, packets=packets)
        if not taken:
            continue
        offset = next_offset(last, offset, frame.message)
        assert own(offset, frame.message) == (sequence % 65536, counters, ssrc)
        last = mark(frame)
        sequence += last.packets
        counters = [(a + b) % 16 for a, b in zip(counters, frame.message.counts, strict=True)]
    following = source.frame()
    if frames[-1][0]:
        assert next_offset(last, offset, following.message) == offset  # in step: the same buffer again


@given(OFFSETS, st.integers(0, (1 << 32) - 1), st.integers(1, 1000))
def test_another_muxer_changes_nothing_for_the_viewer(offset: Offset, clock_base: int, frames_lost: int) -> None:
    old = FrameSource(epoch=1, ssrc=5, sequence=10)
    new = FrameSource(epoch=2, ssrc=6, sequence=50_000, clock_base=clock_base, counters=[1, 2, 3, 4])
    last = old.frame(sync=True)
    sequence, counters, ssrc = own(offset, last.message)
    time_us = frames_lost * 40_000
    frame = new.frame(sync=True, time_us=time_us)
    changed = next_offset(mark(last), offset, frame.message)
    counted = [(a + b) % 16 for a, b in zip(counters, last.message.counts, strict=True)]
    assert own(changed, frame.message) == ((sequence + 1) % 65536, counted, ssrc)
    clocks = frame.message.clock + changed.of(0).clock, last.message.clock + offset.of(0).clock
    passed = (clocks[0] - clocks[1]) % (1 << 32)
    assert passed == frames_lost * 3600
    assert next_offset(mark(frame), changed, new.frame().message) == changed


def test_another_muxer_never_turns_a_ts_clock_back() -> None:
    """Its first frame may be sound that is sent behind a later picture."""
    last = FrameSource(epoch=1, ssrc=5).frame(sync=True, time_us=1_000_000)
    frame = FrameSource(epoch=2, ssrc=6, clock_base=77).frame(sync=True, time_us=980_000)
    changed = next_offset(mark(last), NONE, frame.message)
    assert (frame.message.clock + changed.of(0).clock) % (1 << 32) == last.message.clock


def native(track: int, sequences: tuple[int, int], time_us: int, epoch: int = 1, ssrc: int = 5) -> FrameMessage:
    """A frame of three packets, on clocks that begin with the muxer's life."""
    clocks = time_us * 9 // 100 + 77 * epoch, time_us * 48 // 1000 + 99 * epoch
    return FrameMessage(
        "cam", Payload.NATIVE, track, epoch, 0, track, True, time_us, sequences, clocks, (ssrc, ssrc + 1),
        (90_000, 48_000), (0, 0, 0, 0), (0, 0, 0, 0), 3, True,
    )  # fmt: skip


def test_what_is_left_out_of_one_track_does_not_move_the_other() -> None:
    first = FrameMark(native(0, (10, 20), 0), 3 * 1344, 0)
    assert (first.sequences, first.octets) == ((13, 20), 3 * 1328)
    spliced = next_offset(first, NONE, native(1, (50, 23), 100_000))
    assert spliced == Offset((RtpOffset((13 - 50) % 65536), RtpOffset((20 - 23) % 65536)))
    last = FrameMark(native(1, (50, 23), 100_000), 3 * 116, 0)
    assert next_offset(last, spliced, native(0, (50, 26), 120_000)) is spliced


def test_another_muxer_changes_no_track_s_numbers_and_clock() -> None:
    last = FrameMark(native(1, (10, 20), 0), 3 * 116, 0)
    frame = native(0, (5000, 6000), 1_000_000, epoch=2, ssrc=8)
    assert next_offset(last, NONE, frame) == Offset(
        (
            RtpOffset((10 - 5000) % 65536, (77 - 154) % (1 << 32), 5),
            RtpOffset((23 - 6000) % 65536, (-99) % (1 << 32), 6),
        )
    )


def test_the_ssrc_is_not_named_where_it_is_the_frames_own() -> None:
    a, b = FrameSource(epoch=1, ssrc=5), FrameSource(epoch=2, ssrc=6)
    first = a.frame(sync=True)
    to_b = next_offset(mark(first), NONE, b.frame(sync=True).message)
    assert to_b.of(0).ssrc == 5
    back = next_offset(FrameMark(b.frame().message, 1332, 0), to_b, FrameSource(epoch=3, ssrc=5).frame().message)
    assert back.of(0).ssrc is None
