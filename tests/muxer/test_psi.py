"""PAT and PMT, byte by byte."""

import pytest

from common.sample import Codec, Track
from muxer import psi
from muxer.carriage import carriage


def test_the_crc_of_the_standard() -> None:
    assert psi.crc32(b"123456789") == 0x0376E6E7  # CRC-32/MPEG-2's check value
    assert psi.crc32(b"123456789" + (0x0376E6E7).to_bytes(4, "big")) == 0


def test_the_pat() -> None:
    packets = psi.pat_packets()
    assert len(packets) == 16
    for counter, packet in enumerate(packets):
        assert packet == bytes.fromhex(f"4740001{counter:x}") + (
            bytes.fromhex("00 00b00d 0001 c1 00 00 0001f000 2ab104b2") + b"\xff" * 167
        )


def test_the_pmt() -> None:
    streams = [psi.Elementary(0x1B, 0x100), psi.Elementary(0x81, 0x101, psi.registration(b"AC-3"))]
    packet = psi.pmt_packets(streams, clock_pid=0x100, version=5)[3]
    section = bytes.fromhex("02b01d 0001 cb 00 00 e100 f000  1b e100 f000  81 e101 f006 050441432d33")
    assert packet[:5] == bytes.fromhex("47500013 00")
    assert packet[5 : 5 + len(section)] == section
    assert psi.crc32(packet[5 : 5 + len(section) + 4]) == 0
    assert packet[5 + len(section) + 4 :] == b"\xff" * (188 - 5 - len(section) - 4)


@pytest.mark.parametrize("version", range(32))
def test_every_version(version: int) -> None:
    packet = psi.pmt_packets([psi.Elementary(0x0F, 0x101)], clock_pid=0x101, version=version)[0]
    assert packet[10] == 0xC1 | version << 1


@pytest.mark.parametrize(
    ("track", "stream_type", "stream_id", "descriptors"),
    [
        (Track(Codec.H264), 0x1B, 0xE0, ""),
        (Track(Codec.H265), 0x24, 0xE0, ""),
        (Track(Codec.AAC, sample_rate_hz=48_000, channels=2), 0x0F, 0xC0, ""),
        (Track(Codec.MP3, sample_rate_hz=44_100), 0x03, 0xC0, ""),
        (Track(Codec.MP2), 0x03, 0xC0, ""),
        (Track(Codec.MP3, sample_rate_hz=24_000), 0x04, 0xC0, ""),
        (Track(Codec.AC3), 0x81, 0xBD, "050441432d33"),
        (Track(Codec.OPUS), 0x06, 0xBD, "05044f707573 7f028002"),
        (Track(Codec.OPUS, channels=6), 0x06, 0xBD, "05044f707573 7f028006"),
        (Track(Codec.OPUS, config=b"OpusHead\1\1" + bytes(9)), 0x06, 0xBD, "05044f707573 7f028001"),
    ],
)
def test_how_each_codec_is_announced(track: Track, stream_type: int, stream_id: int, descriptors: str) -> None:
    how = carriage(track)
    assert (how.stream_type, how.stream_id, how.descriptors) == (
        stream_type,
        stream_id,
        bytes.fromhex(descriptors),
    )


@pytest.mark.parametrize(
    ("size", "header"), [(1, "01"), (254, "fe"), (255, "ff00"), (256, "ff01"), (765, "ffffff00")]
)
def test_the_control_header_of_opus(size: int, header: str) -> None:
    payload = carriage(Track(Codec.OPUS)).wrap(bytes(size), True)
    assert payload.begin == bytes.fromhex("7fe0" + header)
    assert payload.rest == bytes(size)
