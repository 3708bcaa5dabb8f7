"""An RTSP client over TCP that trusts nothing: it shares no code with the server; wrong framing is an error.

Blocking, with a time-out on everything. It can read as slowly as a test wants: `read_bytes_max` is what one read
may take, `rate_bps` what it takes a second, and a client that is not read at all stalls.
"""

import re
import socket
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import urlsplit

HEAD_BYTES_MAX = 65536


class FramingError(AssertionError):
    """What came is neither a `$` frame nor a response, or ends within one."""


@dataclass(frozen=True)
class Response:
    """An RTSP response. Header names are in lower case."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: str


@dataclass(frozen=True)
class Packet:
    """One interleaved frame. at_s: when its last byte was read, on the monotonic clock."""

    channel: int
    data: bytes
    at_s: float


class RtspClient:
    """One connection, from making it to `close`.

    receive_buffer_bytes: of the kernel's buffer; small, so that a stalled reader is felt by the server soon.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 10.0,
        receive_buffer_bytes: int | None = None,
        read_bytes_max: int = 65536,
        rate_bps: int | None = None,
        user_agent: str = "tests",
    ) -> None:
        parts = urlsplit(url)
        assert parts.scheme == "rtsp"
        assert parts.hostname is not None
        self.url = url
        self.control_url = url
        self.session: str | None = None
        self.read_bytes_max = read_bytes_max
        self.rate_bps = rate_bps
        self.bytes_read = 0
        self._user_agent = user_agent
        self._cseq = 0
        self._buffer = bytearray()
        self._early: deque[Packet] = deque()
        self._next_read_s = 0.0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer_bytes is not None:  # before the connect: it decides the window
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self.socket.settimeout(timeout_s)
        try:
            self.socket.connect((parts.hostname, parts.port or 554))
        except BaseException:
            self.socket.close()
            raise

    def __enter__(self) -> "RtspClient":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Drop the connection, without a word."""
        self.socket.close()

    # ---- requests ----------------------------------------------------------------------------------------

    def request(self, method: str, url: str | None = None, **headers: str) -> Response:
        """Send one request and wait for its response; media that come first are kept for `next_packet`."""
        self.send(method, url, **headers)
        return self.response()

    def send(self, method: str, url: str | None = None, **headers: str) -> None:
        """Send one request. Header names take _ for -; Session is added once there is one."""
        self._cseq += 1
        lines = [f"{method} {url or self.url} RTSP/1.0", f"CSeq: {self._cseq}", f"User-Agent: {self._user_agent}"]
        if self.session is not None:
            lines.append(f"Session: {self.session}")
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())

    def response(self) -> Response:
        """The response to the request that was sent last."""
        while True:
            first = self._peek()
            if first == ord("$"):
                self._early.append(self._frame())
                continue
            response, cseq = self._response()
            if cseq != str(self._cseq):
                raise FramingError(f"CSeq {cseq} in the response to {self._cseq}")
            return response

    def describe(self) -> str:
        """The SDP of the stream. Raises AssertionError unless the answer is 200."""
        response = self._ok(self.request("DESCRIBE", Accept="application/sdp"))
        assert response.headers.get("content-type") == "application/sdp"
        base = response.headers.get("content-base", self.url)
        control = re.search(r"^m=.*?^a=control:(\S+)", response.body, re.M | re.S)
        assert control is not None, response.body
        name = control[1]
        self.control_url = name if name.startswith("rtsp:") else f"{base.rstrip('/')}/{name}"
        return response.body

    def setup(self, transport: str = "RTP/AVP/TCP;unicast;interleaved=0-1") -> Response:
        """SETUP of the one media stream. Raises AssertionError unless the answer is 200 with a session."""
        response = self._ok(self.request("SETUP", self.control_url, Transport=transport))
        self.session = response.headers["session"].partition(";")[0]
        return response

    def play(self) -> Response:
        """PLAY. Raises AssertionError unless the answer is 200."""
        return self._ok(self.request("PLAY", Range="npt=0.000-"))

    def start(self) -> "RtspClient":
        """DESCRIBE, SETUP, PLAY."""
        self.describe()
        self.setup()
        self.play()
        return self

    def teardown(self) -> Response:
        """TEARDOWN. Raises AssertionError unless the answer is 200."""
        return self._ok(self.request("TEARDOWN"))

    # ---- media -------------------------------------------------------------------------------------------

    def next_packet(self) -> Packet:
        """The next interleaved frame. Raises FramingError, EOFError at the end, TimeoutError."""
        if self._early:
            return self._early.popleft()
        if self._peek() != ord("$"):
            raise FramingError(f"no `$` but {bytes(self._buffer[:40])!r}")
        return self._frame()

    def take_early(self) -> list[Packet]:
        """The frames that came while a response was waited for."""
        early = list(self._early)
        self._early.clear()
        return early

    # ---- bytes -------------------------------------------------------------------------------------------

    def _frame(self) -> Packet:
        head = self._take(4)
        data = self._take(int.from_bytes(head[2:4], "big"))
        return Packet(head[1], data, time.monotonic())

    def _response(self) -> tuple[Response, str | None]:
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > HEAD_BYTES_MAX or not b"RTSP/1.0 ".startswith(self._buffer[:9]):
                raise FramingError(f"neither `$` nor a response: {bytes(self._buffer[:40])!r}")
            self._fill()
        lines = self._take(end + 4).decode("ascii").split("\r\n")[:-2]
        status = re.fullmatch(r"RTSP/1\.0 (\d{3}) (.*)", lines[0])
        if status is None:
            raise FramingError(f"status line {lines[0]!r}")
        headers = {}
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not colon:
                raise FramingError(f"header {line!r}")
            headers[name.lower()] = value.strip()
        body = self._take(int(headers.get("content-length", "0"))).decode()
        return Response(int(status[1]), status[2], headers, body), headers.get("cseq")

    def _peek(self) -> int:
        if not self._buffer:
            self._fill()
        return self._buffer[0]

    def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._fill()
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def _fill(self) -> None:
        if self.rate_bps is not None:
            time.sleep(max(0.0, self._next_read_s - time.monotonic()))  # the pace that was asked for
        got = self.socket.recv(self.read_bytes_max)
        if not got:
            if self._buffer:
                raise FramingError(f"the connection ended within {bytes(self._buffer[:40])!r}…")
            raise EOFError("the connection ended")
        self.bytes_read += len(got)
        if self.rate_bps is not None:
            self._next_read_s = max(time.monotonic(), self._next_read_s) + len(got) * 8 / self.rate_bps
        self._buffer += got

    def _ok(self, response: Response) -> Response:
        assert response.status == 200, response
        return response
