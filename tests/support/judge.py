"""The sentence on what one viewer was given: TS and RTP by the independent checker, pictures by the decoder."""

from itertools import pairwise

from tests.support import decoding
from tests.support.check_picture import CheckClip
from tests.support.decoding import Decoded
from tests.support.rtsp_client import Packet
from tests.support.ts_check import PACKET, Pes, Report, RtpCheck, TsCheck

VIDEO_STREAM_IDS = range(0xE0, 0xF0)
# What a viewer with pictures left out cannot help: time passes without a PCR, tables and pictures.
OF_SPLICES = ("pcr_errors", "table_errors", "pts_interval_errors")


def until_last_start(ts: bytes) -> bytes:
    """A TS up to where its last PES packet starts, which was cut off where the viewer stopped reading."""
    for at in range(len(ts) // PACKET * PACKET - PACKET, -1, -PACKET):
        adaptation = ts[at + 3] >> 4 & 3
        payload = at + 4 + (1 + ts[at + 4] if adaptation & 2 else 0)
        if ts[at + 1] & 0x40 and adaptation & 1 and ts[payload : payload + 3] == b"\0\0\1":
            return ts[:at]
    return b""


def check_ts(ts: bytes, *, spliced: bool = False) -> Report:
    """Assert that a TS conforms; `spliced` says that frames may be missing in it, whole ones."""
    check = TsCheck()
    check.feed(until_last_start(ts))
    report = check.finish()
    assert report.packets > 0
    faults = [
        f"{name}: {fault}"
        for name, value in vars(report).items()
        if name.endswith("_errors") and not (spliced and name in OF_SPLICES)
        for fault in value
    ]
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


def video_pes(report: Report) -> list[Pes]:
    """The access units of the video track, in decoding order."""
    return next(units for units in report.pes.values() if units[0].stream_id in VIDEO_STREAM_IDS)


def check_starts(report: Report, fps: int) -> int:
    """Assert that the first video frame, and that behind each gap in time, is a sync point. Returns the gaps."""
    units = video_pes(report)
    assert units[0].random_access, "the first video frame is no sync point"
    gaps = 0
    for before, after in pairwise(units):
        assert before.order is not None
        assert after.order is not None
        if after.order - before.order != 90000 // fps:
            gaps += 1
            assert after.random_access, f"no sync point behind the gap from {before.order} to {after.order}"
    return gaps


def check_pictures(ts: bytes, clip: CheckClip, *, consecutive: bool) -> Decoded:
    """Assert that every picture decodes whole; and where `consecutive`, that none is missing."""
    decoded = decoding.decode(ts, check_pictures=True)
    assert decoded.readings, "no picture at all"
    decoded.check_whole()
    assert decoded.readings[0].number % clip.sync_every == 0, "the first picture is no sync point"
    if consecutive:
        decoded.check_consecutive(clip)
    return decoded
