"""Viewers that wait together: each is sent what it would have been sent alone."""

from hypothesis import given
from hypothesis import strategies as st

from server.datagrams import Datagrams, Run
from server.udp_backlog import Pacing
from server.udp_convoys import Convoy, Convoys

PACING = Pacing(bytes_per_s=1_000_000, burst_bytes=10_000, packet_bytes_min=0)
STEP_US = 2_000


def frame(number: int, size: int) -> Datagrams:
    return Datagrams((Run(1000, bytes((number,)) * size),))


class Road:
    """Convoys, and what their members have been sent."""

    def __init__(self) -> None:
        self.convoys: Convoys[str] = Convoys(PACING)
        self.sent: dict[str, bytes] = {}
        self.calls = 0

    def add(self, members: str, data: Datagrams, now_us: int = 0) -> str:
        convoys, refused = self.convoys.add(members, data, now_us)
        for convoy in convoys:
            self._go(convoy, now_us)
        return "".join(refused)

    def go(self, now_us: int, losing: str = "") -> None:
        for convoy in list(self.convoys.waiting):
            self._go(convoy, now_us, losing)

    def _go(self, convoy: Convoy[str], now_us: int, losing: str = "") -> None:
        while convoy.members and (run := convoy.backlog.take(now_us)) is not None:
            self.calls += 1
            for member in list(convoy.members):
                if member in losing:
                    self.convoys.lost(member)
                else:
                    self.sent[member] = self.sent.get(member, b"") + bytes(run.data)
        self.convoys.settle(convoy)


def test_all_are_sent_the_same_at_once() -> None:
    road = Road()
    road.add("abc", frame(1, 30_000))
    for now_us in range(STEP_US, 40_000, STEP_US):
        road.go(now_us)
    assert road.sent == dict.fromkeys("abc", b"\1" * 30_000)
    assert road.calls == 11  # the burst, and ten times 2000 bytes
    assert not road.convoys.waiting


def test_who_gets_something_else_goes_on_alone() -> None:
    road = Road()
    road.add("abc", frame(1, 30_000))
    assert road.add("ab", frame(2, 1_000)) == ""
    assert [road.convoys.queued_bytes(member) for member in "abcd"] == [21_000, 21_000, 20_000, 0]
    assert road.convoys.waiting_members == set("abc")
    road.go(1_000_000)
    road.go(2_000_000)
    road.go(3_000_000)
    assert road.sent["a"] == road.sent["b"] == b"\1" * 30_000 + b"\2" * 1_000
    assert road.sent["c"] == b"\1" * 30_000
    calls = road.calls
    road.add("abc", frame(3, 5_000), 4_000_000)  # they have rested, and stand together again
    assert road.calls == calls + 1


def test_who_loses_something_is_not_sent_the_rest_of_that_frame() -> None:
    road = Road()
    road.add("abc", frame(1, 30_000))
    road.add("abc", frame(2, 1_000))
    road.go(STEP_US, losing="b")
    for now_us in range(2 * STEP_US, 60_000, STEP_US):
        road.go(now_us)
    assert road.sent["a"] == road.sent["c"] == b"\1" * 30_000 + b"\2" * 1_000
    assert road.sent["b"] == b"\1" * 10_000 + b"\2" * 1_000
    road.add("d", frame(1, 30_000), 100_000)
    road.go(100_000 + STEP_US, losing="d")
    assert "d" not in road.convoys.waiting_members


def test_one_that_is_gone_takes_nobody_along() -> None:
    road = Road()
    road.add("ab", frame(1, 30_000))
    road.convoys.drop("a")
    road.convoys.drop("nobody")
    road.go(1_000_000)
    road.go(2_000_000)
    assert [len(road.sent[member]) for member in "ab"] == [10_000, 30_000]
    road.add("b", frame(1, 30_000), 3_000_000)
    road.convoys.drop("b")
    assert not road.convoys.waiting


def test_too_much_is_refused_to_all_before_whom_it_is() -> None:
    road = Road()
    assert road.add("ab", frame(1, 600_000)) == ""
    assert road.add("abc", frame(2, 20_000)) == "ab"
    assert road.add("c", frame(2, 20_000)) == ""


@given(
    st.lists(
        st.tuples(st.sets(st.sampled_from("abcd"), min_size=1), st.integers(1, 40_000), st.integers(0, 30_000)),
        max_size=12,
    )
)
def test_each_is_sent_all_of_its_own_in_order_at_the_pace(turns: list[tuple[set[str], int, int]]) -> None:
    road = Road()
    wanted = dict.fromkeys("abcd", b"")
    now_us = 0
    for number, (members, size, pause_us) in enumerate(turns):
        data = frame(number, size)
        assert road.add("".join(sorted(members)), data, now_us) == ""
        for member in members:
            wanted[member] += bytes(data.runs[0].data)
        now_us += pause_us
        road.go(now_us)
        most = PACING.credit_bytes_max + 1000 + now_us * PACING.bytes_per_s // 1_000_000
        assert all(len(sent) <= most for sent in road.sent.values())
    while road.convoys.waiting:
        now_us += STEP_US
        road.go(now_us)
    assert {member: road.sent.get(member, b"") for member in "abcd"} == wanted
