"""The figures each process reports and `/api/stats` shows: their names are part of the product. Pure."""

import msgspec

VIEWERS_REPORTED_MAX = 5000


class StreamFigures(msgspec.Struct):
    """One stream, as its muxer sees it. Numbers of 0 and empty lists: not known yet.

    epoch: the source's life; samples_lost: gaps in its sequence numbers.
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
    reason: str = ""


class ViewerFigures(msgspec.Struct):
    """One viewer, as its server sees it.

    state: of one that is behind, its socket takes no frame that would arrive in time. age_ms: how old the newest
    frame it was sent was when it was sent; of one that is behind, is now. frames_behind: what has come of the
    stream since then, for any viewer of this server. loss_percent, packets_lost, jitter_ms, round_trip_ms: as it
    has reported last, over RTSP; None: it has not. key_frames_only: it loses packets, and of video gets no more.
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


class RoleFigures(msgspec.Struct):
    """What a role puts into `common.messages.Report`: its own counters, and the streams or viewers it has.

    fault: in its last report, the setting that it cannot run with; else empty.
    """

    counters: dict[str, int | float] = {}
    streams: list[StreamFigures] = []
    viewers: list[ViewerFigures] = []
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
