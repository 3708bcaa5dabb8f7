"""The ends of the lines between processes, on one host or on several, as the settings have it. Pure.

Theory of operation
-------------------
On one host all lines are sockets in the runtime directory. With `hosts` in the settings, which are the same on
every host but for `here`, each host runs what lives there: the captures of its streams, its muxers, its servers.
What others need listens on tcp besides, and the one who wants something connects:

    muxer  ──▶ capture    host.address : stream.port        samples, key frame requests
    server ──▶ muxer      host.address : host.port + index  frames, requests

So a capture or muxer knows nobody, and any number of servers may come and go. Which muxer has which stream
all hosts find by the same names (`common.endpoints.owner_of`). Messages are those of one host.

Every tcp line is encrypted by CURVE: who connects knows the public key of the host that listens, and is let in
if its own is among those of `hosts` (`common.guard`). There is no tcp line without it.
"""

import msgspec

from common.captures import endpoint_of
from common.config import Config, Host
from common.endpoints import muxer_endpoint, owner_of


class KeyPair(msgspec.Struct, frozen=True):
    """The keys of a host, 40 characters of Z85 each (rfc.zeromq.org/spec/32)."""

    public_key: str
    secret_key: str


class Far(msgspec.Struct, frozen=True):
    """One end of a line to another host. their_key: of the host that listens there; empty at its own end."""

    endpoint: str
    keys: KeyPair
    their_key: str = ""


End = str | Far  # an endpoint on this host, or a line to another


def tcp_endpoint(address: str, port: int) -> str:
    """Of an IPv4 or IPv6 address, or a name."""
    return f"tcp://[{address}]:{port}" if ":" in address else f"tcp://{address}:{port}"


def muxer_names(config: Config) -> list[str]:
    """All muxers, of all hosts, in the order of the settings."""
    if not config.hosts:
        return [f"muxer-{index}" for index in range(config.processes.muxers)]
    return [f"{name}/muxer-{index}" for name, host in config.hosts.items() for index in range(host.muxers)]


def serves_elsewhere(config: Config, host: str) -> bool:
    """Whether servers of other hosts need the muxers of this one."""
    return any(other.servers for name, other in config.hosts.items() if name != host)


def muxes_elsewhere(config: Config, host: str) -> bool:
    """Whether muxers of other hosts need the captures of this one."""
    return any(other.muxers for name, other in config.hosts.items() if name != host)


class Lines:
    """The ends that the processes of this host bind and connect to. keys: this host's, where there are several."""

    def __init__(self, config: Config, keys: KeyPair | None = None) -> None:
        self._config = config
        self._keys = keys
        self.muxers = muxer_names(config)

    def muxer_of(self, stream: str) -> str:
        """The name of the muxer that has the stream."""
        return owner_of(stream, self.muxers)

    def muxer(self, index: int) -> str:
        """The name of a muxer of this host."""
        return f"{self._config.here}/muxer-{index}" if self._config.hosts else f"muxer-{index}"

    def is_far(self, stream: str) -> bool:
        """Whether the stream's source is on another host."""
        return self._config.streams[stream].host not in ("", self._config.here)

    def muxes_elsewhere(self, stream: str) -> bool:
        """Whether the muxer that has the stream is on another host."""
        host, slash, _ = self.muxer_of(stream).rpartition("/")
        return bool(slash) and host != self._config.here

    def samples_out(self, stream: str) -> list[End]:
        """Where the capture of a stream of this host listens."""
        ends: list[End] = [endpoint_of(self._config, stream)]
        if muxes_elsewhere(self._config, self._config.here):
            ends.append(self._listening(self._config.streams[stream].port))
        return ends

    def samples_in(self, stream: str) -> End:
        """Where a muxer of this host finds the capture of a stream."""
        settings = self._config.streams[stream]
        if self.is_far(stream):
            return self._reaching(settings.host, settings.port)
        return endpoint_of(self._config, stream)

    def frames_out(self, index: int) -> list[End]:
        """Where a muxer of this host listens."""
        ends: list[End] = [muxer_endpoint(self._config.runtime_dir, index)]
        if serves_elsewhere(self._config, self._config.here):
            ends.append(self._listening(self._here.port + index))
        return ends

    def frames_in(self, muxer: str) -> End:
        """Where a server of this host finds a muxer of any."""
        host, _, name = muxer.rpartition("/")
        index = int(name.removeprefix("muxer-"))
        if host == self._config.here or not self._config.hosts:
            return muxer_endpoint(self._config.runtime_dir, index)
        return self._reaching(host, self._config.hosts[host].port + index)

    @property
    def _here(self) -> Host:
        return self._config.hosts[self._config.here]

    def _listening(self, port: int) -> Far:
        assert self._keys is not None
        return Far(tcp_endpoint(self._here.listen or self._here.address, port), self._keys)

    def _reaching(self, name: str, port: int) -> Far:
        assert self._keys is not None
        host = self._config.hosts[name]
        return Far(tcp_endpoint(host.address, port), self._keys, host.public_key)
