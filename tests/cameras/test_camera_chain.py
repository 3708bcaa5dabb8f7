"""From an emulated USB camera to viewers, with everything between: and the cable is pulled while they watch."""

import itertools
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import av
import psutil
import pytest

from common.clock import now_us
from tests.support import camera_formats, decoding
from tests.support.camera_formats import mjpeg
from tests.support.forked_roles import HTTP_PORT, RTSP_PORT, ForkedRoles
from tests.support.usb_camera import UsbCamera
from tests.support.viewers import HttpViewer, RtspViewer
from tests.support.wait import until

SETTINGS = f"""
[rtsp]
port = {RTSP_PORT}

[http]
port = {HTTP_PORT}

[viewer]
age_max_ms = 20000
source_wait_ms = 60000
"""
DOOR = """
[streams.door]
source = "camera:{path}"
slate = true
"""
YARD = """
[streams.yard]
source = "camera:{path}"
format = "mjpeg"
fps = 2.0
"""
RTSP, HTTP = f"rtsp://127.0.0.1:{RTSP_PORT}/door", f"http://127.0.0.1:{HTTP_PORT}"
WITHIN_S = 120.0  # for anything: the processor is emulated, and its host may be busy
SLATE_US = 1_500_000
PICTURES = 40
FPS = 5  # an emulated processor takes a tenth of a second for each picture that goes all the way


class Decoder(threading.Thread):
    """libavformat and libavcodec, as in ffmpeg: decodes so many pictures of a stream. fault: what went wrong.

    Not the program: on an emulated processor it takes half a minute to load, and all others wait for that.
    """

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.fault = "nothing came"
        self._url = url

    def run(self) -> None:
        options = {"rtsp_transport": "tcp"}
        try:
            with av.open(self._url, options=options, timeout=WITHIN_S) as live:
                stream = live.streams.video[0]
                stream.codec_context.thread_count = 1
                stream.codec_context.options = {"err_detect": "explode"}
                shown = list(itertools.islice(live.decode(stream), PICTURES))
            self.fault = "" if len(shown) == PICTURES else f"{len(shown)} pictures"
        except (av.FFmpegError, OSError) as error:
            self.fault = repr(error)


@pytest.mark.slow  # on a processor that is emulated and shared it has failed for want of time
@pytest.mark.timeout(900)
def test_a_cable_is_pulled_and_put_back_while_viewers_watch(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    clip = camera_formats.check_clip(tmp_path, FPS)
    door, yard = UsbCamera([camera_formats.h264(clip)], "D1"), UsbCamera([mjpeg(fps=2)], "Y2", port=1)
    settings = SETTINGS + DOOR.format(path=door.stable_name) + YARD.format(path=yard.stable_name)
    with ForkedRoles(("door", "yard"), settings) as roles, door, yard:

        def times_up(name: str) -> int:
            return roles.log(f"capture-{name}").count("event=source_up")

        until(lambda: times_up("door") and times_up("yard"), WITHIN_S, "both cameras up")
        decoder = Decoder(RTSP)
        decoder.start()
        with (
            RtspViewer(RTSP, timeout_s=WITHIN_S) as rtsp,
            HttpViewer(f"{HTTP}/door.ts", timeout_s=WITHIN_S) as http,
            HttpViewer(f"{HTTP}/yard.ts", timeout_s=WITHIN_S) as other,
        ):
            for viewer in (rtsp, http, other):
                viewer.wait_bytes(5_000, WITHIN_S)

            door.unplug()
            pulled_s, pulled_us = time.monotonic(), now_us()
            until(lambda: "reason=" in roles.log("capture-door"), WITHIN_S, "its word in the log")
            said_s = time.monotonic() - pulled_s
            assert "/dev/v4l/by-id/" in roles.log("capture-door")
            waiting = psutil.Process(roles.pids["capture-door"])
            away_s, cpu_s = time.monotonic(), sum(waiting.cpu_times()[:2])
            other.wait_picture(pulled_us + SLATE_US, WITHIN_S)  # nobody else notices
            for viewer in (rtsp, http):  # who sees a slate
                viewer.wait_picture(pulled_us + SLATE_US, WITHIN_S)
            away_s = time.monotonic() - away_s
            assert sum(waiting.cpu_times()[:2]) - cpu_s < 0.5 * away_s + 1.0
            before = times_up("door")

            door.plug()
            back_s = time.monotonic()
            until(lambda: times_up("door") > before, WITHIN_S, "it back")
            found_s, found_us = time.monotonic() - back_s, now_us()
            for viewer in (rtsp, http, other):
                viewer.wait_picture(found_us + 500_000, WITHIN_S)
            decoder.join(3 * WITHIN_S)
        for viewer in (rtsp, http, other):
            assert viewer.error is None, repr(viewer.error)  # each has kept its connection
        assert decoder.fault == ""
    record_property("seconds from pulling the cable to the word of it", round(said_s, 2))
    record_property("seconds from the node's return to the first picture", round(found_s, 2))

    for viewer in (rtsp, http):
        decoded = decoding.decode(viewer.ts, check_pictures=True)
        assert not decoded.errors
        numbers = [reading.number for reading in decoded.readings]
        first, last = numbers.index(-1), len(numbers) - numbers[::-1].index(-1)
        assert set(numbers[first:last]) == {-1}  # the slate, once
        for start, end in ((0, first), (last, len(numbers))):
            part = decoded.readings[start:end]
            assert not [reading.number for reading in part if reading.damaged]
            assert part[0].number % clip.sync_every == 0, "it begins at a sync point"
            resumed = [after for before, after in pairwise(numbers[start:end]) if not clip.follows(after, before)]
            assert not [number for number in resumed if number % clip.sync_every], "each loss ends at a sync point"
    decoded = decoding.decode(other.ts)
    assert not decoded.errors
    assert decoded.pictures > 5
