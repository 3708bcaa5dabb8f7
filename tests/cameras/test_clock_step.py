"""The wall clock is set forth and back while a viewer watches: in its own machine, which is the box."""

import os
import struct
import time
from itertools import pairwise
from pathlib import Path

from tests.support import check_picture, judge
from tests.support.forked_roles import HTTP_PORT, RTSP_PORT, ForkedRoles
from tests.support.kernel_box import MARK
from tests.support.rtsp_client import Packet
from tests.support.viewers import HttpViewer, RtspViewer
from tests.support.wait import until

SETTINGS = """
[streams.cam]
source = "mock:{clip}"
"""
STEPS_S = (3600.0, -7200.0, 3600.0)  # and it is right again
WITHIN_S = 30.0
MAPPING_OFF_MAX_S = 0.5
NTP_EPOCH_S = 2_208_988_800  # 1900 to 1970
_SENDER_REPORT = 200


def reports(packets: list[Packet]) -> list[tuple[float, float]]:
    """NTP time, s since 1970, and RTP time, s, of each sender report."""
    found = []
    for packet in packets:
        if packet.channel == 1 and packet.data[1] == _SENDER_REPORT:
            seconds, fraction, clock = struct.unpack_from(">III", packet.data, 8)
            found.append((seconds + fraction / (1 << 32) - NTP_EPOCH_S, clock / 90000))
    return found


def test_viewers_see_nothing_of_a_clock_that_is_set(tmp_path: Path) -> None:
    assert MARK in os.environ, "never on a machine that is anybody's"
    clip = check_picture.make(tmp_path / "clip.mp4", pictures=50, sync_every=10, fps=5, width=160, height=128)
    url = f"rtsp://127.0.0.1:{RTSP_PORT}/cam"
    with ForkedRoles(("cam",), SETTINGS.format(clip=clip.path)) as roles:
        until(lambda: "event=source_up" in roles.log("capture-cam"), WITHIN_S, "the clip")
        until(lambda: "event=ready" in roles.log("server-0"), WITHIN_S, "the server")
        with RtspViewer(url) as rtsp, HttpViewer(f"http://127.0.0.1:{HTTP_PORT}/cam.ts") as http:
            for viewer in (rtsp, http):
                viewer.wait_bytes(5_000, WITHIN_S)
            for step_s in STEPS_S:
                before = len(reports(rtsp.packets))
                time.clock_settime(time.CLOCK_REALTIME, time.time() + step_s)
                until(lambda: len(reports(list(rtsp.packets))) > before, WITHIN_S, "a report")  # noqa: B023
                for viewer in (rtsp, http):
                    viewer.wait_bytes(5_000, WITHIN_S)
            with RtspViewer(url) as newcomer:
                until(lambda: reports(list(newcomer.packets)), WITHIN_S, "its first report")
            assert abs(reports(newcomer.packets)[0][0] - time.time()) < WITHIN_S
    for viewer in (rtsp, http, newcomer):
        assert viewer.error is None, repr(viewer.error)
    judge.check_rtp(rtsp.rtp)
    for viewer in (rtsp, http):
        judge.check_ts(viewer.ts, spliced=True)
        judge.check_pictures(viewer.ts, clip, consecutive=True)
    said = reports(rtsp.packets)
    assert len(said) > len(STEPS_S)
    for (ntp_s, clock_s), (later_ntp_s, later_clock_s) in pairwise(said):
        passed_s = (later_clock_s - clock_s) % ((1 << 32) / 90000)
        assert abs((later_ntp_s - ntp_s) - passed_s) < MAPPING_OFF_MAX_S
