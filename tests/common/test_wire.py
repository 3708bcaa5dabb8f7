"""Messages to frames and back; what is hostile is refused, whatever the bytes."""

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import MessageError
from common.messages import VERSION, AnyMessage, FiguresRequest, KeyFrameRequest, Message, SampleMessage
from common.sample import Codec
from common.wire import HEADER_BYTES_MAX, MEDIA_BYTES_MAX, SEQUENCE_MAX, decode, decode_numbered, encode
from tests.common.strategies import WITH_MEDIA, WITHOUT_MEDIA

SAMPLE = SampleMessage(1, 2, 3, None, Codec.H264, True)
packed = msgpack.packb


@given(WITHOUT_MEDIA)
def test_a_message_is_one_frame_and_comes_back(message: Message) -> None:
    frames = encode(message)
    assert len(frames) == 1
    assert decode(frames) == (message, b"")


@given(WITH_MEDIA, st.binary(max_size=100))
def test_media_is_a_frame_of_its_own_and_is_not_copied(message: Message, media: bytes) -> None:
    frames = encode(message, media)
    assert len(frames) == 2
    assert frames[1] is media
    decoded, carried = decode(frames)
    assert decoded == message
    assert carried is media


@pytest.mark.parametrize("media", [bytearray(b"ab"), memoryview(b"ab")])
def test_media_may_be_any_buffer(media: bytearray | memoryview) -> None:
    assert decode(encode(SAMPLE, media))[1] == b"ab"


def test_media_belongs_to_samples_and_frames_only() -> None:
    with pytest.raises(MessageError, match="KeyFrameRequest: media bytes belong to"):
        encode(KeyFrameRequest(), b"")
    with pytest.raises(MessageError, match="SampleMessage: media bytes belong to"):
        encode(SAMPLE)


@given(WITHOUT_MEDIA, st.integers(0, SEQUENCE_MAX))
def test_a_numbered_message_comes_back_with_its_number_and_only_where_there_are_any(
    message: Message, sequence: int
) -> None:
    numbered = encode(message, sequence=sequence)
    assert decode_numbered(numbered) == (message, b"", sequence)
    with pytest.raises(MessageError, match="the message is numbered, on a line that is not"):
        decode(numbered)
    with pytest.raises(MessageError, match="the message is not numbered, on a line that is"):
        decode_numbered(encode(message))


def test_media_goes_with_a_number_too() -> None:
    assert decode_numbered(encode(SAMPLE, b"ab", 7)) == (SAMPLE, b"ab", 7)


@pytest.mark.parametrize("sequence", [None, -1, SEQUENCE_MAX + 1, 1.0, True, "7", b"7", [7]])
def test_what_is_no_number_is_refused(sequence: object) -> None:
    with pytest.raises(MessageError, match="the message is not numbered"):
        decode_numbered([packed([VERSION, [4], sequence])])


def test_nor_are_there_two() -> None:
    with pytest.raises(MessageError, match="the message is not numbered"):
        decode_numbered([packed([VERSION, [4], 7, 8])])


def test_a_message_that_cannot_be_sent_leaves_nothing_of_itself_in_the_next() -> None:
    with pytest.raises(TypeError):
        encode(FiguresRequest(1 << 64))
    assert decode(encode(FiguresRequest(7, True)))[0] == FiguresRequest(7, True)


@given(WITHOUT_MEDIA | WITH_MEDIA, st.integers(0, 3))
def test_another_number_of_frames_is_refused(message: Message, count: int) -> None:
    header = encode(message, b"" if isinstance(message, SampleMessage) or hasattr(message, "to_live") else None)[0]
    right = 2 if isinstance(message, SampleMessage) or hasattr(message, "to_live") else 1
    frames = [header, b"", b"", b""][:count]
    if count != right:
        with pytest.raises(MessageError):
            decode(frames)
    else:
        assert decode(frames)[0] == message


@given(st.lists(st.binary(max_size=60), max_size=3))
def test_any_bytes_are_a_message_or_refused(frames: list[bytes]) -> None:
    accepts_or_refuses(frames)


@given(st.data(), WITHOUT_MEDIA)
def test_a_damaged_message_is_a_message_or_refused(data: st.DataObject, message: Message) -> None:
    header = bytearray(encode(message)[0])
    for _ in range(data.draw(st.integers(1, 3))):
        header[data.draw(st.integers(0, len(header) - 1))] = data.draw(st.integers(0, 255))
    accepts_or_refuses([bytes(header)])
    accepts_or_refuses([bytes(header[: data.draw(st.integers(0, len(header)))])])


def accepts_or_refuses(frames: list[bytes]) -> None:
    try:
        message, media = decode(frames)
    except MessageError:
        return
    # Then it is one that we could have sent ourselves.
    assert isinstance(message, AnyMessage)
    assert decode(encode(message, media if len(frames) == 2 else None)) == (message, media)


LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(1 << 63), (1 << 64) - 1), st.floats(), st.text(max_size=5),
    st.binary(max_size=5),
)  # fmt: skip
JSON_LIKE = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=15,
)


@given(
    st.sampled_from([1, 2, 3, 4, 20, 21, 22, 23, 24, 25, 26, 27, 28, 40, 41, 42, 43]),
    st.lists(JSON_LIKE, max_size=15),
)
def test_any_fields_are_a_message_or_refused(tag: int, fields: list[object]) -> None:
    accepts_or_refuses([packed([VERSION, [tag, *fields]])])


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        (None, "no array of version and message"),
        ({}, "no array of version and message"),
        ([], "no array of version and message"),
        ([VERSION], "no array of version and message"),
        (["1", [4]], "the version is no number"),
        ([VERSION, [4], 0], "the message is numbered, on a line that is not"),
        ([VERSION, [4], 0, 0], "the message is numbered, on a line that is not"),
        ([VERSION + 1, [4]], f"version {VERSION + 1} of the protocol, this process speaks {VERSION}"),
        ([VERSION + 1, [4], 0, 0], f"version {VERSION + 1} of the protocol, this process speaks {VERSION}"),
        ([VERSION + 1, "new"], f"version {VERSION + 1} of the protocol, this process speaks {VERSION}"),
        ([VERSION, 4], "no message has the tag"),
        ([VERSION, []], "no message has the tag"),
        ([VERSION, [5]], "no message has the tag"),
        ([VERSION, ["4"]], "no message has the tag"),
        ([VERSION, [None]], "no message has the tag"),
        ([VERSION, [True]], "no message has the tag"),
        ([VERSION, [[4]]], "no message has the tag"),
        ([VERSION, [42]], "length"),
        ([VERSION, [42, "1"]], "Expected `int`, got `str`"),
        ([VERSION, [42, True]], "Expected `int`, got `bool`"),
        ([VERSION, [42, -1]], "Expected `int` >= 0"),
        ([VERSION, [42, 1 << 63]], "Expected `int` <= "),
    ],
)
def test_what_is_wrong_is_said(fields: object, fault: str) -> None:
    with pytest.raises(MessageError, match=fault):
        decode([packed(fields)])


def test_a_newer_sender_may_append_fields() -> None:
    assert decode([packed([VERSION, [42, 7, True, "new", [1]]])])[0] == FiguresRequest(7, True)


@pytest.mark.parametrize(
    "header",
    [b"", b"\xc1", b"\x91" * 100_000, b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xffa", b"\x92\x01\x04\x00",
     b"\xd4\x05\x00", b"\x81\x90\x01", b"\x92\x01\xdd\xff\xff\xff\xff", b"\x92\x01\x91" + b"\x91" * 100_000,
     b"\x92\x02" + b"\x91" * 100_000, packed((VERSION, (42, 7))) + b"\x00",
     b"\x92\x01\x93\x03\xc2\xa1\x89"],
)  # fmt: skip
def test_bytes_that_are_hostile_to_a_reader(header: bytes) -> None:
    with pytest.raises(MessageError):
        decode([header])


def test_no_frames_at_all() -> None:
    with pytest.raises(MessageError, match="no header"):
        decode([])


def test_sizes_are_limited() -> None:
    header = encode(SAMPLE, b"")[0]
    assert decode([header, bytes(MEDIA_BYTES_MAX)])[0] == SAMPLE
    with pytest.raises(MessageError, match=f"{MEDIA_BYTES_MAX + 1} bytes of media, at most {MEDIA_BYTES_MAX}"):
        decode([header, bytes(MEDIA_BYTES_MAX + 1)])
    with pytest.raises(MessageError, match="beyond its limit"):
        decode([bytes(HEADER_BYTES_MAX + 1)])
