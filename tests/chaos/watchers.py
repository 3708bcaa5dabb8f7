"""Viewers that come back whenever they are cut off, and check every picture as it comes."""

import http.client
import select
import socket
import struct
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol
from urllib.parse import urlsplit

import av

from tests.chaos.verdict import Blame, End
from tests.support.judge import OF_A_BUSY_MACHINE, OF_SPLICES
from tests.support.received import Judge, Received, Rtp, is_sync, units_of_h264, units_of_ts
from tests.support.rtsp_client import FramingError, RtspClient
from tests.support.ts_check import PACKET, TsCheck
from tests.support.udp_receiver import DATAGRAM_BYTES_MAX, UdpReceiver

RETRY_S = 0.25
SILENT_S = 30.0  # a read that waits for longer gives up
RECEIVE_BUFFER_BYTES = 32768  # small, so that a slow reader is felt soon
RTP_HEADER_BYTES = 12
_RESET = struct.pack("ii", 1, 0)  # struct linger: the connection is reset when it is closed


class Judging(Protocol):
    """What is made of the pictures from one sync point up to the next."""

    def faults(self, pictures: list[Received]) -> list[str]:
        """What a viewer was shown, or given, that was not whole."""


class Known:
    """Of a looped check clip: each picture is to be one of it, and decoded as it was drawn."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._lock = threading.Lock()

    def faults(self, pictures: list[Received]) -> list[str]:
        with self._lock:
            self._judge.judge(pictures)
        found = [f"a picture that is none of the clip, of {len(p.data)} bytes" for p in pictures if p.number < 0]
        return found + [f"picture {p.number} was shown damaged" for p in pictures if p.shown and p.damaged]


class Decoded:
    """Of pictures that nobody knows beforehand: the decoder is to have nothing to say."""

    def faults(self, pictures: list[Received]) -> list[str]:
        decoder = av.CodecContext.create("h264", "r")
        decoder.thread_count = 1
        decoder.options = {"err_detect": "explode"}
        assert isinstance(decoder, av.VideoCodecContext)
        found = []
        for number, picture in enumerate(pictures):
            try:
                if any(frame.is_corrupt for frame in decoder.decode(av.Packet(picture.data))):
                    found.append(f"picture {number} of its group is corrupt")
            except av.FFmpegError as error:
                found.append(f"picture {number} of its group: {error}")
        return found


class Watcher(ABC):
    """One viewer, in a thread from entering to leaving the context.

    pictures_s: when each picture began to come. ends: the connections that it lost. agent: how the one it has now
    calls itself, new for each. refusals: what kept it from watching, which it then tried again.
    """

    def __init__(self, name: str, url: str, judging: Judging) -> None:
        self.name = name
        self.pictures_s: list[float] = []
        self.ends: list[End] = []
        self.blames: list[Blame] = []
        self.refusals: Counter[str] = Counter()
        self.gaps: list[Blame] = []  # where packets were missing that may be
        self.agent = ""
        self.servers: dict[str, str] = {}  # of each agent, filled in from the figures
        self._url = url
        self._judging = judging
        self._lives = 0
        self._lossy = 0  # groups that are not judged: packets are missing in them
        self._was_lossy = False  # in this life
        self._slow_until_s = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name=name)

    def __enter__(self) -> "Watcher":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._slow_until_s = 0.0
        self.cut()
        self._thread.join(SILENT_S + 5)

    def slow(self, seconds: float) -> None:
        """Read nothing for so long."""
        self._slow_until_s = time.monotonic() + seconds

    def cut(self) -> None:
        """Have the connection end, now, with a reset."""
        sock = self._socket()
        if sock is not None:
            try:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                sock.shutdown(socket.SHUT_RDWR)  # wakes the reader, which closes it
            except OSError:
                pass  # it was between two connections

    @abstractmethod
    def _socket(self) -> socket.socket | None:
        """The one to cut."""

    @abstractmethod
    def _open(self) -> None:
        """Connect, and have media sent."""

    @abstractmethod
    def _units(self) -> Iterator[Received]:
        """The pictures, until the connection ends, which raises."""

    @abstractmethod
    def _close(self) -> None: ...

    def _blame(self, text: str) -> None:
        self.blames.append(Blame(time.monotonic(), f"{self.name}: {text}"))

    def _watch(self) -> None:
        while not self._stopping.is_set():
            self._lives += 1
            self.agent = f"{self.name}#{self._lives}"
            playing, reason = False, ""
            try:
                self._open()
                playing = True
                self._look()
            except FramingError as error:
                reason = str(error)
                if not reason.startswith("the connection ended"):
                    self._blame(reason)
            except (OSError, EOFError, AssertionError, http.client.HTTPException) as error:
                reason = f"{type(error).__name__}: {error}"[:100]
            except Exception as error:  # of this program: it is to be seen, and not to end the thread silently
                self._blame(f"{error!r}")
                raise
            finally:
                self._close()
            if self._stopping.is_set():
                return
            if playing:
                self.ends.append(End(time.monotonic(), self.name, self.servers.get(self.agent, ""), reason))
            else:
                self.refusals[reason] += 1
            time.sleep(RETRY_S)

    def _look(self) -> None:
        group: list[Received] = []
        self._lossy = 0
        self._was_lossy = False
        try:
            for picture in self._units():
                self.pictures_s.append(picture.first_s)
                if is_sync(picture.data):
                    self._judge(group)
                    group = []
                elif not group and not self._lossy:
                    self._blame("the first picture is no sync point")
                group.append(picture)
        finally:
            self._judge(group)

    def _judge(self, group: list[Received]) -> None:
        if self._lossy:
            self._lossy -= 1
        elif group:
            for fault in self._judging.faults(group):
                self._blame(fault)

    def _was_late(self) -> bool:
        """Whether its own kernel has thrown packets away since the last call, for it did not read in time."""
        return False

    def _wait_if_slow(self) -> None:
        while (left_s := self._slow_until_s - time.monotonic()) > 0:
            self._stopping.wait(min(left_s, 0.2))

    def _checked(self, packets: Iterator[Rtp], *, lossless: bool = True) -> Iterator[Rtp]:
        """The same packets, whose numbers are to be contiguous: where they need not be, gaps are counted."""
        before: Rtp | None = None
        begun_s = time.monotonic()
        for packet in packets:
            if before is not None and packet.sequence != (before.sequence + 1) & 0xFFFF:
                since_s = packet.first_s - begun_s
                text = f"{self.agent}: {packet.sequence} behind {before.sequence}, {since_s:.2f} s after PLAY"
                if lossless or not self._was_late():
                    (self.blames if lossless else self.gaps).append(Blame(time.monotonic(), text))
                self._lossy = 2  # this group, and the next: it may have begun already
                self._was_lossy = True
            before = packet
            yield packet

    def _conforming(self, packets: Iterator[Rtp]) -> Iterator[Rtp]:
        """The same packets, whose MPEG-TS is to conform."""
        check = TsCheck()
        try:
            for packet in packets:
                check.feed(packet.payload)
                for pes in check.report.pes.values():
                    del pes[:-1]  # what is in them is judged elsewhere
                yield packet
        finally:
            late = (OF_SPLICES, OF_A_BUSY_MACHINE)
            errors = check.report.errors
            faults = [
                error
                for error in errors
                if "does not go forward" in error or not any(known.match(error) for known in late)
            ]
            if faults and not self._was_lossy:
                self._blame(f"{len(faults)} faults of MPEG-TS, {faults[0]}")


class TcpWatcher(Watcher):
    """RTSP, media in the same connection; of a URL that ends in /native, the video alone."""

    def __init__(self, name: str, url: str, judging: Judging) -> None:
        super().__init__(name, url, judging)
        self._client: RtspClient | None = None

    def _socket(self) -> socket.socket | None:
        return self._client.socket if self._client is not None else None

    def _open(self) -> None:
        self._client = RtspClient(
            self._url, timeout_s=SILENT_S, receive_buffer_bytes=RECEIVE_BUFFER_BYTES, user_agent=self.agent
        )
        self._client.start()

    def _units(self) -> Iterator[Received]:
        packets = self._checked(self._packets())
        return units_of_h264(packets) if self._url.endswith("/native") else units_of_ts(self._conforming(packets))

    def _packets(self) -> Iterator[Rtp]:
        assert self._client is not None
        while True:
            self._wait_if_slow()
            packet = self._client.next_packet()
            if packet.channel == 0:
                yield _rtp(packet.data, packet.at_s)

    def _close(self) -> None:
        if self._client is not None:
            self._client.close()


class UdpWatcher(Watcher):
    """RTSP, media by UDP. ports: of the server, to which its RTP and RTCP may be sent; empty before PLAY."""

    def __init__(self, name: str, url: str, judging: Judging) -> None:
        super().__init__(name, url, judging)
        self._client: RtspClient | None = None
        self._receiver: UdpReceiver | None = None
        self.ports: tuple[int, ...] = ()
        self._thrown_away = 0

    def _socket(self) -> socket.socket | None:
        return self._client.socket if self._client is not None else None

    def _open(self) -> None:
        self._receiver = UdpReceiver()
        self._thrown_away = 0
        self._client = RtspClient(self._url, timeout_s=SILENT_S, user_agent=self.agent)
        self._client.describe()
        transport = self._client.setup(self._receiver.transport).headers["transport"]
        self._client.play()
        served = dict(part.partition("=")[::2] for part in transport.split(";"))
        self.ports = tuple(int(port) for port in served["server_port"].split("-"))

    def _was_late(self) -> bool:
        assert self._receiver is not None
        own = f":{self._receiver.ports[0]:04X}"
        sockets = [line.split() for line in Path("/proc/net/udp").read_text().splitlines()[1:]]
        before, self._thrown_away = self._thrown_away, sum(int(s[-1]) for s in sockets if s[1].endswith(own))
        return self._thrown_away > before

    def _units(self) -> Iterator[Received]:
        packets = self._checked(self._packets(), lossless=False)
        return units_of_h264(packets) if self._url.endswith("/native") else units_of_ts(self._conforming(packets))

    def _packets(self) -> Iterator[Rtp]:
        assert self._client is not None
        assert self._receiver is not None
        media, reports, control = self._receiver.rtp, self._receiver.rtcp, self._client.socket
        poll = select.poll()
        for sock in (media, reports, control):
            poll.register(sock, select.POLLIN)
        while True:
            self._wait_if_slow()
            ready = dict(poll.poll(SILENT_S * 1000))
            if not ready:
                raise TimeoutError(f"no word for {SILENT_S} s")
            if reports.fileno() in ready:
                reports.recv(DATAGRAM_BYTES_MAX)
            if control.fileno() in ready and not control.recv(4096):
                raise EOFError("the connection ended")
            if media.fileno() in ready:
                data = media.recv(DATAGRAM_BYTES_MAX)
                if len(data) > RTP_HEADER_BYTES:
                    yield _rtp(data, time.monotonic())

    def _close(self) -> None:
        if self._receiver is not None:
            self._receiver.close()
        if self._client is not None:
            self._client.close()


class HttpWatcher(Watcher):
    """MPEG-TS over HTTP."""

    def __init__(self, name: str, url: str, judging: Judging) -> None:
        super().__init__(name, url, judging)
        self._sock: socket.socket | None = None
        self._response: http.client.HTTPResponse | None = None

    def _socket(self) -> socket.socket | None:
        return self._sock

    def _open(self) -> None:
        parts = urlsplit(self._url)
        sock = socket.socket()
        self._sock = sock
        sock.settimeout(SILENT_S)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        sock.connect((parts.hostname, parts.port))
        head = f"GET {parts.path} HTTP/1.1\r\nHost: test\r\nUser-Agent: {self.agent}\r\n\r\n"
        sock.sendall(head.encode())
        self._response = http.client.HTTPResponse(sock, method="GET")
        self._response.begin()
        assert self._response.status == 200, self._response.status

    def _units(self) -> Iterator[Received]:
        return units_of_ts(self._conforming(self._packets()))

    def _packets(self) -> Iterator[Rtp]:
        assert self._response is not None
        rest = b""
        while True:
            self._wait_if_slow()
            got = self._response.read1(65536)
            if not got:
                raise EOFError("the response ended")
            now_s = time.monotonic()
            data = rest + got
            whole = len(data) // PACKET * PACKET
            rest = data[whole:]
            if whole:
                yield Rtp(0, False, 0, data[:whole], now_s, now_s, now_s)

    def _close(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None
        if self._sock is not None:
            self._sock.close()


def _rtp(data: bytes, at_s: float) -> Rtp:
    sequence, time_90k = int.from_bytes(data[2:4], "big"), int.from_bytes(data[4:8], "big")
    return Rtp(sequence, bool(data[1] & 0x80), time_90k, data[RTP_HEADER_BYTES:], at_s, at_s, at_s)
