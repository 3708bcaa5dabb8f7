"""RTSP messages from bytes that come in any pieces."""

from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.rtsp_message import (
    BODY_BYTES_MAX,
    EMPTY_LINES_MAX,
    HEAD_BYTES_MAX,
    HEADERS_MAX,
    LINE_BYTES_MAX,
    Event,
    Headers,
    Interleaved,
    Malformed,
    Reader,
    Request,
    Response,
    encode,
    encode_interleaved,
)


class Case(NamedTuple):
    """One message: what drives the parser, and seeds the fuzzing."""

    name: str
    data: bytes
    value: tuple[object, ...]  # as `summary` has it


OPTIONS = b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n"

CASES = [
    Case("smallest", OPTIONS, ("OPTIONS", "*", "1.0", "1", b"")),
    Case("bare LF", OPTIONS.replace(b"\r", b""), ("OPTIONS", "*", "1.0", "1", b"")),
    Case("empty lines before", b"\r\n\n\r\n" + OPTIONS, ("OPTIONS", "*", "1.0", "1", b"")),
    Case(
        "body",
        b"SET_PARAMETER rtsp://h/a RTSP/1.0\r\nCSeq: 2\r\nContent-Length: 5\r\n\r\na: b\n",
        ("SET_PARAMETER", "rtsp://h/a", "1.0", "2", b"a: b\n"),
    ),
    Case(
        "body that looks like a message",
        b"SET_PARAMETER rtsp://h/a RTSP/1.0\r\nCSeq: 2\r\nContent-Length: %d\r\n\r\n%b" % (len(OPTIONS), OPTIONS),
        ("SET_PARAMETER", "rtsp://h/a", "1.0", "2", OPTIONS),
    ),
    Case(
        "length given twice, the same",
        b"GET_PARAMETER * RTSP/1.0\r\nCSeq: 2\r\nContent-Length: 01\r\ncontent-length: 1\r\n\r\nx",
        ("GET_PARAMETER", "*", "1.0", "2", b"x"),
    ),
    Case("any case, blanks", b"PLAY /a RTSP/1.0\r\ncSEQ :  7 \r\n\r\n", ("PLAY", "/a", "1.0", "7", b"")),
    Case("folded", b"PLAY /a RTSP/1.0\r\nCSeq:\r\n\t 7\r\n\r\n", ("PLAY", "/a", "1.0", "7", b"")),
    Case("first of two", b"PLAY /a RTSP/1.0\r\nCSeq: 2\r\nCSeq: 1\r\n\r\n", ("PLAY", "/a", "1.0", "2", b"")),
    Case("no name", b"PLAY /a RTSP/1.0\r\nCSeq: 2\r\n: \r\n\r\n", ("PLAY", "/a", "1.0", "2", b"")),
    Case("other version", b"PLAY /a RTSP/2.0\r\nCSeq: 2\r\n\r\n", ("PLAY", "/a", "2.0", "2", b"")),
    Case("not UTF-8", b"PLAY /\xff RTSP/1.0\r\nCSeq: 2\r\n\r\n", ("PLAY", "/\ufffd", "1.0", "2", b"")),
    Case("response", b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: 2\r\n\r\nhi", (200, b"hi")),
    Case("response without reason", b"RTSP/1.0 404\r\n\r\n", (404, b"")),
    Case("interleaved", b"$\x01\x00\x04$\r\n\r", (1, b"$\r\n\r")),
    Case("interleaved, empty", b"$\xff\x00\x00", (255, b"")),
    Case("interleaved, longest", b"$\x00\xff\xff" + bytes(65535), (0, bytes(65535))),
    Case("no CSeq", b"PLAY /a RTSP/1.0\r\n\r\n", ("PLAY", "/a", "1.0", None, b"")),
    Case("line without colon", b"PLAY /a RTSP/1.0\r\nCSeq: 9\r\nwhat\r\n\r\n", (400, False, "9")),
    Case("blank in a name", b"PLAY /a RTSP/1.0\r\nC Seq: 9\r\nCSeq: 1\r\n\r\n", (400, False, "1")),
    Case("NUL in a value", b"PLAY /a RTSP/1.0\r\nCSeq: 9\r\nA: \0\r\n\r\n", (400, False, "9")),
    Case("CR in a value", b"PLAY /a RTSP/1.0\r\nCSeq: 9\r\nA: b\rc\r\n\r\n", (400, False, "9")),
    Case("no version", b"PLAY /a\r\nCSeq: 3\r\n\r\n", (400, False, "3")),
    Case("two blanks", b"PLAY  /a RTSP/1.0\r\nCSeq: 3\r\n\r\n", (400, False, "3")),
    Case("HTTP", b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", (400, False, None)),
    Case("a word", b"hello\r\n\r\n", (400, False, None)),
    Case("TLS", b"\x16\x03\x01\x02\x00\x01\x00", (0, True, None)),
    Case("zeros", bytes(64), (0, True, None)),
    Case("blank first", b" OPTIONS * RTSP/1.0\r\n", (0, True, None)),
    Case("empty lines only", b"\r\n" * (EMPTY_LINES_MAX + 1), (0, True, None)),
    Case("request line too long", b"PLAY /" + b"a" * LINE_BYTES_MAX, (414, True, None)),
    Case("header too long", b"PLAY /a RTSP/1.0\r\nCSeq: 1\r\nA:" + b"a" * LINE_BYTES_MAX, (400, True, "1")),
    Case("too many headers", b"PLAY /a RTSP/1.0\r\n" + b"A: b\r\n" * (HEADERS_MAX + 1), (400, True, None)),
    Case(
        "head too long",
        b"PLAY /a RTSP/1.0\r\n" + (b"A:" + b"b" * 4000 + b"\r\n") * (HEAD_BYTES_MAX // 4000 + 1),
        (400, True, None),
    ),
]
LENGTHS = [
    ("-1", 400), ("+1", 400), ("", 400), ("1x", 400), ("0x10", 400), ("1, 2", 400), ("\u0661", 400),
    (str(BODY_BYTES_MAX + 1), 413), ("9" * 30, 413), ("18446744073709551616", 413),
]  # fmt: skip
CASES += [
    Case(
        f"length {length!r}",
        f"PLAY /a RTSP/1.0\r\nCSeq: 4\r\nContent-Length: {length}\r\n\r\n".encode(),
        (status, True, "4"),
    )
    for length, status in LENGTHS
]


def summary(event: Event) -> tuple[object, ...]:
    """What a case's value says."""
    match event:
        case Request():
            return event.method, event.url, event.version, event.headers.get("cseq"), event.body
        case Response():
            return event.status, event.body
        case Interleaved():
            return event.channel, event.data
        case Malformed():
            return event.status, event.close, event.headers.get("CSeq")


def read(*pieces: bytes) -> list[tuple[object, ...]]:
    """The events of bytes that come in these pieces."""
    reader = Reader()
    events = []
    for piece in pieces:
        reader.receive(piece)
        while (event := reader.next()) is not None:
            events.append(summary(event))
    return events


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_whole(case: Case) -> None:
    assert read(case.data) == [case.value]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_byte_by_byte(case: Case) -> None:
    assert read(*(case.data[i : i + 1] for i in range(len(case.data)))) == [case.value]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_with_more_behind_it(case: Case) -> None:
    closes = len(case.value) == 3 and case.value[1] is True
    after = [] if closes else [(3, b"\r\n"), ("OPTIONS", "*", "1.0", "1", b"")]
    assert read(case.data + b"$\x03\x00\x02\r\n" + OPTIONS) == [case.value, *after]


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.value[1:2] != (True,)], ids=lambda case: case.name
)
def test_nothing_before_the_last_byte(case: Case) -> None:
    reader = Reader()
    reader.receive(case.data[:-1])
    assert reader.next() is None
    assert reader.incomplete
    reader.receive(case.data[-1:])
    assert reader.next() is not None
    assert reader.next() is None
    assert not reader.incomplete


def test_what_is_just_within_the_limits() -> None:
    lines = ["PLAY /" + "a" * (LINE_BYTES_MAX - 16) + " RTSP/1.0", *(f"A{n}: b" for n in range(HEADERS_MAX - 1))]
    lines.append(f"Content-Length: {BODY_BYTES_MAX}")
    data = "\r\n".join([*lines, "", ""]).encode() + bytes(BODY_BYTES_MAX)
    [(method, *_, body)] = read(data)
    assert method == "PLAY"
    assert body == bytes(BODY_BYTES_MAX)


def test_headers_that_are_lists_are_joined() -> None:
    headers = Headers([("Transport", "a;b"), ("Other", "x"), ("transport", "c")])
    assert headers.all("TRANSPORT") == "a;b,c"
    assert headers.get("Transport") == "a;b"
    assert headers.all("none") is None
    assert headers.get("none") is None


def test_encode() -> None:
    data = encode(Response(404, [("CSeq", "3"), ("Session", "x;timeout=60")], b"why\r\n"))
    assert data == (
        b"RTSP/1.0 404 Not Found\r\nCSeq: 3\r\nSession: x;timeout=60\r\nContent-Length: 5\r\n\r\nwhy\r\n"
    )
    assert encode(Response(200)) == b"RTSP/1.0 200 OK\r\n\r\n"


@given(st.integers(0, 255), st.binary(max_size=300))
def test_what_is_encoded_is_read_back(channel: int, data: bytes) -> None:
    assert read(encode_interleaved(channel, data)) == [(channel, data)]


SEEDS = st.sampled_from([case.data for case in CASES if len(case.data) < 1000])


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Messages that follow each other, some with bytes replaced, left out or put in."""
    data = bytearray(b"".join(draw(st.lists(SEEDS, max_size=4))))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(data)


@given(damaged() | st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=8))
def test_any_bytes_in_any_pieces_give_the_same_events(data: bytes, cuts: list[int]) -> None:
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[a:b] for a, b in pairwise(places)]
    whole = read(data)
    assert read(*pieces) == whole
    closing = [event for event in whole if len(event) == 3 and event[1] is True]
    assert closing in ([], whole[-1:])


def test_a_url_has_no_tab() -> None:
    reader = Reader()
    reader.receive(b"OPTIONS rtsp://h\t/cam RTSP/1.0\r\nCSeq: 1\r\n\r\n")
    event = reader.next()
    assert isinstance(event, Malformed)
    assert (event.status, event.close) == (400, False)


def test_a_line_that_goes_on_has_no_control_characters_either() -> None:
    reader = Reader()
    reader.receive(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nRequire: a\r\n b\rX: y\r\n\r\n")
    event = reader.next()
    assert isinstance(event, Malformed)
    assert (event.status, event.close) == (400, False)
    assert event.headers.get("CSeq") == "1"
