"""What a frame says of those who start with it."""

from msgspec.structs import replace

from server.frame_mark import first_numbers
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
