"""RTP over UDP watched for an hour by somebody else's analyser: tshark.

    python -m tests.interop.long_udp [--minutes 60]

ffmpeg, in a network namespace of its own, plays `test:` over UDP, as TS and as native payload; tshark reads the
packets off its end of the line and says what their headers are. (On the loopback interface a frame would be one
packet: the kernel cuts it up at the end of the way only.) It needs root. Checked for each track of each viewer:
sequence numbers without a gap or a repeat; timestamps that never step back (there are no B-pictures) nor stray
from the times of arrival; and the sender reports: often enough, with the packets and octets that were seen, and
with NTP and RTP times on one line. TS has a line that gives way when samples come late (RFC 2250: its timestamps
are times of sending), the native payload has not. A line of figures ends with "ok" or the first fault.
"""

import argparse
import math
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from tests.support.far_link import FarLink
from tests.support.instance import Instance

FIELDS = (
    "frame.time_epoch", "udp.dstport", "udp.length", "rtp.ssrc", "rtp.seq", "rtp.timestamp", "rtp.p_type",
    "rtcp.senderssrc", "rtcp.timestamp.ntp.msw", "rtcp.timestamp.ntp.lsw", "rtcp.timestamp.rtp",
    "rtcp.sender.packetcount", "rtcp.sender.octetcount",
)  # fmt: skip
HEADERS_BYTES = 8 + 12  # UDP and RTP
START_S = 5.0  # a new viewer is given at once what came since the newest sync point
LATE_S_MAX = 0.5  # a frame's arrival against its timestamp, on a busy machine
REPORT_S_MAX = 10.0
LINE_S_MAX = {True: 0.5, False: 0.002}  # an NTP time off the line of the others, of TS and of the native payload
TS, PICTURE, SOUND = 33, 96, 97  # payload types
CLOCKS_HZ = {TS: 90_000, PICTURE: 90_000, SOUND: 48_000}
PORT = 30_000  # of the first player, in a namespace where nobody else is
COUNT_SLACK = 200  # packets: a report and a frame may pass each other between two sockets


@dataclass
class Track:
    """What one SSRC has sent."""

    name: str
    clock_hz: int
    is_ts: bool
    packets: int = 0
    octets: int = 0
    sequence: int | None = None
    timestamp: int = 0  # without its wraps
    first: tuple[float, int] = (0.0, 0)  # arrival, timestamp
    earliest_s: float = math.inf  # arrival less what the timestamps say, of the least late packet
    latest_s: float = -math.inf
    reports: int = 0
    report_s: float = 0.0
    longest_s: float = 0.0  # without a report
    line: tuple[float, int] | None = None  # NTP time and timestamp of the first report
    off_line_s: float = 0.0
    faults: list[str] = field(default_factory=list)

    def packet(self, at_s: float, sequence: int, timestamp: int, octets: int) -> None:
        """An RTP packet."""
        if self.sequence is None:
            self.timestamp, self.first, self.report_s = timestamp, (at_s, timestamp), at_s
        else:
            if sequence != (self.sequence + 1) % 65536:
                self.faults.append(f"sequence {self.sequence} is followed by {sequence}")
            step = (timestamp - self.timestamp + (1 << 31)) % (1 << 32) - (1 << 31)
            if step < 0:
                self.faults.append(f"timestamp steps back by {-step}")
            self.timestamp += step
        self.sequence = sequence
        self.packets += 1
        self.octets += octets
        late_s = at_s - self.first[0] - (self.timestamp - self.first[1]) / self.clock_hz
        if at_s - self.first[0] > START_S:
            self.earliest_s, self.latest_s = min(self.earliest_s, late_s), max(self.latest_s, late_s)

    def report(self, at_s: float, ntp_s: float, rtp: int, packets: int, octets: int) -> None:
        """A sender report."""
        self.reports += 1
        self.longest_s, self.report_s = max(self.longest_s, at_s - self.report_s), at_s
        if abs(packets - self.packets) > COUNT_SLACK:
            self.faults.append(f"a report of {packets} packets after {self.packets}")
        if packets == self.packets and octets != self.octets:
            self.faults.append(f"a report of {octets} octets after {self.octets}")
        timestamp = self.timestamp + (rtp - self.timestamp + (1 << 31)) % (1 << 32) - (1 << 31)
        if self.line is None:
            self.line = ntp_s, timestamp
        off_s = ntp_s - self.line[0] - (timestamp - self.line[1]) / self.clock_hz
        self.off_line_s = max(self.off_line_s, abs(off_s))

    def verdict(self) -> str:
        """Figures, and "ok" or the first fault."""
        if self.longest_s > REPORT_S_MAX:
            self.faults.append(f"{self.longest_s:.1f} s without a report")
        if self.off_line_s > LINE_S_MAX[self.is_ts]:
            self.faults.append(f"reports {self.off_line_s * 1000:.1f} ms off their line")
        if self.latest_s - self.earliest_s > LATE_S_MAX:
            self.faults.append(f"arrivals vary by {self.latest_s - self.earliest_s:.3f} s")
        return (
            f"{self.name}: {self.packets} packets, {self.octets} octets, arrivals within "
            f"{(self.latest_s - self.earliest_s) * 1000:.0f} ms, {self.reports} reports, at most "
            f"{self.longest_s:.1f} s apart, {self.off_line_s * 1e6:.0f} µs off their line: "
            f"{self.faults[0] if self.faults else 'ok'}"
        )


def offset_ms(picture: Track, sound: Track) -> float:
    """How far apart the two tracks' reports put their common clock: 0 when both map to the capture's time."""
    assert picture.line is not None
    assert sound.line is not None
    arrival_s = [t.first[0] + t.earliest_s - (t.first[1] - t.line[1]) / t.clock_hz - t.line[0]
                 for t in (picture, sound) if t.line is not None]  # fmt: skip
    return (arrival_s[0] - arrival_s[1]) * 1000


def watch(seconds: float) -> list[Track]:
    """Play and analyse for so long."""
    tracks: dict[str, Track] = {}
    with ExitStack() as stack:
        link = stack.enter_context(FarLink(0))
        instance = stack.enter_context(Instance("live=test:size=320x240,fps=25", config=f'host = "{link.near}"\n'))
        instance.wait_live("live")
        ports = f"{PORT}-{PORT + 31}"
        decode = [text for port in range(PORT, PORT + 32, 2) for text in
                  ("-d", f"udp.port=={port},rtp", "-d", f"udp.port=={port + 1},rtcp")]  # fmt: skip
        fields = [text for name in FIELDS for text in ("-e", name)]
        with link.far_side():
            capture = subprocess.Popen(
                ["tshark", "-Q", "-l", "-n", "-i", link.far_device, "-B", "64", "-f", f"udp dst portrange {ports}",
                 *decode, "-T", "fields", "-E", "occurrence=f", *fields],
                stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            stack.callback(_end, capture)
            time.sleep(3)  # until it listens
            for index, payload in enumerate(("ts", "native")):
                first = PORT + 16 * index
                player = subprocess.Popen(
                    ["ffmpeg", "-v", "error", "-nostdin", "-rtsp_transport", "udp", "-min_port", str(first),
                     "-max_port", str(first + 15), "-i", f"{instance.rtsp('live')}/{payload}",
                     "-map", "0", "-c", "copy", "-f", "null", "-"]
                )  # fmt: skip
                stack.callback(_end, player)
        until = time.monotonic() + seconds
        assert capture.stdout is not None
        for line in capture.stdout:
            _take(line.rstrip("\n").split("\t"), tracks)
            if time.monotonic() > until:
                break
    return list(tracks.values())


def _end(process: "subprocess.Popen[Any]") -> None:
    process.terminate()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _take(values: list[str], tracks: dict[str, Track]) -> None:
    at_s, port, udp_bytes, ssrc, sequence, timestamp, payload_type, sender, msw, lsw, rtp, packets, octets = values
    key = f"port {int(port) & ~1}, SSRC {ssrc or sender}"
    if ssrc:
        track = tracks.get(key)
        if track is None:
            kind = int(payload_type)
            track = tracks[key] = Track(f"{key}, payload type {kind}", CLOCKS_HZ[kind], kind == TS)
        track.packet(float(at_s), int(sequence), int(timestamp), int(udp_bytes) - HEADERS_BYTES)
    elif key in tracks and packets:
        ntp_s = int(msw) + int(lsw) / (1 << 32)
        tracks[key].report(float(at_s), ntp_s, int(rtp), int(packets), int(octets))


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m tests.interop.long_udp", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    minutes = parser.parse_args().minutes
    if shutil.which("tshark") is None or shutil.which("ffmpeg") is None:
        sys.exit("tshark and ffmpeg are needed: apt install tshark ffmpeg")
    tracks = watch(minutes * 60)
    for track in tracks:
        sys.stdout.write(f"{track.verdict()}\n")
    native = [track for track in tracks if not track.is_ts]
    if len(native) == 2:
        sys.stdout.write(f"native: the reports put picture and sound {offset_ms(*native):.1f} ms apart\n")
    if any(track.faults for track in tracks) or len(tracks) != 3:
        sys.exit(1)


if __name__ == "__main__":
    main()
