"""The generated picture: what moves, moves as it should; what does not, stays."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture.card import BLACK, CLOCK_TEXT, FLASH_US, NUMBER_DIGITS, RUN_US, Card
from capture.glyphs import WHITE
from common.source_spec import GENERATED_SIDE_MAX, GENERATED_SIDE_MIN

SIDES = st.integers(GENERATED_SIDE_MIN // 2, 700).map(lambda half: 2 * half)


def painted(
    card: Card, clock: str = "12:34:56.789", number: int = 1, time_us: int = 500_000
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    card.paint(clock, number, time_us)
    return card.pixels.copy()


@given(SIDES, SIDES)
@settings(max_examples=30)
def test_it_fits_any_size_and_stays_in_range(width: int, height: int) -> None:
    pixels = painted(Card(width, height))
    assert pixels.shape == (height * 3 // 2, width)
    assert pixels[:height].min() >= BLACK
    assert pixels[:height].max() == WHITE


@pytest.mark.parametrize(
    ("width", "height"),
    [
        (GENERATED_SIDE_MIN, GENERATED_SIDE_MIN), (GENERATED_SIDE_MIN, GENERATED_SIDE_MAX),
        (GENERATED_SIDE_MAX, GENERATED_SIDE_MIN), (1280, 720), (640, 480), (720, 1280),
    ],
)  # fmt: skip
def test_every_digit_shows(width: int, height: int) -> None:
    card = Card(width, height)
    base = painted(card)
    for position, character in enumerate(CLOCK_TEXT):
        if character == "0":
            other = painted(card, "12:34:56.789"[:position] + "0" + "12:34:56.789"[position + 1 :])
            assert (other != base).any(), position
    for position in range(NUMBER_DIGITS):
        assert (painted(card, number=1 + 2 * 10**position) != base).any(), position
    assert (painted(card) == base).all()


def test_the_flash_is_there_for_the_first_part_of_each_second() -> None:
    card = Card(640, 480)
    lit = [painted(card, time_us=7_000_000 + at_us) for at_us in (0, FLASH_US - 1)]
    dark = [painted(card, time_us=7_000_000 + at_us) for at_us in (FLASH_US, 999_999)]
    bottom = slice(480 * 13 // 18, 480)
    assert (lit[0][bottom] == lit[1][bottom]).all()
    assert (dark[0][bottom] == dark[1][bottom]).all()
    differs = lit[0][bottom] != dark[0][bottom]
    assert differs.sum() > 100
    assert (lit[0][bottom][differs] == WHITE).all()


def test_the_block_runs_from_side_to_side() -> None:
    card = Card(640, 480)
    strip = slice(480 * 11 // 18, 480 * 13 // 18)

    def left(time_us: int) -> int:
        return int(np.argmax((painted(card, time_us=time_us)[strip] == WHITE).any(axis=0)))

    places = [left(step * RUN_US // 100) for step in range(100)]
    assert places[0] == 0
    assert places == sorted(set(places))
    assert places[-1] > 560
    assert left(RUN_US) == 0


def test_the_bars_are_those_of_a_test_card() -> None:
    pixels = painted(Card(700, 360))
    blue = pixels[360:450].reshape(180, 350)
    red = pixels[450:].reshape(180, 350)
    middles = [50 + 100 * bar for bar in range(7)]
    assert [int(pixels[10, at]) for at in middles] == [180, 162, 131, 112, 84, 65, 35]
    assert [int(blue[5, at // 2]) for at in middles] == [128, 44, 156, 72, 184, 100, 212]
    assert [int(red[5, at // 2]) for at in middles] == [128, 142, 44, 58, 198, 212, 114]
