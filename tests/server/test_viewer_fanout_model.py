"""Every frame's way to its viewers: at random, against a muxer that keeps everything."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from server.fanout import LOOK_WAITING_US
from server.flow import Gate
from server.frame_buffers import Framing
from tests.support.fanout_bench import Bench, Peer, viewer_of
from tests.support.frame_source import FrameSource
from tests.support.model_muxer import ModelMuxer


class Simulation(RuleBasedStateMachine):
    """A muxer that keeps everything, viewers that read when they like, and messages that arrive when they like."""

    @initialize(
        framings=st.lists(st.sampled_from([Framing.INTERLEAVED, Framing.TS]), min_size=1, max_size=3),
        skips=st.booleans(),
    )
    def start(self, framings: list[Framing], skips: bool) -> None:
        self.bench = Bench()
        self.epoch = 1
        self.muxer = ModelMuxer(FrameSource(sequence=65530), skips)
        self.muxer.produce(sync=True)
        for number, framing in enumerate(framings):
            self.bench.peer(framing, channel=2 * number)

    @rule(kind=st.integers(0, 2), packets=st.integers(1, 60), sync=st.booleans())
    def produce(self, kind: int, packets: int, sync: bool) -> None:
        self.muxer.produce(kind, sync and kind == 0, packets, self.bench.now_us)
        self.bench.now_us += 40_000

    @rule(messages=st.integers(1, 4))
    def to_muxer(self, messages: int) -> None:
        for _ in range(min(messages, len(self.bench.said))):
            self.muxer.hear(self.bench.said.popleft())

    @rule(messages=st.integers(1, 4))
    def to_server(self, messages: int) -> None:
        for _ in range(min(messages, len(self.muxer.out))):
            self.bench.fanout.deliver(*self.muxer.out.popleft())

    @rule(index=st.integers(0, 2), size=st.integers(1, 30_000))
    def read(self, index: int, size: int) -> None:
        self.peer(index).read(self.bench.fanout, size)

    @rule(index=st.integers(0, 2))
    def play(self, index: int) -> None:
        self.bench.fanout.read_start(viewer_of(self.peer(index)))

    @rule(index=st.integers(0, 2))
    def pause(self, index: int) -> None:
        self.bench.fanout.read_stop(viewer_of(self.peer(index)))

    @rule()
    def muxer_is_full(self) -> None:
        self.muxer.park_all()

    @precondition(lambda self: self.epoch < 4)
    @rule()
    def muxer_dies(self) -> None:
        self.epoch += 1
        source = FrameSource(
            epoch=self.epoch, ssrc=self.epoch, sequence=self.epoch * 999, counters=[self.epoch] * 4
        )
        self.muxer = ModelMuxer(source, self.muxer.skips)
        self.bench.said.clear()
        self.bench.fanout.muxer_is_new(["cam"], replaced=True)

    @rule()
    def muxer_forgets(self) -> None:
        self.muxer.tickets.clear()
        self.muxer.live.clear()
        self.muxer.by_viewer.clear()
        self.bench.fanout.muxer_is_new(["cam"], replaced=False)

    @invariant()
    def frames_are_in_order_and_none_comes_twice(self) -> None:
        for peer in self.bench.peers:
            frames = peer.judge.frames
            assert frames == sorted(set(frames))

    def teardown(self) -> None:
        if not hasattr(self, "bench"):
            return
        for peer in self.bench.peers:
            self.bench.fanout.read_start(viewer_of(peer))
        self.muxer.produce(sync=True, packets=60, time_us=self.bench.now_us)
        self.muxer.produce(kind=2, packets=1, time_us=self.bench.now_us)  # the clock, if it is another muxer's
        self.muxer.produce(time_us=self.bench.now_us)
        going = True
        while going:
            going = bool(self.bench.said or self.muxer.out)
            self.to_muxer(100)
            self.to_server(100)
            for peer in self.bench.peers:
                going = bool(peer.read(self.bench.fanout)) or viewer_of(peer).behind or going
            self.bench.now_us += LOOK_WAITING_US
            self.bench.fanout.tick()
        last = (self.epoch, self.muxer.source.number - 1)
        for peer in self.bench.peers:
            assert viewer_of(peer).flow.gate is Gate.LIVE
            assert viewer_of(peer).position == last
            assert peer.judge.frames[-1] == last
            assert not peer.judge.unfinished
        self.frames_are_in_order_and_none_comes_twice()
        self.bench.close()

    def peer(self, index: int) -> Peer:
        return self.bench.peers[index % len(self.bench.peers)]


TestSimulation = Simulation.TestCase
TestSimulation.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
