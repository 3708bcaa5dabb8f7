"""How much of a process one client may take: connections of an address, and what each says in a second. Pure."""

from server.login_failures import subscriber

REQUESTS_A_SECOND_MAX = 100  # of a connection; the busiest client seen sends 8, and then one in half a minute
INPUT_BYTES_A_SECOND_MAX = 256 << 10  # of a connection: requests and RTCP; no client sends us media


def peer_host(peer: str) -> str:
    """The address in "address:port"."""
    return peer.rpartition(":")[0].strip("[]")


class Addresses:
    """The connections of each address that has some."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def count(self, host: str) -> int:
        """How many there are from there."""
        return self._counts.get(subscriber(host), 0)

    def add(self, host: str) -> None:
        """One more."""
        key = subscriber(host)
        self._counts[key] = self._counts.get(key, 0) + 1

    def remove(self, host: str) -> None:
        """One less."""
        key = subscriber(host)
        self._counts[key] -= 1
        if not self._counts[key]:
            del self._counts[key]


class Allowance:
    """What one connection has said since the last `renew`."""

    __slots__ = ("_input_bytes", "_requests")

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """A new second has begun."""
        self._requests = self._input_bytes = 0

    def spend(self, requests: int, input_bytes: int) -> None:
        """So many more."""
        self._requests += requests
        self._input_bytes += input_bytes

    @property
    def spent(self) -> bool:
        """Whether nothing more may be acted on in this second."""
        return self._requests >= REQUESTS_A_SECOND_MAX or self._input_bytes >= INPUT_BYTES_A_SECOND_MAX
