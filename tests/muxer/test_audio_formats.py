"""Sound that needs little around it in RTP."""

import pytest

from common.errors import MediaError
from common.rtp_rows import PAYLOAD_BYTES_MAX
from common.sample import Codec, Track
from muxer.audio_formats import OPUS_BYTES_MAX, Ac3Format, MpegAudioFormat, OpusFormat, PcmFormat
from muxer.payload_format import PayloadFormat
from tests.muxer.depacketise import payloads


def track(codec: Codec, rate_hz: int = 0, channels: int = 0, config: bytes = b"") -> Track:
    return Track(codec, sample_rate_hz=rate_hz, channels=channels, config=config)


def named(fmt: PayloadFormat) -> tuple[str, int, int]:
    return fmt.encoding, fmt.payload_type, fmt.rate_hz


@pytest.mark.parametrize(
    ("codec", "rate_hz", "channels", "expected"),
    [
        (Codec.PCMU, 8000, 1, ("PCMU/8000", 0, 8000)),
        (Codec.PCMA, 8000, 1, ("PCMA/8000", 8, 8000)),
        (Codec.PCMU, 0, 0, ("PCMU/8000", 0, 8000)),
        (Codec.PCMA, 16000, 2, ("PCMA/16000/2", 97, 16000)),
        (Codec.L16, 44100, 2, ("L16/44100/2", 10, 44100)),
        (Codec.L16, 44100, 1, ("L16/44100", 11, 44100)),
        (Codec.L16, 48000, 2, ("L16/48000/2", 97, 48000)),
    ],
)
def test_pcm(codec: Codec, rate_hz: int, channels: int, expected: tuple[str, int, int]) -> None:
    fmt = PcmFormat(track(codec, rate_hz, channels), 97)
    assert named(fmt) == expected
    frame = (channels or 1) * (2 if codec is Codec.L16 else 1)
    for frames in (1, 160, fmt.step, fmt.step + 1, 3 * fmt.step):
        data = bytes(n & 0xFF for n in range(frames * frame))
        packets = payloads(fmt.split(data, True).packets)
        assert b"".join(packets) == data
        assert {len(packet) for packet in packets[:-1]} <= {fmt.step * frame}
        assert max(map(len, packets)) <= PAYLOAD_BYTES_MAX
        assert fmt.ticks(data) == frames
    assert not fmt.marks
    assert fmt.parameters == ""
    if frame > 1:
        with pytest.raises(MediaError, match="no whole samples"):
            fmt.split(bytes(frame + 1), True)


def test_pcm_that_cannot_be_carried() -> None:
    with pytest.raises(MediaError, match="sample rate"):
        PcmFormat(track(Codec.L16), 97)


@pytest.mark.parametrize(
    ("first", "ticks"),
    [
        (b"\x00", 480), (b"\x18", 2880), (b"\x60", 480), (b"\x68", 960), (b"\x80", 120), (b"\xf8", 960),
        (b"\xf9", 1920), (b"\xfa", 1920), (b"\xfb\x03", 2880), (b"\xfb", 0), (b"\x0b\x02", 1920),
    ],
)  # fmt: skip
def test_opus(first: bytes, ticks: int) -> None:
    fmt = OpusFormat(track(Codec.OPUS, 48000, 2), 97)
    assert fmt.ticks(first) == ticks
    data = first + bytes(100)
    assert payloads(fmt.split(data, True).packets) == [data]


def test_opus_is_always_called_stereo() -> None:
    assert named(OpusFormat(track(Codec.OPUS, 16000, 1), 97)) == ("opus/48000/2", 97, 48000)
    assert OpusFormat(track(Codec.OPUS, 16000, 1), 97).parameters == ""
    head = b"OpusHead\x01\x02" + bytes(9)
    assert OpusFormat(track(Codec.OPUS, config=head), 97).parameters == "sprop-stereo=1"


def test_opus_that_cannot_be_carried() -> None:
    for bad in (track(Codec.OPUS, channels=6), track(Codec.OPUS, config=b"OpusHead\x01\x06" + bytes(8) + b"\1")):
        with pytest.raises(MediaError, match="Opus of 6 channels"):
            OpusFormat(bad, 97)
    with pytest.raises(MediaError, match="no OpusHead"):
        OpusFormat(track(Codec.OPUS, config=b"Opus"), 97)
    with pytest.raises(MediaError, match="at most"):
        OpusFormat(track(Codec.OPUS), 97).split(bytes(OPUS_BYTES_MAX + 1), True)


@pytest.mark.parametrize("size", [1, 417, 1312, 1313, 2000, 4000])
def test_mpeg_audio(size: int) -> None:
    fmt = MpegAudioFormat(track(Codec.MP3, 44100, 2), 97)
    assert named(fmt) == ("MPA/90000", 14, 90_000)
    data = bytes(n & 0xFF for n in range(size))
    at = 0
    for packet in payloads(fmt.split(data, True).packets):
        assert packet[:4] == at.to_bytes(4, "big")
        assert packet[4:] == data[at : at + len(packet) - 4]
        at += len(packet) - 4
    assert at == size


@pytest.mark.parametrize(
    ("size", "kinds"), [(768, [0]), (1314, [0]), (1792, [1, 3]), (2560, [2, 3]), (3840, [2, 3, 3])]
)
def test_ac3(size: int, kinds: list[int]) -> None:
    fmt = Ac3Format(track(Codec.AC3, 48000, 6), 97)
    assert named(fmt) == ("ac3/48000/6", 97, 48000)
    data = bytes(n & 0xFF for n in range(size))
    packets = payloads(fmt.split(data, True).packets)
    assert [packet[0] for packet in packets] == kinds
    assert {packet[1] for packet in packets} == {len(kinds)}
    assert b"".join(packet[2:] for packet in packets) == data
    with pytest.raises(MediaError, match="at most"):
        fmt.split(bytes(4000), True)
    with pytest.raises(MediaError, match="sample rate"):
        Ac3Format(track(Codec.AC3), 97)
