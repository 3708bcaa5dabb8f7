"""What a soak holds against an instance, from made-up observations."""

import pytest

from tests.chaos.verdict import (
    BACK_S,
    GROWTH_BYTES_A_MINUTE_MAX,
    LIFE_FDS_S,
    YOUNG_S,
    Blame,
    Disturbance,
    End,
    Gap,
    Sighting,
    back_after,
    growing,
    left_over,
    losses,
    slope,
    stuck,
    unexcused,
)


def times(*spans: tuple[float, float]) -> list[float]:
    """A picture every half second in each of these."""
    return [start + step / 2 for start, end in spans for step in range(int((end - start) * 2))]


class TestStuck:
    def test_pictures_all_the_time_are_no_fault(self) -> None:
        assert stuck("a", times((0, 100)), 100, []) == []

    def test_a_gap_for_no_reason_is_one(self) -> None:
        (blame,) = stuck("a", times((0, 50), (60, 100)), 100, [])
        assert (blame.at_s, blame.text) == (49.5, "a: no picture for 10.5 s")

    def test_nor_is_one_excused_by_what_was_over_long_before(self) -> None:
        assert stuck("a", times((0, 50), (60, 100)), 100, [Disturbance("kill", 30, 41)])

    def test_one_that_something_explains_is_none(self) -> None:
        assert stuck("a", times((0, 50), (60, 100)), 100, [Disturbance("hang", 50, 56)]) == []

    def test_until_it_has_been_over_for_too_long(self) -> None:
        assert stuck("a", times((0, 50), (56 + BACK_S + 1, 100)), 100, [Disturbance("hang", 50, 56)])

    def test_one_may_follow_upon_another(self) -> None:
        done = [Disturbance("hang", 50, 56), Disturbance("kill", 58, 62)]
        assert stuck("a", times((0, 50), (66, 100)), 100, done) == []

    def test_no_more_pictures_up_to_the_end_is_a_fault(self) -> None:
        assert stuck("a", times((0, 50)), 100, [Disturbance("kill", 50, 50)])


class TestUnexcused:
    end = End(10.0, "tcp", "server-1", "EOF")

    @pytest.mark.parametrize(
        "one",
        [
            Disturbance("kill", 9, 9, servers={"server-1"}, cuts_until_s=11),
            Disturbance("cut", 10, 10, viewers={"tcp"}, cuts_until_s=10),
        ],
    )
    def test_what_was_done_to_its_server_or_to_it(self, one: Disturbance) -> None:
        assert unexcused([self.end], [one]) == []

    @pytest.mark.parametrize(
        "one",
        [
            Disturbance("kill", 9, 9, servers={"server-0"}, cuts_until_s=11),
            Disturbance("kill", 2, 2, servers={"server-1"}, cuts_until_s=4),
            Disturbance("kill", 11, 11, servers={"server-1"}, cuts_until_s=14),
            Disturbance("kill", 9, 9),
        ],
    )
    def test_anything_else_is_no_excuse(self, one: Disturbance) -> None:
        (blame,) = unexcused([self.end], [one])
        assert blame.text == "tcp: lost its connection to server-1: EOF"

    def test_a_server_that_is_not_known_yet_may_be_any(self) -> None:
        one = Disturbance("kill", 9, 9, servers={"server-0"}, cuts_until_s=11)
        assert unexcused([End(10.0, "tcp", "", "EOF")], [one]) == []


def test_packets_are_missing_by_a_viewers_own_fault_or_not() -> None:
    slow = Disturbance("slow", 5, 8, viewers={"udp"})
    own, later = Blame(9.5, "gap"), Blame(11.0, "gap")
    assert losses("udp", [own, later], [slow]) == [later]
    assert losses("other", [own, later], [slow]) == [own, later]


class TestGrowing:
    def life(self, rss_a_minute: float, fds_a_minute: float = 0.0) -> list[Sighting]:
        ages = range(int(YOUNG_S) + int(LIFE_FDS_S) + 10)
        return [
            Sighting("muxer-0", 5, age, int(50e6 + rss_a_minute * age / 60), int(20 + fds_a_minute * age / 60))
            for age in ages
        ]

    def test_what_stays_or_shrinks_does_not(self) -> None:
        assert growing(self.life(0)) == growing(self.life(-5e6)) == []

    def test_what_grows_does(self) -> None:
        (blame,) = growing(self.life(8 * GROWTH_BYTES_A_MINUTE_MAX))
        assert blame.text == "muxer-0: grows by 4.2 MB a minute"
        (blame,) = growing(self.life(0, 6.0))
        assert blame.text == "muxer-0: 5.8 more descriptors a minute"

    def test_a_step_at_the_start_is_no_growth(self) -> None:
        seen = self.life(0)
        assert growing([Sighting("muxer-0", 5, 0.0, 1, 3), *seen]) == []

    def test_short_lives_say_nothing(self) -> None:
        assert growing(self.life(1e9)[:60]) == []

    def test_slope(self) -> None:
        assert slope([0, 1, 2, 3], [5, 7, 9, 11]) == 2
        assert slope([1], [1]) == 0


def test_left_over() -> None:
    assert left_over({"server": 40, "muxer": 20}, {"server": 45, "muxer": 20}, 5) == []
    (blame,) = left_over({"server": 40}, {"server": 46}, 5)
    assert blame.text == "server: 40 descriptors at the start, 46 at the end"


def test_back_after_takes_the_worst_viewer_and_what_began_then() -> None:
    pictures = {"a": times((0, 10), (13, 20)), "b": times((0, 20)), "c": times((0, 5), (12, 20))}
    found = back_after([Disturbance("kill", 9.8, 9.8), Disturbance("cut", 30, 31)], pictures)
    assert found == {"kill": [Gap(3.5, 9.5, "a")]}
