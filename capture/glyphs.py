"""Capital letters, digits and signs, painted into luma. Pure.

A glyph is 5 × 7 dots in a cell of CELL_COLUMNS × CELL_ROWS, each dot `scale` pixels wide, its corners rounded.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.uint8]

CELL_COLUMNS, CELL_ROWS = 6, 9  # with the space around
GLYPH_ROWS = 7
DARK, WHITE = 30, 235  # paper and ink, limited range
GLYPHS_KEPT_MAX = 64  # two lines of text; a large one takes 100 kB
_GLYPH_COLUMNS = 5

# Each row of a glyph is five bits, the left one highest.
_FONT = {
    " ": (0, 0, 0, 0, 0, 0, 0), "!": (4, 4, 4, 4, 4, 0, 4), "&": (12, 18, 20, 8, 21, 18, 13),
    "'": (4, 4, 8, 0, 0, 0, 0), "(": (2, 4, 8, 8, 8, 4, 2), ")": (8, 4, 2, 2, 2, 4, 8),
    "+": (0, 4, 4, 31, 4, 4, 0), ",": (0, 0, 0, 0, 6, 4, 8), "-": (0, 0, 0, 31, 0, 0, 0),
    ".": (0, 0, 0, 0, 0, 6, 6), "/": (0, 1, 2, 4, 8, 16, 0), "0": (14, 17, 19, 21, 25, 17, 14),
    "1": (4, 12, 4, 4, 4, 4, 14), "2": (14, 17, 1, 2, 4, 8, 31), "3": (31, 2, 4, 2, 1, 17, 14),
    "4": (2, 6, 10, 18, 31, 2, 2), "5": (31, 16, 30, 1, 1, 17, 14), "6": (6, 8, 16, 30, 17, 17, 14),
    "7": (31, 1, 2, 4, 8, 8, 8), "8": (14, 17, 17, 14, 17, 17, 14), "9": (14, 17, 17, 15, 1, 2, 12),
    ":": (0, 4, 4, 0, 4, 4, 0), "?": (14, 17, 1, 2, 4, 0, 4), "A": (14, 17, 17, 31, 17, 17, 17),
    "B": (30, 17, 17, 30, 17, 17, 30), "C": (14, 17, 16, 16, 16, 17, 14), "D": (28, 18, 17, 17, 17, 18, 28),
    "E": (31, 16, 16, 30, 16, 16, 31), "F": (31, 16, 16, 30, 16, 16, 16), "G": (14, 17, 16, 23, 17, 17, 15),
    "H": (17, 17, 17, 31, 17, 17, 17), "I": (14, 4, 4, 4, 4, 4, 14), "J": (7, 2, 2, 2, 2, 18, 12),
    "K": (17, 18, 20, 24, 20, 18, 17), "L": (16, 16, 16, 16, 16, 16, 31), "M": (17, 27, 21, 21, 17, 17, 17),
    "N": (17, 25, 21, 19, 17, 17, 17), "O": (14, 17, 17, 17, 17, 17, 14), "P": (30, 17, 17, 30, 16, 16, 16),
    "Q": (14, 17, 17, 17, 21, 18, 13), "R": (30, 17, 17, 30, 20, 18, 17), "S": (15, 16, 16, 14, 1, 1, 30),
    "T": (31, 4, 4, 4, 4, 4, 4), "U": (17, 17, 17, 17, 17, 17, 14), "V": (17, 17, 17, 17, 17, 10, 4),
    "W": (17, 17, 17, 21, 21, 21, 10), "X": (17, 17, 10, 4, 10, 17, 17), "Y": (17, 17, 10, 4, 4, 4, 4),
    "Z": (31, 1, 2, 4, 8, 16, 31),
}  # fmt: skip


def write(luma: Plane, text: str, at: tuple[int, int], scale: int) -> None:
    """Paint `text` with its upper left corner `at` (row, column). It must fit; small letters become capitals."""
    top, left = at
    for character in text.upper():
        glyph = _glyph(character, scale)
        rows, columns = glyph.shape
        luma[top : top + rows, left : left + columns] = glyph
        left += columns


@lru_cache(GLYPHS_KEPT_MAX)
def _glyph(character: str, scale: int) -> Plane:
    dots = np.zeros((CELL_ROWS, CELL_COLUMNS))
    for row, bits in enumerate(_FONT[character]):
        for column in range(_GLYPH_COLUMNS):
            dots[row + 1, column] = bits >> (_GLYPH_COLUMNS - 1 - column) & 1
    # Straight slopes between the middles of the dots, cut below half height so that diagonals hold together.
    smooth = _stretched(_stretched(dots, scale).T, scale).T
    ink = np.clip((smooth - 0.36) * max(scale, 2) + 0.5, 0, 1)
    return (DARK + ink * (WHITE - DARK)).astype(np.uint8)


def _stretched(dots: NDArray[np.float64], scale: int) -> NDArray[np.float64]:
    count = dots.shape[0]
    at = (np.arange(count * scale) + 0.5) / scale - 0.5
    return np.stack([np.interp(at, np.arange(count), column) for column in dots.T], axis=1)
