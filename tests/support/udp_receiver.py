"""A client's two UDP ports: what comes to them, and from where."""

import socket
from types import TracebackType

from tests.support.frame_source import Judge
from tests.support.rtsp_client import RtspClient
from tests.support.server_process import ServerProcess

DATAGRAM_BYTES_MAX = 65536
TRIES_MAX = 100


class UdpReceiver:
    """An even port and the next one, from entering to leaving the context; every read has a time-out."""

    def __init__(self, host: str = "127.0.0.1", receive_buffer_bytes: int = 4 << 20) -> None:
        for _ in range(TRIES_MAX):
            self.rtp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.rtcp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.rtp.bind((host, 0))
            port = self.rtp.getsockname()[1]
            try:
                if port % 2 == 0:
                    self.rtcp.bind((host, port + 1))
                    break
            except OSError:
                pass  # taken: another pair
            self.close()
        self.ports = port, port + 1
        for sock in (self.rtp, self.rtcp):
            sock.settimeout(10)
        self.rtp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self.sources: set[tuple[str, int]] = set()  # of RTP

    def __enter__(self) -> "UdpReceiver":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the ports back."""
        self.rtp.close()
        self.rtcp.close()

    @property
    def transport(self) -> str:
        """The Transport header that asks for them."""
        return f"RTP/AVP;unicast;client_port={self.ports[0]}-{self.ports[1]}"

    def packet(self) -> bytes:
        """The next RTP packet."""
        data, source = self.rtp.recvfrom(DATAGRAM_BYTES_MAX)
        self.sources.add(source)
        return data

    def report(self) -> bytes:
        """The next compound RTCP packet."""
        return self.rtcp.recv(DATAGRAM_BYTES_MAX)

    def watch(self, judge: Judge, last: tuple[int, int]) -> None:
        """Read packets until the frame `last` has begun."""
        while not judge.frames or judge.frames[-1] != last:
            packet = self.packet()
            judge.receive(b"$" + bytes((judge.channel,)) + len(packet).to_bytes(2, "big") + packet)


def play_udp(server: ServerProcess, receiver: UdpReceiver, stream: str = "cam") -> RtspClient:
    """A client that plays over UDP."""
    client = RtspClient(server.rtsp(stream))
    client.describe()
    client.setup(receiver.transport)
    client.play()
    return client
