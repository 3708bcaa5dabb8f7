"""The ring and the drop queue, by example; `test_ring_model` goes on at random."""

import pytest

from muxer import ring as ring_module
from muxer.ring import START_AGE_MAX_US, DropQueue, Limits, Ring
from tests.muxer.frames import fill, video

SECOND_US = 1_000_000


def drain(queue: DropQueue) -> list[int]:
    taken = []
    while (number := queue.next()) is not None:
        queue.take(number)
        taken.append(number)
    return taken


def test_the_ring_keeps_the_newest_group_however_old() -> None:
    ring = Ring(age_max_us=SECOND_US)
    fill(ring, "Svvv" + "Svvvvvvv", step_us=SECOND_US)
    assert ring.first == 4
    assert ring.newest_sync == 4
    assert ring.head == 12


def test_the_ring_keeps_what_is_young_and_its_group() -> None:
    ring = Ring(age_max_us=SECOND_US)
    fill(ring, "SvSvSv", step_us=SECOND_US // 4)
    assert ring.first == 0  # with which a viewer began 1 s ago
    ring.append(video(6 * SECOND_US // 4))
    assert ring.first == 2
    with pytest.raises(IndexError):
        ring[1]


def test_who_comes_when_a_group_ends_is_given_it_all_though_the_next_one_begins() -> None:
    """Nobody's network takes a group at once."""
    ring = Ring(age_max_us=SECOND_US)
    fill(ring, "Svvvvvvv", step_us=SECOND_US // 4)
    queue = DropQueue(ring, Limits(age_max_us=SECOND_US), 7 * SECOND_US // 4)
    taken = [queue.next()]
    queue.take(0)
    fill(ring, "Svvv", at_us=2 * SECOND_US, step_us=SECOND_US // 4)  # now he has been there for 1 s
    queue.enforce(11 * SECOND_US // 4)
    assert taken + drain(queue) == list(range(12))
    assert (queue.dropped, queue.splices) == (0, 0)
    fill(ring, "v", at_us=3 * SECOND_US)
    assert ring.first == 8, "nobody can be at the group before any more"


def test_without_a_sync_point_only_the_young_is_kept() -> None:
    ring = Ring(age_max_us=SECOND_US)
    fill(ring, "v" * 10, step_us=SECOND_US)
    assert ring.first == 8


def test_the_ring_is_bounded_in_frames_and_says_what_that_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring_module, "RING_FRAMES_MAX", 5)
    ring = Ring(age_max_us=SECOND_US)
    fill(ring, "S" + "v" * 7)
    assert ring.head - ring.first == 5
    assert ring.trimmed == 3
    assert ring.newest_sync is None


def test_the_ring_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring_module, "RING_BYTES_MAX", 3000)
    ring = Ring(age_max_us=SECOND_US)
    fill(ring, "S" + "v" * 7)
    assert ring.head - ring.first == 3


def test_in_a_stream_of_audio_every_frame_is_a_start() -> None:
    ring = Ring(age_max_us=SECOND_US)
    fill(ring, "aaa")
    assert ring.newest_sync == 2
    ring.append(video())
    assert ring.newest_sync is None, "with video only pictures are"


def test_clear_forgets_frames_and_keeps_numbers() -> None:
    ring = Ring(age_max_us=SECOND_US)
    fill(ring, "Svv")
    ring.clear()
    assert (ring.first, ring.head, ring.newest_sync) == (3, 3, None)


@pytest.mark.parametrize(
    ("before", "after", "sent"),
    [
        ("", "vaSva", [2, 3, 4]),  # nothing before the first sync point, audio neither
        ("Svv", "va", [0, 1, 2, 3, 4]),  # the group so far, at once
        ("SvvSva", "v", [3, 4, 5, 6]),  # from the newest sync point
    ],
)
def test_a_viewer_starts_at_a_sync_point(before: str, after: str, sent: list[int]) -> None:
    ring = Ring(age_max_us=SECOND_US)
    fill(ring, before)
    queue = DropQueue(ring, Limits(), 0)
    taken = drain(queue)
    fill(ring, after)
    assert taken + drain(queue) == sent
    assert (queue.dropped, queue.splices) == (0, 0)


def test_a_sync_point_of_a_source_that_stood_still_is_no_start() -> None:
    ring = Ring(age_max_us=SECOND_US)
    fill(ring, "Sv")
    assert ring.start(START_AGE_MAX_US - 1) == 0
    assert ring.start(START_AGE_MAX_US + 1) == 2


@pytest.mark.parametrize(
    ("before", "after", "sent"),
    [
        ("OtOlaltl", "t", "Oatlt"),  # behind a picture that does not lead there are none that do
        ("OtOl", "latOlt", "OatOlt"),  # some come when all has been sent; those of the next sync point are wanted
        ("O", "llOlt", "OOlt"),
        ("OltSlt", "", "Slt"),  # a closed group has none
    ],
)
def test_who_starts_at_a_sync_point_is_not_given_what_leads_it(before: str, after: str, sent: str) -> None:
    ring = Ring(age_max_us=SECOND_US)
    fill(ring, before)
    queue = DropQueue(ring, Limits(), 0)
    taken = drain(queue)
    for letter in after:
        was_caught_up = queue.caught_up
        fill(ring, letter)
        more = drain(queue)
        assert more or not was_caught_up, "the next one, whichever it is, is wanted"
        taken += more
    assert "".join((before + after)[n] for n in taken) == sent
    assert (queue.dropped, queue.splices) == (0, 0)


def test_a_splice_goes_without_what_leads_its_sync_point_and_so_does_a_second_try() -> None:
    ring = Ring(age_max_us=SECOND_US)
    queue = DropQueue(ring, Limits(age_max_us=SECOND_US), 0)
    fill(ring, "Oltt")
    assert drain(queue) == [0, 2, 3]
    fill(ring, "ttOltt", at_us=3 * SECOND_US, step_us=0)
    queue.enforce(5 * SECOND_US)
    fill(ring, "Oltt", at_us=5 * SECOND_US)
    assert drain(queue) == [10, 12, 13]
    queue.seek(11)
    assert drain(queue) == [12, 13]
    queue.seek(10)
    assert drain(queue) == [10, 12, 13]


@pytest.mark.parametrize(
    ("queued", "frames_max", "sent", "dropped"),
    [
        ("vvvvvvvvvv", 10, list(range(1, 11)), 0),  # the ancestor's ten are within
        ("vvvvvvvvvvv", 10, [], 11),  # one more: all up to the next sync point
        ("vvvvSvv", 5, [5, 6, 7], 4),  # up to the newest
        ("vSvSvSv", 5, [6, 7], 5),
        ("vavavav", 5, [2, 4, 6], 4),  # audio goes on
        ("aaaaaaa", 5, [3, 4, 5, 6, 7], 2),  # too much audio: the oldest goes
        ("vcvcvcv", 5, [2, 4, 6], 4),
    ],
)
def test_overflow(queued: str, frames_max: int, sent: list[int], dropped: int) -> None:
    ring = Ring(age_max_us=10 * SECOND_US)
    fill(ring, "S")
    queue = DropQueue(ring, Limits(frames_max=frames_max), 0)
    assert drain(queue) == [0]
    fill(ring, queued)
    queue.enforce(0)
    assert drain(queue) == sent
    assert queue.dropped == dropped


def test_overflow_by_age_and_back_at_the_next_sync_point() -> None:
    ring = Ring(age_max_us=10 * SECOND_US)
    queue = DropQueue(ring, Limits(age_max_us=SECOND_US), 0)
    fill(ring, "S")
    assert drain(queue) == [0]
    fill(ring, "vvvv", at_us=100_000, step_us=400_000)  # 1 to 4, the last at 1.3 s
    queue.enforce(1_000_000)
    assert queue.splices == 0
    queue.enforce(1_300_000)
    assert queue.splices == 1
    assert drain(queue) == []
    fill(ring, "vavSv", at_us=1_400_000)
    assert drain(queue) == [6, 8, 9]  # audio, then the sync point
    assert queue.caught_up
    assert queue.dropped == 6


def test_a_group_that_waited_before_the_viewer_came_is_not_too_old_for_him() -> None:
    ring = Ring(age_max_us=SECOND_US)
    fill(ring, "Svvvv", step_us=SECOND_US)
    queue = DropQueue(ring, Limits(frames_max=2, age_max_us=SECOND_US), 4 * SECOND_US)
    queue.enforce(4 * SECOND_US)
    assert drain(queue) == [0, 1, 2, 3, 4]


def test_what_did_not_arrive_is_sent_again() -> None:
    ring = Ring(age_max_us=SECOND_US)
    fill(ring, "Svvv")
    queue = DropQueue(ring, Limits(), 0)
    assert drain(queue) == [0, 1, 2, 3]
    queue.seek(2)
    assert not queue.caught_up
    assert drain(queue) == [2, 3]


def test_going_back_before_a_sync_point_waits_for_it_again() -> None:
    ring = Ring(age_max_us=10 * SECOND_US)
    queue = DropQueue(ring, Limits(frames_max=3), 0)
    fill(ring, "S")
    drain(queue)
    fill(ring, "vvvaSv")  # 1 to 6: overflow, the video up to 5 is left out
    queue.enforce(0)
    assert drain(queue) == [4, 5, 6]
    queue.seek(4)  # the audio frame, and all after it, did not arrive
    assert drain(queue) == [4, 5, 6]
    queue.seek(2)  # further back than what was in flight: still no picture before the sync point
    assert drain(queue) == [4, 5, 6]


def test_a_cursor_that_the_ring_has_left_behind_is_spliced() -> None:
    ring = Ring(age_max_us=SECOND_US)
    fill(ring, "Sv")
    queue = DropQueue(ring, Limits(), 0)
    drain(queue)
    fill(ring, "vvSvavSv", at_us=5 * SECOND_US, step_us=SECOND_US)
    assert ring.first > 2
    taken = drain(queue)
    assert ring[taken[0]].frame.sync
    assert queue.splices == 1


def test_disposable_pictures_go_first_and_nothing_else_until_it_is_empty() -> None:
    ring = Ring(age_max_us=10 * SECOND_US)
    queue = DropQueue(ring, Limits(age_max_us=SECOND_US), 0)
    fill(ring, "S")
    drain(queue)
    fill(ring, "vdvdav", at_us=0, step_us=100_000)  # 1 to 6
    queue.enforce(500_000)
    assert queue.next() == 1
    queue.enforce(501_000)
    assert drain(queue) == [1, 3, 5, 6]
    assert (queue.dropped, queue.splices) == (2, 0)
    queue.enforce(600_000)
    fill(ring, "d", at_us=600_000)
    assert drain(queue) == [7]


def test_what_the_kernel_takes_is_counted_in() -> None:
    ring = Ring(age_max_us=10 * SECOND_US)
    queue = DropQueue(ring, Limits(age_max_us=SECOND_US), 0)
    queue.delay_us = 600_000
    fill(ring, "Sv")
    queue.enforce(400_000)
    assert queue.next() == 0
    queue.enforce(401_000)
    assert queue.next() is None


def test_however_slow_the_kernel_what_comes_just_now_has_a_chance() -> None:
    ring = Ring(age_max_us=10 * SECOND_US)
    queue = DropQueue(ring, Limits(age_max_us=SECOND_US), 0)
    queue.delay_us = 5 * SECOND_US
    fill(ring, "S")
    queue.enforce(250_000)
    assert drain(queue) == [0]


def test_a_viewer_that_asks_for_live_starts_with_the_next_sync_point() -> None:
    ring = Ring(age_max_us=SECOND_US)
    fill(ring, "Sv")
    queue = DropQueue(ring, Limits(instant=False), 0)
    assert drain(queue) == []
    assert queue.waits_for_sync
    fill(ring, "vSv")
    assert drain(queue) == [3, 4]


def test_a_viewer_that_never_keeps_up_gets_key_frames_only_and_is_tried_again() -> None:
    ring = Ring(age_max_us=10 * SECOND_US)
    queue = DropQueue(ring, Limits(age_max_us=SECOND_US, paced=True), 0)
    now_us, sent = 0, []
    for group in range(30):  # of 2 s; the viewer looks once a group, at its beginning, but for the last 12
        for i, letter in enumerate("Svavvavv"):
            now_us = group * 2 * SECOND_US + i * SECOND_US // 4
            fill(ring, letter, at_us=now_us)
            queue.enforce(now_us)
            if i == 0 or group >= 18:
                sent += drain(queue)
    by_group = ["".join("Svavvavv"[n % 8] for n in sent if n // 8 == group) for group in range(30)]
    assert by_group[:4] == ["Sa", "Sa", "Sa", "Sa"], "each a splice, with its last sound"
    assert by_group[-1] == "Svavvavv", "back by itself"
    assert any(letters.replace("a", "") == "S" for letters in by_group[18:22]), "key frames only in between"
    assert not queue.waits_for_sync


def test_a_lowered_viewer_gets_key_frames_and_sound_until_it_is_not() -> None:
    ring = Ring(age_max_us=10 * SECOND_US)
    queue = DropQueue(ring, Limits(age_max_us=SECOND_US), 0)
    sent = []
    for group in range(4):
        queue.lowered = group in (1, 2)
        for letter in "vaSvav":
            fill(ring, letter)
            queue.enforce(0)
            sent += [ring.head - 1] if drain(queue) else []
            assert not (queue.lowered and queue.waits_for_sync)
    by_group = ["".join("vaSvav"[n % 6] for n in sent if n // 6 == group) for group in range(4)]
    assert by_group == ["Svav", "aSa", "aSa", "aSvav"]
    assert queue.caught_up
