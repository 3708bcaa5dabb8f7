"""Who is sent which frame, by example; `test_fanout_model` goes on at random."""

import pytest
from msgspec.structs import replace

from common.drops import QUEUE_DROPS, Drop
from common.grid import FrameKind
from common.messages import TICKETS_MAX, ReadStart, ReadStop
from muxer.fanout import Parcel
from muxer.stream import Stream
from tests.muxer.fanouts import EPOCH, ROOM, make, start
from tests.muxer.frames import audio, disposable, entry, video


def addresses(parcels: list[Parcel]) -> list[tuple[int, bool, list[int], list[int], list[int]]]:
    return [(p.number, p.to_live, p.tickets, p.live, p.parked) for p in parcels]


def test_a_viewer_gets_the_group_and_is_live() -> None:
    fanout, stream, _ = make()
    for e in (video(sync=True), video()):
        stream.ring.append(e)
    assert not fanout.has_waiting
    fanout.read_start(b"s", start(1, 10))
    assert fanout.has_waiting
    assert addresses(fanout.parcels()) == [(0, False, [10], [], []), (1, False, [10], [10], [])]
    assert not fanout.has_waiting
    stream.ring.append(video())
    assert addresses(fanout.parcels()) == [(2, True, [], [], [])]
    assert fanout.parcels() == []


def test_viewers_that_come_together_share_their_messages() -> None:
    fanout, stream, _ = make()
    stream.ring.append(video(sync=True))
    for viewer in range(3):
        fanout.read_start(b"s", start(viewer, 10 + viewer))
    assert addresses(fanout.parcels()) == [(0, False, [10, 11, 12], [10, 11, 12], [])]


def test_each_server_gets_a_frame_once() -> None:
    fanout, stream, _ = make()
    stream.ring.append(video(sync=True))
    for server in (b"a", b"b"):
        for viewer in range(2):
            fanout.read_start(server, start(viewer, viewer))
    fanout.parcels()
    stream.ring.append(video())
    assert [(p.server, p.number, p.to_live) for p in fanout.parcels()] == [(b"a", 1, True), (b"b", 1, True)]


def test_a_server_with_viewers_of_which_none_is_live_is_not_sent_every_frame() -> None:
    fanout, stream, _ = make()
    stream.ring.append(video(sync=True))
    assert not fanout.is_unsent(b"s")
    fanout.read_start(b"s", start(1, 10))
    fanout.read_start(b"s", start(2, 20))
    assert fanout.is_unsent(b"s")
    fanout.parcels()
    assert not fanout.is_unsent(b"s")
    fanout.read_stop(b"s", ReadStop(10, (EPOCH, 0)))
    assert not fanout.is_unsent(b"s"), "what goes to the other tells it"
    fanout.read_stop(b"s", ReadStop(20, (EPOCH, 0)))
    assert fanout.is_unsent(b"s")
    assert not fanout.is_unsent(b"t")
    for viewer in (1, 2):
        fanout.forget(b"s", viewer)
    assert not fanout.is_unsent(b"s")


def test_many_tickets_are_split_over_several_messages() -> None:
    fanout, stream, _ = make()
    stream.ring.append(video(sync=True))
    for viewer in range(TICKETS_MAX + 1):
        fanout.read_start(b"s", start(viewer, viewer))
    parcels = fanout.parcels()
    assert [len(p.tickets) for p in parcels] == [TICKETS_MAX, 1]
    assert sum(len(p.live) for p in parcels) == TICKETS_MAX + 1


def test_room_is_used_up_and_the_ticket_parked() -> None:
    fanout, stream, _ = make()
    for i in range(5):
        stream.ring.append(video(sync=i == 0))
    fanout.read_start(b"s", start(1, 10, room_bytes=1500))
    assert addresses(fanout.parcels()) == [(0, False, [10], [], []), (1, False, [10], [], [10])]
    assert fanout.parcels() == []
    fanout.read_start(b"s", start(1, 11, after=1))
    assert [p.number for p in fanout.parcels()] == [2, 3, 4]


def test_a_lowered_viewer_gets_key_frames_only_and_is_live_again_when_it_is_not() -> None:
    fanout, stream, _ = make()
    stream.ring.append(video(sync=True))
    fanout.read_start(b"s", start(1, 10))
    fanout.parcels()
    fanout.read_start(b"s", ReadStart(1, 11, "door", (EPOCH, 0), ROOM, key_frames_only=True))
    for sync in (False, True, False, True):
        stream.ring.append(video(sync=sync))
    assert addresses(fanout.parcels()) == [(2, False, [11], [], []), (4, False, [11], [], [])]
    fanout.read_start(b"s", start(1, 12, after=4))
    stream.ring.append(video())
    assert fanout.parcels() == []
    assert fanout.awaits_sync
    stream.ring.append(video(sync=True))
    assert addresses(fanout.parcels()) == [(6, False, [12], [12], [])]


def test_read_stop_goes_back_to_what_was_taken() -> None:
    fanout, stream, _ = make()
    stream.ring.append(video(sync=True))
    fanout.read_start(b"s", start(1, 10))
    fanout.parcels()
    for _ in range(3):
        stream.ring.append(video())
        fanout.parcels()
    fanout.read_stop(b"s", ReadStop(10, (EPOCH, 1)))
    stream.ring.append(video())
    assert fanout.parcels() == []
    fanout.read_start(b"s", start(1, 11, after=1))
    assert [p.number for p in fanout.parcels()] == [2, 3, 4]


def test_a_position_of_another_life_starts_at_a_sync_point() -> None:
    fanout, stream, _ = make()
    for sync in (False, True, False):
        stream.ring.append(video(sync=sync))
    fanout.read_start(b"s", ReadStart(1, 10, "door", (EPOCH + 1, 500), ROOM))
    assert [p.number for p in fanout.parcels()] == [1, 2]


def repeat(stream: Stream, letters: str, first: int = 0, source: int = 5) -> None:
    """Samples of a capture from number `first` on: S a sync picture, v a picture; c a clock reference between."""
    number = first
    for letter in letters:
        made = video(sync=letter == "S")
        if letter == "c":
            made = entry(FrameKind.CLOCK)
        stream.ring.append(replace(made, origin=(source, number - (letter == "c"))))
        number += letter != "c"


def resume(number: int, is_whole: bool = True, source: int = 5) -> ReadStart:
    return replace(start(1, 10), resume=(source, number, is_whole))


def test_a_viewer_of_another_muxer_misses_nothing_and_gets_nothing_twice() -> None:
    fanout, stream, _ = make()
    repeat(stream, "Svcvcvv")
    fanout.read_start(b"s", resume(2))
    assert addresses(fanout.parcels()) == [(5, False, [10], [], []), (6, False, [10], [10], [])]


def test_also_where_the_samples_are_repeated_later() -> None:
    fanout, stream, _ = make()
    fanout.read_start(b"s", resume(2))
    assert fanout.parcels() == []
    repeat(stream, "Sv")
    assert fanout.parcels() == []
    repeat(stream, "vv", first=2)
    assert addresses(fanout.parcels()) == [(3, False, [10], [10], [])]


@pytest.mark.parametrize(
    ("letters", "first", "message", "expected"),
    [
        ("SvvvSv", 0, resume(2, is_whole=False), [4, 5]),  # something was missing before: at a sync point
        ("vvSv", 7, resume(2), [2, 3]),  # the ring does not hold what came next: as for anybody who is new
        ("SvSv", 7, resume(2), [2, 3]),
        ("Svvv", 0, resume(2, source=6), [0, 1, 2, 3]),  # of another life of the source
    ],
)
def test_otherwise_it_starts_at_a_sync_point(
    letters: str, first: int, message: ReadStart, expected: list[int]
) -> None:
    fanout, stream, _ = make()
    repeat(stream, letters, first)
    fanout.read_start(b"s", message)
    assert [parcel.number for parcel in fanout.parcels()] == expected


def test_a_position_of_this_muxer_counts_more() -> None:
    fanout, stream, _ = make()
    repeat(stream, "Svvv")
    fanout.read_start(b"s", start(1, 10))
    fanout.parcels()
    fanout.read_start(b"s", replace(start(1, 11, after=0), resume=(5, 2, True)))
    assert [parcel.number for parcel in fanout.parcels()] == [1, 2, 3]


def test_a_stream_that_comes_back_to_its_muxer_tells_what_the_viewer_missed() -> None:
    """It had moved to another muxer, of which the viewer was not given a frame."""
    fanout, stream, _ = make()
    repeat(stream, "Svv")
    fanout.read_start(b"s", start(1, 10))
    fanout.parcels()
    fanout.forget(b"s", 1)
    repeat(stream, "vvSv", first=3)
    fanout.read_start(b"s", replace(start(1, 11, after=2), resume=(5, 2, False)))
    first, second = fanout.parcels()
    assert addresses([first, second]) == [(5, False, [11], [], []), (6, False, [11], [11], [])]
    assert first.left_out[11][QUEUE_DROPS.index(Drop.SYNC)] == sum(first.left_out[11]) == 2


def test_positions_of_another_muxer_say_nothing_and_the_sample_does() -> None:
    fanout, stream, _ = make()
    repeat(stream, "Svvv")
    other = (EPOCH + 1, 1)
    fanout.read_start(b"s", replace(resume(1), after=other))
    fanout.read_stop(b"s", ReadStop(10, other))
    fanout.read_start(b"s", replace(resume(1), ticket=11, after=other))
    assert [parcel.number for parcel in fanout.parcels()] == [2, 3]


def test_a_source_that_ends_with_frames_unsent_takes_them_along() -> None:
    fanout, stream, _ = make()
    stream.ring.append(video(sync=True))
    fanout.read_start(b"s", start(1, 10))
    fanout.parcels()
    stream.ring.append(video())
    stream.ring.clear()
    assert fanout.parcels() == [], "there is no frame that could tell the server"
    stream.ring.append(video(sync=True))
    assert addresses(fanout.parcels()) == [(2, False, [], [], [10])]


def test_a_full_server_parks_its_readers_and_loses_nothing() -> None:
    fanout, stream, _ = make()
    stream.ring.append(video(sync=True))
    fanout.read_start(b"s", start(1, 10))
    fanout.parcels()
    stream.ring.append(video())
    (parcel,) = fanout.parcels()
    fanout.refused(parcel)
    assert fanout.has_waiting
    assert fanout.parcels() == []
    stream.ring.append(video())
    assert addresses(fanout.parcels()) == [(2, False, [], [], [10])], "it is told with the next frame"
    fanout.read_start(b"s", start(1, 11, after=0))
    assert [p.number for p in fanout.parcels()] == [1, 2]


def test_who_is_parked_and_has_not_been_told_hears_of_the_end() -> None:
    fanout, stream, _ = make()
    stream.ring.append(video(sync=True))
    fanout.read_start(b"s", start(1, 10))
    fanout.parcels()
    stream.ring.append(video())
    stream.ring.clear()  # with a frame that live tickets have not been sent
    assert fanout.parcels() == []
    assert fanout.end() == [(b"s", 10)]


def test_who_is_parked_hears_of_it_before_anything_goes_to_all_live_ones() -> None:
    fanout, stream, _ = make()
    stream.ring.append(video(sync=True))
    fanout.read_start(b"s", start(1, 10))
    fanout.parcels()
    stream.ring.append(video(sync=True))
    (parcel,) = fanout.parcels()
    fanout.refused(parcel)
    fanout.read_start(b"s", start(2, 20))
    assert addresses(fanout.parcels()) == [(1, False, [20], [20], [10])]
    stream.ring.append(video())
    assert addresses(fanout.parcels()) == [(2, True, [], [], [])]


def test_what_was_left_out_is_told_with_the_next_frame_and_again_where_that_did_not_arrive() -> None:
    fanout, stream, clock = make(age_max_us=1_000_000)
    stream.ring.append(video(sync=True))
    fanout.read_start(b"s", start(1, 10))
    fanout.parcels()
    fanout.read_stop(b"s", ReadStop(10, (EPOCH, 0)))
    for at_us in (0, 1_500_000):
        stream.ring.append(video(at_us))
        fanout.parcels()
    clock.now_us = 1_500_000
    fanout.enforce()
    for sync in (False, True):
        stream.ring.append(video(1_500_000, sync=sync))
    fanout.read_start(b"s", start(1, 11, after=0))
    (parcel,) = fanout.parcels()
    assert (parcel.number, parcel.tickets) == (4, [11])
    assert dict(zip(QUEUE_DROPS, parcel.left_out[11], strict=True)) == {
        Drop.AGE: 2, Drop.QUEUE_FULL: 0, Drop.SYNC: 1, Drop.DISPOSABLE: 0, Drop.LOWERED: 0, Drop.NOT_KEPT: 0,
            Drop.LEADING: 0,
    }  # fmt: skip
    fanout.refused(parcel)
    fanout.read_start(b"s", start(1, 12, after=0))
    (parcel,) = fanout.parcels()
    assert (parcel.number, sum(parcel.left_out[12])) == (4, 3)
    fanout.read_start(b"s", start(1, 13, after=4))
    stream.ring.append(video(1_500_000))
    assert [parcel.left_out for parcel in fanout.parcels()] == [{}]


def test_what_is_left_out_behind_the_frame_sent_last_is_told_before_the_viewer_is_live() -> None:
    fanout, stream, clock = make(age_max_us=1_000_000)
    stream.ring.append(video(sync=True))
    fanout.read_start(b"s", start(1, 10))
    fanout.parcels()
    fanout.read_stop(b"s", ReadStop(10, (EPOCH, 0)))
    stream.ring.append(video())
    clock.now_us = 600_000  # half full: disposable pictures are left out
    stream.ring.append(disposable(600_000))
    fanout.read_start(b"s", start(1, 11, after=0))
    assert addresses(fanout.parcels()) == [(1, False, [11], [], [])]
    stream.ring.append(video(600_000))
    (parcel,) = fanout.parcels()
    assert addresses([parcel]) == [(3, False, [11], [11], [])]
    assert parcel.left_out[11][QUEUE_DROPS.index(Drop.DISPOSABLE)] == sum(parcel.left_out[11]) == 1


def test_a_viewer_forgotten_and_a_server_forgotten() -> None:
    fanout, stream, _ = make()
    stream.ring.append(video(sync=True))
    fanout.read_start(b"s", start(1, 10))
    fanout.read_start(b"t", start(1, 10))
    fanout.parcels()
    assert fanout.viewers == 2
    fanout.forget(b"s", 1)
    fanout.forget(b"s", 1)
    fanout.forget_server(b"t")
    assert fanout.viewers == 0
    stream.ring.append(video())
    assert fanout.parcels() == []


def test_a_viewer_whose_server_was_forgotten_goes_on_at_a_sync_point_and_is_told_what_it_misses() -> None:
    fanout, stream, _ = make()
    stream.ring.append(video(sync=True))
    fanout.read_start(b"s", start(1, 10))
    fanout.parcels()
    fanout.forget_server(b"s")
    for e in (video(), video(sync=True), audio(), video(), video(sync=True), video()):
        stream.ring.append(e)
    fanout.read_start(b"s", start(1, 11, after=0))
    first, *more = fanout.parcels()
    assert addresses([first, *more]) == [
        (3, False, [11], [], []),
        (5, False, [11], [], []),
        (6, False, [11], [11], []),
    ]
    assert [sum(parcel.left_out[11]) for parcel in (first, more[0])] == [2, 1]
    assert first.left_out[11][QUEUE_DROPS.index(Drop.SYNC)] == 2


def test_a_stopped_viewer_is_spliced_by_age_and_asks_for_a_sync_point() -> None:
    fanout, stream, clock = make()
    stream.ring.append(video(sync=True))
    fanout.read_start(b"s", start(1, 10))
    fanout.parcels()
    fanout.read_stop(b"s", ReadStop(10, (EPOCH, 0)))
    for at_us in range(100_000, 2_000_000, 100_000):
        clock.now_us = at_us
        stream.ring.append(video(at_us))
        fanout.enforce()
    fanout.read_start(b"s", start(1, 11, after=0))
    assert fanout.parcels() == []
    assert fanout.awaits_sync
    stream.ring.append(video(clock.now_us, sync=True))
    assert addresses(fanout.parcels()) == [(20, False, [11], [11], [])]
    assert not fanout.awaits_sync


def test_live_viewers_of_a_muxer_that_stood_still_are_spliced() -> None:
    fanout, stream, _ = make()
    stream.ring.append(video(sync=True))
    fanout.read_start(b"s", start(1, 10))
    fanout.parcels()
    stream.ring.append(video(100_000))
    stream.ring.append(video(2_000_000, sync=True))
    stream.ring.append(video(3_000_000))
    assert stream.ring.first == 2
    assert addresses(fanout.parcels()) == [(3, False, [], [], [10])]
    fanout.read_start(b"s", start(1, 11, after=0))
    assert [p.number for p in fanout.parcels()] == [2, 3]
