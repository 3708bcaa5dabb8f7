"""Which capture process has which stream: each has one of its own, but for files that share some. Pure.

A process that wakes up for one picture every 33 ms spends most of its time on cold caches; of one that has many
files in hand each picture costs a fraction. So files may share (`processes.files`), at a price: what holds one of
them up, a disk or a JPEG that is encoded, holds up the others. Which process has which file is found by name, so
that a file more moves no other.
"""

from common.config import Config
from common.endpoints import capture_endpoint, files_endpoint, owner_of
from common.source_spec import FileSpec, parse

OWN, SHARED = "capture-", "files-"  # what the names of such processes begin with


def shared_processes(config: Config) -> list[str]:
    """The names of those that files share."""
    return [f"{SHARED}{index}" for index in range(config.processes.files)]


def process_of(config: Config, stream: str) -> str:
    """The name of the process that captures the stream."""
    shared = shared_processes(config)
    if shared and isinstance(parse(config.streams[stream].source), FileSpec):
        return owner_of(stream, shared)
    return f"{OWN}{stream}"


def streams_of(config: Config, process: str) -> list[str]:
    """The streams that the process captures, as far as they are of this host."""
    return [
        name
        for name, stream in config.streams.items()
        if stream.host == config.here and process_of(config, name) == process
    ]


def processes_of(config: Config) -> list[str]:
    """The names of all capture processes of this host that have a stream."""
    mine = [name for name, stream in config.streams.items() if stream.host == config.here]
    return list(dict.fromkeys(process_of(config, name) for name in mine))


def endpoint_of(config: Config, stream: str) -> str:
    """Where the stream's samples are published on its own host (XPUB). One that changes its process changes it."""
    process = process_of(config, stream)
    if process.startswith(OWN):
        return capture_endpoint(config.runtime_dir, stream)
    return files_endpoint(config.runtime_dir, process, stream)
