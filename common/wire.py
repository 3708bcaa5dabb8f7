"""Messages to and from the frames of a ZeroMQ multipart message. Pure.

frame 0   MessagePack array: [VERSION, [tag, fields ...]]
frame 1   the media bytes, for SampleMessage and FrameMessage only; never inside MessagePack
"""

from collections.abc import Sequence

import msgspec

from common.errors import MessageError
from common.messages import VERSION, AnyMessage, FrameMessage, Message, SampleMessage
from common.sample import SAMPLE_BYTES_MAX

HEADER_BYTES_MAX = 64 << 20  # a Report of thousands of viewers; the rest is far below
MEDIA_BYTES_MAX = SAMPLE_BYTES_MAX * 5 // 4  # RTP and TS headers add 3 % to large, more to small frames
_WITH_MEDIA = (SampleMessage, FrameMessage)
_encoded = msgspec.msgpack.Encoder().encode
_decoded = msgspec.msgpack.Decoder(tuple[int, AnyMessage]).decode
_any_version = msgspec.msgpack.Decoder(tuple[int, msgspec.Raw]).decode
_FAULTS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)  # what hostile bytes raise

Buffer = bytes | bytearray | memoryview


def encode(message: Message, media: Buffer | None = None) -> list[Buffer]:
    """The frames of `message`. `media` is required for SampleMessage and FrameMessage, else refused."""
    if (media is not None) != isinstance(message, _WITH_MEDIA):
        raise MessageError(f"{type(message).__name__}: media bytes belong to samples and frames only")
    header = _encoded((VERSION, message))
    return [header] if media is None else [header, media]


def decode(frames: Sequence[Buffer]) -> tuple[AnyMessage, Buffer]:
    """The message and its media (empty where it has none).

    Raises MessageError for anything that is not exactly a message of this version, whatever the bytes.
    """
    if not frames or len(frames[0]) > HEADER_BYTES_MAX:
        raise MessageError("no header, or one beyond its limit")
    try:
        version, message = _decoded(frames[0])
    except _FAULTS as error:
        raise MessageError(_fault(frames[0], str(error))) from None
    if version != VERSION:
        raise MessageError(_other_version(version))
    wants_media = isinstance(message, _WITH_MEDIA)
    if len(frames) != 1 + wants_media:
        raise MessageError(f"{type(message).__name__} with {len(frames)} frames")
    media = frames[1] if wants_media else b""
    if len(media) > MEDIA_BYTES_MAX:
        raise MessageError(f"{len(media)} bytes of media, at most {MEDIA_BYTES_MAX}")
    return message, media


def _fault(header: Buffer, reason: str) -> str:
    """What is wrong with a header: its version before all else."""
    try:
        version, _ = _any_version(header)
    except _FAULTS:
        return f"the header is no array of version and message: {reason}"
    return reason if version == VERSION else _other_version(version)


def _other_version(version: int) -> str:
    return f"version {version} of the protocol, this process speaks {VERSION}"
