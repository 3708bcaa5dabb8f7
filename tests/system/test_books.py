"""The books balance: samples in are frames sent, and drops of a named kind, whatever happens."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import numpy as np

from capture.publisher import Publisher
from tests.support import books
from tests.support.check_picture import CheckClip
from tests.support.instance import PATIENT, Instance
from tests.support.rtsp_client import RtspClient
from tests.support.udp_receiver import UdpReceiver
from tests.support.viewers import HttpViewer, RtspViewer, Viewer
from tests.support.wait import until

SMALL_BUFFER_BYTES = 16384
WITHIN_S = 40


class Auditor:
    """Looks at the figures, and at the books in them each time."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self.faults: dict[str, None] = {}
        self.audits = 0

    def stats(self) -> dict[str, Any]:
        stats = self._instance.stats()
        self.faults.update(dict.fromkeys(books.faults(stats)))
        self.audits += 1
        return stats

    def viewer(self, agent: str) -> dict[str, Any]:
        (found,) = [viewer for viewer in self.stats()["viewers"] if viewer["user_agent"] == agent]
        return cast(dict[str, Any], found)

    def until_viewer(self, agent: str, field: str, more_than: int) -> None:
        def told() -> bool:
            return any(v["user_agent"] == agent and v[field] > more_than for v in self.stats()["viewers"])

        until(told, WITHIN_S, f"{field} of {agent} over {more_than}")


@contextmanager
def udp_viewer(instance: Instance, name: str) -> Iterator[RtspClient]:
    """Takes what comes over UDP, and does not look at it."""
    with UdpReceiver() as ports, RtspClient(instance.rtsp(name), user_agent="udp") as client:
        client.describe()
        client.setup(ports.transport)
        client.play()
        yield client


@contextmanager
def program(instance: Instance) -> Iterator[Callable[[int], None]]:
    """The program that gives the stream `cam`, once the instance wants it: so many pictures at a call."""
    picture = np.zeros((128, 160, 3), np.uint8)
    publisher = Publisher("cam", fps=25, runtime_dir=instance.runtime_dir)

    def publish(pictures: int) -> None:
        for number in range(pictures):
            picture[:] = number % 256
            publisher.write_picture(picture)
            time.sleep(0.02)  # the pace of the source

    until(lambda: publisher.demanded, WITHIN_S, "the instance to take pictures")
    try:
        yield publish
    finally:
        publisher.close()


def test_with_slow_stalled_paused_and_leaving_viewers_and_a_killed_muxer(wide_clip: CheckClip) -> None:
    with Instance(f"cam=mock:{wide_clip.path}", servers=2) as instance, ExitStack() as watching:
        instance.wait_live("cam")
        auditor = Auditor(instance)
        url = instance.rtsp("cam")
        small = {"receive_buffer_bytes": SMALL_BUFFER_BYTES}
        viewers: dict[str, Viewer] = {
            "good": RtspViewer(url, user_agent="good"),
            "http": HttpViewer(instance.http("cam"), user_agent="http"),
            "video only": RtspViewer(f"{url}/native", user_agent="video only"),
            "stalled": RtspViewer(url, user_agent="stalled", **small),
            "crawling": RtspViewer(url, user_agent="crawling", read_bytes_max=4096, rate_bps=2_500_000, **small),
            "leaving": HttpViewer(instance.http("cam"), user_agent="leaving", **small),
        }
        for viewer in viewers.values():
            watching.enter_context(viewer)
        watching.enter_context(udp_viewer(instance, "cam"))
        for viewer in viewers.values():
            viewer.wait_bytes(100_000, WITHIN_S)
        for name in ("stalled", "leaving"):
            viewers[name].stall()
        auditor.until_viewer("leaving", "frames_behind", 50)
        viewers["leaving"].stop()
        auditor.until_viewer("crawling", "frames_dropped", 0)
        auditor.until_viewer("stalled", "frames_behind", 300)
        viewers["stalled"].resume()
        auditor.until_viewer("stalled", "frames_dropped", 0)
        until(lambda: books.drops(auditor.stats()).keys() >= {"age", "sync"}, WITHIN_S, "drops of both kinds")
        for _ in range(2):
            instance.kill("muxer")
            for name in ("good", "http"):
                viewers[name].wait_bytes(1_000_000, WITHIN_S)
            auditor.stats()
        watching.close()
        until(lambda: not auditor.stats()["viewers"], WITHIN_S, "the end of all viewers")
        last = auditor.stats()
        assert list(auditor.faults) == []
        reasons = books.drops(last)
        assert reasons.keys() >= {"age", "sync", "track", "left"}, reasons
        assert sum(delivery["viewers_gone"] for delivery in last["deliveries"]) == 7
        assert {delivery["transport"] for delivery in last["deliveries"]} == {"rtsp-tcp", "rtsp-udp", "http-ts"}


def test_at_rest_every_hop_has_what_the_one_before_it_sent() -> None:
    with Instance("cam=program:", config=PATIENT, servers=2) as instance, ExitStack() as running:
        url = instance.rtsp("cam")
        publish = running.enter_context(program(instance))
        publish(30)
        instance.wait_live("cam")
        with RtspViewer(f"{url}/native", user_agent="native") as native:
            with RtspViewer(url) as ts, HttpViewer(instance.http("cam")) as http, udp_viewer(instance, "cam"):
                publish(50)
                for viewer in (native, ts, http):
                    until(lambda viewer=viewer: viewer.received, WITHIN_S, "something to see")  # type: ignore[misc]
            publish(10)
            last = books.wait_at_rest(instance.stats)
    assert last["streams"][0]["samples_used"] >= 90
    assert books.drops(last).keys() <= {"left", "unsent"}


def test_of_one_who_stalls_with_nobody_else_at_its_server_it_is_known_how_far_behind_it_is(
    wide_clip: CheckClip,
) -> None:
    with Instance(f"cam=mock:{wide_clip.path}") as instance:
        instance.wait_live("cam")
        auditor = Auditor(instance)
        url, small = instance.rtsp("cam"), SMALL_BUFFER_BYTES
        with RtspClient(url, user_agent="stalled", receive_buffer_bytes=small) as client:
            client.start()
            client.next_packet()
            auditor.until_viewer("stalled", "frames_behind", 150)
        until(lambda: not auditor.stats()["viewers"], WITHIN_S, "its end")
        assert books.drops(auditor.stats())["left"] > 150
        assert list(auditor.faults) == []


def test_one_who_stalls_alone_is_known_to_the_next_muxer_too_and_so_is_how_far_behind_it_is(
    wide_clip: CheckClip,
) -> None:
    settings = f"""
        [streams.cam]
        source = "mock:{wide_clip.path}"
        on_demand = true
    """
    with Instance(config=settings) as instance:
        auditor = Auditor(instance)
        url, small = f"{instance.rtsp('cam')}/native", SMALL_BUFFER_BYTES
        with RtspClient(url, user_agent="stalled", receive_buffer_bytes=small) as client:
            client.start()
            client.next_packet()
            auditor.until_viewer("stalled", "frames_behind", 150)
            behind = [auditor.viewer("stalled")["frames_behind"]]
            instance.kill("muxer")

            def goes_on() -> bool:
                behind.append(auditor.viewer("stalled")["frames_behind"])
                assert behind[-1] >= behind[-2]
                return bool(behind[-1] >= behind[0] + 150)

            until(goes_on, WITHIN_S, "150 more")
            assert instance.stream("cam")["viewers"] == 1
            (stalled,) = auditor.stats()["viewers"]
            assert (stalled["state"], stalled["drops"].get("muxer", 0)) == ("behind", 0)
        until(lambda: not auditor.stats()["viewers"], WITHIN_S, "its end")
        assert books.drops(auditor.stats())["left"] >= behind[-1]
        assert list(auditor.faults) == []


def test_how_far_behind_one_is_who_has_paused_alone_is_exactly_what_has_passed() -> None:
    with Instance("cam=program:", config=PATIENT) as instance, ExitStack() as running:
        publish = running.enter_context(program(instance))
        publish(30)
        instance.wait_live("cam")
        with RtspClient(f"{instance.rtsp('cam')}/native") as client:
            client.start()
            client.next_packet()
            assert client.request("PAUSE").status == 200
            publish(60)
            until(lambda: instance.stats()["viewers"][0]["frames_behind"] >= 60, WITHIN_S, "60 pictures behind")
            (paused,) = books.wait_at_rest(instance.stats)["viewers"]
            assert paused["state"] == "stopped"
        until(lambda: not instance.stats()["viewers"], WITHIN_S, "its end")
        last = books.wait_at_rest(instance.stats)
    (passed,) = [made["frames"] for made in last["streams"][0]["payloads"] if made["payload"] == "native"]
    assert books.drops(last)["left"] == passed - paused["frame_number"] - 1 >= 60
