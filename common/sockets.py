"""The only factories of ZeroMQ sockets: every high-water mark, linger and time-out is said here.

Sockets that listen for this host may listen for others, too (`common.lines.Far`): each endpoint keeps the options
that stood when it was bound, so that only the latter is encrypted.

And the verbs that move a message without waiting. pyzmq's own multipart verbs do the same in twice the time:
they check types again, and say by an exception that nothing is there, which is the common case.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import zmq
from zmq import zmq_poll

from common.errors import SettingsError
from common.lines import End, Far
from common.wire import MEDIA_BYTES_MAX, Buffer

SAMPLES_QUEUED_MAX = 1024  # some 12 s of a stream with audio: room for what a new subscriber is given at once
FRAMES_QUEUED_MAX = 1024  # frames and replies on their way to one server process
CONTROL_QUEUED_MAX = 1024
LINGER_MS = 0  # a stopping process waits for nobody
# Between hosts: a peer that says nothing is asked, and is gone when it does not answer, so that both sides know it
# soon. TCP itself would take a quarter of an hour.
HEARTBEAT_INTERVAL_MS = 1000
HEARTBEAT_TIMEOUT_MS = 3000
CONNECT_TIMEOUT_MS = 2000  # then again: TCP's own next try would be ever later, and the link may be back by then
HANDSHAKE_TIMEOUT_MS = 5000
FAR_MESSAGE_BYTES_MAX = MEDIA_BYTES_MAX + 1024  # of one part, encrypted: also for who has not been let in yet
FAR_RECONNECT_MS = 100
FAR_RECONNECT_MAX_MS = 300

NOT_LET_IN = "that host does not let this one in: its settings need the public_key of this host"
_NO_HANDSHAKE = "no common language: not the host with this public_key, or the link was cut"
_CUT = "no connection: the host or its process is down, or the link is cut"

_POLLIN = int(zmq.POLLIN)
_NOW, _NOW_AND_MORE = int(zmq.DONTWAIT), int(zmq.DONTWAIT | zmq.SNDMORE)  # of enums, they are put together anew

Context = zmq.Context[zmq.Socket[bytes]]
Socket = zmq.Socket[bytes]


def readable(sockets: Iterable[Socket]) -> list[Socket]:
    """Those of the sockets to which a message has come; to ask of all at once costs half."""
    ready: list[tuple[Any, int]] = zmq_poll([(socket, _POLLIN) for socket in sockets], 0)
    return [socket for socket, _ in ready]


def receive(socket: Socket) -> list[bytes] | None:
    """The parts of the next message that has come; None while there is none."""
    return take(socket) if zmq_poll([(socket, _POLLIN)], 0) else None


def take(socket: Socket) -> list[bytes] | None:
    """As `receive`, for a socket to which a message has come, as a rule: then it costs less, else more."""
    try:
        part = socket.recv(_NOW, copy=False)  # a Frame knows whether there is more
    except zmq.Again:
        return None
    parts = [part.bytes]
    while part.more:
        part = socket.recv(_NOW, copy=False)
        parts.append(part.bytes)
    return parts


def send(socket: Socket, parts: Sequence[Buffer]) -> None:
    """Send a message at once. Raises zmq.Again where the way is full or nobody is there; see `frames_out`."""
    for part in parts[:-1]:
        socket.send(part, _NOW_AND_MORE)
    socket.send(parts[-1], _NOW)


def _socket(context: Context, kind: int, queued_max: int) -> Socket:
    socket = context.socket(kind)
    socket.set_hwm(queued_max)
    socket.setsockopt(zmq.LINGER, LINGER_MS)
    # A peer that died comes back on the same path: look for it often, it costs a connect to a local file.
    socket.setsockopt(zmq.RECONNECT_IVL, 20)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 40)
    socket.setsockopt(zmq.IMMEDIATE, 1)  # queue nothing for a peer that is not there
    return socket


def _bound(socket: Socket, ends: Sequence[End]) -> Socket:
    try:
        for end in sorted(ends, key=lambda end: isinstance(end, Far)):
            socket.bind(_prepared(socket, end))
    except zmq.ZMQError as error:
        socket.close()  # left open, it would keep its context from ending
        endpoint = end if isinstance(end, str) else end.endpoint
        where = "check runtime_dir" if isinstance(end, str) else "check hosts.NAME.listen, address and port"
        reason = zmq.strerror(error.errno or 0)
        raise SettingsError(f"cannot listen on {endpoint}: {reason}: {where}") from None
    return socket


def _connected(socket: Socket, end: End) -> Socket:
    socket.connect(_prepared(socket, end))
    return socket


def _prepared(socket: Socket, end: End) -> str:
    """The endpoint, after the socket has the options for it."""
    if isinstance(end, str):
        return end
    socket.setsockopt(zmq.IPV6, 1)
    socket.setsockopt(zmq.RECONNECT_IVL, FAR_RECONNECT_MS)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, FAR_RECONNECT_MAX_MS)
    socket.setsockopt(zmq.CONNECT_TIMEOUT, CONNECT_TIMEOUT_MS)
    socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_TIMEOUT_MS)
    socket.setsockopt(zmq.MAXMSGSIZE, FAR_MESSAGE_BYTES_MAX)
    socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_INTERVAL_MS)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS)
    socket.setsockopt(zmq.CURVE_PUBLICKEY, end.keys.public_key.encode("ascii"))
    socket.setsockopt(zmq.CURVE_SECRETKEY, end.keys.secret_key.encode("ascii"))
    if end.their_key:
        socket.setsockopt(zmq.CURVE_SERVERKEY, end.their_key.encode("ascii"))
    else:
        socket.setsockopt(zmq.CURVE_SERVER, 1)
    return end.endpoint


def connect_again(socket: Socket, endpoint: str) -> None:
    """Connect anew a socket that has this one endpoint."""
    try:
        socket.disconnect(endpoint)
    except zmq.ZMQError:
        pass  # libzmq has given it up already
    socket.connect(endpoint)


def samples_out(context: Context, *ends: End) -> Socket:
    """capture's side. Drops silently beyond the mark: samples carry sequence numbers. Receives each
    subscription (b"\\x01", also a repeated one), the last unsubscription (b"\\x00"), and messages."""
    socket = _socket(context, zmq.XPUB, SAMPLES_QUEUED_MAX)
    socket.setsockopt(zmq.XPUB_VERBOSE, 1)
    return _bound(socket, ends)


def samples_in(context: Context, end: End) -> Socket:
    """muxer's side of `samples_out`; send b"\\x01" to subscribe, b"\\x00" to unsubscribe, or messages."""
    socket = _socket(context, zmq.XSUB, SAMPLES_QUEUED_MAX)
    socket.setsockopt(zmq.IMMEDIATE, 0)  # the subscription waits for the capture to come
    return _connected(socket, end)


def program_out(context: Context, endpoint: str) -> Socket:
    """A program's side of `program_in`: as `samples_out`, but it comes and goes, and so connects."""
    socket = _socket(context, zmq.XPUB, SAMPLES_QUEUED_MAX)
    socket.setsockopt(zmq.XPUB_VERBOSE, 1)
    socket.connect(endpoint)
    return socket


def program_in(context: Context, endpoint: str) -> Socket:
    """capture's side of `program_out`, for any number of programs; send as on `samples_in`."""
    return _bound(_socket(context, zmq.XSUB, SAMPLES_QUEUED_MAX), [endpoint])


def _event(message: Sequence[bytes]) -> zmq.Event:
    """Of a monitor's message: 16 bit (zmq_socket_monitor). pyzmq's own reader of it takes asyncio to load."""
    return zmq.Event(int.from_bytes(message[0][:2], sys.byteorder))


class Peers:
    """Counts who is connected to a bound socket. Close it before the socket."""

    def __init__(self, socket: Socket) -> None:
        self._socket = socket
        self._count = 0
        self._events = socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)

    def count(self) -> int:
        """How many there are now."""
        while self._events.poll(0):
            event = _event(self._events.recv_multipart())
            self._count += 1 if event == zmq.EVENT_HANDSHAKE_SUCCEEDED else -1
        return self._count

    def close(self) -> None:
        """Count no more."""
        self._socket.disable_monitor()
        self._events.close()


class Progress:
    """How a connecting socket gets on. Close it before the socket."""

    def __init__(self, socket: Socket) -> None:
        self._socket = socket
        self._events = socket.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED | zmq.EVENT_CONNECT_RETRIED
            | zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
            | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
        )  # fmt: skip
        self._said = ""

    def faults(self) -> Iterator[str]:
        """What has been wrong with it since the last call, one after the other; empty: it stands."""
        while self._events.poll(0):
            event = _event(self._events.recv_multipart())
            failed = {
                zmq.EVENT_HANDSHAKE_SUCCEEDED: "",
                zmq.EVENT_HANDSHAKE_FAILED_AUTH: NOT_LET_IN,
                zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: _NO_HANDSHAKE,
                zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: _NO_HANDSHAKE,
            }.get(event)
            if failed is not None:
                self._said = failed
            elif not self._said:  # it stood; else this only follows what has been said
                self._said = _CUT
            yield self._said

    def close(self) -> None:
        """Look no more."""
        self._socket.disable_monitor()
        self._events.close()


def frames_out(context: Context, *ends: End) -> Socket:
    """muxer's side. A full or vanished server is an error of the send, never a silent loss."""
    socket = _socket(context, zmq.ROUTER, FRAMES_QUEUED_MAX)
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    # A server that is back before its cut line was found dead here would never be heard otherwise.
    socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
    return _bound(socket, ends)


def frames_in(context: Context, end: End, identity: bytes) -> Socket:
    """server's side of `frames_out`. `identity` is new for each life of the server process."""
    socket = _socket(context, zmq.DEALER, FRAMES_QUEUED_MAX)
    socket.setsockopt(zmq.IDENTITY, identity)
    return _connected(socket, end)


def control_server(context: Context, endpoint: str) -> Socket:
    """The supervisor's side."""
    return _bound(_socket(context, zmq.ROUTER, CONTROL_QUEUED_MAX), [endpoint])


def control_client(context: Context, endpoint: str) -> Socket:
    """A role's, or the command line's, side of `control_server`."""
    socket = _socket(context, zmq.DEALER, CONTROL_QUEUED_MAX)
    socket.connect(endpoint)
    return socket
