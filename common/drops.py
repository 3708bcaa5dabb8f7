"""Why a viewer was not sent a frame of its stream: the reasons that the figures count by. Pure.

A drop queue at the muxer knows why it left frames out, and tells the server with the next frame that it sends
(`FrameMessage.left_out`), in the order of QUEUE_DROPS. So a viewer's server has all reasons, whatever becomes of
muxers, and compares what it is told with the gap in the frames' numbers.
"""

from enum import StrEnum


class Drop(StrEnum):
    """One reason; the text is its name in the figures."""

    # What the muxer's drop queue leaves out, in the order of the wire.
    AGE = "age"  # it had waited for too long when the queue overflowed, or stood behind one that had
    QUEUE_FULL = "queue_full"  # likewise, too many frames waited (sessions of a program's own)
    SYNC = "sync"  # it came after that, and before the next sync point
    DISPOSABLE = "disposable"  # no other picture refers to it, and the queue was half full
    LOWERED = "lowered"  # the viewer gets key frames only
    NOT_KEPT = "not_kept"  # the muxer's ring held it no more: its limits, or the source had stopped
    LEADING = "leading"  # it leads the sync point that the viewer started at (`common.leading`)
    # What the server sees by itself.
    PAUSED = "paused"  # the viewer did not read, up to the sync point with which it went on
    TRACK = "track"  # of a track that the viewer has not set up
    MUXER = "muxer"  # a sample that went by between one muxer and the next
    LOST = "lost"  # gone between muxer and server: no reason is known
    UDP_QUEUE = "udp_queue"  # it would not have left at the pace that is set
    UDP_KERNEL = "udp_kernel"  # the kernel did not take it, or not all of it
    UNSENT = "unsent"  # taken, and not all of it handed to the kernel when the viewer left
    LEFT = "left"  # the stream had it, and the viewer left before it was its turn


QUEUE_DROPS = (Drop.AGE, Drop.QUEUE_FULL, Drop.SYNC, Drop.DISPOSABLE, Drop.LOWERED, Drop.NOT_KEPT, Drop.LEADING)
UNWANTED = frozenset(
    {Drop.LEADING, Drop.PAUSED, Drop.TRACK, Drop.LEFT}
)  # no slowness of anybody's: not in `frames_dropped`
