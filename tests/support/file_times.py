"""Did a player get the file? Its packets against those of the file, to the byte and to the tick of 90 kHz.

A viewer joins the looped file anywhere: its packets are matched to the file's by what is in them, without what
each container writes in its own way (start codes, parameter sets, delimiters; ADTS headers).
"""

import re
from collections.abc import Sequence
from itertools import pairwise

from tests.support.decoding import Unit

ADTS_HEADER_BYTES = 7
PICTURE_NAL_TYPES = (1, 5)


def content(unit: Unit) -> bytes:
    """What a decoder gets of a packet in any container: the slices of H.264, the raw frame of AAC."""
    if unit.audio:
        has_header = unit.data[0] == 0xFF and unit.data[1] & 0xF6 == 0xF0
        return unit.data[ADTS_HEADER_BYTES if has_header else 0 :]
    nal_units = re.split(b"\0+\0\x01", unit.data)[1:]
    return b"\0".join(nal_unit for nal_unit in nal_units if nal_unit[0] & 0x1F in PICTURE_NAL_TYPES)


def check_times(got: Sequence[Unit], file: Sequence[Unit]) -> None:
    """Assert that `got` is the looped file from somewhere on: every packet, and every time in each pass.

    In one pass all PTS and DTS, of video and audio, differ from the file's by one and the same number of ticks.
    """
    shifts_of_tracks = []
    for audio in (False, True):
        track = [unit for unit in got if unit.audio is audio]
        in_file = [unit for unit in file if unit.audio is audio]
        assert len(track) > 25, f"{len(track)} packets of {'audio' if audio else 'video'}"
        shifts_of_tracks.append(_shifts(track, in_file))
    video, audio_shifts = shifts_of_tracks
    assert video & audio_shifts, f"video is shifted by {video}, audio by {audio_shifts} ticks"
    first, last = (pick(unit.dts for unit in file) for pick in (min, max))
    for before, after in pairwise(sorted(video | audio_shifts)):
        assert after - before > (last - first) * 0.9, f"video is shifted by {video}, audio by {audio_shifts} ticks"


def check_distances(got: Sequence[tuple[float, float]], file: Sequence[Unit], *, audio: bool) -> None:
    """Assert that these (PTS, DTS) follow each other as somewhere in the looped file, the seam left out.

    For players that hand out no data to match. got: in ticks, and parts of them where a player counts ns.
    """
    assert len(got) > 20
    steps = [_step(*pair) for pair in pairwise(got)]
    in_file = [_step(*pair) for pair in pairwise([(unit.pts, unit.dts) for unit in file if unit.audio is audio])]
    for at in range(len(in_file) - len(steps) + 1):
        if in_file[at : at + len(steps)] == steps:
            return
    # Across the seam: as the end of the file, then any step, then as its beginning.
    for end in range(len(steps)):
        if in_file[len(in_file) - end :] == steps[:end] and in_file[: len(steps) - end - 1] == steps[end + 1 :]:
            return
    raise AssertionError(f"no such (DTS step, PTS - DTS) in the file: {steps}")


def _step(before: tuple[float, float], after: tuple[float, float]) -> tuple[int, int, int]:
    return round(after[1] - before[1]), round(before[0] - before[1]), round(after[0] - after[1])


def _shifts(track: list[Unit], in_file: list[Unit]) -> set[int]:
    """The shifts of a track's times, one a pass. Raises AssertionError where it is not the file's."""
    contents, wanted = [content(unit) for unit in track], [content(unit) for unit in in_file]
    count = len(wanted)
    starts = [
        start
        for start in range(count)
        if wanted[start] == contents[0]
        and all(wanted[(start + at) % count] == got for at, got in enumerate(contents))
    ]
    assert starts, "these packets, in this order, are not in the file"
    faults = []
    for start in starts:  # more than one where the file repeats itself, as a tone may
        shifts: dict[int, set[int]] = {}
        for at, unit in enumerate(track):
            of_file = in_file[(start + at) % count]
            shift = unit.pts - of_file.pts, unit.dts - of_file.dts
            shifts.setdefault((start + at) // count, set()).update(shift)
        if all(len(values) == 1 for values in shifts.values()):
            return {value for values in shifts.values() for value in values}
        faults.append(shifts)
    raise AssertionError(f"within a pass the times are shifted by different numbers of ticks: {faults[0]}")
