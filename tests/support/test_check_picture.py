"""The check picture must see damage of every kind, else every test that trusts it says nothing."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import check_picture
from tests.support.check_picture import CheckClip, Picture

WIDTH, HEIGHT = 320, 240

numbers = st.integers(0, 65535)


@pytest.fixture(scope="module", params=[0, 2], ids=["P", "B"])
def clip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> CheckClip:
    path = tmp_path_factory.mktemp("check") / "clip.mp4"
    return check_picture.make(path, pictures=40, sync_every=20, b_pictures=request.param, audio=True)


def decoded(clip: CheckClip, keep: Callable[[int], bool]) -> list[check_picture.Reading]:
    """What is read in the pictures when only the packets whose index `keep` accepts are decoded."""
    readings = []
    with av.open(str(clip.path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for index, packet in enumerate(container.demux(stream)):
            if packet.size == 0 or keep(index):
                for frame in packet.decode():
                    assert isinstance(frame, av.VideoFrame)
                    readings.append(check_picture.read(check_picture.from_frame(frame)))
    return readings


def leant_on(clip: CheckClip) -> list[int]:
    """The packets that others lean on: nal_ref_idc says so, and they are not the last of their group."""
    found = []
    with av.open(str(clip.path)) as container:
        for index, packet in enumerate(container.demux(video=0)):
            units, at = bytes(packet), 0
            while at < len(units):  # mp4: each NAL unit behind its length in 4 bytes
                reference, kind = units[at + 4] >> 5, units[at + 4] & 0x1F
                if reference and kind in (1, 5) and index % clip.sync_every < clip.sync_every - 4:
                    found.append(index)
                at += 4 + int.from_bytes(units[at : at + 4], "big")
    return found


def test_a_clean_clip_reads_clean(clip: CheckClip) -> None:
    assert decoded(clip, lambda _: True) == [(number, False) for number in range(40)]


def test_every_lost_reference_picture_shows(clip: CheckClip) -> None:
    losses = leant_on(clip)[::2]
    assert len(losses) > 5
    for lost in losses:
        readings = decoded(clip, lambda index, lost=lost: index != lost)  # type: ignore[misc]
        clean = [reading for reading in readings if not reading.damaged]
        # Most often nearly all that follow are damaged; a decoder may also leave them out until a sync point.
        assert len(clean) < 39, f"packet {lost}"
        assert len(readings) < 34 or any(reading.damaged for reading in readings), f"packet {lost}"


@given(numbers, st.integers(0, 15))
def test_every_number_reads_back(number: int, detail: int) -> None:
    picture = check_picture.render(number, WIDTH, HEIGHT, detail)
    assert check_picture.read(picture) == (number, False)


@given(
    numbers,
    st.integers(0, WIDTH - 32), st.integers(0, HEIGHT - 32), st.integers(32, WIDTH), st.integers(32, HEIGHT),
    st.sampled_from(["grey", "green", "moved", "older"]),
)  # fmt: skip
def test_damage_in_any_place_shows(number: int, x: int, y: int, width: int, height: int, kind: str) -> None:
    picture = check_picture.render(number, WIDTH, HEIGHT)
    spoil(picture, number, slice(y, min(y + height, HEIGHT)), slice(x, x + width), kind)
    assert check_picture.read(picture).damaged


def spoil(picture: Picture, number: int, rows: slice, columns: slice, kind: str) -> None:
    luma = picture[:HEIGHT]
    if kind == "grey":
        luma[rows, columns] = 128
    elif kind == "green":
        luma[rows, columns] = 0
        u_and_v = picture[HEIGHT:].reshape(2, HEIGHT // 2, WIDTH // 2)
        u_and_v[:, rows.start // 2 : rows.stop // 2, columns.start // 2 : columns.stop // 2] = 0
    elif kind == "moved":
        luma[rows, columns] = np.roll(luma, 6, axis=1)[rows, columns]
    else:  # of a picture in which each cell has been drawn anew since
        luma[rows, columns] = check_picture.render((number + 5) % 65536, WIDTH, HEIGHT)[rows, columns]


@pytest.mark.parametrize("value", [0, 16, 128, 255])
def test_a_picture_of_one_colour_is_damaged(value: int) -> None:
    picture = np.full((HEIGHT * 3 // 2, WIDTH), value, np.uint8)
    assert check_picture.read(picture) == (-1, True)


def test_follows_across_the_seam() -> None:
    clip = CheckClip(Path("clip.mp4"), 60, 30, 25)
    assert clip.follows(5, 4)
    assert clip.follows(0, 59)
    assert not clip.follows(4, 4)
    assert not clip.follows(6, 4)
