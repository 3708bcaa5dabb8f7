"""A frame cut into runs that one system call can send."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.datagrams import RUN_BYTES_MAX, RUN_PACKETS_MAX, native_datagrams, ts_datagrams
from server.rtsp_message import encode_interleaved
from tests.support.frame_source import FrameSource


@pytest.mark.parametrize("packets", [1, 6, 7, 8, 300, 49 * 7, 49 * 7 + 1, 1000])
def test_runs_hold_the_packets_in_order(packets: int) -> None:
    frame = FrameSource().frame(packets=packets).data
    wanted = []
    while frame:
        end = 4 + int.from_bytes(frame[2:4], "big")
        wanted.append(frame[4:end])
        frame = frame[end:]
    datagrams = ts_datagrams(b"".join(b"$\0" + len(packet).to_bytes(2, "big") + packet for packet in wanted))
    got = []
    for segment, run, _ in datagrams.runs:
        parts = [bytes(run[at : at + segment]) for at in range(0, len(run), segment)]
        assert len(run) <= RUN_BYTES_MAX
        assert len(parts) <= RUN_PACKETS_MAX
        got += parts
    assert got == wanted
    assert len(datagrams) == sum(map(len, wanted))
    assert len(datagrams.runs) == -(-len(wanted) // 49)


@given(st.lists(st.integers(12, 1328) | st.just(1328), min_size=1, max_size=200), st.integers(0, 1))
def test_native_packets_of_any_sizes(sizes: list[int], track: int) -> None:
    wanted = [bytes((n % 256,)) * size for n, size in enumerate(sizes)]
    datagrams = native_datagrams(b"".join(encode_interleaved(0, packet) for packet in wanted), track)
    got = []
    for segment, run, of in datagrams.runs:
        parts = [bytes(run[at : at + segment]) for at in range(0, len(run), segment)]
        assert of == track
        assert len(run) <= RUN_BYTES_MAX
        assert len(parts) <= RUN_PACKETS_MAX
        got += parts
    assert got == wanted
    assert len(datagrams) == sum(sizes)


def test_a_picture_in_fragments_is_one_run() -> None:
    frame = b"".join(encode_interleaved(0, bytes(size)) for size in (1328, 1328, 1328, 700))
    assert [(segment, len(run)) for segment, run, _ in native_datagrams(frame, 0).runs] == [(1328, 4684)]
