"""Ready-made TS packets into frames, and continuity counters across splices."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import grid
from common.errors import MediaError
from common.grid import FrameKind
from muxer.packet_feed import FLAG_AUDIO, FLAG_END, FLAG_SYNC, Continuity, PacketFeed


def packet(pid: int = 0x100, counter: int = 0, payload: bool = True) -> bytes:
    return bytes((0x47, pid >> 8, pid & 255, (0x10 if payload else 0x20) | counter)) + bytes(184)


def test_a_frame_is_complete_at_its_end_flag() -> None:
    feed = PacketFeed(ssrc=7)
    packets = [packet(counter=i) for i in range(9)]
    for i, data in enumerate(packets[:-1]):
        assert feed.add(data, 1000, 90, FLAG_SYNC if i == 0 else 0) is None
    frame = feed.add(packets[-1], 1000, 90, FLAG_END)
    assert frame is not None
    assert (frame.kind, frame.sync, frame.clock, frame.ssrc) == (FrameKind.VIDEO, True, 90, 7)
    assert bytes(grid.without_rtp(frame.data)) == b"".join(packets)
    after = feed.add(packet(), 2000, 180, FLAG_END | FLAG_AUDIO)
    assert after is not None
    assert (after.kind, after.sync, after.sequence) == (FrameKind.AUDIO, False, 2)


@pytest.mark.parametrize(
    ("data", "flags", "words"),
    [
        (b"", 0, "188 bytes"),
        (packet()[:-1], 0, "188 bytes"),
        (b"\x48" + packet()[1:], 0, "0x47"),
        (packet(), 0x10, "unknown flags 0x10"),
    ],
)
def test_what_is_no_packet_is_refused(data: bytes, flags: int, words: str) -> None:
    with pytest.raises(MediaError, match=words):
        PacketFeed(ssrc=0).add(data, 0, 0, flags)


def test_a_frame_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("muxer.packet_feed.FRAME_PACKETS_MAX", 3)
    feed = PacketFeed(ssrc=0)
    for _ in range(3):
        feed.add(packet(), 0, 0, 0)
    with pytest.raises(MediaError, match="end-of-frame"):
        feed.add(packet(), 0, 0, 0)


@given(st.lists(st.tuples(st.sampled_from([0x100, 0x101]), st.booleans(), st.booleans()), max_size=80))
def test_continuity_goes_on_whatever_is_left_out(packets: list[tuple[int, bool, bool]]) -> None:
    """packets: PID, has payload, left out."""
    continuity, source = Continuity(), {0x100: 0, 0x101: 5}
    seen: dict[int, int] = {}
    was_out = False
    for pid, payload, out in packets:
        source[pid] = source[pid] + payload & 15
        if out:
            was_out = True
            continue
        if was_out:
            continuity.splice()
            was_out = False
        data = bytearray(packet(pid, source[pid], payload))
        continuity.apply(data)
        counter = data[3] & 15
        if pid in seen:
            assert counter == seen[pid] + payload & 15
        seen[pid] = counter
