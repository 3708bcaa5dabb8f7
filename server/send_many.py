"""The same datagrams to many receivers by one system call: sendmmsg(2), which Python does not have.

A call for each receiver costs Python a microsecond or two beside what the kernel takes. Here each has its
`struct mmsghdr` ready made, all of which point to one `struct iovec` with what is sent; a frame for a thousand is
these put together, once for as long as they stay the same, and one call.
"""

import ctypes
import os
import socket
import struct
from collections.abc import Sequence
from typing import Self

from common.wire import Buffer

DATA_BYTES_MAX = 1 << 16  # more than goes by one call, in whatever segments

Address = tuple[str, int] | tuple[str, int, int, int]
Ancillary = tuple[int, int, bytes]  # as of `socket.sendmsg`

_NOT_WAITING = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


class _Msghdr(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_bytes", ctypes.c_uint32),
        ("pieces", ctypes.c_void_p),
        ("pieces_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_bytes", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Mmsghdr(ctypes.Structure):
    _fields_ = (("message", _Msghdr), ("sent_bytes", ctypes.c_uint))


_MESSAGE_BYTES = ctypes.sizeof(_Mmsghdr)
_sendmmsg = ctypes.CDLL(None, use_errno=True).sendmmsg
_sendmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)


class Receiver(bytes):
    """The `struct mmsghdr` of one address, for the socket that it was made for; good as long as this is there."""

    _pointed_to: tuple[object, ...]

    def __new__(cls, name: bytes, control: bytes, piece: _Iovec) -> Self:
        """name: a struct sockaddr. control: struct cmsghdr, any number."""
        names = ctypes.create_string_buffer(name, len(name))
        controls = ctypes.create_string_buffer(control, len(control))
        message = _Msghdr(
            ctypes.addressof(names), len(name), ctypes.addressof(piece), 1,
            ctypes.addressof(controls) if control else None, len(control),
        )  # fmt: skip
        receiver = super().__new__(cls, _Mmsghdr(message))
        receiver._pointed_to = names, controls, piece
        return receiver


class Company:
    """Receivers put together, in their order; good for any number of sends."""

    __slots__ = ("_messages", "_receivers", "at", "count")

    def __init__(self, receivers: Sequence[Receiver]) -> None:
        self._receivers = tuple(receivers)  # which hold what the messages point to
        self._messages = bytearray().join(receivers)
        self.at = _address(self._messages) if receivers else 0
        self.count = len(receivers)


class ManySender:
    """A datagram socket that does not wait, on its way to many. It must be there as long as this is used."""

    def __init__(self, sock: socket.socket) -> None:
        self._family, self._fd = sock.family, sock.fileno()
        self._data = memoryview(bytearray(DATA_BYTES_MAX))  # a view refuses what is larger
        self._piece = _Iovec(_address(self._data), 0)

    def receiver(self, address: Address, ancillary: Sequence[Ancillary] = ()) -> Receiver:
        """Someone to send to: address as of the socket's family, numeric."""
        return Receiver(_sockaddr(self._family, address), _control(ancillary), self._piece)

    def send(self, company: Company, data: Buffer) -> list[tuple[int, OSError]]:
        """Send `data` to each; those, by their place, for whom the kernel did not take it, and why.

        Raises ValueError for more than DATA_BYTES_MAX.
        """
        size = self._piece.size = len(data)
        self._data[:size] = data
        at, count = 0, company.count
        refused: list[tuple[int, OSError]] = []
        while at < count:  # the kernel looks at 1024 at once (UIO_MAXIOV)
            sent = _sendmmsg(self._fd, company.at + at * _MESSAGE_BYTES, count - at, _NOT_WAITING)
            if sent < 0:  # the error is that of the first one; one further on ends the call before it
                error = ctypes.get_errno()
                refused.append((at, OSError(error, os.strerror(error))))
                sent = 1
            at += sent
        return refused


def _address(memory: bytearray | memoryview) -> int:
    """Where it is, as long as its size stays."""
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


def _sockaddr(family: int, address: Address) -> bytes:
    """linux/in.h, linux/in6.h"""
    host, port = address[0].partition("%")[0], address[1]
    start = struct.pack("=H", family) + struct.pack(">H", port)
    if family == socket.AF_INET6:
        flow, scope = address[2:] if len(address) > 2 else (0, 0)
        return start + struct.pack(">I", flow) + socket.inet_pton(family, host) + struct.pack("=I", scope)
    return start + socket.inet_pton(family, host) + bytes(8)


def _control(ancillary: Sequence[Ancillary]) -> bytes:
    """Each as a struct cmsghdr."""
    control = b""
    for level, kind, data in ancillary:
        message = struct.pack("@Nii", socket.CMSG_LEN(len(data)), level, kind) + data
        control += message + bytes(socket.CMSG_SPACE(len(data)) - len(message))
    return control
