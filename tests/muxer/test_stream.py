"""A stream's numbers."""

import pytest

from muxer.mpegts import TsMuxer
from muxer.stream import Stream
from tests.muxer.test_mpegts import H264


@pytest.mark.parametrize("ssrc", [0, 1, 0x12345678, 0xFFFF_FFFF])
def test_the_first_packet_is_not_number_0(ssrc: int) -> None:
    stream = Stream("door", ssrc=ssrc, age_max_us=0)
    stream.announce((H264,))
    assert isinstance(stream.muxer, TsMuxer)
    assert 0 < stream.muxer.sequence < 1 << 16
