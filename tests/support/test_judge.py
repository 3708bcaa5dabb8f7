"""The judge must find the guilty guilty: a TS from a file, whole, and then with something wrong in it."""

from collections.abc import Callable

import pytest

from tests.support import check_picture, judge
from tests.support.check_picture import CheckClip
from tests.support.ts_check import PACKET


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> CheckClip:
    path = tmp_path_factory.mktemp("judge") / "clip.ts"
    return check_picture.make(path, pictures=75, sync_every=25, b_pictures=2)


def starts(ts: bytes, pid: int = 0x100) -> list[int]:
    """Where PES packets of `pid` begin."""
    return [
        at
        for at in range(0, len(ts), PACKET)
        if ts[at + 1] & 0x40 and int.from_bytes(ts[at + 1 : at + 3], "big") & 0x1FFF == pid
    ]


def without(ts: bytes, first: int, count: int) -> bytes:
    """The TS without `count` pictures."""
    places = starts(ts)
    return ts[: places[first]] + ts[places[first + count] :]


def test_a_whole_clip_passes(clip: CheckClip) -> None:
    ts = clip.path.read_bytes()
    assert judge.check_splices(ts, clip) == 0
    judge.check_pictures(ts, clip, consecutive=True)


def test_a_splice_to_a_sync_point_is_one(clip: CheckClip) -> None:
    assert judge.check_splices(without(clip.path.read_bytes(), 10, 15), clip) == 1


def test_a_splice_to_another_picture_is_found(clip: CheckClip) -> None:
    with pytest.raises(AssertionError, match="no sync point"):
        judge.check_splices(without(clip.path.read_bytes(), 10, 10), clip)


def test_a_start_at_another_picture_is_found(clip: CheckClip) -> None:
    with pytest.raises(AssertionError):
        judge.check_splices(clip.path.read_bytes()[starts(clip.path.read_bytes())[1] :], clip)


def test_a_missing_disposable_picture_is_no_splice(clip: CheckClip) -> None:
    ts = clip.path.read_bytes()
    spared = [without(ts, at, 1) for at in range(1, 24)]
    assert 0 < sum(_passes(lambda cut=cut: judge.check_splices(cut, clip)) for cut in spared) < 23  # type: ignore[misc]


def _passes(check: Callable[[], object]) -> bool:
    try:
        check()
    except AssertionError:
        return False
    return True


def test_missing_packets_are_found(clip: CheckClip) -> None:
    ts = clip.path.read_bytes()
    middle = len(ts) // PACKET // 2 * PACKET
    judge_ts = ts[:middle] + ts[middle + PACKET :]
    with pytest.raises(AssertionError, match="continuity"):
        judge.check_ts(judge_ts, spliced=True)


def test_the_cut_off_end_is_left_out(clip: CheckClip) -> None:
    ts = clip.path.read_bytes()
    last = starts(ts)[-1]
    assert judge.until_last_start(ts[: last + PACKET]) == ts[:last]
    assert judge.until_last_start(ts[:last]) != ts[:last]
    assert judge.until_last_start(b"") == b""
