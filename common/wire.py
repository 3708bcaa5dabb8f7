"""Messages to and from the frames of a ZeroMQ multipart message. Pure.

frame 0   MessagePack array: [VERSION, [tag, fields ...]]; of a numbered line: [VERSION, [tag, fields ...], number]
frame 1   the media bytes, for SampleMessage and FrameMessage only; never inside MessagePack
"""

from collections.abc import Sequence
from typing import get_args

import msgpack
import msgspec
from msgspec.structs import astuple

from common.errors import MessageError, VersionError
from common.messages import VERSION, AnyMessage, FrameMessage, Message, SampleMessage
from common.sample import SAMPLE_BYTES_MAX

HEADER_BYTES_MAX = 64 << 20  # a Report of thousands of viewers; the rest is far below
MEDIA_BYTES_MAX = SAMPLE_BYTES_MAX * 5 // 4  # RTP and TS headers add 3 % to large, more to small frames
SEQUENCE_MAX = (1 << 63) - 1
_WITH_MEDIA = (SampleMessage, FrameMessage)
# Converting to the one class is five times faster than to the union of all.
_BY_TAG: dict[object, type[AnyMessage]] = {kind.__struct_config__.tag: kind for kind in get_args(AnyMessage)}

_pack = msgpack.Packer(default=astuple).pack  # made once, with its buffer; within messages there are structs, too

Buffer = bytes | bytearray | memoryview


def encode(message: Message, media: Buffer | None = None, sequence: int | None = None) -> list[Buffer]:
    """The frames of `message`. `media` is required for SampleMessage and FrameMessage, else refused.

    sequence: of a numbered line: the number of this message.
    """
    if (media is not None) != isinstance(message, _WITH_MEDIA):
        raise MessageError(f"{type(message).__name__}: media bytes belong to samples and frames only")
    fields = (message.__struct_config__.tag, *astuple(message))
    header = _pack((VERSION, fields) if sequence is None else (VERSION, fields, sequence))
    return [header] if media is None else [header, media]


def decode(frames: Sequence[Buffer]) -> tuple[AnyMessage, Buffer]:
    """The message and its media (empty where it has none), of a line that is not numbered.

    Raises MessageError for anything that is not exactly a message of this version, whatever the bytes.
    """
    fields, *number = _header(frames)
    if number:
        raise MessageError("the message is numbered, on a line that is not")
    return _message(fields, frames)


def decode_numbered(frames: Sequence[Buffer]) -> tuple[AnyMessage, Buffer, int]:
    """As `decode`, of a numbered line: and the message's number."""
    fields, *number = _header(frames)
    if len(number) != 1 or type(number[0]) is not int or not 0 <= number[0] <= SEQUENCE_MAX:
        raise MessageError("the message is not numbered, on a line that is")
    return *_message(fields, frames), number[0]


def _header(frames: Sequence[Buffer]) -> list[object]:
    """The fields of the message, and its number, if it has one. Raises VersionError whatever else is there."""
    if not frames or len(frames[0]) > HEADER_BYTES_MAX:
        raise MessageError("no header, or one beyond its limit")
    try:
        read = msgpack.unpackb(frames[0])
    except Exception as error:  # msgpack raises many types on hostile bytes, some of them plain ValueError
        raise MessageError(f"not MessagePack: {error}") from None
    if not isinstance(read, list) or len(read) < 2:
        raise MessageError("the header is no array of version and message")
    version = read[0]
    if type(version) is not int:
        raise MessageError("the version is no number")
    if version != VERSION:
        raise VersionError(
            f"version {version} of the protocol, this process speaks {VERSION}: run one framegate on all hosts"
        )
    return read[1:]


def _message(fields: object, frames: Sequence[Buffer]) -> tuple[AnyMessage, Buffer]:
    message = _read(fields)
    wants_media = isinstance(message, _WITH_MEDIA)
    if len(frames) != 1 + wants_media:
        raise MessageError(f"{type(message).__name__} with {len(frames)} frames")
    media = frames[1] if wants_media else b""
    if len(media) > MEDIA_BYTES_MAX:
        raise MessageError(f"{len(media)} bytes of media, at most {MEDIA_BYTES_MAX}")
    return message, media


def _read(fields: object) -> AnyMessage:
    tag = fields[0] if isinstance(fields, list) and fields else None
    kind = _BY_TAG.get(tag) if type(tag) is int else None
    if kind is None:
        raise MessageError(f"no message has the tag {tag!r}")
    try:
        return msgspec.convert(fields, kind, builtin_types=(bytes,))
    except (msgspec.ValidationError, RecursionError) as error:
        raise MessageError(str(error)) from None
