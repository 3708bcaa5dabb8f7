"""From an emulated USB camera to viewers, with everything between: and the cable is pulled while they watch."""

import os
import re
import signal
import threading
import time
from collections.abc import Callable
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import psutil

from common.clock import now_us
from tests.support import camera_formats, decoding, players
from tests.support.camera_formats import mjpeg
from tests.support.camera_life import next_sample, opened
from tests.support.forked_roles import HTTP_PORT, RTSP_PORT, ForkedRoles
from tests.support.usb_camera import UsbCamera
from tests.support.viewers import HttpViewer, RtspViewer
from tests.support.wait import until

DOOR = """
[streams.door]
source = "camera:{path}"
slate = true
"""
YARD = """
[streams.yard]
source = "camera:{path}"
format = "mjpeg"
fps = {fps}
"""
RTSP, HTTP = f"rtsp://127.0.0.1:{RTSP_PORT}/door", f"http://127.0.0.1:{HTTP_PORT}"
WITHIN_S = 30.0  # for anything
FOUND_WITHIN_S = 1.0  # from a node's return to its camera's first picture
SLATE_US = 1_500_000
FFMPEG_INTERRUPTED = 255
FPS, YARD_FPS = 5, 2  # the processor is emulated
REPLUGS = 4
_UP = re.compile(r"^timestamp=(\S+) .* event=source_up ", re.MULTILINE)


class Ffmpeg(threading.Thread):
    """ffmpeg itself, which decodes the door's pictures until it is stopped, or finds one that it cannot.

    pictures: how many it has decoded.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.ended = players.Run(1, "", "it has not begun")
        self.pictures = 0
        self._over = threading.Event()

    def run(self) -> None:
        strict = "-nostdin -v error -xerror -err_detect explode -rtsp_transport tcp -analyzeduration 1000000"
        line = f"ffmpeg {strict} -i {RTSP} -fps_mode passthrough -flush_packets 1 -f framecrc -"
        self.ended = players.run(line, within_s=3 * WITHIN_S, enough=self._has_enough)

    def wait_pictures(self, more: int) -> None:
        """Until it has decoded so many more than now."""
        before = self.pictures

        def come() -> bool:
            assert self.is_alive(), self.ended
            return self.pictures - before >= more

        until(come, WITHIN_S, f"{more} pictures of ffmpeg")

    def stop(self) -> None:
        """As ctrl-C does."""
        self._over.set()
        self.join(WITHIN_S)

    def _has_enough(self, out: str) -> bool:
        self.pictures = sum(line[:1].isdigit() for line in out.splitlines())  # the others are about the stream
        return self._over.is_set()


def times_up(roles: ForkedRoles, name: str) -> list[float]:
    """When each life of a capture's source began, by its log, s since 1970."""
    return [datetime.fromisoformat(stamp).timestamp() for stamp in _UP.findall(roles.log(f"capture-{name}"))]


def found_after_s(roles: ForkedRoles, webcam: UsbCamera) -> float:
    """Put the cable back; returns how long the source was down when its device node had its name again."""
    before = len(times_up(roles, "door"))
    webcam.plug()
    named_s = os.lstat(webcam.stable_name).st_mtime
    until(lambda: len(times_up(roles, "door")) > before, WITHIN_S, "it back")
    return times_up(roles, "door")[before] - named_s


def test_a_camera_that_is_back_is_found_within_a_second(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    webcam = UsbCamera([camera_formats.h264(camera_formats.check_clip(tmp_path))], "D1")
    found_s = []
    with ForkedRoles(("door",), DOOR.format(path=webcam.stable_name)) as roles, webcam:
        until(lambda: times_up(roles, "door"), WITHIN_S, "the camera up")
        for number in range(REPLUGS):
            webcam.unplug()
            gone_s = time.monotonic()
            # Away for long enough that the next try, were the node not looked for, would come too late.
            until(lambda: time.monotonic() - gone_s > number, WITHIN_S, "time to pass")  # noqa: B023
            found_s.append(found_after_s(roles, webcam))
    record_property("seconds from the node's return to the first picture", [round(one, 2) for one in found_s])
    assert max(found_s) < FOUND_WITHIN_S


def test_a_camera_that_is_busy_or_silent_is_said_once_and_taken_when_it_can_be(tmp_path: Path) -> None:
    webcam = UsbCamera([camera_formats.h264(camera_formats.check_clip(tmp_path))], "D1")
    with ForkedRoles(("door",), DOOR.format(path=webcam.stable_name)) as roles:

        def lines(words: str) -> int:
            return sum(words in line for line in roles.log("capture-door").splitlines())

        os.kill(roles.pids["capture-door"], signal.SIGSTOP)  # another program comes first
        with webcam:
            with opened(webcam.stable_name) as other:
                next_sample(other)
                os.kill(roles.pids["capture-door"], signal.SIGCONT)
                until(lambda: lines("in use by another program"), WITHIN_S, "that it is busy")
            until(lambda: times_up(roles, "door"), WITHIN_S, "the camera up")
            webcam.frozen = True
            until(lambda: lines("no picture for 5 s"), WITHIN_S, "that it is silent")
            webcam.frozen = False
            until(lambda: len(times_up(roles, "door")) > 1, WITHIN_S, "it up again")
            assert (lines("in use"), lines("no picture")) == (1, 1)


def test_a_cable_is_pulled_and_put_back_while_viewers_watch(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    players.need("ffmpeg")
    clip = camera_formats.check_clip(tmp_path, FPS)
    door, yard = UsbCamera([camera_formats.h264(clip)], "D1"), UsbCamera([mjpeg(fps=YARD_FPS)], "Y2", port=1)
    settings = DOOR.format(path=door.stable_name) + YARD.format(path=yard.stable_name, fps=float(YARD_FPS))
    with ForkedRoles(("door", "yard"), settings) as roles, door, yard:
        until(lambda: times_up(roles, "door") and times_up(roles, "yard"), WITHIN_S, "both cameras up")
        ffmpeg = Ffmpeg()
        ffmpeg.start()
        with (
            RtspViewer(RTSP, timeout_s=WITHIN_S) as rtsp,
            HttpViewer(f"{HTTP}/door.ts", timeout_s=WITHIN_S) as http,
            HttpViewer(f"{HTTP}/yard.ts", timeout_s=WITHIN_S) as other,
        ):
            for viewer in (rtsp, http, other):
                viewer.wait_bytes(5_000, WITHIN_S)
            ffmpeg.wait_pictures(1)

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
            waiting_cpu = (sum(waiting.cpu_times()[:2]) - cpu_s) / away_s
            assert waiting_cpu < 0.5

            found_s, found_us = found_after_s(roles, door), now_us()
            for viewer in (rtsp, http, other):
                viewer.wait_picture(found_us + 500_000, WITHIN_S)
            ffmpeg.wait_pictures(FPS)
            ffmpeg.stop()
        for viewer in (rtsp, http, other):
            assert viewer.error is None, repr(viewer.error)  # each has kept its connection
    assert (ffmpeg.ended.code, ffmpeg.ended.err) == (FFMPEG_INTERRUPTED, "")
    record_property("seconds from pulling the cable to the word of it", round(said_s, 2))
    record_property("seconds from the node's return to the first picture", round(found_s, 2))
    record_property("cores that waiting for it took", round(waiting_cpu, 3))
    assert found_s < FOUND_WITHIN_S

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
    apart = [after - before for before, after in pairwise(decoded.shown_pts) if before and after]
    record_property("pictures that ffmpeg decoded", ffmpeg.pictures)
    record_property("ms from picture to picture of the other camera", [min(apart) // 90, max(apart) // 90])
    assert max(apart) < 3 * 90_000 / YARD_FPS
