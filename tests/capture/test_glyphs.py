"""The glyphs: each is another one, and stays where it belongs."""

import re
from itertools import combinations

import numpy as np
import pytest

from capture import glyphs
from capture.glyphs import CELL_COLUMNS, CELL_ROWS, DARK, WHITE
from common.config import SLATE_PATTERN

CHARACTERS = [chr(code) for code in range(32, 127) if re.match(SLATE_PATTERN, chr(code))]


def painted(text: str, scale: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    luma = np.full((CELL_ROWS * scale, CELL_COLUMNS * scale * len(text)), DARK, np.uint8)
    glyphs.write(luma, text, (0, 0), scale)
    return luma


@pytest.mark.parametrize("scale", [1, 2, 7, 20])
def test_all_that_a_setting_may_say_can_be_told_apart(scale: int) -> None:
    pictures = {character.upper(): painted(character, scale) for character in CHARACTERS}
    assert len(pictures) == 26 + 10 + len(" !&'()+,./:?-")
    for (one, first), (other, second) in combinations(pictures.items(), 2):
        assert np.abs(first.astype(int) - second).max() > 100, (one, other)


def test_small_letters_are_capitals() -> None:
    assert (painted("No Signal", 3) == painted("NO SIGNAL", 3)).all()


def test_ink_and_paper_are_in_limited_range() -> None:
    luma = painted("W8", 9)
    assert (luma.min(), luma.max()) == (DARK, WHITE)


def test_nothing_is_painted_outside() -> None:
    luma = np.zeros((60, 60), np.uint8)
    glyphs.write(luma, "AB", (10, 20), 2)
    luma[10 : 10 + 2 * CELL_ROWS, 20 : 20 + 4 * CELL_COLUMNS] = 0
    assert not luma.any()
