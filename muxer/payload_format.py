"""How the samples of one codec go into RTP packets, each codec in a class of its own. Pure.

A *format* splits a sample into the payloads of its packets; `muxer.native` puts the headers before them. Each
payload is a few bytes of the format's own and a piece of the sample, so that the bulk of it is copied once.
Pieces are as long as a packet allows, but for the last: packets of one size go out over UDP in one system call.
"""

from typing import NamedTuple

from common.rtp_rows import PAYLOAD_BYTES_MAX
from common.sample import Codec

Piece = bytes | memoryview
VIDEO_RATE_HZ = 90_000


class Parts(NamedTuple):
    """The payloads of one sample, in order. disposable: no other picture refers to it."""

    packets: list[tuple[bytes, Piece]]
    disposable: bool = False


class PayloadFormat:
    """One track's. Subclasses say what their codec needs.

    encoding: of rtpmap (RFC 8866 6.6). payload_type: RFC 3551, or dynamic. rate_hz: of the RTP clock.
    marks: whether the last packet of a sample has the marker bit. step: what the timestamp grows by from packet to
    packet of one sample.
    """

    rate_hz = VIDEO_RATE_HZ
    marks = True
    step = 0

    def __init__(self, codec: Codec, encoding: str, payload_type: int) -> None:
        self.codec = codec
        self.encoding = encoding
        self.payload_type = payload_type

    @property
    def parameters(self) -> str:
        """The parameters of fmtp; empty for none."""
        return ""

    def split(self, data: Piece, sync: bool) -> Parts:
        """The payloads of a sample that is not empty. Raises MediaError."""
        raise NotImplementedError

    def ticks(self, data: Piece) -> int:  # noqa: ARG002
        """How long a sample of sound lasts; 0 where that is not known."""
        return 0


def cut(data: Piece, size: int) -> list[memoryview]:
    """`data` in pieces of `size` bytes, the last one shorter."""
    view = memoryview(data)
    return [view[at : at + size] for at in range(0, len(view), size)]


def room(head_bytes: int) -> int:
    """What of a sample fits into a packet behind so many bytes."""
    return PAYLOAD_BYTES_MAX - head_bytes
