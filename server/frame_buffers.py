"""The bytes of one frame in every form that its viewers need, each made once and only when needed. Pure."""

from enum import StrEnum
from typing import NamedTuple

from common import grid, rtp_rows
from common.errors import MessageError
from common.grid import INTERLEAVE_BYTES, LEAD_BYTES, ROW_BYTES, TS_BYTES, Counters
from common.header_numbers import NONE, Offset, RtpOffset, renumbered
from common.messages import FrameMessage
from common.sample import Payload
from common.wire import Buffer
from server.datagrams import Datagrams, native_datagrams, ts_datagrams

_CLOCK = slice(INTERLEAVE_BYTES + 4, INTERLEAVE_BYTES + 8)  # of an RTP header behind its `$`


class Framing(StrEnum):
    """What stands around the payload."""

    INTERLEAVED = "rtsp-tcp"  # RTP in `$` frames
    TS = "http-ts"  # nothing
    UDP = "rtsp-udp"  # RTP in datagrams


class Form(NamedTuple):
    """A framing, the `$` channel of each track, None for one that is not wanted, and the numbers.

    new_clock: it says of its PCR that the clock starts anew.
    """

    framing: Framing
    channels: tuple[int | None, ...]
    offset: Offset
    new_clock: bool = False


SHARED = Form(Framing.INTERLEAVED, (0,), NONE)  # as the muxer made it


def form(framing: Framing, channels: tuple[int | None, ...], offset: Offset, new_clock: bool = False) -> Form:
    """The form with nothing in it that its framing does not show, so that equal bytes have equal forms."""
    if framing is Framing.TS:
        return Form(framing, (0,), Offset(counters=offset.counters), new_clock)
    if framing is Framing.UDP:
        channels = tuple(channel and 0 for channel in channels)
    return Form(framing, channels, offset, new_clock)


def check_frame(frame: FrameMessage, data: Buffer) -> None:
    """Raises MessageError where `data` is not laid out as `frame` says."""
    if frame.payload == Payload.NATIVE:
        is_whole = frame.packets == len(rtp_rows.walk(data))
    else:
        is_whole = is_frame_size(len(data)) and frame.packets == grid.rtp_packets(len(data))
    if not is_whole:
        raise MessageError(f"a frame of {len(data)} bytes and {frame.packets} packets of {frame.stream}")


def is_frame_size(size: int) -> bool:
    """Whether a frame (`common.grid`) can have `size` bytes."""
    rest = size % ROW_BYTES
    return size > 0 and (rest == 0 or (rest > LEAD_BYTES and (rest - LEAD_BYTES) % TS_BYTES == 0))


class FrameBuffers:
    """The forms of one frame. data: as it came from the muxer, and as `check_frame` lets it pass."""

    __slots__ = ("_data", "_frame", "_made")

    def __init__(self, frame: FrameMessage, data: Buffer) -> None:
        self._frame = frame
        self._data = data
        self._made: dict[tuple[Framing, int, RtpOffset, Counters, bool], Buffer | Datagrams] = {}

    @property
    def has_clock(self) -> bool:
        """Whether there is a PCR in it."""
        return self._frame.payload == Payload.TS and grid.pcr_flags(self._data) is not None

    @property
    def clock(self) -> int:
        """The RTP timestamp of the first packet, as it came."""
        return int.from_bytes(self._data[_CLOCK], "big")

    def get(self, wanted: Form) -> Buffer | Datagrams | None:
        """The frame in the wanted form, which nobody may write to; Datagrams where the framing is UDP.

        None: its track is not wanted.
        """
        track = self._frame.track
        framing, channels, offset, new_clock = wanted
        channel = channels[track] if track < len(channels) else None
        if channel is None:
            return None
        key = framing, channel, offset.of(track), offset.counters, new_clock
        found = self._made.get(key)
        if found is None:
            found = self._made[key] = self._make(framing, channel, offset, new_clock)
        return found

    def _make(self, framing: Framing, channel: int, offset: Offset, new_clock: bool) -> Buffer | Datagrams:
        data = renumbered(self._data, self._frame, offset, channel)
        flags = grid.pcr_flags(data) if new_clock else None
        if flags is not None:
            data = grid.signal_discontinuity(data, flags)
        if framing is Framing.UDP:
            native = self._frame.payload == Payload.NATIVE
            return native_datagrams(data, self._frame.track) if native else ts_datagrams(data)
        return grid.without_rtp(data) if framing is Framing.TS else data
