"""Nobody is sent what is old, and nobody sees a broken picture: slow viewers of five kinds beside good ones.

A frame's time is in the stream (its DTS is the machine's monotonic clock), so the age of everything that a viewer
got is known to the millisecond, and what it shows is known by the check pictures.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise

import pytest

from tests.support import check_picture
from tests.support.far_link import FarLink, NoFarLinkError
from tests.support.instance import Instance
from tests.support.received import Judge, Received, Watched, watched
from tests.support.recording import Manner, Recorder, Recording

AGE_MAX_S = 1.0  # viewer.age_max_ms, by default
MACHINE_S = 1.0  # two cores that others use, too
DELAY_MS = 300
SECONDS = 14.0
STALL_S = (2.0, 9.0)
ALONE_S = 1.0
SMALL_BUFFER_BYTES = 8192
WINDOW_BYTES_MAX = 2 * SMALL_BUFFER_BYTES  # what may wait at the viewer's own side: the kernel doubles it
GOOD = tuple(f"good-{number}" for number in range(4))
RATE_SHARES = {"half": 0.5, "tenth": 0.1}
BYTEWISE_BPS = 80_000
SLOW = ("stalled", *RATE_SHARES, "bytewise")


@dataclass
class Watch:
    """All that was recorded: what each viewer got, how it read, and why there is no far one, if so."""

    got: dict[str, Watched]
    recordings: dict[str, Recording]
    no_far_link: str

    def pictures(self, name: str) -> list[Received]:
        """What the viewer got, but for a stalled one what was in the kernel's buffers all the while."""
        recording = self.recordings[name]
        stalled_s, resumed_s = (recording.played_s + at for at in recording.manner.stall_s)
        return [one for one in self.got[name].pictures if not stalled_s - 0.5 < one.first_s < resumed_s + 0.5]


@pytest.fixture(scope="module")
def watch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watch]:
    """Everybody at once: the good ones from a moment before to the end."""
    clip = check_picture.make(tmp_path_factory.mktemp("clips") / "age.mp4", pictures=250, sync_every=25)
    bitrate_bps = clip.path.stat().st_size * 8 * clip.fps / clip.pictures
    manners = {"stalled": Manner(stall_s=STALL_S, receive_buffer_bytes=SMALL_BUFFER_BYTES)}
    for name, share in RATE_SHARES.items():
        manners[name] = Manner(rate_bps=int(bitrate_bps * share), receive_buffer_bytes=SMALL_BUFFER_BYTES)
    manners["bytewise"] = Manner(rate_bps=BYTEWISE_BPS, piece_bytes=1, receive_buffer_bytes=SMALL_BUFFER_BYTES)
    with ExitStack() as stack:
        far, no_far_link = None, ""
        try:
            far = stack.enter_context(FarLink(DELAY_MS))
        except NoFarLinkError as error:
            no_far_link = str(error)
        extra = ("--host", far.near) if far else ()
        instance = stack.enter_context(Instance(f"cam=mock:{clip.path}", extra=extra))
        instance.wait_live("cam")
        recorder = stack.enter_context(Recorder())
        for name in GOOD:
            recorder.add(name, instance.rtsp("cam"))
        for name, manner in manners.items():
            recorder.add(name, instance.rtsp("cam"), manner)
        if far is not None:
            with far.far_side():
                recorder.add("far", instance.rtsp("cam"))
        recorder.play(GOOD)
        recorder.run(ALONE_S)
        recorder.play([*manners, *(("far",) if far else ())])
        recorder.run(SECONDS)
        recordings = {recording.name: recording for recording in recorder.recordings()}
        judge = Judge(clip)
        yield Watch({name: watched(one, judge) for name, one in recordings.items()}, recordings, no_far_link)


@pytest.fixture(params=[*GOOD[:1], *SLOW, "far"])
def name(request: pytest.FixtureRequest, watch: Watch) -> str:
    """Each viewer in turn."""
    viewer: str = request.param
    if viewer == "far" and watch.no_far_link:
        pytest.skip(watch.no_far_link)
    return viewer


def age_s(read_s: float, picture: Received) -> float:
    """Of a byte of the picture when it was read. A TS's clock wraps after 26.5 hours, and so may the machine's."""
    wrap = 1 << 33
    return ((round(read_s * 90000) - picture.time_90k + wrap // 2) % wrap - wrap // 2) / 90000


def test_no_picture_is_broken_or_cut(watch: Watch, name: str) -> None:
    got = watch.got[name]
    assert sum(picture.shown for picture in got.pictures) > 2
    assert [picture.number for picture in got.pictures if picture.damaged] == []
    assert sum(picture.number < 0 for picture in got.pictures) == 0


def test_the_connection_is_kept_and_numbers_are_contiguous(watch: Watch, name: str) -> None:
    assert watch.got[name].ended == ""
    assert watch.got[name].gaps == 0


def test_nothing_old_is_begun(watch: Watch, name: str) -> None:
    """A picture's first byte comes to the viewer's machine in time, its last as soon as its own rate allows."""
    manner = watch.recordings[name].manner
    link_s = DELAY_MS / 1000 if name == "far" else 0.0
    for picture in watch.pictures(name):
        if _is_of_the_first_group(picture, watch.recordings[name]):
            continue
        assert age_s(picture.came_s, picture) <= AGE_MAX_S + link_s + MACHINE_S
        if manner.rate_bps is not None:
            passing_s = (len(picture.data) + WINDOW_BYTES_MAX) * 8 / manner.rate_bps
            assert age_s(picture.last_s, picture) <= AGE_MAX_S + 1.25 * passing_s + MACHINE_S


def _is_of_the_first_group(picture: Received, recording: Recording) -> bool:
    """Whether it was there when the viewer came, who by setting starts with the newest sync point."""
    return age_s(recording.played_s, picture) >= 0


@pytest.mark.parametrize("good", GOOD)
def test_good_viewers_lose_nothing(watch: Watch, good: str) -> None:
    numbers = [picture.number for picture in watch.got[good].pictures]
    assert len(numbers) > (ALONE_S + SECONDS - 2) * 25
    assert all(after == (before + 1) % 250 for before, after in pairwise(numbers))
    late = sorted(age_s(picture.last_s, picture) for picture in watch.got[good].pictures[25:])
    assert late[len(late) * 99 // 100] < MACHINE_S


def test_a_stalled_viewer_sees_the_present_soon(watch: Watch) -> None:
    recording = watch.recordings["stalled"]
    resumed_s = recording.played_s + recording.manner.stall_s[1]
    fresh = [
        picture
        for picture in watch.got["stalled"].pictures
        if picture.first_s > resumed_s and age_s(picture.last_s, picture) < AGE_MAX_S
    ]
    assert fresh[0].last_s - resumed_s < 1.5 * AGE_MAX_S + MACHINE_S  # a sync point comes every second
