"""The generated picture: colour bars, a block that runs, a clock, a number, a flash each second. Pure.

Everything that does not move is painted once; a picture then costs a few copies of small patches of luma.
"""

import numpy as np

from capture import glyphs
from capture.glyphs import CELL_COLUMNS, CELL_ROWS, DARK, GLYPH_ROWS, WHITE, Plane

BLACK = 16  # limited range, BT.601
RUN_US = 4_000_000  # the block crosses the picture in this time
FLASH_US = 100_000
CLOCK_TEXT = "00:00:00.000"
NUMBER_DIGITS = 7
_NAME = "FRAMEGATE"

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
        glyphs.write(self._luma, clock, self._clock_at, self._large)
        shown = f"{number % 10**NUMBER_DIGITS:0{NUMBER_DIGITS}}"
        glyphs.write(self._luma, shown, self._number_at, self._small)
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
        large = max(1, min(self._width * 8 // 10 // (CELL_COLUMNS * len(CLOCK_TEXT)), (bottom - top) // 17))
        small = max(1, large // 2)
        self._large, self._small = large, small
        gap = max(0, bottom - top - CELL_ROWS * (large + small)) // 3
        second_line = top + 2 * gap + CELL_ROWS * large
        clock_width = CELL_COLUMNS * len(CLOCK_TEXT) * large
        left = (self._width - clock_width) // 2
        number_width = CELL_COLUMNS * NUMBER_DIGITS * small
        self._clock_at = (top + gap, left)
        self._number_at = (second_line, left + clock_width - number_width)
        side = GLYPH_ROWS * small
        name_width = CELL_COLUMNS * len(_NAME) * small
        if name_width + 2 * side + number_width <= clock_width:
            glyphs.write(self._luma, _NAME, (second_line, left), small)
            flash_left = left + (name_width + clock_width - number_width - side) // 2
        else:
            flash_left = left
        flash_top = second_line + small
        self._flash = (slice(flash_top, flash_top + side), slice(flash_left, flash_left + side))
