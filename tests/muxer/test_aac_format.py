"""AAC in RTP."""

import pytest

from common.errors import MediaError
from common.sample import Codec, Track
from muxer.aac_format import AU_BYTES_MAX, AacFormat
from tests.muxer.depacketise import aac, payloads

CONFIG = bytes.fromhex("1190")


@pytest.mark.parametrize("size", [1, 2, 371, 1311, 1312, 1313, 2624, 2625, AU_BYTES_MAX])
def test_frames_of_any_size(size: int) -> None:
    data = bytes(n & 0xFF for n in range(size))
    packets = payloads(AacFormat(Track(Codec.AAC, config=CONFIG), 97).split(data, True).packets)
    assert aac(packets) == data
    assert len(packets) == -(-size // 1312)


def test_the_description() -> None:
    fmt = AacFormat(Track(Codec.AAC, config=CONFIG), 97)
    assert (fmt.encoding, fmt.payload_type, fmt.rate_hz) == ("mpeg4-generic/48000/2", 97, 48_000)
    assert fmt.parameters == (
        "streamtype=5;profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=1190"
    )
    assert fmt.ticks(b"") == 1024
    assert fmt.marks
    bare = AacFormat(Track(Codec.AAC, sample_rate_hz=48_000, channels=2), 97)
    assert bare.parameters == fmt.parameters


def test_what_cannot_be_carried() -> None:
    with pytest.raises(MediaError, match="AudioSpecificConfig"):
        AacFormat(Track(Codec.AAC), 97)
    with pytest.raises(MediaError, match="8192 bytes"):
        AacFormat(Track(Codec.AAC, config=CONFIG), 97).split(bytes(AU_BYTES_MAX + 1), True)
