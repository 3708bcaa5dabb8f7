"""One viewer's books, by example: what passed, what the muxer says of the gaps, and what nobody explains."""

from dataclasses import dataclass, field

from common.drops import QUEUE_DROPS, Drop
from common.messages import FrameMessage
from server.books import Books
from server.frame_mark import FrameMark
from tests.support.frame_source import FrameSource


@dataclass
class Viewer:
    """Takes the frames of these numbers, and counts them."""

    books: Books = field(default_factory=Books)
    source: FrameSource = field(default_factory=FrameSource)
    last: FrameMark | None = None
    sent: int = 0

    def takes(self, number: int, paused: bool = False, sample: tuple[int, int] | None = None, **told: int) -> None:
        while self.source.number < number:
            self.source.frame()
        frame = self.source.frame()
        message = FrameMessage(
            **{name: getattr(frame.message, name) for name in FrameMessage.__struct_fields__ if name != "sample"},
            sample=sample,
        )
        tally = tuple(told.get(reason.value, 0) for reason in QUEUE_DROPS) if told else ()
        self.books.took(self.last, message, tally, paused)
        self.last = FrameMark(message, len(frame.data), 0)
        self.sent += 1

    def balance(self) -> dict[Drop, int]:
        assert self.books.due(self.last) == self.sent + sum(self.books.drops.values())
        return dict(self.books.drops)


def test_nothing_is_due_before_the_first_frame() -> None:
    viewer = Viewer()
    assert viewer.books.due(viewer.last) == 0
    viewer.takes(1000)
    assert viewer.books.due(viewer.last) == 1
    assert viewer.balance() == {}


def test_a_gap_is_what_the_muxer_says() -> None:
    viewer = Viewer()
    viewer.takes(5)
    viewer.takes(10, age=3, sync=1)
    viewer.takes(12, disposable=1)
    assert viewer.balance() == {Drop.AGE: 3, Drop.SYNC: 1, Drop.DISPOSABLE: 1}
    assert viewer.books.dropped == 5


def test_a_gap_that_it_does_not_explain_is_a_loss_and_so_is_what_it_explains_twice() -> None:
    viewer = Viewer()
    viewer.takes(0)
    viewer.takes(3, age=1)
    assert viewer.balance() == {Drop.AGE: 1, Drop.LOST: 1}
    viewer.takes(4, age=1)
    assert viewer.books.drops[Drop.LOST] == 0


def test_while_paused_whatever_it_says_the_pause_is_why() -> None:
    viewer = Viewer()
    viewer.takes(0)
    viewer.takes(10, paused=True, age=2, sync=7)
    assert viewer.balance() == {Drop.PAUSED: 9}
    assert viewer.books.dropped == 0


def test_between_two_muxers_samples_are_what_is_counted() -> None:
    viewer = Viewer()
    viewer.takes(7, sample=(1, 70))
    viewer.takes(8, sample=(1, 71))
    viewer.source = FrameSource(epoch=2)
    viewer.takes(3, sample=(1, 75))
    viewer.takes(4, sample=(1, 76))
    assert viewer.balance() == {Drop.MUXER: 3}
    viewer.source = FrameSource(epoch=3)
    viewer.takes(0, sample=(9, 0))  # of another life of the source: what went by is not known
    assert viewer.balance() == {Drop.MUXER: 3}
    assert viewer.books.due(viewer.last) == 2 + 3 + 2 + 1
