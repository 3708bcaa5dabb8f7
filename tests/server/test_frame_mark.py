"""What a frame says of those who start with it, and how it stands to others of its stream."""

from msgspec.structs import replace

from common.messages import Head
from common.sample import Payload
from server.frame_mark import FrameMark, first_numbers, is_newer
from tests.support.frame_source import FrameSource


def test_the_numbers_of_each_tracks_first_packet_are_of_one_instant() -> None:
    message = replace(
        FrameSource().frame(sync=True).message,
        sequences=(10, 65_535), clocks=(9_000, (1 << 32) - 100), ssrcs=(1, 2), rates_hz=(90_000, 48_000),
    )  # fmt: skip
    assert first_numbers(message, 9_000) == [(10, 9_000), (65_535, (1 << 32) - 100)]
    shown_later = first_numbers(message, 9_000 + 7_200)  # a picture that others are decoded behind: 80 ms
    assert shown_later == [(10, 16_200), (65_535, 3840 - 100)]
    sound = replace(message, track=1)
    snapped_back = first_numbers(sound, (1 << 32) - 148)  # sound that goes on a millisecond before its time
    assert snapped_back == [(10, 8_910), (65_535, (1 << 32) - 148)]


def head(epoch: int, number: int, sample: tuple[int, int] | None) -> Head:
    return Head("cam", Payload.TS, epoch, number, sample)


def test_between_two_muxers_samples_are_counted_where_they_are_of_one_life_of_the_source() -> None:
    mark = FrameMark(replace(FrameSource().frame(sync=True).message, sample=(5, 70)), 0, 0)
    assert mark.samples_to(head(2, 0, (5, 75))) == 5
    assert mark.samples_to(head(2, 0, (5, 69))) == 0
    assert mark.samples_to(head(2, 0, (6, 75))) == 0
    assert mark.samples_to(head(2, 0, None)) == 0


def test_which_of_two_frames_is_the_newer_one_numbers_say_and_between_muxers_samples_if_they_can() -> None:
    newest = head(1, 100, (5, 70))
    assert is_newer(head(1, 101, (5, 70)), newest)
    assert not is_newer(head(1, 100, (5, 70)), newest)
    assert not is_newer(head(2, 500, (5, 69)), newest)
    assert is_newer(head(2, 0, (5, 70)), newest)
    assert is_newer(head(2, 0, (6, 0)), newest)
    assert is_newer(head(2, 0, None), newest)
