"""Messages to and from the frames of a ZeroMQ multipart message. Pure.

frame 0   MessagePack array: [VERSION, [tag, fields ...]]
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
_WITH_MEDIA = (SampleMessage, FrameMessage)
# Converting to the one class is five times faster than to the union of all.
_BY_TAG: dict[object, type[AnyMessage]] = {kind.__struct_config__.tag: kind for kind in get_args(AnyMessage)}

_pack = msgpack.Packer(default=astuple).pack  # made once, with its buffer; within messages there are structs, too

Buffer = bytes | bytearray | memoryview


def encode(message: Message, media: Buffer | None = None) -> list[Buffer]:
    """The frames of `message`. `media` is required for SampleMessage and FrameMessage, else refused."""
    if (media is not None) != isinstance(message, _WITH_MEDIA):
        raise MessageError(f"{type(message).__name__}: media bytes belong to samples and frames only")
    header = _pack((VERSION, (message.__struct_config__.tag, *astuple(message))))
    return [header] if media is None else [header, media]


def decode(frames: Sequence[Buffer]) -> tuple[AnyMessage, Buffer]:
    """The message and its media (empty where it has none).

    Raises MessageError for anything that is not exactly a message of this version, whatever the bytes.
    """
    if not frames or len(frames[0]) > HEADER_BYTES_MAX:
        raise MessageError("no header, or one beyond its limit")
    message = _message(frames[0])
    wants_media = isinstance(message, _WITH_MEDIA)
    if len(frames) != 1 + wants_media:
        raise MessageError(f"{type(message).__name__} with {len(frames)} frames")
    media = frames[1] if wants_media else b""
    if len(media) > MEDIA_BYTES_MAX:
        raise MessageError(f"{len(media)} bytes of media, at most {MEDIA_BYTES_MAX}")
    return message, media


def _message(header: Buffer) -> AnyMessage:
    try:
        read = msgpack.unpackb(header)
    except Exception as error:  # msgpack raises many types on hostile bytes, some of them plain ValueError
        raise MessageError(f"not MessagePack: {error}") from None
    if not isinstance(read, list) or len(read) != 2:
        raise MessageError("the header is no array of version and message")
    version, fields = read
    if type(version) is not int:
        raise MessageError("the version is no number")
    if version != VERSION:
        raise VersionError(
            f"version {version} of the protocol, this process speaks {VERSION}: run one framegate on all hosts"
        )
    tag = fields[0] if isinstance(fields, list) and fields else None
    kind = _BY_TAG.get(tag) if type(tag) is int else None
    if kind is None:
        raise MessageError(f"no message has the tag {tag!r}")
    try:
        return msgspec.convert(fields, kind, builtin_types=(bytes,))
    except (msgspec.ValidationError, RecursionError) as error:
        raise MessageError(str(error)) from None
