"""Is this a conforming transport stream? An independent checker, written from ISO/IEC 13818-1 and TR 101 290.

It shares no code with the muxer, so that the two cannot be wrong in the same way. It checks what TR 101 290
calls priority 1 and 2, and the syntax of packets, tables and PES besides. Time is the stream's own: a table is at
the PCR that follows it, the end of a PES packet is interpolated between PCRs by position (13818-1 2.4.2.2).
"""

from collections import deque
from dataclasses import dataclass
from itertools import pairwise

from tests.support.ts_report import Pes, Report

PACKET = 188
NULL_PID = 0x1FFF
CLOCK_27M = 27_000_000
PCR_MODULUS = (1 << 33) * 300
PTS_MODULUS = 1 << 33
PCR_INTERVAL_MAX = 40 * CLOCK_27M // 1000
PCR_STEP_MAX = 100 * CLOCK_27M // 1000
TABLE_INTERVAL_MAX = 100 * CLOCK_27M // 1000
PTS_INTERVAL_MAX = 700 * 90
PTS_AHEAD_MAX = 700 * 90
VIDEO_TYPES = {0x01, 0x02, 0x10, 0x1B, 0x24}


@dataclass
class _Pid:
    counter: int | None = None
    last: bytes = b""
    duplicates: int = 0
    section: bytearray | None = None
    pes: bytearray | None = None
    random_access: bool = False
    last_payload: int = 0  # the packet's number
    epoch: int = 0  # of the PES packet's start
    order: int | None = None


class TsCheck:
    """Feed it bytes, in pieces of any size, then `finish`."""

    def __init__(self) -> None:
        self.report = Report()
        self._rest = b""
        self._pids: dict[int, _Pid] = {}
        self._pmt_pid: int | None = None
        self._pcr_pid: int | None = None
        self._points: deque[tuple[int, int]] = deque(maxlen=64)  # packet, PCR, unwrapped since the last break
        self._pcr_arrival_us: int | None = None
        self._arrival_us: int | None = None
        self._epoch = 0  # a new one with each signalled discontinuity of the clock
        self._tables: list[tuple[int, str]] = []  # packet, name: since the last PCR
        self._table_seen: dict[str, int] = {}
        self._ends: list[tuple[int, str, int, int]] = []  # packet, where, PTS, DTS: since the last PCR

    def feed(self, data: bytes | memoryview, arrival_us: int | None = None) -> None:
        """The next bytes of the stream."""
        self._arrival_us = arrival_us
        data = self._rest + bytes(data)
        whole = len(data) // PACKET * PACKET
        for at in range(0, whole, PACKET):
            self._packet(data[at : at + PACKET])
        self._rest = data[whole:]

    def finish(self) -> Report:
        """The end of the stream: what is still open is closed."""
        report = self.report
        for pid, state in self._pids.items():
            if state.pes is not None:
                self._close_pes(pid, state)
        if self._rest:
            report.sync_errors.append(f"{len(self._rest)} bytes at the end are no packet")
        if report.packets and self._pmt_pid is None:
            report.table_errors.append("no PAT")
        elif report.packets and not report.stream_types:
            report.table_errors.append("no PMT")
        for pid in report.stream_types:
            if pid not in self._pids:
                report.pid_errors.append(f"PID {pid:#x} is in the PMT and never came")
        if self._pcr_pid is not None and not report.pcrs:
            report.pcr_errors.append("no PCR")
        known = {0, self._pmt_pid, self._pcr_pid, NULL_PID, *report.stream_types}
        for pid in self._pids:
            if pid not in known:
                report.pid_errors.append(f"PID {pid:#x} is in no table")
        return report

    # ---- packets ----------------------------------------------------------------------------------------

    def _packet(self, packet: bytes) -> None:
        report = self.report
        number = report.packets
        report.packets += 1
        if packet[0] != 0x47:
            report.sync_errors.append(f"packet {number}: {packet[0]:#x} for the sync byte")
            return
        if packet[1] & 0x80:
            report.transport_errors.append(f"packet {number}: transport_error_indicator")
        start = bool(packet[1] & 0x40)
        pid = (packet[1] & 0x1F) << 8 | packet[2]
        if packet[3] & 0xC0:
            report.transport_errors.append(f"packet {number}: scrambled")
        has_field, has_payload = bool(packet[3] & 0x20), bool(packet[3] & 0x10)
        if not has_field and not has_payload:
            report.transport_errors.append(f"packet {number}: reserved adaptation_field_control")
            return
        if pid == NULL_PID:
            return
        state = self._pids.setdefault(pid, _Pid())
        flags, at = 0, 4
        if has_field:
            length = packet[4]
            at = 5 + length
            if length != 183 if not has_payload else length > 182:
                report.transport_errors.append(f"packet {number}: an adaptation field of {length} bytes")
                return
            if length:
                flags = packet[5]
                self._check_field(number, packet[5:at])
        duplicate = self._check_counter(number, pid, state, packet, has_payload, bool(flags & 0x80))
        if flags & 0x10:
            self._take_pcr(number, pid, packet, bool(flags & 0x80))
        if not has_payload or duplicate:
            return
        payload = packet[at:]
        if pid == 0 or pid == self._pmt_pid:
            self._section_part(number, pid, state, payload, start)
        elif pid in report.stream_types:
            self._pes_part(number, pid, state, payload, start, bool(flags & 0x40))

    def _check_field(self, number: int, content: bytes) -> None:
        """An adaptation field behind its length byte (2.4.3.4)."""
        flags = content[0]
        used = 1 + 6 * bool(flags & 0x10)
        if flags & 0x0F:
            self.report.transport_errors.append(f"packet {number}: unexpected adaptation flags {flags:#x}")
        elif len(content) < used:
            self.report.transport_errors.append(f"packet {number}: the adaptation field is cut short")
        elif content[used:].strip(b"\xff"):
            self.report.transport_errors.append(f"packet {number}: stuffing that is not 0xFF")

    def _check_counter(
        self, number: int, pid: int, state: _Pid, packet: bytes, has_payload: bool, discontinuity: bool
    ) -> bool:
        """2.4.3.3. Returns whether the packet is a duplicate."""
        counter, before = packet[3] & 0x0F, state.counter
        state.counter = counter
        last, state.last = state.last, packet
        if before is None or discontinuity:
            state.duplicates = 0
            return False
        if not has_payload:
            if counter != before:
                self.report.continuity_errors.append(
                    f"packet {number}, PID {pid:#x}: {counter} behind {before} without payload"
                )
            return False
        if counter == before and packet == last and not state.duplicates:
            state.duplicates = 1
            return True
        state.duplicates = 0
        if counter != (before + 1) & 0x0F:
            self.report.continuity_errors.append(f"packet {number}, PID {pid:#x}: {counter} behind {before}")
        return False

    # ---- the clock --------------------------------------------------------------------------------------

    def _take_pcr(self, number: int, pid: int, packet: bytes, discontinuity: bool) -> None:
        report = self.report
        if self._pcr_pid is not None and pid != self._pcr_pid:
            report.pcr_errors.append(f"packet {number}: a PCR on PID {pid:#x}, not {self._pcr_pid:#x}")
            return
        value = int.from_bytes(packet[6:12], "big")
        pcr = (value >> 15) * 300 + (value & 0x1FF)
        if value >> 9 & 0x3F != 0x3F or value & 0x1FF >= 300:
            report.pcr_errors.append(f"packet {number}: a malformed PCR")
        report.pcrs += 1
        arrival_us, self._pcr_arrival_us = self._pcr_arrival_us, self._arrival_us
        if arrival_us is not None and self._arrival_us is not None:
            interval_us = self._arrival_us - arrival_us
            report.pcr_arrival_interval_max_us = max(report.pcr_arrival_interval_max_us, interval_us)
        if discontinuity or not self._points:
            report.discontinuities += bool(self._points)
            self._points.clear()
            self._ends.clear()
            self._table_seen.clear()
            self._epoch += 1
            for state in self._pids.values():
                state.order = None
        else:
            before = self._points[-1][1]
            step = (pcr - before) % PCR_MODULUS
            pcr = before + step
            if step == 0 or step > PCR_MODULUS // 2:
                report.pcr_errors.append(f"packet {number}: the PCR does not go forward")
            elif step > PCR_STEP_MAX:
                report.pcr_errors.append(f"packet {number}: {step / 27000:.1f} ms of PCR, not signalled")
            elif step > PCR_INTERVAL_MAX:
                report.pcr_errors.append(f"packet {number}: {step / 27000:.1f} ms between PCRs")
            report.pcr_interval_max = max(report.pcr_interval_max, step)
        self._points.append((number, pcr))
        self._check_tables(pcr)
        self._check_ends()

    def _check_tables(self, pcr: int) -> None:
        for number, name in self._tables:
            before = self._table_seen.get(name, pcr)
            self._table_seen[name] = pcr
            if pcr - before > TABLE_INTERVAL_MAX:
                self.report.table_errors.append(
                    f"packet {number}: {(pcr - before) / 27000:.1f} ms between {name}s"
                )
        self._tables.clear()

    def _check_ends(self) -> None:
        """PTS and DTS against the clock at the last packet of their PES packets, as far as that is known."""
        report = self.report
        open_ends = []
        for end in self._ends:
            number, where, pts, order = end
            if number > self._points[-1][0]:
                open_ends.append(end)
                continue
            for (a, pcr_a), (b, pcr_b) in pairwise(self._points):
                if a <= number <= b:
                    base = (pcr_a + (number - a) * (pcr_b - pcr_a) // (b - a)) // 300
                    ahead, ahead_pts = _near(order, base) - base, _near(pts, base) - base
                    report.dts_ahead_min = min(report.dts_ahead_min, ahead)
                    report.pts_ahead_max = max(report.pts_ahead_max, ahead_pts)
                    if ahead < 0:
                        report.pts_errors.append(f"{where}: {-ahead / 90:.1f} ms after its DTS")
                    if ahead_pts > PTS_AHEAD_MAX:
                        report.pts_errors.append(f"{where}: {ahead_pts / 90:.0f} ms before its PTS")
                    break
        self._ends = open_ends

    # ---- tables -----------------------------------------------------------------------------------------

    def _section_part(self, number: int, pid: int, state: _Pid, payload: bytes, start: bool) -> None:
        report = self.report
        if start:
            state.section = bytearray(payload[1 + payload[0] :])
        elif state.section is not None:
            state.section += payload
        section = state.section
        if section is None or len(section) < 3:
            return
        length = 3 + ((section[1] & 0x0F) << 8 | section[2])
        if len(section) < length:
            return
        state.section = None
        if bytes(section[length:]).strip(b"\xff"):
            report.table_errors.append(f"packet {number}: more than one section in a packet is not expected")
        body = bytes(section[:length])
        if _crc(body):
            report.crc_errors.append(f"packet {number}, PID {pid:#x}: CRC")
            return
        if not body[1] & 0x80 or body[1] & 0x40 or not body[5] & 1 or body[6] or body[7]:
            report.table_errors.append(f"packet {number}, PID {pid:#x}: the section's syntax")
        name = "PMT" if pid else "PAT"
        if body[0] != (2 if pid else 0):
            report.table_errors.append(f"packet {number}, PID {pid:#x}: table_id {body[0]}")
            return
        self._tables.append((number, name))
        if pid:
            self._take_pmt(number, body)
        else:
            programs = [body[at : at + 4] for at in range(8, length - 4, 4)]
            pids = [(p[2] & 0x1F) << 8 | p[3] for p in programs if p[:2] != b"\0\0"]
            if len(pids) != 1:
                report.table_errors.append(f"packet {number}: {len(pids)} programs")
            else:
                self._pmt_pid = pids[0]

    def _take_pmt(self, number: int, body: bytes) -> None:
        end = len(body) - 4
        self._pcr_pid = (body[8] & 0x1F) << 8 | body[9]
        at = 12 + ((body[10] & 0x0F) << 8 | body[11])
        types = {}
        while at + 5 <= end:
            types[(body[at + 1] & 0x1F) << 8 | body[at + 2]] = body[at]
            at += 5 + ((body[at + 3] & 0x0F) << 8 | body[at + 4])
        if at != end or not types:
            self.report.table_errors.append(f"packet {number}: the PMT's lengths")
        if self._pcr_pid not in types:
            self.report.table_errors.append(f"packet {number}: the PCR's PID is not in the PMT")
        self.report.stream_types = types

    # ---- PES --------------------------------------------------------------------------------------------

    def _pes_part(
        self, number: int, pid: int, state: _Pid, payload: bytes, start: bool, random_access: bool
    ) -> None:
        if start:
            if state.pes is not None:
                self._close_pes(pid, state)
            state.pes = bytearray(payload)
            state.epoch = self._epoch
            state.random_access = random_access
        elif state.pes is not None:
            state.pes += payload
        elif not self.report.pes.get(pid):
            return  # joined in the middle
        else:
            self.report.pes_errors.append(f"packet {number}, PID {pid:#x}: payload outside a PES packet")
            return
        state.last_payload = number
        length = int.from_bytes(state.pes[4:6], "big")
        if length and len(state.pes) >= 6 + length:
            self._close_pes(pid, state)

    def _close_pes(self, pid: int, state: _Pid) -> None:
        assert state.pes is not None
        pes, state.pes = bytes(state.pes), None
        errors = self.report.pes_errors
        where = f"packet {state.last_payload}, PID {pid:#x}"
        if len(pes) < 9 or pes[:3] != b"\0\0\1":
            errors.append(f"{where}: no PES packet")
            return
        stream_id, length, flags, header = pes[3], int.from_bytes(pes[4:6], "big"), pes[7], pes[8]
        is_video = self.report.stream_types[pid] in VIDEO_TYPES
        if length and len(pes) != 6 + length:
            errors.append(f"{where}: {len(pes) - 6} bytes, PES_packet_length {length}")
        if not length and (not is_video or len(pes) - 6 <= 0xFFFF):
            errors.append(f"{where}: {len(pes) - 6} bytes with no PES_packet_length")
        if is_video != (0xE0 <= stream_id <= 0xEF):
            errors.append(f"{where}: stream_id {stream_id:#x}")
        if pes[6] & 0xF0 != 0x80 or flags & 0x3F or flags >> 6 == 1:
            errors.append(f"{where}: PES flags {pes[6:8].hex()}")
        if header != {0: 0, 2: 5, 3: 10}.get(flags >> 6):
            errors.append(f"{where}: PES_header_data_length {header}")
            return
        pts = dts = None
        if flags & 0x80:
            pts = self._stamp(where, pes[9:14], flags >> 6)
        if flags & 0x40:
            dts = self._stamp(where, pes[14:19], 1)
        if pts is None:
            self.report.pts_errors.append(f"{where}: no PTS")
        data = pes[9 + header :]
        if not data:
            errors.append(f"{where}: empty")
        self._check_times(pid, state, pts, dts, Pes(stream_id, pts, dts, data, state.random_access))

    def _stamp(self, where: str, five: bytes, prefix: int) -> int:
        value = int.from_bytes(five, "big")
        if value >> 36 != prefix or value & 0x1_0001_0001 != 0x1_0001_0001:
            self.report.pes_errors.append(f"{where}: a malformed PTS or DTS {five.hex()}")
        return value >> 33 << 30 & 0x1_C000_0000 | value >> 17 << 15 & 0x3FFF_8000 | value >> 1 & 0x7FFF

    def _check_times(self, pid: int, state: _Pid, pts: int | None, dts: int | None, pes: Pes) -> None:
        number = state.last_payload
        errors = self.report.pts_errors
        where = f"packet {number}, PID {pid:#x}"
        if pts is not None:
            order = _near(pts if dts is None else dts, state.order)
            pes.pts = pts = _near(pts, order)
            if dts is not None:
                pes.dts = order
                if pts <= order:
                    errors.append(f"{where}: a DTS that is not before the PTS")
            if state.order is not None:
                if order <= state.order:
                    errors.append(f"{where}: the DTS does not go forward")
                if order - state.order > PTS_INTERVAL_MAX:
                    interval_ms = (order - state.order) / 90
                    self.report.pts_interval_errors.append(f"{where}: {interval_ms:.0f} ms between PTSs")
            if state.epoch == self._epoch:
                state.order = order
                self._ends.append((number, where, pts, order))
        self.report.pes.setdefault(pid, []).append(pes)


def _near(value: int, reference: int | None) -> int:
    """A 33-bit number, unwrapped to where it is nearest to `reference`."""
    if reference is None:
        return value
    return reference + (value - reference + PTS_MODULUS // 2) % PTS_MODULUS - PTS_MODULUS // 2


def _crc(data: bytes) -> int:
    """CRC-32 of annex A, bit by bit: 0 over a section with its CRC."""
    register = 0xFFFFFFFF
    for byte in data:
        for bit in range(7, -1, -1):
            top = register >> 31 ^ (byte >> bit & 1)
            register = register << 1 & 0xFFFFFFFF ^ (0x04C11DB7 if top else 0)
    return register
