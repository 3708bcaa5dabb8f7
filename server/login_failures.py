"""Failed logins, counted by address: who fails too often is not listened to for a while. Pure."""

import ipaddress

import msgspec

FAILURES_MAX = 10  # of one address in WINDOW_US
WINDOW_US = 60_000_000
BARRED_US = 60_000_000
ADDRESSES_MAX = 4096  # counted; then the one that has failed least recently is forgotten
IPV6_PREFIX_BITS = 64  # what one subscriber has: an address a try costs him nothing


class _Record(msgspec.Struct):
    failures: int
    since_us: int
    barred_until_us: int = 0


class LoginFailures:
    """Counted in all: failures; barred logins, not looked at; forgotten addresses, that lost their place."""

    def __init__(self) -> None:
        self._records: dict[str, _Record] = {}  # by address, the one that failed last is last
        self.failures = 0
        self.barred = 0
        self.forgotten = 0

    def note(self, host: str, now_us: int) -> None:
        """A login from there has failed."""
        self.failures += 1
        key = subscriber(host)
        record = self._records.pop(key, None)
        if record is None or now_us - record.since_us >= WINDOW_US:
            record = _Record(0, now_us)
        record.failures += 1
        if record.failures >= FAILURES_MAX:
            record.barred_until_us = now_us + BARRED_US
        self._records[key] = record
        if len(self._records) > ADDRESSES_MAX:
            del self._records[next(iter(self._records))]
            self.forgotten += 1

    def bars(self, host: str, now_us: int) -> bool:
        """Whether a login from there is not even looked at now."""
        record = self._records.get(subscriber(host))
        if record is None or now_us >= record.barred_until_us:
            return False
        self.barred += 1
        return True


def subscriber(host: str) -> str:
    """Whom an address stands for: an IPv6 one for its network, all else for itself."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, IPV6_PREFIX_BITS), strict=False))
