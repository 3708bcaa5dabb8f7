"""Where the times of a file that is played in a loop lie on the monotonic clock. Pure.

    placed time = file time + offset

One offset serves all tracks, so that they cannot drift apart. It only ever changes by multiples of 100 µs,
which are 9 ticks of 90 kHz: what came out of a TS file goes back into TS with the same distances, to the tick.
At the end of a pass the offset grows by the length of the pass, which is that of its longest track, from first
to last presentation: in that track no time is missing or doubled at the seam, in the others it may be missing.

Where a recording's own time jumps (files put end to end, a clock that was set), the offset takes it up.
"""

from typing import NamedTuple

GRAIN_US = 100
JUMP_US = 10_000_000  # decoding times of neighbours in a file further apart are a jump
JUMP_BACK_US = 500_000  # likewise of one track, backwards; less is disorder, and the sample is left out
STRAGGLE_US = 2_000_000  # so long after a jump samples from before it may still come: tracks interleave
OVERLAP_US_MAX = 1_000_000  # how far the next pass may reach into the last one, where tracks start apart
PASS_US_MIN = 40_000  # a file of one picture must not be opened thousands of times a second


class Placed(NamedTuple):
    """A sample's times on the monotonic clock, µs."""

    time_us: int
    decode_us: int


class _Track:
    """Where one track got to, and what it has covered in this pass, in placed µs."""

    def __init__(self) -> None:
        self.decoded_us: int | None = None
        self.start_us: int | None = None
        self.end_us = 0


class Timeline:
    """Places the samples of a file, pass after pass. jumps: how often the file's own time jumped."""

    def __init__(self, first_decode_us: int, now_us: int) -> None:
        """The sample with decoding time `first_decode_us` in the file is due now, to GRAIN_US."""
        self.jumps = 0
        self._offset_us = _down(now_us) - _down(first_decode_us)
        self._pass_offset_us = self._offset_us
        self._newest_us = _down(now_us)
        self._before_jump: tuple[int, int] | None = None  # the offset until then, and how long it may be of use
        self._tracks: dict[int, _Track] = {}

    def place(self, track: int, time_us: int, decode_us: int, duration_us: int) -> Placed | None:
        """The times of the next sample of `track`; None if its decoding time does not come after the last one's.

        time_us, decode_us, duration_us: as in the file.
        """
        duration_us = max(0, min(duration_us, JUMP_US))
        state = self._tracks.setdefault(track, _Track())
        offset_us = self._offset_for(decode_us, duration_us, state)
        placed = Placed(time_us + offset_us, decode_us + offset_us)
        if state.decoded_us is not None and placed.decode_us <= state.decoded_us:
            return None
        state.decoded_us = placed.decode_us
        self._newest_us = max(self._newest_us, placed.decode_us)
        state.start_us = placed.time_us if state.start_us is None else min(placed.time_us, state.start_us)
        state.end_us = max(state.end_us, placed.time_us + duration_us)
        return placed

    def next_pass(self) -> None:
        """The file is at its end and begins again. A pass that placed nothing changes nothing."""
        spans = [(track.start_us, track.end_us) for track in self._tracks.values() if track.start_us is not None]
        if not spans:
            return
        longest_us = max(end - start for start, end in spans)
        whole_us = max(end for _, end in spans) - min(start for start, _ in spans)
        length_us = _up(max(longest_us, whole_us - OVERLAP_US_MAX, PASS_US_MIN))
        # The next pass starts where this one did, later by its length: jumps in the middle are not kept.
        self._offset_us = self._pass_offset_us = self._pass_offset_us + length_us
        self._before_jump = None
        for track in self._tracks.values():
            track.start_us, track.end_us = None, 0

    def _offset_for(self, decode_us: int, duration_us: int, track: _Track) -> int:
        offset_us = self._offset_us
        if self._before_jump is not None:
            before_us, until_us = self._before_jump
            if self._newest_us > until_us:
                self._before_jump = None
            elif abs(decode_us + before_us - self._newest_us) < abs(decode_us + offset_us - self._newest_us):
                offset_us = before_us
        placed_us = decode_us + offset_us
        back = track.decoded_us is not None and placed_us < track.decoded_us - JUMP_BACK_US
        if not back and abs(placed_us - self._newest_us) <= JUMP_US:
            return offset_us
        self.jumps += 1
        self._before_jump = self._offset_us, self._newest_us + STRAGGLE_US
        self._offset_us = offset_us + _up(self._newest_us - placed_us + max(duration_us, 1))
        return self._offset_us


def _down(time_us: int) -> int:
    return time_us // GRAIN_US * GRAIN_US


def _up(time_us: int) -> int:
    return -(-time_us // GRAIN_US) * GRAIN_US
