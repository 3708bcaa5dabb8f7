"""No frame is missing without a reason, whatever happens between a capture, a muxer and a server's viewers.

All three are the real ones (`tests.support.whole_path`). By example, how frames have once been lost; and a machine
that goes all ways at random.
"""

from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from common import wire
from common.drops import Drop
from common.messages import ReadStart
from common.sample import Codec, Payload, Track
from server.flow import Gate
from server.frame_buffers import Framing
from tests.support.muxer_in_memory import QUEUE_MAX
from tests.support.whole_path import GROUP, SYNC_BYTES, Connection, WholePath

QUICK_BPS, CRAWLING_BPS = 10_000_000, 150_000
MS = 1000
STEPS = ("time", "capture", "muxers", "muxers twice", "server", "server, no greeting", "viewers")


@pytest.fixture
def path() -> Iterator[WholePath]:
    path = WholePath()
    yield path
    path.close()


def balance(path: WholePath) -> None:
    """The books of all viewers hold, and nothing is lost."""
    for viewer in path.viewers:
        assert viewer.frames_due == viewer.frames_sent + sum(viewer.drops.values()), viewer.id
        assert Drop.LOST not in viewer.drops, (viewer.id, viewer.drops)


def test_who_asks_a_new_muxer_before_it_has_been_greeted_is_told_first_that_it_is_new(path: WholePath) -> None:
    """What a viewer asks of the muxer it knows may come to the next one. Were it given a frame by that, it would
    be started anew at the word that the muxer is new: with nobody to say what it was not given in between."""
    crawls = path.join(Framing.TS, CRAWLING_BPS, kernel_bytes_max=SYNC_BYTES // 2)
    viewer = crawls.viewer
    assert viewer is not None
    path.run(2000 * MS)
    assert viewer.behind
    path.client.tick()  # the last greeting of the old one
    path.muxer.kill(arrives=0)
    path.muxer.start()
    path.capture_turn()
    path.muxer_turns(2)
    path.muxer.connected = True
    while crawls.blocked:
        crawls.read(1 << 20)
    assert [type(wire.decode_numbered(parts[1:])[0]) for parts in path.muxer.asked.inbox] == [ReadStart]
    path.muxer_turns(2)
    path.server_turn()
    crawls.rate_bps = 0
    path.run(3000 * MS)
    crawls.rate_bps = QUICK_BPS
    path.run(1000 * MS)
    balance(path)
    assert path.counters.muxer_restarts == 1
    assert viewer.flow.gate is Gate.LIVE
    assert viewer.drops[Drop.MUXER]


def test_a_source_that_begins_anew_unheard_is_asked_what_it_is(path: WholePath) -> None:
    """A muxer that is too far behind loses not only samples, but also the word that a new life has begun."""
    viewer = path.join(Framing.INTERLEAVED, QUICK_BPS, Payload.NATIVE).viewer
    assert viewer is not None
    path.run(2000 * MS)
    asked, sent = path.capture.requests, viewer.frames_sent
    path.begin_source()
    path.lose_all()
    path.run(900 * MS)
    assert viewer.frames_sent == sent, "nothing can be made of samples of nobody knows what"
    path.run(400 * MS)
    assert viewer.frames_sent - sent > 25, "what came since the sync point is repeated"
    path.run(4000 * MS)
    assert path.capture.requests == asked + 1, "once was enough"
    balance(path)


def test_what_finds_no_way_is_not_missing(path: WholePath) -> None:
    """Who was to have it is told where to go on; all others would be asked for anew each time."""
    viewer = path.join(Framing.TS, QUICK_BPS).viewer
    assert viewer is not None
    path.run(1000 * MS)
    path.muxer.queue_max = 0
    path.run(700 * MS)
    path.muxer.queue_max = QUEUE_MAX
    path.run(1000 * MS)
    balance(path)
    assert viewer.flow.gate is Gate.LIVE
    assert path.counters.muxers_unheard == 0


def test_who_cannot_be_told_that_it_is_over_is_told_when_he_can(path: WholePath) -> None:
    """Nobody would give him a frame any more, nor say why."""
    connection = path.join(Framing.INTERLEAVED, QUICK_BPS, Payload.NATIVE)
    path.run(1000 * MS)
    path.muxer.queue_max = 0
    path.capture.begin((Track(Codec.H265, 320, 240, 25.0),))
    path.run(100 * MS)
    assert connection.viewer is not None
    path.muxer.queue_max = QUEUE_MAX
    path.run(1000 * MS)
    assert connection.viewer is None


class Machine(RuleBasedStateMachine):
    """Viewers of all speeds; processes that stand still, die and come again; lines that are full."""

    @initialize(rates=st.lists(st.sampled_from([CRAWLING_BPS, 300_000, QUICK_BPS]), min_size=1, max_size=4))
    def start(self, rates: list[int]) -> None:
        self.path = WholePath()
        self.unknown: set[int] = set()
        for rate_bps in rates:
            self.path.join(Framing.TS, rate_bps)
        self.path.run(200 * MS)

    @rule(framing=st.sampled_from([Framing.TS, Framing.INTERLEAVED]), rate_bps=st.integers(10_000, QUICK_BPS))
    def join(self, framing: Framing, rate_bps: int) -> None:
        self.path.join(framing, rate_bps)

    @rule(rate_bps=st.integers(10_000, QUICK_BPS))
    def join_for_the_picture_alone(self, rate_bps: int) -> None:
        self.path.join(Framing.INTERLEAVED, rate_bps, Payload.NATIVE)

    @rule(index=st.integers(0, 9))
    def leave(self, index: int) -> None:
        self.connection(index).leave()

    @rule(index=st.integers(0, 9), rate_bps=st.sampled_from([0, 50_000, CRAWLING_BPS, 300_000, QUICK_BPS]))
    def reads_at(self, index: int, rate_bps: int) -> None:
        self.connection(index).rate_bps = rate_bps

    @rule(index=st.integers(0, 9), plays=st.booleans())
    def pause_or_play(self, index: int, plays: bool) -> None:
        viewer = self.connection(index).viewer
        if viewer is not None:
            (self.path.fanout.read_start if plays else self.path.fanout.read_stop)(viewer)

    @rule(index=st.integers(0, 9), wanted=st.booleans())
    def key_frames_only(self, index: int, wanted: bool) -> None:
        viewer = self.connection(index).viewer
        if viewer is not None:
            self.path.fanout.key_frames_only(viewer, wanted)

    @rule(time_ms=st.sampled_from([10, 50, 200, 1000, 3500]))
    def run_on(self, time_ms: int) -> None:
        self.path.run(time_ms * MS)

    @rule(steps=st.lists(st.sampled_from(STEPS), max_size=12))
    def run_in_any_order(self, steps: list[str]) -> None:
        path = self.path
        for step in steps:
            match step:
                case "time":
                    path.now_us += 5 * MS
                case "capture":
                    path.capture_turn()
                case "muxers":
                    path.muxer_turns(1)
                case "muxers twice":
                    path.muxer_turns(2)
                case "server":
                    path.server_turn()
                case "server, no greeting":
                    path.server_turn(greets=False)
                case "viewers":
                    path.viewers_read()

    @rule(
        captures=st.booleans(), muxes=st.booleans(), serves=st.booleans(),
        time_ms=st.sampled_from([50, 300, 1200, 2500, 3200]),
    )  # fmt: skip
    def stand_still(self, captures: bool, muxes: bool, serves: bool, time_ms: int) -> None:
        self.path.captures, self.path.muxes, self.path.serves = captures, muxes, serves
        self.path.run(time_ms * MS)
        self.path.captures = self.path.muxes = self.path.serves = True

    @rule(
        index=st.integers(0, 1), arrives=st.sampled_from([0, 3, 1000]), dead_ms=st.sampled_from([0, 100, 1000]),
        apart_ms=st.sampled_from([0, 10, 50]), ungreeted_ms=st.sampled_from([0, 50, 190]),
    )  # fmt: skip
    def another_muxer(self, index: int, arrives: int, dead_ms: int, apart_ms: int, ungreeted_ms: int) -> None:
        muxer = self.path.muxers[index]
        if muxer.worker is not None:
            muxer.kill(arrives)
            self.path.run(dead_ms * MS)
            muxer.start()
            self.path.run(apart_ms * MS)
            muxer.connected = True
            self.path.run(ungreeted_ms * MS, greets=False)

    @rule(index=st.integers(0, 1), time_ms=st.sampled_from([50, 300, 1200, 2500]))
    def line_is_cut(self, index: int, time_ms: int) -> None:
        muxer = self.path.muxers[index]
        if muxer.worker is not None:
            muxer.connected = False
            self.path.run(time_ms * MS)
            muxer.connected = True

    @rule(
        index=st.integers(0, 1), from_server=st.booleans(), first=st.integers(0, 3), messages=st.integers(1, 100),
        time_ms=st.sampled_from([10, 30, 100, 300]),
    )  # fmt: skip
    def line_breaks(self, index: int, from_server: bool, first: int, messages: int, time_ms: int) -> None:
        """And stands again before anybody has noticed; what was under way so long is not heard."""
        path = self.path
        path.muxes, path.serves = not from_server, from_server
        path.run(time_ms * MS)
        path.muxes = path.serves = True
        path.muxers[index].lose(from_server, slice(first, first + messages))

    @rule(index=st.integers(0, 1), messages=st.integers(1, 30), time_ms=st.sampled_from([30, 300, 700]))
    def line_breaks_before_a_server_that_is_behind(self, index: int, messages: int, time_ms: int) -> None:
        self.path.serves = False
        self.path.run(time_ms * MS)
        self.path.serves = True
        self.path.muxers[index].mix(messages)

    @rule(muxers=st.integers(1, 2), apart_ms=st.sampled_from([0, 10, 50]), server_first=st.booleans())
    def move(self, muxers: int, apart_ms: int, server_first: bool) -> None:
        """The stream, to the second muxer or to the first: who is told of it first?

        The supervisor waits for the muxers. A muxer that is asked too early says that there is no such stream, and
        does not know who does not read then.
        """
        path = self.path
        if server_first:
            self.unknown |= {viewer.number for viewer in path.viewers}
            path.server_takes(muxers)
            path.run(apart_ms * MS)
            path.muxers_take(muxers)
        else:
            path.muxers_take(muxers)
            path.muxer_turns(1)
            path.run(apart_ms * MS)
            path.server_takes(muxers)
        path.run(apart_ms * MS)

    @rule(messages=st.sampled_from([0, 2, 10, QUEUE_MAX]))
    def way_to_the_server_holds(self, messages: int) -> None:
        for muxer in self.path.muxers:
            muxer.queue_max = messages

    @rule(ends=st.booleans(), heard=st.booleans())
    def another_life_of_the_source(self, ends: bool, heard: bool) -> None:
        if ends:
            self.path.end_source()
        self.path.begin_source()
        if not heard:
            self.path.lose_all()

    @rule(samples=st.integers(1, 40))
    def lose_samples(self, samples: int) -> None:
        self.path.lose_samples(samples)

    @precondition(lambda self: hasattr(self, "path"))
    @invariant()
    def books_balance(self) -> None:
        balance(self.path)

    def teardown(self) -> None:
        if not hasattr(self, "path"):
            return
        try:
            self.all_go_on()
        finally:
            self.path.close()

    def all_go_on(self) -> None:
        """Where nothing is in the way any more, who is quick keeps up soon."""
        path = self.path
        self.way_to_the_server_holds(QUEUE_MAX)
        path.run(1000 * MS)
        begun = {viewer.number for viewer in path.viewers if viewer.last is not None}
        assert path.known_viewers >= begun - self.unknown
        for connection in path.connections:
            connection.rate_bps = QUICK_BPS
        for viewer in path.viewers:
            path.fanout.key_frames_only(viewer, False)
            path.fanout.read_start(viewer)
        path.run(4000 * MS)
        sent = {viewer: viewer.frames_sent for viewer in path.viewers}
        path.run(3000 * MS)  # who is still paced to key frames is given one in 2 s
        self.books_balance()
        assert all(viewer.frames_sent > sent[viewer] for viewer in path.viewers), "nobody is left out"
        assert all(viewer.flow.reading and viewer.frames_behind < GROUP for viewer in path.viewers)

    def connection(self, index: int) -> Connection:
        return self.path.connections[index % len(self.path.connections)]


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_for_minutes() -> None:
    """./deploy/test -m slow tests/server/test_lost_frames.py"""
    run_state_machine_as_test(Machine, settings=settings(max_examples=2000, stateful_step_count=60, deadline=None))
