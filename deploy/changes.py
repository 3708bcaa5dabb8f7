"""What has to happen to the processes that run when other settings are to hold. Pure: two settings in, steps out.

Theory of operation
-------------------
Each process is left alone that a change does not concern. A stream that comes or goes concerns its capture, and
is told to muxers and servers, which go on. Another number of muxers moves streams between them: new muxers take
theirs on, the servers change over, and the old ones let go when the last viewer has been forgotten there. What
else muxers or servers go by is taken by starting them anew, one after the other: viewers survive a muxer's
restart, and servers are replaced by new processes on the same ports, while the old ones drain.

    1. captures and muxers that come are started, captures that changed restarted or told, the muxers told
    2. the servers are told
    3. captures and muxers that go are ended
    4. muxers whose settings changed are restarted one by one
    5. servers are replaced one by one, and those too many drained
"""

from collections.abc import Collection, Mapping, Sequence

import msgspec

from common.captures import OWN, processes_of, streams_of
from common.config import Config, Host, Stream
from common.errors import SettingsError

# Held since the start.
FIXED = ("host", "here", "runtime_dir", "rtsp.port", "http.port", "rtsp.tls_port", "http.tls_port")
_TOLD = frozenset({"streams", "processes", "log", "hosts"})  # what every process takes as it runs
_NOT_MUXERS = _TOLD | {"capture", "rtsp", "http", "host", "runtime_dir", "limits", "auth", "users", "tls"}
_NOT_SERVERS = _TOLD | {"capture", "runtime_dir", "limits"}


class Add(msgspec.Struct, frozen=True):
    """Start this process, which is new."""

    role: str
    name: str


class Restart(msgspec.Struct, frozen=True):
    """End this process and start it again."""

    name: str


class Retire(msgspec.Struct, frozen=True):
    """End this process for good."""

    name: str


class Replace(msgspec.Struct, frozen=True):
    """Let this server drain."""

    name: str


class Tell(msgspec.Struct, frozen=True):
    """Let this process read the settings again."""

    name: str


Do = Add | Restart | Retire | Replace | Tell


class Step(msgspec.Struct, frozen=True):
    """What is done at once, and who has to be up by the new settings before the next step."""

    do: tuple[Do, ...]
    awaits: tuple[str, ...] = ()


def check_fixed(old: Config, new: Config) -> None:
    """Raises SettingsError, with the key path, for a change that needs another start."""
    for path in FIXED:
        was, wanted = _at(old, path), _at(new, path)
        if was != wanted:
            raise SettingsError(
                f"{path} is {was!r} and cannot become {wanted!r} in a running instance: restart it - at `$.{path}`"
            )

    if _own_lines(old) != _own_lines(new):
        raise SettingsError(
            f"this host's own keys, address and port cannot change in a running instance: restart it - at "
            f"`$.hosts.{new.here}`"
        )


def stale_servers(old: Config, new: Config, servers: Collection[str]) -> list[str]:
    """Those of `servers`, which went by `old`, that have to be replaced: with multicast also for other streams."""
    regrouped = bool(new.rtsp.multicast_groups) and list(old.streams) != list(new.streams)
    return sorted(servers, key=_number) if regrouped or _differ(old, new, _NOT_SERVERS, "server") else []


def steps(
    old: Config, new: Config, processes: Mapping[str, str], draining: Collection[str], replaced: Collection[str]
) -> list[Step]:
    """How to get from `old` to `new`.

    processes: the role of each that is to live on so far, by name. draining: servers that only wait for their
    viewers to go. replaced: the servers that are to be replaced by new ones.
    """
    captures = processes_of(new)
    muxers = [f"muxer-{index}" for index in range(new.processes.muxers)]
    servers = sorted((name for name, role in processes.items() if role == "server"), key=_number)
    old_muxers = sorted((name for name, role in processes.items() if role == "muxer"), key=_number)
    staying = [name for name in old_muxers if name in muxers]
    come: list[Do] = [Add("muxer", name) for name in muxers if name not in processes]
    come += [Add("capture", name) for name in sorted(captures) if name not in processes]
    there = [name for name in sorted(captures) if name in processes]
    restarted = [name for name in there if _restarts(old, new, name)]
    come += [Restart(name) for name in restarted]
    come += [Tell(name) for name in staying]
    come += [Tell(name) for name in there if name not in restarted and _is_told(old, new, name)]
    told = [*servers, *draining]
    went = [name for name, role in processes.items() if role == "capture" and name not in captures]
    went += [name for name in old_muxers if name not in muxers]
    found = [
        Step(tuple(come), tuple(muxers)),
        Step(tuple(Tell(name) for name in told), tuple(told)),
        Step(tuple(Retire(name) for name in went)),
    ]
    if _differ(old, new, _NOT_MUXERS, "muxer"):
        found += [Step((Restart(name),), (name,)) for name in staying]
    found += _server_steps(new.processes.servers, servers, draining, replaced)
    return [step for step in found if step.do]


def in_words(old: Config, new: Config, replaced: int) -> str:
    """What changes, in one line."""
    both = old.streams.keys() & new.streams.keys()
    counts = {
        "added": len(new.streams.keys() - old.streams.keys()),
        "removed": len(old.streams.keys() - new.streams.keys()),
        "changed": sum(old.streams[name] != new.streams[name] for name in both),
    }
    words = [f"{count} {'stream' if count == 1 else 'streams'} {what}" for what, count in counts.items() if count]
    for role in ("muxers", "servers", "files"):
        was, now = getattr(old.processes, role), getattr(new.processes, role)
        words += [f"{role} {was} to {now}"] if was != now else []
    if old.hosts != new.hosts:
        words.append("hosts changed")
    if replaced:
        words.append(f"{replaced} {'server' if replaced == 1 else 'servers'} replaced")
    return ", ".join(words) or ("other settings taken" if old != new else "nothing has changed")


def _server_steps(
    wanted: int, servers: Sequence[str], draining: Collection[str], replaced: Collection[str]
) -> list[Step]:
    taken = {*servers, *draining}
    too_many = max(len(servers) - wanted, 0)
    leaving = [name for name in reversed(servers) if name in replaced]
    leaving += [name for name in reversed(servers) if name not in replaced]
    gone = leaving[:too_many]  # first those that would have been replaced
    found = []
    for name in (name for name in servers if name in replaced and name not in gone):
        new = _free_server(taken)
        found += [Step((Add("server", new),), (new,)), Step((Replace(name),))]
    added = [_free_server(taken) for _ in range(wanted - len(servers))]
    found.append(Step(tuple(Add("server", name) for name in added), tuple(added)))
    found.append(Step(tuple(Replace(name) for name in gone)))
    return found


def _free_server(taken: set[str]) -> str:
    """A name that no server has, also none that drains; it is taken then."""
    number = 0
    while f"server-{number}" in taken:
        number += 1
    taken.add(f"server-{number}")
    return f"server-{number}"


def _number(name: str) -> int:
    return int(name.rpartition("-")[2])


def _at(config: Config, path: str) -> object:
    value: object = config
    for key in path.split("."):
        value = getattr(value, key)
    return value


def _own_lines(config: Config) -> Host | None:
    """What is said of this host, but for the number of its processes."""
    host = config.hosts.get(config.here)
    return msgspec.structs.replace(host, muxers=0, servers=0) if host is not None else None


def _restarts(old: Config, new: Config, capture: str) -> bool:
    """Whether it cannot go by the new settings as it runs."""
    was, wanted = _captured(old, capture), _captured(new, capture)
    if capture.startswith(OWN):
        differ = was != wanted
    else:  # it takes streams on and lets them go; only where it listens is for good
        differ = any(was[name].port != wanted[name].port for name in was.keys() & wanted.keys())
    return differ or old.capture != new.capture or old.limits.capture != new.limits.capture


def _is_told(old: Config, new: Config, capture: str) -> bool:
    return old.log != new.log or old.hosts != new.hosts or _captured(old, capture) != _captured(new, capture)


def _captured(config: Config, process: str) -> dict[str, Stream]:
    return {name: config.streams[name] for name in streams_of(config, process)}


def _differ(old: Config, new: Config, without: Collection[str], role: str) -> bool:
    """Whether they differ in what a role goes by: in any section but those `without`, or in its limits."""
    sections = [field for field in Config.__struct_fields__ if field not in without]
    if any(getattr(old, section) != getattr(new, section) for section in sections):
        return True
    return bool(getattr(old.limits, role) != getattr(new.limits, role))
