"""The drop queue, at random: a state machine that checks every rule after every step."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from common.grid import FrameKind
from muxer.ring import DropQueue, Entry, Limits, Ring
from tests.muxer.frames import fill

SECOND_US = 1_000_000


class DropQueueMachine(RuleBasedStateMachine):
    """Any mix of frames, sends, stops and losses: the rules hold for what arrived."""

    def __init__(self) -> None:
        super().__init__()
        self.now_us = 0
        self.ring = Ring(age_max_us=2 * SECOND_US)
        self.ring.has_video = True
        self.limits = Limits(frames_max=6, age_max_us=SECOND_US, paced=True)
        self.queue = DropQueue(self.ring, self.limits, 0)
        self.kept: dict[int, Entry] = {}  # every frame ever
        self.in_flight: list[int] = []
        self.arrived: list[int] = []

    @rule(letters=st.text("SvvvdacOOllt", min_size=1, max_size=8), step_us=st.integers(0, 300_000))
    def write(self, letters: str, step_us: int) -> None:
        first = self.ring.head
        fill(self.ring, letters, self.now_us, step_us)
        self.now_us += step_us * len(letters)
        self.kept |= {n: self.ring[n] for n in range(max(first, self.ring.first), self.ring.head)}

    @rule(count=st.integers(1, 10))
    def send(self, count: int) -> None:
        self.queue.enforce(self.now_us)
        for _ in range(count):
            number = self.queue.next()
            if number is None:
                return
            waited_us = self.now_us - self.ring[number].arrived_us
            assert waited_us <= SECOND_US, "over age"
            self.queue.take(number)
            self.in_flight.append(number)

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        lost = data.draw(st.integers(0, len(self.in_flight) - 1))
        self.arrived += self.in_flight[:lost]
        self.queue.seek(self.in_flight[lost])
        self.in_flight.clear()

    @rule()
    def deliver(self) -> None:
        self.arrived += self.in_flight
        self.in_flight.clear()

    @invariant()
    def what_arrives_can_be_decoded(self) -> None:
        chain = self.arrived + self.in_flight
        assert chain == sorted(set(chain)), "in order, none twice"
        last_video: int | None = None
        start: int | None = None  # the newest sync point that was reached by a gap
        for number in chain:
            frame = self.kept[number].frame
            if frame.kind is not FrameKind.VIDEO:
                continue
            between = range(last_video + 1 if last_video is not None else 0, number)
            left_out = [self.kept[n] for n in between if n in self.kept]
            gap = last_video is None or any(
                e.frame.kind is FrameKind.VIDEO and not e.frame.disposable and e.leads is None for e in left_out
            )
            if not frame.sync:
                assert last_video is not None, "a picture before the first sync point"
                assert not gap, "a picture after a gap that is no sync point"
                assert start is None or self.kept[number].leads != start, (
                    "what leads it leans on what was left out"
                )
            elif gap:
                start = number
            last_video = number


DropQueueMachine.TestCase.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
TestDropQueue = DropQueueMachine.TestCase
