"""Which stream wants a clock reference next, without asking all of them."""

from hypothesis import given
from hypothesis import strategies as st

from muxer.clock_rounds import LOOK_US_MIN, ClockRounds


class Streams:
    """due_us: of each stream; asked: how often they were looked at."""

    def __init__(self, **due_us: int | None) -> None:
        self.due_us = dict(due_us)
        self.asked = 0
        self.rounds = ClockRounds(self._due)

    def _due(self, stream: str) -> int | None:
        self.asked += 1
        return self.due_us[stream]


def test_nothing_is_due_before_a_sample_has_come() -> None:
    streams = Streams(a=100)
    assert streams.rounds.due_us is None
    assert list(streams.rounds.due(1_000)) == []
    streams.rounds.note("a")
    assert streams.rounds.due_us == 100


def test_the_first_is_told_first() -> None:
    streams = Streams(a=300, b=100, c=200)
    for stream in "abc":
        streams.rounds.note(stream)
    assert streams.rounds.due_us == 100
    assert list(streams.rounds.due(99)) == []
    assert list(streams.rounds.due(250)) == ["b", "c"]


def test_a_picture_moves_the_time_and_no_wake_up_is_left_behind() -> None:
    streams = Streams(a=100)
    streams.rounds.note("a")
    streams.due_us["a"] = 400
    streams.rounds.note("a")
    assert streams.rounds.due_us == 400
    assert list(streams.rounds.due(399)) == []


def test_a_stream_that_stays_due_is_looked_at_again_a_little_later() -> None:
    streams = Streams(a=100)
    streams.rounds.note("a")
    assert list(streams.rounds.due(100)) == ["a"]
    assert streams.rounds.due_us == 100 + LOOK_US_MIN
    assert list(streams.rounds.due(100 + LOOK_US_MIN)) == ["a"]


def test_a_stream_that_stalls_is_left_alone_until_its_next_sample() -> None:
    streams = Streams(a=100, b=None)
    streams.rounds.note("a")
    streams.rounds.note("b")
    streams.due_us["a"] = None
    assert streams.rounds.due_us is None
    streams.due_us["a"] = 50
    assert streams.rounds.due_us is None
    streams.rounds.note("a")
    assert streams.rounds.due_us == 50


def test_samples_cost_the_same_however_many_streams_there_are() -> None:
    streams = Streams(**{f"s{number}": number for number in range(1000)})
    for stream in streams.due_us:
        streams.rounds.note(stream)
    streams.asked = 0
    for turn in range(1, 4):
        for number in range(1000):
            streams.due_us[f"s{number}"] = turn * 1000 + number
            streams.rounds.note(f"s{number}")
            assert streams.rounds.due_us is not None
    assert streams.asked <= 2 * 3 * 1000 + 1000


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 50), st.one_of(st.none(), st.integers(1, 100)))))
def test_none_is_late_and_none_is_early(steps: list[tuple[str, int, int | None]]) -> None:
    """Times only move on, as those of a muxer do, also from before a stall; a stream without one gets one by a
    sample."""
    streams = Streams(a=None, b=None, c=None, d=None)
    looked_us = dict.fromkeys("abcd", -LOOK_US_MIN)
    newest_us = dict.fromkeys("abcd", 0)
    now_us = 0
    for stream, passed_us, later_us in steps:
        now_us += passed_us
        if later_us is not None:
            newest_us[stream] = max(newest_us[stream], now_us) + later_us
        streams.due_us[stream] = None if later_us is None else newest_us[stream]
        streams.rounds.note(stream)
        wanted = {name for name, at_us in streams.due_us.items() if at_us is not None and at_us <= now_us}
        told = set(streams.rounds.due(now_us))
        assert told <= wanted
        assert all(now_us - looked_us[name] < LOOK_US_MIN for name in wanted - told)
        looked_us.update(dict.fromkeys(told, now_us))
