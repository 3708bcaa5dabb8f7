"""From connect to the first decodable picture: under a second, where a sync point comes every two."""

import time

import pytest

from tests.support import judge
from tests.support.check_picture import CheckClip
from tests.support.instance import Instance
from tests.support.rtsp_client import RtspClient
from tests.support.ts_check import TsCheck
from tests.support.viewers import RtspViewer

CONNECTS = 6
PAUSE_S = 0.35  # between connects: not in step with the sync points


def seconds_to_a_picture(url: str) -> float:
    """From before the connect until the first picture is there, whole, and it is a sync point."""
    start_s = time.monotonic()
    check = TsCheck()
    with RtspClient(url) as client:
        client.start()
        while True:
            packet = client.next_packet()
            if packet.channel == 0:
                check.feed(packet.data[12:])
                units = check.report.pes.get(next(iter(check.report.stream_types), -1), [])
                if units:
                    assert units[0].random_access
                    return packet.at_s - start_s


@pytest.mark.parametrize("source", ["file", "test"])
def test_the_first_picture_is_there_within_a_second(clip: CheckClip, source: str) -> None:
    assert clip.sync_every == 2 * clip.fps
    text = f"mock:{clip.path}" if source == "file" else "test:size=320x240,fps=25,sync_interval_ms=2000"
    with Instance(f"cam={text}") as instance:
        instance.wait_live("cam")
        with RtspViewer(instance.rtsp("cam")) as viewer:
            viewer.wait_bytes(100_000, 20)  # more than one group of pictures: it does not depend on how it began
            taken_s = []
            for _ in range(CONNECTS):
                taken_s.append(seconds_to_a_picture(instance.rtsp("cam")))
                time.sleep(PAUSE_S)
    assert max(taken_s) < 1.0, taken_s
    if source == "file":
        judge.check_pictures(viewer.ts, clip, consecutive=True)


def test_the_first_picture_of_a_fresh_start(clip: CheckClip) -> None:
    """A viewer that comes before the source has given anything waits for it, and is not refused."""
    with Instance(f"cam=mock:{clip.path}") as instance:
        assert seconds_to_a_picture(instance.rtsp("cam")) < 5.0
