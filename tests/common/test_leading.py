"""Leading pictures: by example, and what encoders make."""

import pytest

from common import annexb
from common.leading import LeadingPictures
from common.sample import Codec, Sample
from tests.support.media_files import media_file, packets

RASL_AND_RADL = range(6, 10)


def sample(decode: int, shown: int, sync: bool = False) -> Sample:
    return Sample(b"", shown, Codec.H265, sync=sync, decode_time_us=decode)


@pytest.mark.parametrize(
    ("pictures", "leads"),
    [
        ([(0, 0, True), (1, 4, False), (2, 3, False)], [0, 0, 0]),  # a closed group
        ([(0, 2, True), (1, 0, False), (2, 1, False), (3, 4, False), (4, 1, False)], [0, 1, 1, 0, 0]),
        ([(0, 2, False), (1, 1, False)], [0, 0]),  # without a sync point
        ([(0, 2, True), (1, 1, True), (2, 0, False)], [0, 0, 0]),  # the newest one counts
    ],
)
def test_they_come_right_behind_a_sync_point_and_are_shown_before_it(
    pictures: list[tuple[int, int, bool]], leads: list[int]
) -> None:
    known = LeadingPictures()
    assert [known.leads(sample(*picture)) for picture in pictures] == leads


def test_whether_more_may_come() -> None:
    known = LeadingPictures()
    assert not known.may_come
    for picture, may_come in (((0, 0, True), False), ((1, 3, True), True), ((2, 2), True), ((3, 4), False)):
        known.leads(sample(*picture))
        assert known.may_come is may_come


def test_those_that_an_encoder_says_are_such() -> None:
    known = LeadingPictures()
    found: list[bool] = []
    said: list[bool] = []
    for packet in packets(media_file("open.ts", "libx265", None, b_pictures=3, options="forced-idr=0")):
        unit = annexb.leading_units(packet.data, Codec.H265)[-1]
        is_sync = unit.kind in annexb.H265_IRAP
        times = int(packet.pts_us), Codec.H265
        found.append(known.leads(Sample(packet.data, *times, sync=is_sync, decode_time_us=int(packet.dts_us))))
        said.append(unit.kind in RASL_AND_RADL)
    assert found == said
    assert any(said)
