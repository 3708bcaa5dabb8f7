"""The figures each process reports and `/api/stats` shows: their names are part of the product. Pure.

The books
---------
What comes in and what goes out is counted at every hop, and each kind of drop by its own name, so that nothing
goes missing unseen. Where all stands still, these hold exactly (`tests.support.books` judges them):

    capture, counters      samples_read + slates = samples + oversize + samples_withheld
    capture to muxer       samples of the capture = samples_in - samples_unannounced - samples_known
                           + samples_lost + samples_missed of the stream (both in their first lives, not on demand)
    muxer, a stream        samples_in = samples_unannounced + samples_known + samples_awaiting_sync + samples_used
    muxer, a payload       samples_used = samples_missed + samples_muxed + samples_refused
                           frames = samples_muxed + clock_frames
    muxer to servers       frames_out of the muxers = frames_in + frames_moved of the servers (first lives)
    server, a viewer       frames_due = frames_sent + all of drops;  where it is up to date with its payload
                           frame_number + 1 + frames_behind = frames of the payload, in the same epoch
    server, a delivery     frames_due = frames_sent + all of drops, viewers that have gone included
    server, counters       frames_sent (that outlets took)
                           = of all deliveries frames_sent + udp_queue + udp_kernel + unsent

The reasons in `drops` are those of `common.drops`.
"""

import msgspec

VIEWERS_REPORTED_MAX = 5000


class PayloadFigures(msgspec.Struct):
    """What one payload of a stream was made of, in this epoch of its own.

    frames: how many; the newest has this number less one. clock_frames: of these, without a sample.
    samples_missed: came before there was this payload, and were not handed on to it. samples_refused: it cannot
    carry them. frames_trimmed: that the ring's limits cost, younger than what a slow viewer may be given.
    """

    payload: str
    epoch: int = 0
    frames: int = 0
    clock_frames: int = 0
    samples_missed: int = 0
    samples_muxed: int = 0
    samples_refused: int = 0
    frames_trimmed: int = 0


class StreamFigures(msgspec.Struct):
    """One stream, as its muxer sees it. Numbers of 0 and empty lists: not known yet.

    epoch: the source's life. samples_in: that came from the capture: samples_unannounced: of another life than the
    one announced, or of no track; samples_known: repeated for somebody else; samples_awaiting_sync: behind a loss,
    and before the next sync point or leading it; samples_used: the others. samples_lost: gaps in their numbers.
    samples_missed: published in a life of the source before the first one that came of it.
    """

    name: str
    source: str
    codecs: list[str] = []
    width: int = 0
    height: int = 0
    fps: float = 0.0
    bitrate_bps: int = 0
    sync_interval_s: float = 0.0
    viewers: int = 0
    epoch: int = 0
    samples_in: int = 0
    samples_lost: int = 0
    state: str = "waiting"  # waiting: no sample yet | live | down: the source said so | slate: down, and shown so
    # elsewhere: its muxer is on another host
    reason: str = ""
    samples_missed: int = 0
    samples_unannounced: int = 0
    samples_known: int = 0
    samples_awaiting_sync: int = 0
    samples_used: int = 0
    payloads: list[PayloadFigures] = []


class MemberFigures(msgspec.Struct):
    """What a member of a multicast group has reported, as of a viewer. peer: where from."""

    peer: str
    loss_percent: float
    packets_lost: int
    jitter_ms: float
    round_trip_ms: float | None


class ViewerFigures(msgspec.Struct):
    """One viewer, as its server sees it.

    state: of one that is behind, its socket takes no frame that would arrive in time. age_ms: how old the newest
    frame it was sent was when it was sent; of one that is behind, is now. frames_behind: how many the stream has
    had since then (if another muxer sent it that: how many samples came since), as far as its server knows, which
    hears of it a few times a second. loss_percent, packets_lost,
    jitter_ms, round_trip_ms: as it has reported last, over RTSP; None: it has not. key_frames_only: it loses
    packets, and of video gets no more.
    frames_due, drops: see the books; frames_dropped is the sum of those drops that slowness or loss made.
    epoch, frame_number: of the newest frame it took, in its payload; 0 and -1 before the first.
    members: of a multicast group, those who have reported in the last minute; what is shown of it is their worst.
    """

    id: str
    stream: str
    transport: str  # rtsp-tcp | rtsp-udp | rtsp-multicast | rtsp-tunnel | http-ts
    peer: str
    user_agent: str
    state: str  # reading | behind | stopped
    age_ms: float
    frames_sent: int
    frames_dropped: int
    splices: int
    bytes_sent: int
    connected_s: float
    frames_behind: int = 0
    loss_percent: float | None = None
    packets_lost: int | None = None
    jitter_ms: float | None = None
    round_trip_ms: float | None = None
    key_frames_only: bool = False
    payload: str = "ts"
    frames_due: int = 0
    drops: dict[str, int] = {}
    epoch: int = 0
    frame_number: int = -1
    members: list[MemberFigures] = []


class DeliveryFigures(msgspec.Struct):
    """What a server process has sent of one stream, in one payload, in one way, to all viewers that it ever had.

    stream: empty for those that have been removed. viewers: that are there now; viewers_gone: that were.
    """

    stream: str
    payload: str
    transport: str
    viewers: int = 0
    viewers_gone: int = 0
    frames_due: int = 0
    frames_sent: int = 0
    bytes_sent: int = 0
    drops: dict[str, int] = {}
    process: str = ""


class HistogramFigures(msgspec.Struct):
    """One of `common.histogram.HISTOGRAMS`. counts: of each bucket by itself. total_us: the sum of all values."""

    name: str
    counts: list[int]
    total_us: int
    labels: dict[str, str] = {}
    process: str = ""


class RoleFigures(msgspec.Struct):
    """What a role puts into `common.messages.Report`: its own counters, and the streams or viewers it has.

    same_viewers: `viewers` and `deliveries` are empty, and those of the report before stand: of many they are not
    made anew each second.
    fault: in its last report, the setting that it cannot run with; else empty.
    """

    counters: dict[str, int | float] = {}
    streams: list[StreamFigures] = []
    viewers: list[ViewerFigures] = []
    deliveries: list[DeliveryFigures] = []
    histograms: list[HistogramFigures] = []
    same_viewers: bool = False
    fault: str = ""


class ProcessFigures(msgspec.Struct):
    """One process, as the supervisor sees it. reason: why its last life ended.

    state: waiting | starting | up | backoff | crash-loop (backoff for the fifth time in a row, or more) | failed |
    ended (while the instance stops).
    """

    role: str
    name: str
    pid: int
    state: str
    cpu_percent: float
    rss_bytes: int
    uptime_s: float
    restarts: int
    counters: dict[str, int | float] = {}
    reason: str = ""


class InstanceFigures(msgspec.Struct):
    """All of `/api/stats`."""

    processes: list[ProcessFigures] = []
    streams: list[StreamFigures] = []
    viewers: list[ViewerFigures] = []
    deliveries: list[DeliveryFigures] = []
    histograms: list[HistogramFigures] = []
