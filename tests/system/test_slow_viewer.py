"""A slow viewer hurts nobody, and sees whole frames only: one stalls, one crawls, one reads byte by byte."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support import decoding, judge
from tests.support.check_picture import CheckClip
from tests.support.instance import Instance
from tests.support.rtsp_client import Packet
from tests.support.viewers import HttpViewer, RtspViewer, Viewer
from tests.support.wait import until

SMALL_BUFFER_BYTES = 16384
CONFIG = "[viewer]\nage_max_ms = 3000\n"  # good viewers read in the thread beside that of the bytewise one
FRAMES_BEHIND = 6 * (25 + 47)  # pictures and audio frames of 6 s, twice what the drop queue holds
CRAWL_BPS = 2_500_000  # of 8 million
SLOW = ("stalled", "crawling", "stalled-http")
GOOD = ("good-1", "good-2", "good-http")
ALL = (*SLOW, "bytewise", *GOOD)


@dataclass
class Watched:
    """What one viewer was given, and what `/api/stats` said about it at the end."""

    ts: bytes
    rtp: list[Packet]
    figures: dict[str, Any]


@pytest.fixture(scope="module")
def watched(wide_clip: CheckClip) -> Iterator[dict[str, Watched]]:
    """All viewers of the story at once on one stream."""
    with Instance(f"cam=mock:{wide_clip.path}", config=CONFIG) as instance:
        instance.wait_live("cam")
        url = instance.rtsp("cam")
        small = {"receive_buffer_bytes": SMALL_BUFFER_BYTES}
        viewers: dict[str, Viewer] = {
            "stalled": RtspViewer(url, user_agent="stalled", **small),
            "crawling": RtspViewer(url, user_agent="crawling", read_bytes_max=4096, rate_bps=CRAWL_BPS, **small),
            "bytewise": RtspViewer(url, user_agent="bytewise", read_bytes_max=1, **small),
            "stalled-http": HttpViewer(instance.http("cam"), user_agent="stalled-http", **small),
            "good-1": RtspViewer(url, user_agent="good-1"),
            "good-2": RtspViewer(url, user_agent="good-2"),
            "good-http": HttpViewer(instance.http("cam"), user_agent="good-http"),
        }

        def behind(name: str) -> bool:
            good, slow = (int(instance.viewer(agent)["frames_sent"]) for agent in ("good-1", name))
            return good - slow > FRAMES_BEHIND

        stalled = [viewers[name] for name in ("stalled", "stalled-http")]
        try:
            for viewer in viewers.values():
                viewer.__enter__()
                viewer.wait_bytes(100_000)
            for viewer in stalled:
                viewer.stall()
            until(lambda: behind("stalled") and behind("stalled-http"), 40, "stalled viewers behind the others")
            for viewer in stalled:
                viewer.resume()
                viewer.wait_bytes(1_000_000)
            until(lambda: instance.viewer("crawling")["splices"] > 0, 60, "a splice for the crawling viewer")
            crawling = viewers["crawling"]
            assert isinstance(crawling, RtspViewer)
            crawling.client.rate_bps = None  # there is a lot in the kernel's buffers before that splice
            crawling.wait_bytes(instance.viewer("crawling")["bytes_sent"] - crawling.received + 1_000_000, 30)
            for name in SLOW:
                until(lambda name=name: instance.viewer(name)["splices"] > 0, 5, f"a report of {name}")  # type: ignore[misc]
            last = {name: instance.viewer(name) for name in ALL}
        finally:
            for viewer in viewers.values():
                viewer.stop()
        for name, viewer in viewers.items():
            assert viewer.error is None, f"{name}: {viewer.error!r}"
        yield {
            name: Watched(viewer.ts, viewer.rtp if isinstance(viewer, RtspViewer) else [], last[name])
            for name, viewer in viewers.items()
        }


@pytest.mark.parametrize("name", [name for name in ALL if "http" not in name])
def test_rtp_is_in_sequence(watched: dict[str, Watched], name: str) -> None:
    judge.check_rtp(watched[name].rtp)


@pytest.mark.parametrize("name", ALL)
def test_the_ts_is_whole_and_every_start_is_a_sync_point(
    watched: dict[str, Watched], wide_clip: CheckClip, name: str
) -> None:
    judge.check_ts(watched[name].ts, spliced=name not in GOOD)
    splices = judge.check_splices(watched[name].ts, wide_clip)
    if name in GOOD:
        assert splices == 0
    elif name in SLOW:
        assert splices > 0


@pytest.mark.parametrize("name", ALL)
def test_nobody_sees_a_broken_picture(watched: dict[str, Watched], wide_clip: CheckClip, name: str) -> None:
    decoded = judge.check_pictures(watched[name].ts, wide_clip, consecutive=name in GOOD)
    assert decoded.audio_frames > 0


@pytest.mark.parametrize("name", ALL)
def test_the_figures_say_so(watched: dict[str, Watched], name: str) -> None:
    figures = watched[name].figures
    assert figures["frames_sent"] > 0
    if name in GOOD:
        assert figures["frames_dropped"] == figures["splices"] == 0
        assert figures["state"] == "reading"
    elif name in SLOW:
        assert figures["frames_dropped"] > figures["splices"] > 0


def test_audio_goes_on_for_a_slow_viewer(watched: dict[str, Watched]) -> None:
    """More of the sound than of the picture reaches a viewer that is too slow for the picture."""
    got = decoding.units(watched["crawling"].ts)
    video, audio = ([unit for unit in got if unit.audio is kind] for kind in (False, True))
    seconds = (video[-1].dts - video[0].dts) / 90000
    assert len(audio) / (seconds * 48000 / 1024) > len(video) / (seconds * 25)
