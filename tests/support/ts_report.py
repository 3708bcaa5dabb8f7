"""What `ts_check` finds in a transport stream: its PES packets, and every fault by its kind of TR 101 290."""

from dataclasses import dataclass, field


@dataclass
class Pes:
    """One PES packet. pts, dts: unwrapped, 90 kHz; dts is None where it is not written."""

    stream_id: int
    pts: int | None
    dts: int | None
    data: bytes
    random_access: bool

    @property
    def order(self) -> int | None:
        """The decoding time."""
        return self.pts if self.dts is None else self.dts


@dataclass
class Report:
    """What was found. Every list of errors is empty for a conforming stream."""

    sync_errors: list[str] = field(default_factory=list)  # 1.1, 1.2
    table_errors: list[str] = field(default_factory=list)  # 1.3, 1.5: PAT, PMT
    continuity_errors: list[str] = field(default_factory=list)  # 1.4
    pid_errors: list[str] = field(default_factory=list)  # 1.6, and PIDs that no table names
    transport_errors: list[str] = field(default_factory=list)  # 2.1, and the syntax of packets
    crc_errors: list[str] = field(default_factory=list)  # 2.2
    pcr_errors: list[str] = field(default_factory=list)  # 2.3, 2.4
    pts_interval_errors: list[str] = field(default_factory=list)  # 2.5: below 1.4 pictures a second it must fail
    pts_errors: list[str] = field(default_factory=list)  # PTS and DTS against the clock and each other
    pes_errors: list[str] = field(default_factory=list)  # the syntax and length of PES packets
    pes: dict[int, list[Pes]] = field(default_factory=dict)
    stream_types: dict[int, int] = field(default_factory=dict)
    packets: int = 0
    pcrs: int = 0
    discontinuities: int = 0  # that were signalled
    pcr_interval_max: int = 0  # 27 MHz
    pcr_arrival_interval_max_us: int = 0
    pts_ahead_max: int = 0  # 90 kHz, PTS less the clock at the packet's last byte
    dts_ahead_min: int = 1 << 62

    @property
    def errors(self) -> list[str]:
        """All of them, each with its kind."""
        return [
            f"{name.removesuffix('_errors')}: {error}"
            for name, value in vars(self).items()
            if name.endswith("_errors")
            for error in value
        ]
