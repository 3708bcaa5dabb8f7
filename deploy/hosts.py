"""What the settings of several hosts have to say, and what they are for one of them. Pure."""

import msgspec

from common.config import Config, Host
from common.errors import SettingsError
from common.lines import muxer_names, muxes_elsewhere, serves_elsewhere


def at_host(config: Config, here: str) -> Config:
    """The settings for the host `here`: it has the processes that stand in its entry. Raises SettingsError."""
    host = config.hosts.get(here)
    if host is None:
        known = ", ".join(config.hosts)
        raise SettingsError(f"which host is this? {here!r} is none of {known}: say it by --here NAME")
    processes = msgspec.structs.replace(config.processes, muxers=host.muxers, servers=host.servers)
    if not (host.muxers or host.servers or any(stream.host == here for stream in config.streams.values())):
        raise SettingsError(f"nothing is to run on the host {here}: no muxers, no servers, no streams")
    return msgspec.structs.replace(config, here=here, processes=processes)


def check_hosts(config: Config) -> None:
    """Check what is said of hosts, on whichever of them this is. Raises SettingsError with the key path."""
    if config.here and config.here not in config.hosts:
        raise SettingsError(f"there is no host {config.here} among hosts - at `$.here`")
    for name, stream in config.streams.items():
        if stream.host and stream.host not in config.hosts:
            raise SettingsError(f"there is no host {stream.host} among hosts - at `$.streams.{name}.host`")
        if config.hosts and not stream.host:
            raise SettingsError(f"say on which of the hosts its source is - at `$.streams.{name}.host`")
    if not config.hosts:
        return
    if not muxer_names(config):
        raise SettingsError("no host has muxers: give one a number of them - at `$.hosts.NAME.muxers`")
    if not any(host.servers for host in config.hosts.values()):
        raise SettingsError("no host has servers: give one a number of them - at `$.hosts.NAME.servers`")
    if config.rtsp.multicast_groups and sum(host.servers > 0 for host in config.hosts.values()) > 1:
        raise SettingsError("several hosts would send to the same groups - at `$.rtsp.multicast_groups`")
    for name, host in config.hosts.items():
        _check_listening(config, name, host)


def _check_listening(config: Config, name: str, host: Host) -> None:
    """Where others connect to a host, it needs an address, and ports of which each is wanted once."""
    taken: dict[int, str] = {}
    if host.muxers and serves_elsewhere(config, name):
        for port in range(host.port, host.port + host.muxers):
            taken[port] = f"hosts.{name}.port"
        if not host.port or host.port + host.muxers > 65536:
            raise SettingsError(f"servers of other hosts need a port of its muxers - at `$.hosts.{name}.port`")
    if muxes_elsewhere(config, name):
        for key, stream in config.streams.items():
            if stream.host != name:
                continue
            path = f"streams.{key}.port"
            if not stream.port:
                raise SettingsError(f"muxers of other hosts need a port of its own - at `$.{path}`")
            if stream.port in taken:
                raise SettingsError(
                    f"port {stream.port} is asked for twice: $.{taken[stream.port]} has it, too - at `$.{path}`"
                )
            taken[stream.port] = path
    if taken and not host.address:
        raise SettingsError(f"other hosts need its address - at `$.hosts.{name}.address`")
