"""Several streams, muxers and servers on one command line, a viewer of each kind on every stream."""

from collections import Counter

from tests.support import judge
from tests.support.check_picture import CheckClip
from tests.support.instance import Instance
from tests.support.viewers import HttpViewer, RtspViewer, Viewer
from tests.support.wait import until

STREAMS = ("north", "south", "east", "west")


def test_two_muxers_two_servers_four_streams(clip: CheckClip, short_clip: CheckClip) -> None:
    clips = {name: clip if name in ("north", "south") else short_clip for name in STREAMS}
    with Instance(*[f"{name}=mock:{clips[name].path}" for name in STREAMS], muxers=2, servers=2) as instance:
        instance.wait_live(*STREAMS)
        viewers: list[tuple[str, Viewer]] = []
        for name in STREAMS:
            viewers.append((name, RtspViewer(instance.rtsp(name), user_agent=f"{name}-rtsp")))
            viewers.append((name, HttpViewer(instance.http(name), user_agent=f"{name}-http")))
        try:
            for _, viewer in viewers:
                viewer.__enter__()
            for _, viewer in viewers:
                viewer.wait_bytes(250_000, 20)
            until(lambda: len(instance.stats()["viewers"]) == len(viewers), 5, "figures of every viewer")
            figures = instance.stats()
        finally:
            for _, viewer in viewers:
                viewer.stop()
    for name, viewer in viewers:
        assert viewer.error is None, f"{name}: {viewer.error!r}"
        judge.check_ts(viewer.ts)
        judge.check_pictures(viewer.ts, clips[name], consecutive=True)
        if isinstance(viewer, RtspViewer):
            judge.check_rtp(viewer.rtp)
    assert {stream["name"]: stream["viewers"] for stream in figures["streams"]} == dict.fromkeys(STREAMS, 2)
    assert Counter(viewer["stream"] for viewer in figures["viewers"]) == dict.fromkeys(STREAMS, 2)
    roles = Counter(process["role"] for process in figures["processes"])
    assert roles == {"supervisor": 1, "muxer": 2, "capture": 4, "server": 2}
    assert {process["state"] for process in figures["processes"]} == {"up"}
