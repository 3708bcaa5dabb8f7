"""A link that loses and reorders packets: what viewers report is right, and the picture comes back whole."""

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import players
from tests.support.far_link import FarLink, NoFarLinkError
from tests.support.instance import Instance
from tests.support.wait import until

DELAY_MS = 60
REPORTED_WITHIN_S = 30.0
LOST = 0.05


@pytest.fixture(scope="module")
def link() -> Iterator[FarLink]:
    try:
        with FarLink(DELAY_MS) as link:
            yield link
    except NoFarLinkError as error:
        pytest.skip(str(error))


def test_losses_are_reported_and_got_over(link: FarLink) -> None:
    players.need("ffmpeg")
    with Instance("cam=test:size=320x240,fps=25", config=f'host = "{link.near}"\n') as instance:
        instance.wait_live("cam")
        url = instance.rtsp("cam")
        watch = ["ffmpeg", "-v", "quiet", "-nostdin", "-rtsp_transport", "udp", "-i", url, "-f", "null", "-"]
        with link.far_side():
            player = subprocess.Popen(watch)
        try:

            def reported(low: float, high: float) -> bool:
                figures: list[dict[str, Any]] = instance.stats()["viewers"]
                percent = figures[0]["loss_percent"] if figures else None
                return percent is not None and low <= percent <= high

            until(lambda: reported(0, 0), REPORTED_WITHIN_S, "a report of no loss")
            link.impair(LOST)
            until(lambda: reported(100 * LOST / 4, 100 * LOST * 4), REPORTED_WITHIN_S, "a report of the loss")
            link.impair(0, overtaken=0.05)
            until(lambda: reported(0, 0.5), REPORTED_WITHIN_S, "a report of no loss again")
            viewer = instance.stats()["viewers"][0]
            assert viewer["packets_lost"] > 0
            assert DELAY_MS * 0.9 <= viewer["round_trip_ms"] < DELAY_MS + 500
            link.impair(0)
        finally:
            player.terminate()
            player.wait()
        with link.far_side():
            whole = players.run(f"ffmpeg -v warning -xerror -rtsp_transport udp -i {url} -t 2 -f null -")
        assert (whole.code, whole.err) == (0, "")
