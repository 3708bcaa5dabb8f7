"""A viewer's own header numbers, which go on without a gap whatever frames are left out for it. Pure.

Frames are muxed and numbered once for everybody. A viewer that has had every frame so far has the stream's own
numbers and shares the buffer untouched; one that has been spliced, or whose muxer was replaced, is at other
numbers and gets a copy patched by `common.grid.renumber`.
"""

from common.grid import Counters, Frame, rtp_packets

Patch = tuple[int, int, Counters]  # first RTP sequence, SSRC, what to add to each continuity counter


class Numbering:
    """Where one viewer's RTP sequence and continuity counters stand.

    sequence, counters: of the next frame's first packets (see `common.grid.Frame`). ssrc: constant for the
    viewer's life (RFC 3550 8.2). packets_sent, octets_sent: what a sender report says (RFC 3550 6.4.1).
    """

    __slots__ = ("counters", "octets_sent", "packets_sent", "sequence", "ssrc")

    def __init__(self, frame: Frame) -> None:
        """Start with the numbers of the first frame that the viewer gets."""
        self.sequence = frame.sequence
        self.counters = frame.counters
        self.ssrc = frame.ssrc
        self.packets_sent = 0
        self.octets_sent = 0

    def patch(self, frame: Frame) -> Patch | None:
        """How `frame` must be patched for this viewer; None where it fits as it is.

        Equal patches give equal copies, so that viewers in the same place can share one.
        """
        if self.sequence == frame.sequence and self.counters == frame.counters and self.ssrc == frame.ssrc:
            return None
        a, b, c, d = self.counters
        e, f, g, h = frame.counters
        return self.sequence, self.ssrc, (a - e & 15, b - f & 15, c - g & 15, d - h & 15)

    def advance(self, frame: Frame) -> None:
        """`frame` was given to the viewer, patched or not."""
        packets = rtp_packets(len(frame.data))
        self.sequence = self.sequence + packets & 0xFFFF
        a, b, c, d = self.counters
        e, f, g, h = frame.counts
        self.counters = (a + e & 15, b + f & 15, c + g & 15, d + h & 15)
        self.packets_sent += packets
        self.octets_sent += len(frame.data) - 16 * packets
