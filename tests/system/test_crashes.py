"""kill -9 of one process: the supervisor brings it back, and viewers have pictures again."""

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pytest

from capture.recent import RECENT_US
from tests.support import check_picture, judge
from tests.support.check_picture import CheckClip
from tests.support.instance import PATIENT, Instance
from tests.support.viewers import HttpViewer, RtspViewer
from tests.support.wait import until

BACK_WITHIN_S = 10.0
VIEWERS_MAX = 40  # all on one of two servers once in 10^12 times


@pytest.fixture(scope="module")
def instance(clip: CheckClip) -> Iterator[Instance]:
    with Instance(f"cam=mock:{clip.path}", "test=test:size=320x240,fps=25", config=PATIENT) as running:
        running.wait_live("cam", "test")
        yield running


def kill_and_wait(instance: Instance, role: str, stream: str = "cam") -> None:
    """kill -9, and wait until another process does its work. `stream` says which capture."""
    names = [process["name"] for process in instance.processes(role)]
    index = names.index(f"capture-{stream}") if role == "capture" else 0
    restarts = instance.processes(role)[index]["restarts"]
    old = instance.kill(role, index)

    def is_back() -> bool:
        try:
            process = instance.processes(role)[index]
        except OSError:  # while the one server is away, nobody answers
            return False
        assert process["restarts"] <= restarts + 1
        return process["state"] == "up" and process["pid"] not in (0, old)

    until(is_back, BACK_WITHIN_S, f"a new {role}")
    until(lambda: not instance.zombies(), 2, "no zombies")


def check_reconnect(instance: Instance, clip: CheckClip) -> None:
    """A viewer that comes now plays; it may still be given the end of the life that was killed."""
    with RtspViewer(instance.rtsp("cam")) as viewer:
        viewer.wait_bytes(300_000)
    judge.check_survivor(viewer, clip)


@pytest.mark.parametrize("role", ["capture", "muxer"])
def test_a_connected_viewer_outlives(instance: Instance, clip: CheckClip, role: str) -> None:
    with RtspViewer(instance.rtsp("cam")) as rtsp, HttpViewer(instance.http("cam")) as http:
        rtsp.wait_bytes(200_000)
        http.wait_bytes(200_000)
        kill_and_wait(instance, role)
        for viewer in (rtsp, http):
            viewer.wait_bytes(400_000)
    judge.check_survivor(rtsp, clip)
    judge.check_survivor(http, clip)
    check_reconnect(instance, clip)


@pytest.mark.parametrize("role", ["capture", "muxer"])
def test_there_are_pictures_again_soon(instance: Instance, role: str) -> None:
    """The promise is a second, of a source that gives sync points when asked; the bound is a busy machine's."""
    with RtspViewer(instance.rtsp("test")) as viewer:
        viewer.wait_bytes(60_000)
        kill_and_wait(instance, role, "test")
        viewer.wait_bytes(60_000)
    shown_s = [packet.at_s for packet in viewer.rtp if judge.starts_video(packet)]
    longest_s = max(after - before for before, after in pairwise(shown_s))
    assert longest_s < 4.0


def test_a_muxer_that_comes_back_is_given_what_it_missed(tmp_path: Path) -> None:
    """A sync point every ten seconds only: a muxer that had to wait for one would take five, on average."""
    clip = check_picture.make(tmp_path / "long.mp4", sync_every=250, b_pictures=2, audio=True)
    with Instance(f"cam=mock:{clip.path}", config=PATIENT) as instance:
        with RtspViewer(instance.rtsp("cam")) as viewer:
            viewer.wait_bytes(100_000)
            kill_and_wait(instance, "muxer")
            viewer.wait_bytes(100_000)
            with RtspViewer(instance.rtsp("cam")) as other:
                other.wait_bytes(50_000)
        until(lambda: instance.processes("capture")[0]["counters"]["samples_repeated"], 5, "a report of repeats")
    judge.check_survivor(viewer, clip)
    judge.check_survivor(other, clip)
    shown_s = [packet.at_s for packet in viewer.rtp if judge.starts_video(packet)]
    longest_s = max(after - before for before, after in pairwise(shown_s))
    assert longest_s < 4.0
    if longest_s < RECENT_US / 2e6:
        judge.check_pictures(viewer.ts, clip, consecutive=True)


def test_a_reconnecting_viewer_plays_after_the_server(instance: Instance, clip: CheckClip) -> None:
    with RtspViewer(instance.rtsp("cam")) as viewer:
        viewer.wait_bytes(100_000)
        kill_and_wait(instance, "server")
        until(lambda: viewer.error is not None, 5, "the end of the old connection")
    check_reconnect(instance, clip)


def test_viewers_of_other_servers_stay(clip: CheckClip) -> None:
    with ExitStack() as held:
        instance = held.enter_context(Instance(f"cam=mock:{clip.path}", servers=2, config=PATIENT))
        servers: dict[RtspViewer, str] = {}
        while len(set(servers.values())) < 2:  # the kernel shares them out by a hash of its own
            assert len(servers) < VIEWERS_MAX
            viewer = held.enter_context(RtspViewer(instance.rtsp("cam"), user_agent=f"viewer {len(servers)}"))
            viewer.wait_bytes(50_000)
            servers[viewer] = instance.viewer(f"viewer {len(servers)}")["id"].rpartition("-")[0]
        instance.kill("server", 0)
        lost, stayed = ([v for v in servers if servers[v] == name] for name in ("server-0", "server-1"))
        until(lambda: all(viewer.error is not None for viewer in lost), 5, "the end of its connections")
        check_reconnect(instance, clip)  # at once: who was at its door while it died was reset, but nobody is now
        for viewer in stayed:
            viewer.wait_bytes(200_000)
        until(lambda: states(instance) == ["up", "up"], BACK_WITHIN_S, "both servers")
        check_reconnect(instance, clip)
    for viewer in stayed:
        assert viewer.error is None, repr(viewer.error)
        judge.check_rtp(viewer.rtp)
        judge.check_pictures(viewer.ts, clip, consecutive=True)


def states(instance: Instance) -> list[str]:
    return [process["state"] for process in instance.processes("server")]


def test_viewers_of_other_streams_see_nothing(clip: CheckClip) -> None:
    with Instance(f"a=mock:{clip.path}", f"b=mock:{clip.path}", config=PATIENT) as instance:
        instance.wait_live("a", "b")
        with RtspViewer(instance.rtsp("b")) as viewer:
            viewer.wait_bytes(100_000)
            instance.kill("capture", 0)  # of stream a, by name
            viewer.wait_bytes(300_000)
    judge.check_ts(viewer.ts)
    judge.check_pictures(viewer.ts, clip, consecutive=True)


def test_a_process_that_dies_again_and_again_is_started_again(clip: CheckClip) -> None:
    with Instance(f"cam=mock:{clip.path}", config=PATIENT) as instance:
        for _ in range(3):
            kill_and_wait(instance, "capture")
        instance.wait_live("cam")
        check_reconnect(instance, clip)
        assert instance.processes("capture")[0]["restarts"] == 3
