"""A stream's numbers."""

import pytest

from common.sample import Payload
from muxer.mpegts import TsMuxer
from muxer.stream import Stream
from tests.muxer.test_native import AUDIO, VIDEO, picture
from tests.muxer.ts_muxers import H264


@pytest.mark.parametrize("ssrc", [0, 1, 0x12345678, 0xFFFF_FFFF])
def test_the_first_packet_is_not_number_0(ssrc: int) -> None:
    stream = Stream("door", ssrc=ssrc, age_max_us=0)
    stream.announce((H264,))
    assert isinstance(stream.muxer, TsMuxer)
    assert 0 < stream.muxer.sequence < 1 << 16


@pytest.mark.parametrize("payload", Payload)
def test_the_description_has_another_version_when_it_is_another(payload: Payload) -> None:
    stream = Stream("door", ssrc=1, age_max_us=0, payload=payload)
    stream.announce((VIDEO,))
    first = stream.sdp(0, 7)
    assert "o=- 7 1 IN" in first
    assert "b=AS" not in first
    assert stream.sdp(0, 7) == first
    for number in range(25):
        stream.write(picture(number * 40_000, 2000 + number % 7), number * 40_000)
    second = stream.sdp(960_000, 7)
    assert "o=- 7 2 IN" in second
    [said_kbps] = [int(line[5:]) for line in second.split("\r\n") if line.startswith("b=AS:")]
    # In 960 ms came 25 pictures of some 2 kB, each in 2 packets with 40 bytes of IP, UDP and RTP before them.
    sent_kbps = 25 * (2008 + 2 * 40) * 8 / 960
    assert sent_kbps < said_kbps < 1.35 * sent_kbps
    assert stream.sdp(970_000, 7).split("IN")[0] == second.split("IN")[0]
    stream.announce((VIDEO, AUDIO))
    third = stream.sdp(970_000, 7)
    assert "o=- 7 3 IN" in third
    assert third.count("\r\nm=") == (2 if payload is Payload.NATIVE else 1)
