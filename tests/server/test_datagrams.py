"""A frame cut into runs that one system call can send."""

import pytest

from server.datagrams import RUN_BYTES_MAX, RUN_PACKETS_MAX, ts_datagrams
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
    for segment, run in datagrams.runs:
        parts = [bytes(run[at : at + segment]) for at in range(0, len(run), segment)]
        assert len(run) <= RUN_BYTES_MAX
        assert len(parts) <= RUN_PACKETS_MAX
        got += parts
    assert got == wanted
    assert len(datagrams) == sum(map(len, wanted))
    assert len(datagrams.runs) == -(-len(wanted) // 49)
