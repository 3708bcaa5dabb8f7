"""AudioSpecificConfig and ADTS."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import adts
from common.adts import AudioConfig
from common.errors import MediaError
from common.sample import Codec
from tests.support import clips

CONFIGS = st.builds(
    AudioConfig,
    object_type=st.integers(1, 4),
    sample_rate_hz=st.sampled_from(adts.SAMPLE_RATES_HZ),
    channels=st.sampled_from(adts.CHANNELS[1:]),
)


@given(CONFIGS)
def test_a_config_survives_both_dresses(audio: AudioConfig) -> None:
    assert adts.parse_config(adts.build_config(audio)) == audio
    assert adts.parse_header(adts.header(adts.header_template(audio), 100)) == audio


def test_a_known_config_and_header() -> None:
    """AAC-LC, 44.1 kHz, stereo: the bytes that every encoder writes."""
    audio = AudioConfig(object_type=2, sample_rate_hz=44100, channels=2)
    assert adts.build_config(audio) == b"\x12\x10"
    assert adts.header(adts.header_template(audio), 371 - 7).hex() == "fff150802e7ffc"


@given(st.lists(st.binary(max_size=300), max_size=8), CONFIGS, st.integers(0, 6))
def test_headers_come_off_again(frames: list[bytes], audio: AudioConfig, cut: int) -> None:
    template = adts.header_template(audio)
    data = b"".join(adts.header(template, len(frame)) + frame for frame in frames)
    assert adts.raw_frames(data) == frames
    assert adts.raw_frames(memoryview(data)) == frames
    if data:
        with pytest.raises(MediaError):
            adts.raw_frames(data[: len(data) - 1 - cut * (len(frames[-1]) > cut)])
        with pytest.raises(MediaError):
            adts.raw_frames(data + b"\xff\xf1"[: cut % 2 + 1])


def test_a_crc_is_skipped() -> None:
    """protection_absent 0: two bytes more of header (1.A.2.2.1)."""
    header = bytearray(adts.header(adts.header_template(AudioConfig(2, 48000, 2)), 2 + 3))
    header[1] &= 0xFE
    assert adts.raw_frames(bytes(header) + b"\xaa\xbbabc") == [b"abc"]
    header[5] = 0  # a length that is shorter than the header
    header[4] = 1
    with pytest.raises(MediaError, match="cut short"):
        adts.raw_frames(bytes(header) + b"\xaa\xbbabc")


def test_several_blocks_in_a_frame_are_refused() -> None:
    header = bytearray(adts.header(adts.header_template(AudioConfig(2, 48000, 2)), 3))
    header[6] |= 1
    with pytest.raises(MediaError, match="several raw data blocks"):
        adts.raw_frames(bytes(header) + b"abc")


def test_the_number_of_frames_is_limited() -> None:
    frame = adts.header(adts.header_template(AudioConfig(2, 48000, 2)), 0)
    assert len(adts.raw_frames(frame * adts.FRAMES_MAX)) == adts.FRAMES_MAX
    with pytest.raises(MediaError, match="over"):
        adts.raw_frames(frame * (adts.FRAMES_MAX + 1))


def test_the_longest_frame() -> None:
    template = adts.header_template(AudioConfig(2, 48000, 2))
    longest = bytes(8191 - 7)
    assert adts.raw_frames(adts.header(template, len(longest)) + longest) == [longest]
    with pytest.raises(MediaError, match="8185 bytes, at most 8184"):
        adts.header(template, len(longest) + 1)


@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        # SBR said explicitly: 24 kHz core, 48 kHz out
        ("00101 0110 0010 0011 00010 000", AudioConfig(2, 24000, 2)),
        # PS said explicitly: mono core
        ("11101 0110 0001 0011 00010 000", AudioConfig(2, 24000, 1)),
        # the sample rate in 24 bits, and a standard one
        ("00010 1111 000000001011101110000000 0010 000", AudioConfig(2, 48000, 2)),
        # 7.1: channel configuration 7 is 8 channels
        ("00010 0011 0111 000", AudioConfig(2, 48000, 8)),
    ],
)
def test_other_forms_of_config(bits: str, expected: AudioConfig) -> None:
    assert adts.parse_config(_bytes(bits)) == expected


@pytest.mark.parametrize(
    ("bits", "message"),
    [
        ("", "cut short"),
        ("00010 001", "cut short"),
        ("00010 1111 0000", "cut short"),
        ("11111 000111 0011 0010 000", "object type 39"),  # ER AAC ELD
        ("00000 0011 0010 000", "object type 0"),
        ("00101 0110 0010 0011 11111 000000 0 000", "object type 32"),
        ("00010 1101 0010 000", "reserved sample rate"),
        ("00010 1111 000000000000000000000001 0010 000", "at 1 Hz"),
        ("00010 0011 0000 000", "channel configuration 0"),
        ("00010 0011 1000 000", "channel configuration 8"),
        ("00010 0011 0010 100", "960 samples"),
    ],
)
def test_what_adts_cannot_say_is_refused_by_name(bits: str, message: str) -> None:
    with pytest.raises(MediaError, match=message):
        adts.parse_config(_bytes(bits))


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (AudioConfig(5, 48000, 2), "object type 5"),
        (AudioConfig(0, 48000, 2), "object type 0"),
        (AudioConfig(2, 47999, 2), "47999 Hz"),
        (AudioConfig(2, 48000, 7), "7 channels"),
        (AudioConfig(2, 48000, 0), "0 channels"),
    ],
)
def test_what_cannot_be_built_is_refused_by_name(audio: AudioConfig, message: str) -> None:
    with pytest.raises(MediaError, match=message):
        adts.build_config(audio)
    with pytest.raises(MediaError, match=message):
        adts.header_template(audio)


@pytest.mark.parametrize(
    "header",
    ["", "fff150802e7f", "fef150802e7ffc", "fff350802e7ffc", "ffe150802e7ffc", "fff174802e7ffc", "fff150002e7ffc"],
)
def test_what_is_no_header(header: str) -> None:
    """Too short, no syncword, a layer, a reserved rate, channels elsewhere."""
    with pytest.raises(MediaError):
        adts.parse_header(bytes.fromhex(header))


def test_a_real_encoder_is_understood() -> None:
    track, samples = clips.audio(Codec.AAC)
    audio = adts.parse_config(track.config)
    assert audio == AudioConfig(2, 48000, 2)
    assert adts.build_config(audio) == track.config[:2]
    assert len(samples) > 40


@given(st.binary(max_size=200))
def test_any_bytes_give_an_answer_or_media_error(data: bytes) -> None:
    for function in (adts.parse_config, adts.parse_header, adts.raw_frames):
        try:
            function(data)
        except MediaError:
            pass


@given(st.binary(max_size=40), st.integers(0, 3), CONFIGS)
def test_bytes_like_adts_give_an_answer_or_media_error(data: bytes, flip: int, audio: AudioConfig) -> None:
    header = bytearray(adts.header(adts.header_template(audio), len(data)))
    header[3 + flip] ^= data[0] if data else 1
    try:
        frames = adts.raw_frames(bytes(header) + data)
    except MediaError:
        return
    assert sum(len(frame) for frame in frames) <= len(data)


def _bytes(bits: str) -> bytes:
    """Bits with spaces, padded with zeros."""
    bits = bits.replace(" ", "")
    bits += "0" * (-len(bits) % 8)
    return int(bits or "0", 2).to_bytes(len(bits) // 8, "big")
