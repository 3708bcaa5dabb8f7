"""The Transport header (RFC 2326 12.39): what a client offers, and what is taken of it. Pure.

Each alternative is tried in the client's order; what is unknown, or cannot be, is skipped, and 461 is the answer
only where none is left. Media goes to nobody but the peer of the control connection: a `destination` that is
another is such a thing that cannot be.
"""

import re
from collections.abc import Callable, Iterable
from typing import Protocol

import msgspec

from common.sample import Payload

TRANSPORTS_MAX = 16  # alternatives in one header; GStreamer offers 3
PARAMETERS_MAX = 32  # of one alternative
CHANNEL_MAX = 255  # one byte in the `$` header
PORT_MIN = 1024  # below are the services of the host itself
PORT_MAX = 65535

Pair = tuple[int, int]  # of RTP and of RTCP


class Transport(msgspec.Struct, frozen=True):
    """One alternative of a Transport header, RTP/AVP only.

    lower: "TCP" or "UDP". interleaved, client_port: RTP and RTCP; a single number is followed by its next.
    destination: where the client wants it sent, "" for nowhere else.
    """

    lower: str
    multicast: bool = False
    interleaved: Pair | None = None
    client_port: Pair | None = None
    record: bool = False
    destination: str = ""


class Interleaved(msgspec.Struct, frozen=True):
    """RTP and RTCP as `$` frames on these channels of the control connection (10.12)."""

    channels: Pair

    @property
    def text(self) -> str:
        """The Transport header of the answer."""
        return f"RTP/AVP/TCP;unicast;interleaved={self.channels[0]}-{self.channels[1]}"


class Unicast(msgspec.Struct, frozen=True):
    """RTP and RTCP as datagrams from our ports to the client's."""

    client_ports: Pair
    server_ports: Pair

    @property
    def text(self) -> str:
        """The Transport header of the answer."""
        (a, b), (c, d) = self.client_ports, self.server_ports
        return f"RTP/AVP;unicast;client_port={a}-{b};server_port={c}-{d}"


class Multicast(msgspec.Struct, frozen=True):
    """RTP and RTCP to these ports of a group, for all who want it."""

    group: str
    ports: Pair
    ttl: int

    @property
    def text(self) -> str:
        """The Transport header of the answer."""
        a, b = self.ports
        return f"RTP/AVP;multicast;destination={self.group};port={a}-{b};ttl={self.ttl}"


Delivery = Interleaved | Unicast | Multicast


class Ports(Protocol):
    """The client's UDP ports that are ours to send to, until the session's `End`."""

    def claim(self, client_ports: Pair) -> Pair | None:
        """Our own for these; None where there are none, or these are another viewer's."""

    def release(self, client_ports: Pair) -> None:
        """The session has another way now."""

    def group(self, stream: str, payload: Payload, track: int) -> "Multicast | None":
        """Where this is sent to all; None where it is not."""


_LOWER = {"RTP/AVP": "UDP", "RTP/AVP/UDP": "UDP", "RTP/AVP/TCP": "TCP"}


def choose(
    transports: Iterable[Transport],
    peer: str,
    taken: frozenset[int],
    claim: Callable[[Pair], Pair | None],
    group: Multicast | None,
) -> Delivery | None:
    """The first alternative that can be, or None.

    peer: the address of the client. taken: channels of the connection's other sessions. claim: makes these ports
    of the client's ours to send to, and returns our own; None where that cannot be. group: where all are sent it.
    """
    for transport in transports:
        ports = transport.client_port
        if transport.record:
            continue
        if transport.multicast:
            if group is not None and transport.lower == "UDP" and transport.destination in ("", group.group):
                return group
            continue
        if transport.destination not in ("", peer):
            continue
        if transport.lower == "TCP":
            channels = _channels(transport.interleaved, taken)
            if channels is not None:
                return Interleaved(channels)
        elif ports is not None and min(ports) >= PORT_MIN:
            server_ports = claim(ports)
            if server_ports is not None:
                return Unicast(ports, server_ports)
    return None


def parse_transports(text: str) -> list[Transport]:
    """The alternatives that are RTP/AVP, in the client's order; whatever is unknown is skipped."""
    found = (_parse_transport(part) for part in _split(text, ",")[:TRANSPORTS_MAX])
    return [transport for transport in found if transport is not None]


def parse_pair(text: str, highest: int) -> Pair | None:
    """`a-b`, or `a` for a and its next, both from 0 to `highest` and not the same."""
    match = re.fullmatch(r"(\d{1,5})(?:\s*-\s*(\d{1,5}))?", text, re.ASCII)
    if match is None:
        return None
    first = int(match[1])
    second = first + 1 if match[2] is None else int(match[2])
    return (first, second) if max(first, second) <= highest and first != second else None


def _channels(asked: Pair | None, taken: frozenset[int]) -> Pair | None:
    """The client's own channels, or free ones where it names none or they are taken."""
    if asked is not None and taken.isdisjoint(asked):
        return asked
    free = ((n, n + 1) for n in range(0, CHANNEL_MAX, 2) if taken.isdisjoint((n, n + 1)))
    return next(free, None)


def _parse_transport(text: str) -> Transport | None:
    parts = [part.strip() for part in _split(text, ";")]
    lower = _LOWER.get(parts[0].upper()) if parts else None
    if lower is None:
        return None
    parameters: dict[str, str] = {}
    for parameter in parts[1 : 1 + PARAMETERS_MAX]:
        name, _, value = parameter.partition("=")
        parameters.setdefault(name.strip().lower(), value.strip())
    return Transport(
        lower,
        multicast="multicast" in parameters,
        interleaved=parse_pair(parameters.get("interleaved", ""), CHANNEL_MAX),
        client_port=parse_pair(parameters.get("client_port", ""), PORT_MAX),
        record=parameters.get("mode", "").strip('"').upper() in ("RECORD", "RECEIVE"),
        destination=parameters.get("destination", "").strip('"'),
    )


def _split(text: str, separator: str) -> list[str]:
    """Split at `separator`, but not inside double quotes."""
    return re.findall(rf'(?:[^{separator}"]|"[^"]*"?)+', text)
