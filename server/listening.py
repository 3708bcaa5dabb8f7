"""Sockets that listen on a port which several server processes share."""

import socket

from common.errors import SettingsError

BACKLOG = 1024


def listen(host: str, port: int) -> socket.socket:
    """A listening socket that other servers may share the port with; port 0: a free one. Raises SettingsError."""
    family, address = resolve(host)
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind((address, port))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise SettingsError(f"port {port} of {host}: {error.strerror}: choose another") from None
    sock.setblocking(False)
    return sock


def resolve(host: str) -> tuple[socket.AddressFamily, str]:
    """The numeric address of `host`, IPv4 where it has both. Raises SettingsError."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise SettingsError(f"$.host: {host} is neither an address nor a name that can be looked up") from None
    family, _, _, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    return family, str(address[0])
