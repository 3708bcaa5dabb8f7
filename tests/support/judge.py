"""The sentence on what one viewer was given: TS and RTP by the independent checker, pictures by the decoder."""

import os
import re
from itertools import pairwise

from tests.support import decoding
from tests.support.check_picture import CheckClip
from tests.support.decoding import Decoded, Unit
from tests.support.file_times import content
from tests.support.rtp_check import RtpCheck
from tests.support.rtsp_client import Packet
from tests.support.ts_check import PACKET, TsCheck
from tests.support.ts_report import Report
from tests.support.viewers import RtspViewer, Viewer

# What a viewer with pictures left out cannot help: time passes without a PCR, tables and pictures, and what came
# last before that seems late by the clock that goes on behind.
OF_SPLICES = re.compile(r"(table|pts_interval): |pcr: .* ms |pts: .* ms after its DTS")
# The clock in the stream is that of the machine: one that holds capture or muxer up for a moment makes these.
# (That there are none on a quiet one, the muxer's own tests say.)
OF_A_BUSY_MACHINE = re.compile(r"(pcr|table): packet \d+: [\d.]+ ms |pts: .* ms after its DTS")


def until_last_start(ts: bytes) -> bytes:
    """A TS up to where its last PES packet starts, which was cut off where the viewer stopped reading."""
    for at in range(len(ts) // PACKET * PACKET - PACKET, -1, -PACKET):
        adaptation = ts[at + 3] >> 4 & 3
        payload = at + 4 + (1 + ts[at + 4] if adaptation & 2 else 0)
        if ts[at + 1] & 0x40 and adaptation & 1 and ts[payload : payload + 3] == b"\0\0\1":
            return ts[:at]
    return b""


def check_ts(ts: bytes, *, spliced: bool = False, timing: bool = False) -> Report:
    """Assert that a TS conforms.

    spliced: frames may be missing in it, whole ones. timing: the machine has been quiet enough to assert how
    often clock references and tables come; a few may be late all the same, and all where the load says so.
    """
    check = TsCheck()
    check.feed(until_last_start(ts))
    report = check.finish()
    assert report.packets > 0
    faults = report.errors
    if spliced:
        faults = [fault for fault in faults if not OF_SPLICES.match(fault)]
    late = [fault for fault in faults if OF_A_BUSY_MACHINE.match(fault)]
    is_busy = not timing or os.getloadavg()[0] > (os.cpu_count() or 1)
    if is_busy or len(late) <= report.pcrs // 20:
        faults = [fault for fault in faults if fault not in late]
    assert not faults, f"{len(faults)} faults: {faults[:10]}"
    return report


def check_rtp(packets: list[Packet]) -> RtpCheck:
    """Assert that the RTP packets of one viewer are in sequence, of one source, and each carries whole TS."""
    check = RtpCheck()
    for packet in packets:
        check.feed(packet.data)
    assert check.packets > 0
    assert not check.errors, f"{len(check.errors)} faults: {check.errors[:10]}"
    return check


def starts_video(packet: Packet) -> bool:
    """Whether a picture begins in this RTP packet: its TS has the start of a PES packet of video."""
    ts = packet.data[12:]
    return any(
        ts[at + 1] & 0x40 and re.search(rb"\0\0\x01[\xe0-\xef]", ts[at : at + PACKET])
        for at in range(0, len(ts), PACKET)
    )


def check_splices(ts: bytes, clip: CheckClip) -> int:
    """Assert that video begins at a sync point, at first and behind each splice. Returns the splices.

    No splice is where pictures are left out that no other refers to. Frames are matched by content, in decoding
    order: everything else that is not the looped file is an error too.
    """
    pictures = [unit for unit in decoding.units(clip.path) if not unit.audio]
    place = {content(unit): at for at, unit in enumerate(pictures)}
    got = [unit for unit in decoding.units(ts) if not unit.audio]
    assert got[0].key, "the first video frame is no sync point"
    splices = 0
    for before, after in pairwise(got):
        at, end = place[content(before)], place[content(after)]
        missing = [pictures[(at + step) % len(pictures)] for step in range(1, (end - at) % len(pictures))]
        if not all(_is_disposable(unit) for unit in missing):
            splices += 1
            assert after.key, f"{len(missing)} pictures are missing before number {end}, which is no sync point"
    return splices


def _is_disposable(unit: Unit) -> bool:
    """Whether no other picture refers to it: nal_ref_idc is 0 (ISO/IEC 14496-10 7.4.1)."""
    return content(unit)[0] >> 5 & 3 == 0


def check_pictures(ts: bytes, clip: CheckClip, *, consecutive: bool) -> Decoded:
    """Assert that every picture decodes whole; and where `consecutive`, that none is missing."""
    decoded = decoding.decode(ts, check_pictures=True)
    assert decoded.readings, "no picture at all"
    decoded.check_whole()
    assert decoded.readings[0].number % clip.sync_every == 0, "the first picture is no sync point"
    if consecutive:
        decoded.check_consecutive(clip)
    return decoded


def check_survivor(viewer: Viewer, clip: CheckClip) -> None:
    """Assert that nothing is broken in what a viewer got that was connected all the time, whatever was replaced.

    Not one number is missing, no clock steps back unsaid, and no picture is missing but up to a sync point.
    """
    assert viewer.error is None, repr(viewer.error)
    if isinstance(viewer, RtspViewer):
        check_rtp(viewer.rtp)
    check_ts(viewer.ts, spliced=True)
    check_splices(viewer.ts, clip)
    check_pictures(viewer.ts, clip, consecutive=False)
