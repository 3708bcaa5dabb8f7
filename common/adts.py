"""AAC in its two dresses (ISO/IEC 14496-3): AudioSpecificConfig with raw frames, 1.6.2.1; ADTS, 1.A.2. Pure.

ADTS says object types 1 to 4 (Main, LC, SSR, LTP), 13 sample rates and channel configurations 1 to 7. HE-AAC
goes as its LC core at the core's rate: a decoder finds SBR and PS by itself (implicit signalling, 1.6.5.3).
Not carried, and refused by name: other object types (USAC, ELD and more), frames of 960 samples, other sample
rates, channel layouts given by a program config element. CRCs are neither written nor checked.
"""

from typing import NamedTuple

from common.errors import MediaError

HEADER_BYTES = 7
_HEADER_WITH_CRC_BYTES = 9
FRAME_BYTES_MAX = (1 << 13) - 1  # aac_frame_length has 13 bits and counts the header
FRAMES_MAX = 1024  # in one buffer given to `raw_frames`
SAMPLE_RATES_HZ = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
CHANNELS = (0, 1, 2, 3, 4, 5, 6, 8)  # by channel configuration (table 1.19)
SAMPLES_PER_FRAME = 1024
AAC_LC = 2
_SBR, _PS = 5, 29
_RATE_ESCAPE = 15
_OBJECT_TYPE_ESCAPE = 31


class AudioConfig(NamedTuple):
    """What ADTS can say. object_type: 1 Main, 2 LC, 3 SSR, 4 LTP. sample_rate_hz: of the core, not of SBR."""

    object_type: int
    sample_rate_hz: int
    channels: int


def parse_config(config: bytes) -> AudioConfig:
    """Read an AudioSpecificConfig. Raises MediaError for what ADTS cannot carry, or damaged bytes."""
    bits = _Bits(config)
    object_type = _object_type(bits)
    rate_hz = _sample_rate(bits)
    channel_configuration = bits.read(4)
    if object_type in (_SBR, _PS):
        _sample_rate(bits)  # of the output: a decoder doubles the core's by itself
        object_type = _object_type(bits)
    if not 1 <= object_type <= 4:
        raise MediaError(f"AAC of object type {object_type} cannot go into ADTS: encode to AAC-LC")
    if rate_hz not in SAMPLE_RATES_HZ:
        raise MediaError(f"AAC at {rate_hz} Hz cannot go into ADTS: use a standard sample rate")
    if not 1 <= channel_configuration < len(CHANNELS):
        raise MediaError(f"AAC of channel configuration {channel_configuration} cannot go into ADTS: use 1 to 7")
    if bits.read(1):
        raise MediaError("AAC of 960 samples a frame cannot go into ADTS: encode with 1024")
    return AudioConfig(object_type, rate_hz, CHANNELS[channel_configuration])


def build_config(audio: AudioConfig) -> bytes:
    """The AudioSpecificConfig, 2 bytes, that `parse_config` reads as `audio`. Raises MediaError likewise."""
    rate, channels = _indices(audio)
    return (audio.object_type << 11 | rate << 7 | channels << 3).to_bytes(2, "big")


def header_template(audio: AudioConfig) -> int:
    """The ADTS header of frames of this kind, as a number of 56 bits, with no length: see `header`."""
    rate, channels = _indices(audio)
    # syncword, MPEG-4, layer 0, no CRC | profile, rate, channels | variable rate, one block
    return 0xFFF1 << 40 | (audio.object_type - 1) << 38 | rate << 34 | channels << 30 | 0x7FF << 2


def header(template: int, payload_bytes: int) -> bytes:
    """The 7 bytes before a raw frame of `payload_bytes`. Raises MediaError if it is too long for ADTS."""
    size = payload_bytes + HEADER_BYTES
    if size > FRAME_BYTES_MAX:
        raise MediaError(f"an AAC frame of {payload_bytes} bytes, at most {FRAME_BYTES_MAX - HEADER_BYTES}")
    return (template | size << 13).to_bytes(HEADER_BYTES, "big")


def parse_header(frame: bytes | memoryview) -> AudioConfig:
    """What the ADTS header at the start of `frame` says. Raises MediaError if there is none."""
    if len(frame) < HEADER_BYTES or frame[0] != 0xFF or frame[1] & 0xF6 != 0xF0:
        raise MediaError("no ADTS header where one is due")
    rate = frame[2] >> 2 & 0x0F
    if rate >= len(SAMPLE_RATES_HZ):
        raise MediaError("an ADTS header with a reserved sample rate")
    channels = (frame[2] & 1) << 2 | frame[3] >> 6
    if not channels:
        raise MediaError("ADTS with the channels in a program config element is not carried")
    return AudioConfig((frame[2] >> 6) + 1, SAMPLE_RATES_HZ[rate], CHANNELS[channels])


def raw_frames(data: bytes | memoryview) -> list[bytes]:
    """The raw frames, without headers, of a buffer of whole ADTS frames. Raises MediaError if it is none."""
    frames: list[bytes] = []
    at = 0
    while at < len(data):
        parse_header(data[at : at + HEADER_BYTES])
        if data[at + 6] & 3:
            raise MediaError("ADTS frames of several raw data blocks are not carried")
        size = (data[at + 3] & 3) << 11 | data[at + 4] << 3 | data[at + 5] >> 5
        skip = HEADER_BYTES if data[at + 1] & 1 else _HEADER_WITH_CRC_BYTES
        if size < skip or at + size > len(data):
            raise MediaError("an ADTS frame is cut short")
        if len(frames) == FRAMES_MAX:
            raise MediaError(f"over {FRAMES_MAX} ADTS frames in one sample")
        frames.append(bytes(data[at + skip : at + size]))
        at += size
    return frames


def _indices(audio: AudioConfig) -> tuple[int, int]:
    """(sampling frequency index, channel configuration)."""
    if audio.sample_rate_hz not in SAMPLE_RATES_HZ:
        raise MediaError(f"AAC at {audio.sample_rate_hz} Hz cannot go into ADTS: use a standard sample rate")
    if audio.channels not in CHANNELS[1:]:
        raise MediaError(f"AAC of {audio.channels} channels cannot go into ADTS: use 1 to 6 or 8")
    if not 1 <= audio.object_type <= 4:
        raise MediaError(f"AAC of object type {audio.object_type} cannot go into ADTS: encode to AAC-LC")
    return SAMPLE_RATES_HZ.index(audio.sample_rate_hz), CHANNELS.index(audio.channels)


class _Bits:
    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data[:16], "big")  # the fields read here end within 16 bytes
        self._left = 8 * len(data[:16])

    def read(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise MediaError("the AudioSpecificConfig is cut short")
        return self._value >> self._left & (1 << count) - 1


def _object_type(bits: _Bits) -> int:
    value = bits.read(5)
    return 32 + bits.read(6) if value == _OBJECT_TYPE_ESCAPE else value


def _sample_rate(bits: _Bits) -> int:
    index = bits.read(4)
    if index == _RATE_ESCAPE:
        return bits.read(24)
    if index >= len(SAMPLE_RATES_HZ):
        raise MediaError("the AudioSpecificConfig has a reserved sample rate")
    return SAMPLE_RATES_HZ[index]
