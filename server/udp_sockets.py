"""UDP sockets: how they are bound, set up, and read."""

import socket
import struct
from collections.abc import Callable, Iterator

from common.errors import SettingsError
from server.send_many import Address, Ancillary

PAIRS_TRIED_MAX = 100  # until a free even port with a free one behind it is found
SEND_BUFFER_BYTES = 8 << 20  # a key frame of 100 kB for 80 viewers; the kernel may allow less
DATAGRAMS_A_TURN_MAX = 256  # read at once, before others have their turn
DATAGRAM_BYTES_MAX = 2048  # of what clients send; reports have some 100

# linux/udp.h, linux/socket.h, linux/in.h: the socket module has no names for them (before Python 3.14).
UDP_SEGMENT = 103
_SO_SNDBUFFORCE = 32
_IP_PKTINFO = 8


def bind_pair(family: socket.AddressFamily, address: str, port: int) -> tuple[socket.socket, socket.socket]:
    """RTP on an even port and RTCP on the next."""
    for _ in range(1 if port else PAIRS_TRIED_MAX):
        rtp = _bind(family, address, port)
        chosen = rtp.getsockname()[1]
        if chosen % 2 == 0:
            try:
                return rtp, _bind(family, address, chosen + 1)
            except SettingsError:
                if port:
                    rtp.close()
                    raise
        rtp.close()
    raise SettingsError(f"no two free UDP ports of {address}: name an even one by rtsp.udp_port")


def _bind(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind((address, port))
    except OSError as error:
        sock.close()
        raise SettingsError(
            f"UDP port {port} of {address}: {error.strerror}: choose another rtsp.udp_port"
        ) from None
    return sock


def can_segment(sock: socket.socket) -> bool:
    """Whether this kernel cuts packets by itself (Linux 4.18)."""
    try:
        sock.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 0)
    except OSError:
        return False
    return True


def enlarge(sock: socket.socket) -> None:
    """Beyond the system's limit for users where we may."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, SEND_BUFFER_BYTES)
    except OSError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)


def source(family: socket.AddressFamily, local: Address) -> Ancillary:
    """What has a datagram come from this one of our addresses (IP_PKTINFO)."""
    address = socket.inet_pton(family, local[0].partition("%")[0])
    if family == socket.AF_INET6:
        return (
            socket.IPPROTO_IPV6,
            socket.IPV6_PKTINFO,
            address + struct.pack("I", local[3] if len(local) > 2 else 0),
        )
    return socket.IPPROTO_IP, _IP_PKTINFO, struct.pack("I", 0) + address + bytes(4)


def join(group: str, port: int, local: str) -> socket.socket:
    """Hear what is sent to a port of a multicast group, by way of this address of ours. Raises OSError."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a member may be on this host
        sock.bind((group, port))
        wanted = socket.inet_aton(group) + socket.inet_aton(local)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, wanted)
    except OSError:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


def received(
    sock: socket.socket, on_error: Callable[[OSError], object]
) -> Iterator[tuple[bytes, tuple[str, int]]]:
    """The datagrams that have come, as many as may be taken in one turn, and where from."""
    for _ in range(DATAGRAMS_A_TURN_MAX):
        try:
            data, address = sock.recvfrom(DATAGRAM_BYTES_MAX)
        except BlockingIOError:
            return
        except OSError as error:  # of something sent before
            on_error(error)
            continue
        yield data, address[:2]
