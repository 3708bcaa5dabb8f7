"""The bytes of one frame in every form that its viewers need, each made once and only when needed. Pure."""

from enum import Enum
from typing import NamedTuple

from common import grid
from common.grid import LEAD_BYTES, ROW_BYTES, RTP_HEADER_BYTES, TS_BYTES
from common.header_numbers import NONE, Offset, renumbered
from common.messages import FrameMessage
from common.wire import Buffer
from server.datagrams import Datagrams, ts_datagrams


class Framing(Enum):
    """What stands around the TS packets."""

    INTERLEAVED = "rtsp-tcp"  # RTP in `$` frames
    TS = "http-ts"  # nothing
    UDP = "rtsp-udp"  # RTP in datagrams


class Form(NamedTuple):
    """A framing, the `$` channel where it has one, and the numbers."""

    framing: Framing
    channel: int
    offset: Offset


SHARED = Form(Framing.INTERLEAVED, 0, NONE)  # as the muxer made it


def form(framing: Framing, channel: int, offset: Offset) -> Form:
    """The form with nothing in it that its framing does not show, so that equal bytes have equal forms."""
    if framing is Framing.TS:
        return Form(framing, 0, Offset(counters=offset.counters))
    return Form(framing, channel if framing is Framing.INTERLEAVED else 0, offset)


def is_frame_size(size: int) -> bool:
    """Whether a frame (`common.grid`) can have `size` bytes."""
    rest = size % ROW_BYTES
    return size > 0 and (rest == 0 or (rest > LEAD_BYTES and (rest - LEAD_BYTES) % TS_BYTES == 0))


class FrameBuffers:
    """The forms of one frame. data: as it came from the muxer, of a size that `is_frame_size`."""

    __slots__ = ("_by_form", "_data", "_frame")

    def __init__(self, frame: FrameMessage, data: Buffer) -> None:
        self._frame = frame
        self._data = data
        self._by_form: dict[Form, Buffer | Datagrams] = {SHARED: data}

    def get(self, wanted: Form) -> Buffer | Datagrams:
        """The frame in the wanted form, which nobody may write to; Datagrams where the framing is UDP."""
        found = self._by_form.get(wanted)
        if found is None:
            found = self._by_form[wanted] = self._make(wanted)
        return found

    def _make(self, wanted: Form) -> Buffer | Datagrams:
        framing, channel, offset = wanted
        data = renumbered(self._data, self._frame, offset, channel)
        if framing is Framing.UDP:
            return ts_datagrams(data)
        return grid.without_rtp(data) if framing is Framing.TS else data


def payload_octets(framing: Framing, framed_bytes: int, packets: int) -> int:
    """The bytes of RTP payload in frames of `framed_bytes` with `packets` RTP packets."""
    return framed_bytes - packets * (RTP_HEADER_BYTES if framing is Framing.UDP else LEAD_BYTES)
