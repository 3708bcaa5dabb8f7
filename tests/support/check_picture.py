"""Numbered check pictures: a clip in which every picture says which one it is and whether it is whole.

A picture is a grid of cells of one macroblock, 16 × 16 pixels, dark or bright, each with its own fine noise:

    cells 0-31   a codeword: 16 bits number, 4 bits `detail`, 12 bits CRC
    the others   dark or bright, and the noise, by a hash of the cell and the number

A cell is drawn anew every `PERIOD` pictures only, in its own turn, and holds still between: so P and B pictures
really lean on others, and one decoded against a wrong, grey or missing reference differs from what `render` says
it should be, whatever the decoder reports. `read` compares the whole picture with that, cell by cell.

Pictures are yuv420p arrays as PyAV gives them: uint8, (height · 3/2, width).
"""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

CELL = 16
PERIOD = 4
NUMBER_BITS, DETAIL_BITS, CRC_BITS = 16, 4, 12
CODE_CELLS = NUMBER_BITS + DETAIL_BITS + CRC_BITS
DARK, BRIGHT, GREY = 70, 180, 128
NOISE_STEP = 4  # amplitude of the noise for one step of `detail`
WRONG_MEAN = 9.0  # mean difference of a cell: coding costs up to 4.5, another cell's noise of detail 5 makes 18
WRONG_CHROMA = 5.0

Picture = NDArray[np.uint8]

_TILES = 256
_tiles = np.random.default_rng(188).integers(-1, 2, (_TILES, CELL // 2, CELL // 2)).repeat(2, 1).repeat(2, 2)


class Reading(NamedTuple):
    """What a picture says. number is -1 where even that cannot be read."""

    number: int
    damaged: bool


@dataclass(frozen=True)
class CheckClip:
    """A file of check pictures, numbered from 0. Every `sync_every`-th is a sync point."""

    path: Path
    pictures: int
    sync_every: int
    fps: int

    def follows(self, number: int, previous: int) -> bool:
        """Whether `number` comes right after `previous` when the clip is looped."""
        return number == (previous + 1) % self.pictures


def _crc(value: int) -> int:
    remainder = value << CRC_BITS
    for bit in range(NUMBER_BITS + DETAIL_BITS - 1, -1, -1):
        if remainder >> (bit + CRC_BITS) & 1:
            remainder ^= 0x180F << bit  # CRC-12, x¹² + x¹¹ + x³ + x² + x + 1
    return remainder ^ 0xA5A  # so that an all-dark picture is not a codeword


def _hash(values: NDArray[np.uint32]) -> NDArray[np.uint32]:
    for _ in range(2):
        values = (values ^ (values >> np.uint32(16))) * np.uint32(0x45D9F3B)
    return values ^ (values >> np.uint32(16))


def render(number: int, width: int = 320, height: int = 240, detail: int = 5) -> Picture:
    """The picture `number` (16 bits) as it is before coding. width and height are multiples of 16."""
    rows, columns = height // CELL, width // CELL
    cell = np.arange(rows * columns, dtype=np.uint32)
    turn = (np.uint32(number) + _hash(cell) % np.uint32(PERIOD)) // np.uint32(PERIOD)
    drawn = _hash(cell * np.uint32(65537) + turn)
    bright = (drawn & np.uint32(1)).astype(np.int16)
    value = number << DETAIL_BITS | detail
    code = value << CRC_BITS | _crc(value)
    bright[:CODE_CELLS] = [code >> bit & 1 for bit in range(CODE_CELLS - 1, -1, -1)]
    noise = _tiles[(drawn >> np.uint32(8)) % np.uint32(_TILES)] * (detail * NOISE_STEP)
    cells = (DARK + bright * (BRIGHT - DARK))[:, None, None] + noise
    luma = cells.reshape(rows, columns, CELL, CELL).swapaxes(1, 2).reshape(height, width)
    return np.vstack([luma, np.full((height // 2, width), GREY)]).astype(np.uint8)


def from_frame(frame: av.VideoFrame) -> Picture:
    """A decoded frame as `read` takes it."""
    return frame.to_ndarray(format="yuv420p").astype(np.uint8, copy=False)


def read(picture: Picture) -> Reading:
    """The number in a decoded picture, and whether anything in it is not as it was drawn."""
    height, width = picture.shape[0] * 2 // 3, picture.shape[1]
    luma = picture[:height].reshape(height // CELL, CELL, width // CELL, CELL)
    code = 0
    for mean in luma.mean(axis=(1, 3)).ravel()[:CODE_CELLS]:
        code = code << 1 | int(mean > (DARK + BRIGHT) / 2)
    value = code >> CRC_BITS
    if _crc(value) != code & ((1 << CRC_BITS) - 1):
        return Reading(-1, True)
    number, detail = value >> DETAIL_BITS, value & ((1 << DETAIL_BITS) - 1)
    difference = np.abs(picture.astype(np.int16) - render(number, width, height, detail))
    wrong_luma = difference[:height].reshape(luma.shape).mean(axis=(1, 3)).max() > WRONG_MEAN
    chroma = difference[height:].reshape(-1, CELL // 4, width // (CELL // 2), CELL // 2)
    return Reading(number, bool(wrong_luma or chroma.mean(axis=(1, 3)).max() > WRONG_CHROMA))


def make(
    path: Path,
    *,
    pictures: int = 250,
    sync_every: int = 50,
    b_pictures: int = 0,
    width: int = 320,
    height: int = 240,
    fps: int = 25,
    detail: int = 5,
    crf: int = 18,
    audio: bool = False,
) -> CheckClip:
    """Write a clip in H.264, with an AAC tone if `audio`; the container is that of the path's suffix.

    crf: x264's, the less the more bits; from 0 to 18 coding is never taken for damage.
    """
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=fps)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.options = {
            "preset": "veryfast",
            "crf": str(crf),
            "bf": str(b_pictures),
            "x264-params": f"keyint={sync_every}:min-keyint={sync_every}:scenecut=0:open-gop=0:b-adapt=1",
        }
        sound = container.add_stream("aac", rate=48000, layout="stereo") if audio else None
        sounded = 0
        for number in range(pictures):
            frame = av.VideoFrame.from_ndarray(render(number, width, height, detail), "yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            container.mux(video.encode(frame))
            while sound is not None and sounded * fps < (number + 1) * 48000:
                tone = np.sin((np.arange(1024) + sounded) * (2 * np.pi * 440 / 48000)).astype(np.float32) / 4
                samples = av.AudioFrame.from_ndarray(np.stack([tone, tone]), "fltp", "stereo")
                samples.sample_rate, samples.pts, samples.time_base = 48000, sounded, Fraction(1, 48000)
                container.mux(sound.encode(samples))
                sounded += 1024
        container.mux(video.encode(None))
        if sound is not None:
            container.mux(sound.encode(None))
    return CheckClip(path, pictures, sync_every, fps)
