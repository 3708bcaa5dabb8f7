"""Viewers that watch in a thread of their own and keep all that they were given, for judgement afterwards.

with RtspViewer(url) as slow, HttpViewer(url2) as good:
    slow.stall(); ...; slow.resume()
judge(slow.ts)
"""

import http.client
import socket
import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from tests.support.rtsp_client import Packet, RtspClient
from tests.support.wait import until

RTP_HEADER_BYTES = 12
TS_BYTES = 188
PTS_MODULUS = 1 << 33
JOIN_WITHIN_S = 5.0  # behind the time-out of its read
VIDEO_PID = 0x100


class Viewer(ABC):
    """A thread that reads from entering to leaving the context. What ended it, other than that, is `error`."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s  # of a read
        self.error: Exception | None = None
        self._stopping = threading.Event()
        self._going = threading.Event()
        self._going.set()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stall(self) -> None:
        """Read nothing more, for now."""
        self._going.clear()

    def resume(self) -> None:
        """Read on."""
        self._going.set()

    def stop(self) -> None:
        """Read no more, and hang up."""
        self._stopping.set()
        self.resume()
        if self._thread.ident is not None:
            self._thread.join(self._timeout_s + JOIN_WITHIN_S)
            assert not self._thread.is_alive(), "a viewer does not come back from its read"

    def wait_bytes(self, more: int, within_s: float = 10.0) -> None:
        """Until `more` bytes of TS than now have come. Raises AssertionError, at once where the viewer failed."""
        wanted = self.received + more

        def come() -> bool:
            assert self.error is None, repr(self.error)
            return self.received >= wanted

        until(come, within_s, f"{more} bytes of TS")

    def wait_picture(self, since_us: int, within_s: float = 10.0) -> None:
        """Until a picture has come whose time is later than `since_us`, on the clock of the server's machine."""
        since = since_us * 9 // 100

        def come() -> bool:
            assert self.error is None, repr(self.error)
            pts = self._newest_pts()
            return pts is not None and (pts - since) % PTS_MODULUS < PTS_MODULUS // 2

        until(come, within_s, "a picture of now")

    @property
    @abstractmethod
    def received(self) -> int:
        """Bytes of TS so far."""

    @property
    @abstractmethod
    def ts(self) -> bytes:
        """The TS so far."""

    @abstractmethod
    def _newest_pts(self) -> int | None:
        """Of the last picture that has begun; looked for at the end of what came, which may be long."""

    @abstractmethod
    def _open(self) -> None: ...

    @abstractmethod
    def _read(self) -> None: ...

    @abstractmethod
    def _close(self) -> None: ...

    def _watch(self) -> None:
        try:
            self._open()
            while not self._stopping.is_set():
                self._going.wait()
                self._read()
        except Exception as error:  # kept for the test to see, whatever it is
            self.error = error
        finally:
            self._close()


class RtspViewer(Viewer):
    """RTSP over TCP. read_bytes_max, rate_bps, receive_buffer_bytes: see `RtspClient`."""

    def __init__(
        self,
        url: str,
        *,
        read_bytes_max: int = 65536,
        rate_bps: int | None = None,
        receive_buffer_bytes: int | None = None,
        user_agent: str = "tests",
        timeout_s: float = 10.0,
    ) -> None:
        super().__init__(timeout_s)
        self.packets: list[Packet] = []
        self._received = 0
        self.client = RtspClient(
            url, timeout_s=timeout_s, receive_buffer_bytes=receive_buffer_bytes, user_agent=user_agent
        )
        self._pace = read_bytes_max, rate_bps

    @property
    def rtp(self) -> list[Packet]:
        """The RTP packets so far."""
        return [packet for packet in list(self.packets) if packet.channel == 0]

    @property
    def received(self) -> int:
        return self._received

    @property
    def ts(self) -> bytes:
        return b"".join(packet.data[RTP_HEADER_BYTES:] for packet in self.rtp)

    def _newest_pts(self) -> int | None:
        for packet in reversed(self.packets):
            pts = newest_pts(packet.data[RTP_HEADER_BYTES:]) if packet.channel == 0 else None
            if pts is not None:
                return pts
        return None

    def _open(self) -> None:
        self.client.start()
        self.client.read_bytes_max, self.client.rate_bps = self._pace

    def _read(self) -> None:
        packet = self.client.next_packet()
        self.packets.append(packet)
        if packet.channel == 0:
            self._received += len(packet.data) - RTP_HEADER_BYTES

    def _close(self) -> None:
        self.client.close()


class HttpViewer(Viewer):
    """TS over HTTP."""

    def __init__(
        self,
        url: str,
        *,
        read_bytes_max: int = 65536,
        receive_buffer_bytes: int | None = None,
        user_agent: str = "tests",
        timeout_s: float = 10.0,
    ) -> None:
        super().__init__(timeout_s)
        parts = urlsplit(url)
        assert parts.hostname is not None
        self._data = bytearray()
        self._read_bytes_max = read_bytes_max
        self._path = parts.path
        self._user_agent = user_agent
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_s)
        self._connection.sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._connection.sock.settimeout(timeout_s)
        if receive_buffer_bytes is not None:
            self._connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self._connection.sock.connect((parts.hostname, parts.port or 80))
        self._response: http.client.HTTPResponse | None = None
        self.headers: dict[str, str] = {}

    @property
    def received(self) -> int:
        return len(self._data)

    @property
    def ts(self) -> bytes:
        data = bytes(self._data)
        return data[: len(data) // TS_BYTES * TS_BYTES]  # the last read may end anywhere

    def _newest_pts(self) -> int | None:
        return newest_pts(self._data)

    def _open(self) -> None:
        self._connection.request("GET", self._path, headers={"User-Agent": self._user_agent})
        self._response = self._connection.getresponse()
        assert self._response.status == 200, self._response.status
        self.headers = {name.lower(): value for name, value in self._response.getheaders()}

    def _read(self) -> None:
        assert self._response is not None
        got = self._response.read1(self._read_bytes_max)
        if not got:
            raise EOFError("the response ended")
        self._data += got

    def _close(self) -> None:
        if self._response is not None:
            self._response.close()  # it has taken the socket over
        self._connection.close()


def newest_pts(ts: bytes | bytearray) -> int | None:
    """The PTS of the last picture that begins in a TS, 90 kHz; None if none does."""
    for at in range(len(ts) // TS_BYTES * TS_BYTES - TS_BYTES, -1, -TS_BYTES):
        pid, adaptation = (ts[at + 1] & 0x1F) << 8 | ts[at + 2], ts[at + 3] >> 4 & 3
        if pid == VIDEO_PID and ts[at + 1] & 0x40 and adaptation & 1:
            pes = at + 4 + (1 + ts[at + 4] if adaptation & 2 else 0)
            time = ts[pes + 9 : pes + 14]
            return (time[0] >> 1 & 7) << 30 | time[1] << 22 | time[2] >> 1 << 15 | time[3] << 7 | time[4] >> 1
    return None
