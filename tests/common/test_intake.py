"""What a muxer makes of a capture's messages: lives, losses, key frame requests."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.intake import (
    KEY_FRAME_INTERVAL_US,
    REPEATED_US_MAX,
    UNANNOUNCED_US,
    FarArrivals,
    Intake,
    arrival_us,
)
from common.messages import Announce, KeyFrameRequest, SampleMessage, SourceState
from common.sample import Codec, Sample, Track

VIDEO = Track(Codec.H264)
AUDIO = Track(Codec.AAC)


def message(sequence: int, codec: Codec = Codec.H264, sync: bool = False, epoch: int = 1) -> SampleMessage:
    return SampleMessage(epoch, sequence, 1000 * sequence, None, codec, sync)


def started(*tracks: Track) -> Intake:
    intake = Intake()
    intake.announce(Announce(1, tracks))
    return intake


def test_a_sample_is_handed_on_as_it_came() -> None:
    intake = started(VIDEO, AUDIO)
    sample = intake.sample(SampleMessage(1, 0, 5000, 4000, Codec.H264, True), b"data")
    assert sample == Sample(b"data", 5000, Codec.H264, sync=True, decode_time_us=4000)
    assert (intake.samples_in, intake.state) == (1, "live")


@pytest.mark.parametrize("bad", [message(0, epoch=2, sync=True), message(0, codec=Codec.OPUS, sync=True)])
def test_what_was_not_announced_is_of_no_use(bad: SampleMessage) -> None:
    intake = started(VIDEO)
    assert intake.sample(bad, b"x") is None
    assert (intake.samples_unannounced, intake.samples_in, intake.samples_used) == (1, 1, 0)


def test_pictures_wait_for_the_first_sync_point_and_sound_does_not() -> None:
    intake = started(VIDEO, AUDIO)
    assert intake.sample(message(0), b"x") is None
    assert intake.sample(message(1, Codec.AAC, sync=True), b"x") is not None
    assert intake.sample(message(2), b"x") is None, "a sync audio frame is no sync point of a stream with video"
    assert intake.sample(message(3, sync=True), b"x") is not None
    assert intake.sample(message(4), b"x") is not None


def test_a_gap_is_a_loss_and_waits_for_a_sync_point() -> None:
    intake = started(VIDEO)
    intake.sample(message(0, sync=True), b"x")
    assert intake.sample(message(4), b"x") is None
    assert intake.samples_lost == 3
    assert intake.asks_key_frame(False, 0)
    assert intake.sample(message(5, sync=True), b"x") is not None
    assert not intake.asks_key_frame(False, 10 * KEY_FRAME_INTERVAL_US)


def test_a_new_life_counts_from_anywhere_and_loses_nothing() -> None:
    intake = started(VIDEO)
    intake.sample(message(7, sync=True), b"x")
    intake.announce(Announce(2, (VIDEO,)))
    assert intake.sample(message(3, epoch=2), b"x") is None, "a new life starts at a sync point"
    assert intake.sample(message(4, sync=True, epoch=2), b"x") is not None
    assert (intake.samples_lost, intake.samples_missed, intake.samples_awaiting_sync) == (0, 10, 1)
    assert intake.epoch == 2


def test_the_same_announcement_again_changes_nothing() -> None:
    intake = started(VIDEO)
    intake.sample(message(0, sync=True), b"x")
    intake.announce(Announce(1, (VIDEO,)))
    assert intake.sample(message(1), b"x") is not None


def test_key_frames_are_asked_for_at_most_once_an_interval() -> None:
    intake = started(VIDEO)
    intake.sample(message(0, sync=True), b"x")
    asked = [intake.asks_key_frame(True, at) for at in range(0, 3 * KEY_FRAME_INTERVAL_US, 100_000)]
    assert sum(asked) == 3
    assert not intake.asks_key_frame(False, 10 * KEY_FRAME_INTERVAL_US)


def test_what_only_comes_unannounced_is_asked_for_its_announcement() -> None:
    """Not while something else is announced, and comes: of two programs, one was announced last."""
    intake = started(VIDEO)
    numbers = iter(range(1000))

    def asks(*epochs: int) -> list[int]:
        """Samples of these lives, again and again for three seconds: when it was asked, ms."""
        asked = []
        for at_ms in range(0, 3000, 100):
            for epoch in epochs:
                intake.sample(message(next(numbers), epoch=epoch, sync=True), b"x")
            if intake.asks_announcement(10_000_000 + 1000 * at_ms):
                asked.append(at_ms)
        return asked

    assert asks(1) == asks() == asks(2, 1) == []
    assert asks(2) == [1000, 2000]
    intake.announce(Announce(2, (VIDEO,)))
    assert asks(2) == []
    intake.announce(Announce(3, (VIDEO,)))
    intake.sample(message(0, Codec.OPUS, epoch=3), b"x")
    assert asks(3) == [1000, 2000], "a track of the announced life cannot be another program's"
    intake.subscribed()
    assert asks() == []


def test_both_are_asked_for_at_once() -> None:
    intake = started(VIDEO)
    assert intake.request(False, 0) == KeyFrameRequest(unannounced=False), "a first sync point"
    intake.sample(message(0, epoch=2), b"x")
    assert intake.request(False, 10) is None
    assert intake.request(False, 10 + UNANNOUNCED_US) == KeyFrameRequest(unannounced=True)
    intake.announce(Announce(2, (VIDEO,)))
    intake.sample(message(1, sync=True, epoch=2), b"x")
    assert intake.request(False, 10 * UNANNOUNCED_US) is None
    assert intake.request(True, 10 * UNANNOUNCED_US) == KeyFrameRequest(unannounced=False)


def test_a_source_says_why_it_is_down() -> None:
    intake = started(VIDEO)
    intake.source_state(SourceState(False, "unplugged"))
    assert (intake.state, intake.reason) == ("down", "unplugged")
    intake.source_state(SourceState(True, ""))
    assert (intake.state, intake.reason) == ("waiting", "")


def test_a_slate_stands_in_until_the_source_is_back() -> None:
    intake = started(VIDEO)
    intake.source_state(SourceState(False, "unplugged", slate=True))
    assert intake.sample(message(0, sync=True), b"x") is not None
    assert (intake.state, intake.reason) == ("slate", "unplugged")
    intake.source_state(SourceState(True, ""))
    assert intake.sample(message(1), b"x") is not None
    assert (intake.state, intake.reason) == ("live", "")


def test_what_a_source_said_before_a_pause_of_the_subscription_is_not_so_now() -> None:
    intake = started(VIDEO)
    intake.source_state(SourceState(False, "this is its end"))
    intake.subscribed()
    assert (intake.state, intake.reason) == ("waiting", "")


def test_what_was_repeated_for_somebody_else_is_left_out() -> None:
    intake = started(VIDEO)
    for number in range(5):
        assert intake.sample(message(number, sync=number == 0), b"x") is not None
    intake.announce(Announce(1, (VIDEO,)))
    for number in range(5):
        repeated = SampleMessage(1, number, 1000 * number, None, Codec.H264, number == 0, repeated=True)
        assert intake.sample(repeated, b"x") is None
    assert intake.sample(message(5), b"x") is not None
    assert (intake.samples_in, intake.samples_lost, intake.samples_known, intake.samples_used) == (11, 0, 5, 6)


def test_who_subscribes_again_takes_what_is_repeated() -> None:
    intake = started(VIDEO)
    intake.sample(message(0, sync=True), b"x")
    intake.sample(message(1), b"x")
    intake.subscribed()
    assert intake.sample(message(3), b"x") is None, "it comes before what is repeated"
    intake.announce(Announce(1, (VIDEO,)))
    taken = [intake.sample(message(number, sync=number == 0), b"x") for number in range(4)]
    assert all(taken)
    assert intake.samples_lost == 0


def test_what_is_under_way_when_a_subscription_ends_is_not_taken_twice() -> None:
    intake = started(VIDEO)
    intake.unsubscribed()
    assert intake.sample(message(0, sync=True), b"x") is None
    intake.announce(Announce(1, (VIDEO,)))
    assert intake.sample(message(1), b"x") is None
    intake.subscribed()
    intake.announce(Announce(1, (VIDEO,)))
    assert all(intake.sample(message(number, sync=number == 0), b"x") for number in range(3))
    assert (intake.samples_in, intake.samples_unannounced, intake.samples_used) == (5, 2, 3)


def test_a_repeated_sample_came_when_it_was_due() -> None:
    now_us = 30_000_000

    def came_us(decode_us: int, repeated: bool = True) -> int:
        said = SampleMessage(1, 0, decode_us + 7, decode_us, Codec.H264, True, repeated)
        return arrival_us(said, Sample(b"x", decode_us + 7, Codec.H264, True, decode_us), now_us)

    assert came_us(29_000_000) == 29_000_000
    assert came_us(29_000_000, repeated=False) == now_us
    assert came_us(now_us + 1) == now_us
    assert came_us(now_us - REPEATED_US_MAX) == now_us


def test_repeated_samples_of_another_host_say_how_old_they_are() -> None:
    """Whatever their times are: they are of another clock. Those between them count, however late all this is."""
    arrivals = FarArrivals()

    def came_us(time_us: int, age_us: int, now_us: int) -> int:
        said = SampleMessage(1, 0, time_us, None, Codec.H264, True, age_us > 0, age_us)
        return arrivals.arrival_us(said, Sample(b"x", time_us, Codec.H264), now_us)

    assert came_us(-5, 0, 30_000_000) == 30_000_000
    assert came_us(-5, 700_000, 30_000_000) == 29_300_000
    assert came_us(40_000 - 5, 660_000, 30_500_000) == 29_340_000
    assert came_us(9_000_000, 1, 30_500_000) == 30_500_000  # not later than now
    assert came_us(9_000_000, 0, 31_000_000) == 31_000_000
    assert came_us(-5, 1 << 62, 32_000_000) == 32_000_000 - REPEATED_US_MAX


@given(st.lists(st.tuples(st.integers(1, 2), st.integers(0, 9), st.booleans(), st.sampled_from(["h264", "opus"]))))
def test_whatever_comes_is_counted_once(said: list[tuple[int, int, bool, str]]) -> None:
    intake = started(VIDEO)
    used = [intake.sample(message(number, Codec(codec), sync, epoch), b"x") for epoch, number, sync, codec in said]
    assert intake.samples_in == len(said)
    assert intake.samples_used == sum(sample is not None for sample in used)
    dropped = intake.samples_unannounced + intake.samples_known + intake.samples_awaiting_sync
    assert intake.samples_in == intake.samples_used + dropped
    taken = [number for epoch, number, _, codec in said if epoch == 1 and codec == "h264"]
    passed = max(taken, default=-1) + 1
    assert (
        passed == intake.samples_used + intake.samples_awaiting_sync + intake.samples_lost + intake.samples_missed
    )


def test_behind_a_loss_what_leads_the_sync_point_is_of_no_use() -> None:
    intake = started(Track(Codec.H265), AUDIO)

    def picture(sequence: int, shown_us: int, sync: bool = False) -> bool:
        message = SampleMessage(1, sequence, shown_us, sequence, Codec.H265, sync)
        return intake.sample(message, b"x") is not None

    assert picture(0, 3, sync=True)
    assert not picture(1, 2), "the first one leans on nothing that there is"
    assert intake.sample(message(2, Codec.AAC, sync=True), b"x") is not None
    assert picture(3, 5)
    assert picture(4, 8, sync=True)
    assert picture(5, 7), "all before it is there"
    assert not picture(7, 10), "lost"
    assert picture(8, 13, sync=True)
    assert not picture(9, 12)
    assert picture(10, 14)
    assert intake.samples_awaiting_sync == 3
