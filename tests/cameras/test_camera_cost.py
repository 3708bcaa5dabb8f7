"""What a Motion JPEG camera costs that is passed on as it is, beside ustreamer doing so. Measured, not judged.

    PATH=…:$PATH ./deploy/test -m slow tests/cameras/test_camera_cost.py --junitxml=cost.xml

The processor is emulated: only the ratio says something. It stands in the file, as properties of the test.
"""

import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import players
from tests.support.camera_formats import mjpeg
from tests.support.forked_roles import HTTP_PORT, RTSP_PORT, ForkedRoles
from tests.support.usb_camera import UsbCamera
from tests.support.wait import until

FPS = 15
PICTURES = 200
WITHIN_S = 120.0
SETTINGS = """
[streams.yard]
source = "camera:{path}"
format = "mjpeg"
mjpeg = "pass"
"""


def cpu_s(pids: list[int]) -> float:
    """What the scheduler has counted, in nanoseconds: `cpu_times` counts in hundredths of a second."""
    tasks = (path for pid in pids for path in Path(f"/proc/{pid}/task").glob("*/schedstat"))
    return sum(int(path.read_text().split()[0]) for path in tasks) / 1e9


def cost(pids: list[int], url: str, options: str = "") -> tuple[float, float]:
    """CPU milliseconds a picture, and pictures a second, with one viewer."""
    watch = f"ffmpeg -nostdin -v error {options} -i {url} -c copy -f null -frames:v"
    players.run(f"{watch} 1 -", within_s=WITHIN_S)
    began_s, before_s = time.monotonic(), cpu_s(pids)
    watched = players.run(f"{watch} {PICTURES} -", within_s=WITHIN_S)
    assert (watched.code, watched.err) == (0, "")
    return (cpu_s(pids) - before_s) * 1000 / PICTURES, PICTURES / (time.monotonic() - began_s)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_beside_ustreamer(record_property: Callable[[str, object], None]) -> None:
    if shutil.which("ustreamer") is None:
        pytest.skip("ustreamer is not installed")
    webcam = UsbCamera([mjpeg(fps=FPS)])
    with ForkedRoles(("yard",), SETTINGS.format(path=webcam.stable_name)) as roles, webcam:
        until(lambda: "event=source_up" in roles.log("capture-yard"), WITHIN_S, "the camera up")
        url = f"rtsp://127.0.0.1:{RTSP_PORT}/yard/native"
        ours = cost(list(roles.pids.values()), url, "-rtsp_transport tcp")
    with webcam:
        words = f"ustreamer -d {webcam.stable_name} -r 160x120 -f {FPS} -m MJPEG -c HW -s 127.0.0.1 -p {HTTP_PORT}"
        other = subprocess.Popen(words.split(), stderr=subprocess.DEVNULL)
        try:
            theirs = cost([other.pid], f"http://127.0.0.1:{HTTP_PORT}/stream", "-f mpjpeg")
        finally:
            other.send_signal(signal.SIGTERM)
            other.wait(WITHIN_S)
    for name, (cpu_ms, fps) in (("framegate", ours), ("ustreamer", theirs)):
        record_property(f"{name}: CPU ms a picture, pictures a second", f"{cpu_ms:.2f}, {fps:.1f}")
    record_property("ratio", round(ours[0] / theirs[0], 2))
