"""Motion JPEG in RTP: what comes out is written again as RFC 2435 has it, and decodes to the same picture."""

from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest

from common.errors import MediaError
from common.rtp_rows import PAYLOAD_BYTES_MAX
from common.sample import Codec, Track
from muxer.jpeg_format import JpegFormat
from tests.muxer.depacketise import jpeg, payloads

STANDARD = "huffman=default"


def picture(
    width: int, height: int, pix_fmt: str = "yuvj420p", options: str = STANDARD, threads: int = 1
) -> bytes:
    encoder: Any = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = width, height, pix_fmt, Fraction(1, 25)
    encoder.thread_count = threads  # several put restart markers between their slices
    encoder.options = dict(pair.split("=") for pair in options.split(","))
    noise = np.random.default_rng(1).integers(0, 255, (height, width, 3), dtype=np.uint8)
    frame = av.VideoFrame.from_ndarray(noise).reformat(format=pix_fmt)
    frame.pts = 0
    return b"".join(bytes(packet) for packet in (*encoder.encode(frame), *encoder.encode(None)))


def split(data: bytes, width: int = 0, height: int = 0) -> list[bytes]:
    return payloads(JpegFormat(Track(Codec.MJPEG, width, height), 96).split(data, True).packets)


def parts(data: bytes) -> dict[int, list[bytes]]:
    """The segments of a JPEG by marker; 0: the scan."""
    found: dict[int, list[bytes]] = {}
    at = 2
    while True:
        marker, end = data[at + 1], at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        found.setdefault(marker, []).append(data[at + 4 : end])
        at = end
        if marker == 0xDA:
            found[0] = [data[at : data.rindex(b"\xff\xd9")]]
            return found


def changed(data: bytes, marker: int, offset: int, value: int) -> bytes:
    at = data.index(bytes((0xFF, marker))) + 4 + offset
    return data[:at] + bytes((value,)) + data[at + 1 :]


@pytest.mark.parametrize(("width", "height"), [(16, 16), (64, 48), (320, 240), (330, 250), (2040, 16), (16, 2040)])
@pytest.mark.parametrize(("sampling", "kind"), [(0x22, 1), (0x21, 0)])
def test_all_of_a_picture_arrives(width: int, height: int, sampling: int, kind: int) -> None:
    data = changed(picture(width, height), 0xC0, 7, sampling)
    packets = split(data, width, height)
    assert max(map(len, packets)) <= PAYLOAD_BYTES_MAX
    assert {len(packet) for packet in packets[:-1]} <= {PAYLOAD_BYTES_MAX}
    said, tables, scan = jpeg(packets)
    original = parts(data)
    assert scan == original[0][0]
    assert tables == original[0xDB][0][1:65] * 2  # this encoder has one table for both
    assert said == {"type": kind, "width": -(-width // 8) * 8, "height": -(-height // 8) * 8, "interval": 0}


def test_restart_markers() -> None:
    data = picture(320, 240, threads=2)
    interval = int.from_bytes(parts(data)[0xDD][0], "big")
    assert interval
    said, _, scan = jpeg(split(data))
    assert (said["type"], said["interval"]) == (65, interval)
    assert scan == parts(data)[0][0]


def test_headers_that_stay_are_read_once_and_others_again() -> None:
    fmt = JpegFormat(Track(Codec.MJPEG), 96)
    for data in (picture(64, 48), picture(64, 48), picture(128, 96), changed(picture(64, 48), 0xC0, 7, 0x21)):
        assert jpeg(payloads(fmt.split(memoryview(data), True).packets)) == jpeg(split(data))


def test_cameras_leave_huffman_tables_and_the_end_marker_out() -> None:
    data = picture(64, 48)
    at = data.index(b"\xff\xc4")
    bare = data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") : -2]
    assert b"\xff\xc4" not in bare[:200]
    assert jpeg(split(bare)) == jpeg(split(data))


PICTURE = picture(64, 48)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (picture(64, 48, options="huffman=optimal"), "Huffman tables of its own"),
        (picture(64, 48, "yuvj444p"), "4:2:0 or 4:2:2"),
        (picture(64, 48, "yuvj422p"), "4:2:0 or 4:2:2"),  # this encoder's blocks are in another order
        (changed(PICTURE, 0xDA, 2, 0x11), "an order of its own"),
        (changed(PICTURE, 0xC0, 0, 12), "three components of 8 bits"),
        (changed(PICTURE, 0xC0, 3, 0x08), "2112x48 does not go into RTP, at most 2040"),
        (PICTURE.replace(b"\xff\xc0", b"\xff\xc2", 1), "not baseline"),
        (changed(PICTURE, 0xDB, 0, 0x10), "16-bit"),
        (changed(PICTURE, 0xDB, 0, 0x03), "damaged"),
        (b"", "start marker"),
        (b"\xff\xd8", "damaged"),
        (PICTURE[:300], "damaged"),
        (PICTURE[: PICTURE.index(b"\xff\xda") + 14], "nothing in it"),
    ],
)
def test_what_does_not_go_is_refused_with_the_reason(data: bytes, why: str) -> None:
    with pytest.raises(MediaError, match=why):
        split(data)


@pytest.mark.parametrize("size", [(2041, 100), (100, 2048), (3840, 2160)])
def test_larger_pictures_are_refused_at_once(size: tuple[int, int]) -> None:
    with pytest.raises(MediaError, match=r"at most 2040: take H\.264, or MPEG-TS"):
        JpegFormat(Track(Codec.MJPEG, *size), 96)


def test_damage_anywhere_is_no_crash() -> None:
    for at in range(min(len(PICTURE), 700)):
        for value in (0x00, 0xFF, PICTURE[at] ^ 0x01):
            try:
                assert split(PICTURE[:at] + bytes((value,)) + PICTURE[at + 1 :])
            except MediaError:
                continue
