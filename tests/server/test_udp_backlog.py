"""What one UDP viewer is sent when: a burst, the rest at a pace, in order, whole packets."""

from hypothesis import given
from hypothesis import strategies as st

from server.datagrams import Datagrams, Run
from server.udp_backlog import SLICE_US, Backlog, Pacing

PACING = Pacing(bytes_per_s=1_000_000, burst_bytes=10_000, packet_bytes_min=0)


def frame(*runs: tuple[int, int]) -> Datagrams:
    """Runs of (bytes to a packet, bytes)."""
    return Datagrams(tuple(Run(segment, bytes(size)) for segment, size in runs))


def taken(backlog: Backlog, now_us: int) -> list[int]:
    sizes = []
    while (run := backlog.take(now_us)) is not None:
        sizes.append(len(run.data))
    return sizes


def test_a_burst_then_the_pace() -> None:
    backlog = Backlog(PACING, 0)
    assert backlog.add(frame((1000, 30_500)))
    assert taken(backlog, 0) == [10_000]
    assert taken(backlog, SLICE_US - 1) == []
    assert taken(backlog, SLICE_US) == [2000]
    assert taken(backlog, 10_000) == [8000]
    assert backlog.queued_bytes == 10_500
    assert taken(backlog, 1_000_000) == [10_000, 500] or backlog.queued_bytes == 500
    assert taken(backlog, 1_010_000) in ([], [500])
    assert backlog.queued_bytes == 0


def test_the_credit_comes_back_while_nothing_waits() -> None:
    backlog = Backlog(PACING, 0)
    backlog.add(frame((1000, 10_000)))
    assert taken(backlog, 0) == [10_000]
    backlog.add(frame((1000, 10_000)))
    assert taken(backlog, 5000) == [5000]
    assert taken(backlog, 10_000) == [5000]
    backlog.add(frame((1000, 20_000)))
    assert taken(backlog, 1_000_000) == [10_000]


def test_small_packets_count_as_large_ones() -> None:
    backlog = Backlog(Pacing(1_000_000, 13_280), 0)
    for _ in range(30):
        assert backlog.add(frame((200, 200)))
    assert taken(backlog, 0) == [200] * 10
    backlog = Backlog(Pacing(1_000_000, 13_280), 0)
    backlog.add(frame((1328, 13_280), (100, 1000)))
    assert taken(backlog, 0) == [13_280]


def test_too_much_is_not_queued() -> None:
    backlog = Backlog(PACING, 0)
    assert backlog.add(frame((1000, 10_000_000)))  # whatever its size, the first is
    assert not backlog.add(frame((1000, 1000)))
    backlog = Backlog(PACING, 0)
    assert backlog.add(frame((1000, PACING.queued_bytes_max)))
    assert backlog.add(frame((1000, 1000)))
    assert not backlog.add(frame((1000, 1000)))


def test_a_frame_of_which_a_part_is_lost_is_dropped() -> None:
    backlog = Backlog(PACING, 0)
    backlog.add(frame((1000, 9000), (500, 4000)))
    backlog.add(frame((700, 700)))
    assert backlog.take(0) is not None
    backlog.drop_frame()
    assert backlog.queued_bytes == 700
    assert taken(backlog, 0) == [700]
    backlog.add(frame((700, 700)))
    backlog.drop_frame()  # nothing of it has been taken
    assert backlog.queued_bytes == 700


@given(
    st.lists(
        st.lists(st.tuples(st.integers(1, 1500), st.integers(1, 40_000)), min_size=1, max_size=4), max_size=5
    ),
    st.integers(1500, 70_000),
    st.integers(1000, 10_000_000),
)
def test_everything_leaves_once_in_order(
    frames: list[list[tuple[int, int]]], burst_bytes: int, bytes_per_s: int
) -> None:
    pacing = Pacing(bytes_per_s, burst_bytes, packet_bytes_min=0)
    backlog = Backlog(pacing, 0)
    wanted = []
    for number, runs in enumerate(frames):
        data = Datagrams(tuple(Run(segment, bytes((number,)) * size) for segment, size in runs))
        if backlog.add(data):
            wanted += [bytes(run.data[at : at + run.segment_bytes])
                       for run in data.runs for at in range(0, len(run.data), run.segment_bytes)]  # fmt: skip
    got = []
    now_us, sent = 0, 0
    while backlog.queued_bytes:
        while (run := backlog.take(now_us)) is not None:
            got += [bytes(run.data[at : at + run.segment_bytes])
                    for at in range(0, len(run.data), run.segment_bytes)]  # fmt: skip
            sent += len(run.data)
        assert sent <= pacing.credit_bytes_max + 1500 + now_us * bytes_per_s // 1_000_000
        now_us += 100_000
    assert got == wanted
