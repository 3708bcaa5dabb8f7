"""A muxer knows of all viewers of its streams, those who take nothing too, whatever it, or a server, goes through.

Else a source on demand would be put to rest under them, and nobody could say how far behind they are. Processes
are the real ones, but for their ends (`tests.support.whole_path`).
"""

from collections.abc import Callable, Iterator

import pytest

from common.sample import Payload
from muxer.servers import SERVER_SILENT_US
from server.flow import Gate
from server.frame_buffers import Framing
from server.viewers import Viewer
from tests.support.muxer_in_memory import QUEUE_MAX
from tests.support.whole_path import STREAM, Connection, WholePath

MS = 1000
QUICK_BPS = 10_000_000


@pytest.fixture
def path() -> Iterator[WholePath]:
    path = WholePath()
    yield path
    path.close()


def stalls(path: WholePath, connection: Connection) -> None:
    connection.rate_bps = 0
    path.run(2000 * MS)


def pauses(path: WholePath, connection: Connection) -> None:
    assert connection.viewer is not None
    path.fanout.read_stop(connection.viewer)
    path.run(1000 * MS)


def is_forgotten(path: WholePath) -> None:
    """The server stands still for so long that the muxer takes it to be gone."""
    path.serves = False
    path.run(SERVER_SILENT_US + 200 * MS)
    assert path.known_viewers == set()
    path.serves = True


def is_cut_off(path: WholePath) -> None:
    """The line between them breaks, and stands again before either misses the other."""
    path.muxer.connected = False
    path.run(300 * MS)
    path.muxer.connected = True


def is_served_by_another(path: WholePath) -> None:
    """The muxer dies, and is started again."""
    path.muxer.kill(arrives=0)
    path.run(100 * MS)
    path.muxer.start()
    path.muxer.connected = True


def is_moved(path: WholePath) -> None:
    """The stream is to be another muxer's."""
    path.muxers_take(2)
    path.server_takes(2)


LOSES = {"forgotten": is_forgotten, "cut off": is_cut_off, "another": is_served_by_another, "moved": is_moved}


@pytest.mark.parametrize("loses", LOSES)
@pytest.mark.parametrize("takes_nothing", [stalls, pauses])
@pytest.mark.parametrize("payload", Payload)
def test_of_one_who_takes_nothing(
    path: WholePath, takes_nothing: Callable[[WholePath, Connection], None], loses: str, payload: Payload
) -> None:
    framing = Framing.TS if payload is Payload.TS else Framing.INTERLEAVED
    connection = path.join(framing, QUICK_BPS, payload)
    path.run(1000 * MS)
    takes_nothing(path, connection)
    viewer = connection.viewer
    assert viewer is not None
    gate = viewer.flow.gate
    assert gate is (Gate.WAITING if takes_nothing is stalls else Gate.CLOSED)
    behind = viewer.frames_behind
    assert behind >= 20
    LOSES[loses](path)
    for _ in range(3):
        path.run(1000 * MS)
        assert path.known_viewers == {viewer.number}
        assert viewer.flow.gate is gate
        if payload is Payload.NATIVE or loses in ("forgotten", "cut off"):
            assert viewer.frames_behind >= behind + 15, "a second's"
        behind = viewer.frames_behind
    path.captures = False
    path.run(1000 * MS)
    check_what_it_leaves(path, viewer, connection)
    assert path.known_viewers == set()


def check_what_it_leaves(path: WholePath, viewer: Viewer, connection: Connection) -> None:
    """It goes: what it leaves is all that has passed since its last frame."""
    last = viewer.last
    assert last is not None
    assert last.sample is not None
    passed = path.capture.samples - 1 - last.sample[1]
    behind, due = viewer.frames_behind, viewer.frames_due
    if viewer.stream.newest is not None and viewer.stream.newest.epoch != last.epoch:
        assert behind == passed
    else:
        assert behind >= passed, "and clock references"
    connection.leave()
    path.run(100 * MS)
    (delivery,) = path.fanout.ledger.figures(path.fanout.streams.values())
    assert delivery.drops["left"] == behind
    assert delivery.frames_due == due + behind == delivery.frames_sent + sum(delivery.drops.values())


@pytest.mark.parametrize("loses", LOSES)
@pytest.mark.parametrize("stalled", [False, True])
def test_who_reads_goes_on_and_its_books_hold(path: WholePath, loses: str, stalled: bool) -> None:
    """stalled: while it was lost."""
    connection = path.join(Framing.INTERLEAVED, QUICK_BPS, Payload.NATIVE)
    path.run(1000 * MS)
    viewer = connection.viewer
    assert viewer is not None
    if stalled:
        stalls(path, connection)
    LOSES[loses](path)
    path.run(1000 * MS)
    behind, sent = viewer.frames_behind, viewer.frames_sent
    assert stalled is (behind > 50)
    connection.rate_bps = QUICK_BPS
    path.run(2000 * MS)
    assert viewer.flow.gate is Gate.LIVE
    assert viewer.frames_behind == 0
    assert viewer.frames_sent > sent + 40
    assert behind <= viewer.frames_due == viewer.frames_sent + sum(viewer.drops.values())
    assert "lost" not in viewer.drops


def test_who_leaves_unheard_is_not_known_for_long(path: WholePath) -> None:
    connection = path.join(Framing.TS, QUICK_BPS)
    path.run(1000 * MS)
    connection.leave()
    path.muxer.lose(from_server=True, messages=slice(None))
    assert path.known_viewers
    path.run(1000 * MS)
    assert path.known_viewers == set()
    assert path.counters.muxers_unheard == 1


def test_nobody_is_known_before_his_server_could_be_told_by_whom(path: WholePath) -> None:
    """A muxer to which the way is full when it begins its life."""
    is_served_by_another(path)
    path.muxer.queue_max = 0
    path.run(300 * MS)  # it is greeted, but it could not answer
    connection = path.join(Framing.TS, QUICK_BPS)
    path.run(1000 * MS)
    assert path.known_viewers == set()
    path.muxer.queue_max = QUEUE_MAX
    path.run(1000 * MS)
    assert connection.viewer is not None
    assert connection.viewer.flow.gate is Gate.LIVE


def test_a_server_that_is_forgotten_wants_no_answer_any_more(path: WholePath) -> None:
    """Nor is a source kept going for it."""
    path.captures = False
    path.client.describe(STREAM, Payload.TS, 1 << 60, lambda *_: None)
    path.run(100 * MS)
    assert path.muxer.worker is not None
    outputs = path.muxer.worker._sources[STREAM].outputs
    assert outputs.wanted
    is_forgotten(path)
    assert not outputs.wanted
    path.run(1000 * MS)
    assert outputs.wanted, "it asks again"
