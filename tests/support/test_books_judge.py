"""The judge of the books: it passes what balances, and sees each entry that does not."""

import copy
from typing import Any

import pytest

from tests.support import books

BALANCED: dict[str, Any] = {
    "processes": [
        {"role": "capture", "name": "capture-cam", "counters":
         {"samples_read": 31, "slates": 3, "samples": 30, "oversize": 1, "samples_withheld": 3}},
        {"role": "muxer", "name": "muxer-0", "counters": {"frames_out": 10}},
        {"role": "server", "name": "server-0", "counters": {"frames_in": 9, "frames_moved": 1, "frames_sent": 46}},
        {"role": "server", "name": "server-1", "counters": {}},
    ],
    "streams": [
        {
            "name": "cam", "samples_in": 29, "samples_unannounced": 1, "samples_known": 2,
            "samples_awaiting_sync": 3, "samples_used": 23, "samples_lost": 4, "samples_missed": 0,
            "payloads": [
                {"payload": "native", "epoch": 7, "samples_missed": 3, "samples_muxed": 18, "samples_refused": 2,
                 "clock_frames": 2, "frames": 20},
            ],
        }
    ],
    "viewers": [
        {"id": "server-0-1", "user_agent": "x", "transport": "rtsp-tcp", "stream": "cam", "epoch": 7,
         "frame_number": 15, "frames_behind": 4, "frames_due": 16, "frames_sent": 12, "drops": {"age": 4}},
    ],
    "deliveries": [
        {"process": "server-0", "stream": "cam", "payload": "native", "transport": "rtsp-tcp", "frames_due": 55,
         "frames_sent": 43, "drops": {"age": 8, "left": 1, "unsent": 1, "udp_queue": 1, "udp_kernel": 1}},
    ],
}  # fmt: skip


def entries(figures: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to each number in it."""
    if isinstance(figures, int):
        return [path]
    pairs = (
        figures.items() if isinstance(figures, dict) else enumerate(figures) if isinstance(figures, list) else ()
    )
    return [way for key, value in pairs for way in entries(value, (*path, key))]


def test_what_balances_passes() -> None:
    assert books.faults_at_rest(BALANCED) == []


@pytest.mark.parametrize("way", [way for way in entries(BALANCED) if way[-1] != "epoch"], ids=str)
def test_one_more_of_anything_is_seen(way: tuple[Any, ...]) -> None:
    figures = copy.deepcopy(BALANCED)
    within = figures
    for key in way[:-1]:
        within = within[key]
    within[way[-1]] += 1
    assert books.faults_at_rest(figures)


def test_a_frame_that_is_missing_without_a_reason_is_seen_unless_the_path_may_lose_some() -> None:
    figures = copy.deepcopy(BALANCED)
    figures["viewers"][0]["drops"] = {"age": 3, "lost": 1}
    assert len(books.faults(figures)) == 1
    assert books.faults(figures, never_lost=False) == []


def test_drops_of_all_deliveries_together() -> None:
    figures = copy.deepcopy(BALANCED)
    figures["deliveries"] *= 2
    assert books.drops(figures) == {"age": 16, "left": 2, "unsent": 2, "udp_queue": 2, "udp_kernel": 2}
