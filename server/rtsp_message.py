"""RTSP messages to and from the bytes of a control connection (RFC 2326). Pure.

Rules
-----
1. Requests, responses and `$` frames (10.12) come in any order; the first byte tells which it is.
2. A line ends with LF; a CR before it belongs to the end. Empty lines before a message are skipped, and a line
   that begins with a blank goes on with the one before it.
3. Header names have no case. A header given twice counts as given first, but for lists (`Headers.all`).
4. What cannot be read becomes a `Malformed` event, never an exception. After one with `close` the framing is
   lost: nothing more is read.
5. Bytes may come in pieces of any size; what has not come whole is `incomplete`, and within the limits below.
"""

import re

import msgspec

LINE_BYTES_MAX = 4096  # request line or header; the longest seen is a digest of 300 bytes
HEADERS_MAX = 64  # lines; GStreamer's first request has 10
HEAD_BYTES_MAX = 16 << 10  # all lines of one message
BODY_BYTES_MAX = 16 << 10  # parameters only: no client sends us an SDP
EMPTY_LINES_MAX = 16  # before a message
INTERLEAVED_BYTES_MAX = (1 << 16) - 1  # the length field of a `$` frame

_DOLLAR = 0x24
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VERSION = re.compile(r"RTSP/\d{1,3}\.\d{1,3}")
_CONTROL_CHARACTER = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    413: "Request Entity Too Large",
    414: "Request-URI Too Large",
    415: "Unsupported Media Type",
    451: "Parameter Not Understood",
    453: "Not Enough Bandwidth",
    454: "Session Not Found",
    455: "Method Not Valid in This State",
    457: "Invalid Range",
    459: "Aggregate Operation Not Allowed",
    461: "Unsupported Transport",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "RTSP Version Not Supported",
    551: "Option Not Supported",
}


class Headers:
    """The header fields of one message, in order."""

    __slots__ = ("_fields",)

    def __init__(self, fields: list[tuple[str, str]]) -> None:
        self._fields = [(name.lower(), value) for name, value in fields]

    def get(self, name: str) -> str | None:
        """The first value of `name` (any case), or None."""
        wanted = name.lower()
        return next((value for key, value in self._fields if key == wanted), None)

    def all(self, name: str) -> str | None:
        """All values of a header that is a list, joined by commas; None if it is not there."""
        wanted = name.lower()
        values = [value for key, value in self._fields if key == wanted]
        return ",".join(values) if values else None


class Request(msgspec.Struct, frozen=True):
    """One request. version: "1.0"."""

    method: str
    url: str
    version: str
    headers: Headers
    body: bytes = b""


class Response(msgspec.Struct, frozen=True):
    """One response. Ours go out by `encode`; a client's are read over (we ask it nothing)."""

    status: int
    headers: list[tuple[str, str]] = []
    body: bytes = b""


class Interleaved(msgspec.Struct, frozen=True):
    """One `$` frame: an RTP or RTCP packet on a channel."""

    channel: int
    data: bytes


class Malformed(msgspec.Struct, frozen=True):
    """What is no RTSP message. status: what to answer, 0 for nothing (it was none of our protocol).

    headers: what was read of them, for the CSeq. close: the next message's beginning cannot be found.
    """

    status: int
    headers: Headers
    close: bool


Event = Request | Response | Interleaved | Malformed


def encode(response: Response) -> bytes:
    """The bytes of a response; Content-Length is added where there is a body."""
    lines = [f"RTSP/1.0 {response.status} {REASONS[response.status]}"]
    lines += [f"{name}: {value}" for name, value in response.headers]
    if response.body:
        lines.append(f"Content-Length: {len(response.body)}")
    return "\r\n".join([*lines, "", ""]).encode() + response.body


def encode_interleaved(channel: int, data: bytes) -> bytes:
    """`data` as a `$` frame."""
    return b"$%c%b%b" % (channel, len(data).to_bytes(2, "big"), data)


class Reader:
    """Bytes in by `receive`, events out by `next`."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0  # no LF before this
        self._lines: list[str] = []
        self._head_bytes = 0
        self._empty_lines = 0
        self._awaits_body: tuple[int, Headers] | None = None
        self._closed = False

    @property
    def incomplete(self) -> bool:
        """Whether a message has begun and not ended. (Meaningful once `next` has returned None.)"""
        return bool(self._buffer or self._lines or self._awaits_body)

    @property
    def buffered_bytes(self) -> int:
        """Received, and not yet part of an event."""
        return len(self._buffer)

    def receive(self, data: bytes) -> None:
        """Add what came off the network."""
        if not self._closed:
            self._buffer += data

    def next(self) -> Event | None:
        """The next event, or None until more is received."""
        while not self._closed:
            if self._awaits_body is not None:
                return self._body()
            if not self._lines and self._buffer[:1] == b"$":
                return self._interleaved()
            if not self._lines and not self._starts_like_text():
                return self._malformed(0)
            line = self._line()
            if line is None:
                return None
            if isinstance(line, Malformed):
                return line
            if line:
                self._lines.append(line)
            elif self._lines:
                fault = self._head()
                if fault is not None:
                    return fault
            else:
                self._head_bytes = 0
                self._empty_lines += 1
                if self._empty_lines > EMPTY_LINES_MAX:
                    return self._malformed(0)
        return None

    def _starts_like_text(self) -> bool:
        first = self._buffer[:1]
        return not first or first.isalpha() or first in b"\r\n"

    def _line(self) -> str | Malformed | None:
        end = self._buffer.find(b"\n", self._searched)
        length = len(self._buffer) if end < 0 else end
        if length > LINE_BYTES_MAX:
            return self._malformed(400 if self._lines else 414)
        if end < 0:
            self._searched = length
            return None
        line = bytes(self._buffer[:end]).removesuffix(b"\r")
        del self._buffer[: end + 1]
        self._searched = 0
        self._head_bytes += end + 1
        if self._head_bytes > HEAD_BYTES_MAX or (line and len(self._lines) > HEADERS_MAX):
            return self._malformed(400)
        return line.decode("utf-8", "replace")

    def _interleaved(self) -> Interleaved | None:
        end = 4 + int.from_bytes(self._buffer[2:4], "big")
        if len(self._buffer) < max(end, 4):
            return None
        channel, data = self._buffer[1], bytes(self._buffer[4:end])
        del self._buffer[:end]
        self._empty_lines = 0
        return Interleaved(channel, data)

    def _head(self) -> Malformed | None:
        """The head is complete: find out how long its body is. A fault here loses the framing."""
        lengths = set()
        headers = _read_headers(self._lines[1:])[0]
        given = headers.all("Content-Length")
        for text in given.split(",") if given is not None else ():
            digits = text.strip().lstrip("0") or text.strip()
            if not re.fullmatch(r"\d+", digits, re.ASCII):
                return self._malformed(400)
            lengths.add(int(digits) if len(digits) < 10 else BODY_BYTES_MAX + 1)
        if len(lengths) > 1:
            return self._malformed(400)
        length = max(lengths, default=0)
        if length > BODY_BYTES_MAX:
            return self._malformed(413)
        self._awaits_body = length, headers
        return None

    def _body(self) -> Event | None:
        assert self._awaits_body is not None
        length, headers = self._awaits_body
        if len(self._buffer) < length:
            return None
        body = bytes(self._buffer[:length])
        del self._buffer[:length]
        lines, self._lines = self._lines, []
        self._awaits_body = None
        self._head_bytes = self._empty_lines = 0
        return _message(lines, headers, body)

    def _malformed(self, status: int) -> Malformed:
        headers = _read_headers(self._lines[1:])[0]
        self._closed = True
        self._buffer.clear()
        self._lines.clear()
        return Malformed(status, headers, close=True)


def _message(lines: list[str], headers: Headers, body: bytes) -> Event:
    well_formed = _read_headers(lines[1:])[1]
    parts = lines[0].split(" ")
    if _VERSION.fullmatch(parts[0]) and len(parts) >= 2 and re.fullmatch(r"\d{3}", parts[1], re.ASCII):
        return Response(int(parts[1]), [], body)
    if len(parts) != 3 or not _TOKEN.fullmatch(parts[0]) or not _VERSION.fullmatch(parts[2]):
        return Malformed(400, headers, close=False)
    if not well_formed or not parts[1] or re.search(r"[\x00-\x1f\x7f]", parts[1]):
        return Malformed(400, headers, close=False)
    return Request(parts[0], parts[1], parts[2].removeprefix("RTSP/"), headers, body)


def _read_headers(lines: list[str]) -> tuple[Headers, bool]:
    """The fields, and whether all is well. A field without a name, as one client sends, is skipped."""
    fields: list[tuple[str, str]] = []
    well_formed = True
    for line in lines:
        if line[0] in " \t":
            if _CONTROL_CHARACTER.search(line):
                well_formed = False
            elif fields:
                name, value = fields[-1]
                fields[-1] = name, f"{value} {line.strip()}".strip()
            continue
        name, colon, value = line.partition(":")
        name = name.rstrip()
        if not colon or (name and not _TOKEN.fullmatch(name)) or _CONTROL_CHARACTER.search(value):
            well_formed = False
        elif name:
            fields.append((name, value.strip()))
    return Headers(fields), well_formed
