"""The generated picture: colour bars, a block that runs, a clock, a number, a flash each second. Pure.

Everything that does not move is painted once; a picture then costs a few copies of small patches of luma.
"""

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.uint8]

BLACK, WHITE = 16, 235  # limited range, BT.601
DARK = 30
RUN_US = 4_000_000  # the block crosses the picture in this time
FLASH_US = 100_000
CLOCK_TEXT = "00:00:00.000"
NUMBER_DIGITS = 7
_NAME = "FRAMEGATE"
_GLYPH_COLUMNS, _GLYPH_ROWS = 5, 7
_CELL_COLUMNS, _CELL_ROWS = 6, 9  # with the space around

# Each row of a glyph is five bits, the left one highest.
_FONT = {
    "0": (14, 17, 19, 21, 25, 17, 14), "1": (4, 12, 4, 4, 4, 4, 14), "2": (14, 17, 1, 2, 4, 8, 31),
    "3": (31, 2, 4, 2, 1, 17, 14), "4": (2, 6, 10, 18, 31, 2, 2), "5": (31, 16, 30, 1, 1, 17, 14),
    "6": (6, 8, 16, 30, 17, 17, 14), "7": (31, 1, 2, 4, 8, 8, 8), "8": (14, 17, 17, 14, 17, 17, 14),
    "9": (14, 17, 17, 15, 1, 2, 12), ":": (0, 4, 4, 0, 4, 4, 0), ".": (0, 0, 0, 0, 0, 6, 6),
    "A": (14, 17, 17, 31, 17, 17, 17), "E": (31, 16, 16, 30, 16, 16, 31), "F": (31, 16, 16, 30, 16, 16, 16),
    "G": (14, 17, 16, 23, 17, 17, 15), "M": (17, 27, 21, 21, 17, 17, 17), "R": (30, 17, 17, 30, 20, 18, 17),
    "T": (31, 4, 4, 4, 4, 4, 4),
}  # fmt: skip

# White, yellow, cyan, green, magenta, red, blue at 75 %: (Y, Cb, Cr) of BT.601.
_BARS = (
    (180, 128, 128),
    (162, 44, 142),
    (131, 156, 44),
    (112, 72, 58),
    (84, 184, 198),
    (65, 100, 212),
    (35, 212, 114),
)


class Card:
    """One picture of width × height pixels, both even, painted over and over.

    pixels: yuv420p as PyAV takes it: (height · 3/2, width); the same memory for ever.
    """

    def __init__(self, width: int, height: int) -> None:
        self.pixels: Plane = np.full((height * 3 // 2, width), 128, np.uint8)
        self._luma = self.pixels[:height]
        self._width = width
        strip_top, band_top = (height * 11 // 18) & ~1, (height * 13 // 18) & ~1
        self._paint_bars(strip_top, height)
        self._luma[band_top:] = DARK
        self._strip = slice(strip_top, band_top)
        self._ramp = np.linspace(BLACK, WHITE // 2, width).astype(np.uint8)
        self._luma[self._strip] = self._ramp
        self._block = max(8, (band_top - strip_top) // 2)
        self._lay_out_text(band_top, height)

    def paint(self, clock: str, number: int, time_us: int) -> None:
        """Paint the next picture. clock: as CLOCK_TEXT. time_us: of the wall, for the block and the flash."""
        self._write(clock, self._clock_at, self._large)
        self._write(f"{number % 10**NUMBER_DIGITS:0{NUMBER_DIGITS}}", self._number_at, self._small)
        self._luma[self._flash] = WHITE if time_us % 1_000_000 < FLASH_US else DARK
        strip = self._luma[self._strip]
        strip[:] = self._ramp
        left = (self._width - self._block) * (time_us % RUN_US) // RUN_US
        top = (len(strip) - self._block) // 2
        strip[top : top + self._block, left : left + self._block] = WHITE

    def _paint_bars(self, bottom: int, height: int) -> None:
        blue, red = self.pixels[height:].reshape(2, height // 2, self._width // 2)
        edges = [self._width * index // len(_BARS) & ~1 for index in range(len(_BARS))] + [self._width]
        for index, (y, cb, cr) in enumerate(_BARS):
            left, right = edges[index], edges[index + 1]
            self._luma[:bottom, left:right] = y
            blue[: bottom // 2, left // 2 : right // 2] = cb
            red[: bottom // 2, left // 2 : right // 2] = cr

    def _lay_out_text(self, top: int, bottom: int) -> None:
        large = max(1, min(self._width * 8 // 10 // (_CELL_COLUMNS * len(CLOCK_TEXT)), (bottom - top) // 17))
        small = max(1, large // 2)
        self._large, self._small = _glyphs(large), _glyphs(small)
        gap = max(0, bottom - top - _CELL_ROWS * (large + small)) // 3
        second_line = top + 2 * gap + _CELL_ROWS * large
        clock_width = _CELL_COLUMNS * len(CLOCK_TEXT) * large
        left = (self._width - clock_width) // 2
        number_width = _CELL_COLUMNS * NUMBER_DIGITS * small
        self._clock_at = (top + gap, left)
        self._number_at = (second_line, left + clock_width - number_width)
        side = _GLYPH_ROWS * small
        name_width = _CELL_COLUMNS * len(_NAME) * small
        if name_width + 2 * side + number_width <= clock_width:
            self._write(_NAME, (second_line, left), self._small)
            flash_left = left + (name_width + clock_width - number_width - side) // 2
        else:
            flash_left = left
        flash_top = second_line + small
        self._flash = (slice(flash_top, flash_top + side), slice(flash_left, flash_left + side))

    def _write(self, text: str, at: tuple[int, int], glyphs: dict[str, Plane]) -> None:
        top, left = at
        for character in text:
            glyph = glyphs[character]
            rows, columns = glyph.shape
            self._luma[top : top + rows, left : left + columns] = glyph
            left += columns


def _glyphs(scale: int) -> dict[str, Plane]:
    """The font at `scale` pixels a dot, its corners rounded, in luma."""
    return {character: _glyph(rows, scale) for character, rows in _FONT.items()}


def _glyph(rows: tuple[int, ...], scale: int) -> Plane:
    dots = np.zeros((_CELL_ROWS, _CELL_COLUMNS))
    for row, bits in enumerate(rows):
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
