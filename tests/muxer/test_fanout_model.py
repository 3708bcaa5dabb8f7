"""Who is sent which frame: against a model of a server that takes, stops and loses at random."""

from collections.abc import Callable
from functools import partial

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from common.messages import ReadStop
from muxer.ring import Entry
from tests.muxer.fanouts import EPOCH, ROOM, make, start
from tests.muxer.frames import audio, disposable, video


class FanoutMachine(RuleBasedStateMachine):
    """Two servers that follow the protocol; whatever they do, each viewer gets decodable frames in order."""

    def __init__(self) -> None:
        super().__init__()
        self.fanout, self.stream, self.clock = make()
        self.is_video: list[bool] = []
        self.is_sync: list[bool] = []
        self.taken: dict[tuple[bytes, int], list[int]] = {}
        self.ticket: dict[tuple[bytes, int], int] = {}
        self.live: set[tuple[bytes, int]] = set()
        self.next_ticket = 0

    @rule(letters=st.text("Svvvda", min_size=1, max_size=6), step_us=st.integers(0, 400_000))
    def write(self, letters: str, step_us: int) -> None:
        made: dict[str, Callable[[int], Entry]]
        made = {"S": partial(video, sync=True), "v": video, "d": disposable, "a": audio}
        for letter in letters:
            self.clock.now_us += step_us
            self.stream.ring.append(made[letter](self.clock.now_us))
            self.is_video.append(letter in "Sv")  # what a picture behind it may need
            self.is_sync.append(letter == "S")

    @rule(server=st.sampled_from([b"a", b"b"]), viewer=st.integers(0, 2), room=st.sampled_from([1, 2500, ROOM]))
    def read_start(self, server: bytes, viewer: int, room: int) -> None:
        key = server, viewer
        taken = self.taken.setdefault(key, [])
        self.next_ticket += 1
        self.ticket[key] = self.next_ticket
        self.live.discard(key)
        self.fanout.read_start(server, start(viewer, self.next_ticket, taken[-1] if taken else None, room))

    @precondition(lambda self: self.ticket)
    @rule(data=st.data())
    def read_stop(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.ticket)))
        taken = self.taken[key]
        after = (EPOCH, taken[-1]) if taken else None
        self.fanout.read_stop(key[0], ReadStop(self.ticket.pop(key), after))
        self.live.discard(key)

    @rule(fails=st.sets(st.sampled_from([b"a", b"b"])), arrives=st.integers(0, 30))
    def send(self, fails: set[bytes], arrives: int) -> None:
        self.fanout.enforce()
        full: set[bytes] = set()
        for i, parcel in enumerate(self.fanout.parcels()):
            if parcel.server in full or (i >= arrives and parcel.server in fails):
                full.add(parcel.server)
                self.fanout.refused(parcel)
                continue
            for key, ticket in list(self.ticket.items()):
                if key[0] != parcel.server:
                    continue
                if ticket in parcel.tickets or (parcel.to_live and key in self.live):
                    taken = self.taken[key]
                    missing = parcel.number - taken[-1] - 1 if taken else 0
                    assert sum(parcel.left_out.get(ticket, ())) == missing, "a gap, and no reason told"
                    taken.append(parcel.number)
                if ticket in parcel.live:
                    self.live.add(key)
                if ticket in parcel.parked:
                    self.live.discard(key)
                    del self.ticket[key]

    @invariant()
    def everyone_can_decode(self) -> None:
        for taken in self.taken.values():
            assert taken == sorted(set(taken)), "in order, none twice"
            videos = [n for n in taken if self.is_video[n]]
            for previous, number in zip([None, *videos], videos, strict=False):
                if not self.is_sync[number]:
                    assert previous is not None, "a picture before the first sync point"
                    assert not any(self.is_video[previous + 1 : number]), "a gap not ended by a sync point"

    @invariant()
    def who_is_live_has_everything(self) -> None:
        for key in self.live:
            assert self.taken[key], "live without a frame"


FanoutMachine.TestCase.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
TestFanoutMachine = FanoutMachine.TestCase
