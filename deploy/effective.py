"""The effective settings of an instance: the file, then the flags over it, then the SOURCE arguments. Checked
whole before anything starts."""

import os
import re
import socket
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from common import certificate, keys, source_spec
from common import config as settings
from common.errors import SettingsError
from common.messages import STREAM_NAME_PATTERN
from deploy.hosts import at_host, check_hosts

DEFAULT_SOURCE = "test:"


def settle(file: str | None, flags: Mapping[str, tuple[str, object]], sources: Sequence[str]) -> settings.Config:
    """The settings of `framegate serve`.

    flags: by flag, the key path it overrides and its value; None stands for a flag that was not given.
    sources: `[NAME=]SOURCE` each. Raises SettingsError.
    """
    config = settings.load(file) if file is not None else settings.Config()
    for flag, (path, value) in flags.items():
        if value is not None:
            config = _override(config, flag, path.split("."), value)
    streams = dict(config.streams)
    for name, source in name_sources(sources).items():
        streams[name] = settings.Stream(source=source)
    if not streams and not config.hosts:
        streams = {name: settings.Stream(source=text) for name, text in name_sources([DEFAULT_SOURCE]).items()}
    if len(streams) > settings.STREAMS_MAX:
        raise SettingsError(f"{len(streams)} streams: at most {settings.STREAMS_MAX}")
    config = msgspec.structs.replace(config, streams=streams)
    if config.hosts:
        for flag in ("--muxers", "--servers"):
            if flags.get(flag, ("", None))[1] is not None:
                raise SettingsError(f"{flag}: with hosts the number stands there - at `$.hosts.NAME.{flag[2:]}`")
        config = at_host(config, config.here or socket.gethostname())
        _check_key(config)
    else:
        processes = counted(config.processes, len(os.sched_getaffinity(0)), len(streams))
        config = msgspec.structs.replace(config, processes=processes)
    check(config)
    return config


def counted(processes: settings.Processes, cores: int, streams: int) -> settings.Processes:
    """With the numbers that were left to the machine.

    Nearly all of the work is sending, so all cores but one get a server; a muxer can have many streams.
    """
    servers = min(max(cores - 1, 1), settings.PROCESSES_MAX)
    muxers = min(max(cores // 4, 1), max(streams, 1), settings.PROCESSES_MAX)
    return msgspec.structs.replace(
        processes, muxers=processes.muxers or muxers, servers=processes.servers or servers
    )


def check(config: settings.Config) -> None:
    """Check what the types of the settings cannot say. Raises SettingsError with the key path."""
    for name, stream in config.streams.items():
        try:
            spec = source_spec.parse(stream.source)
        except SettingsError as error:
            raise SettingsError(f"{error} - at `$.streams.{name}.source`") from None
        if stream.sound and not isinstance(spec, source_spec.CameraSpec):
            raise SettingsError(f"only a camera has sound beside it - at `$.streams.{name}.sound`")
    cores = os.sched_getaffinity(0)
    for role in ("capture", "muxer", "server"):
        strangers = sorted(set(getattr(config.limits, role).cpus) - cores)
        if strangers:
            there = ", ".join(map(str, sorted(cores)))
            raise SettingsError(
                f"core {strangers[0]} is not there; these are: {there} - at `$.limits.{role}.cpus`"
            )
    check_hosts(config)
    for name, user in config.users.items():
        fault = _password_fault(user, config.auth)
        if fault:
            raise SettingsError(f"{fault} (framegate password --help) - at `$.users.{name}`")
    _check_ports(config)
    if config.rtsp.udp_port + 2 * config.processes.servers > 65536:
        raise SettingsError(
            f"{config.processes.servers} servers have no two ports each from {config.rtsp.udp_port} on: choose a "
            "lower one - at `$.rtsp.udp_port`"
        )


def _check_key(config: settings.Config) -> None:
    """The other hosts must know this one by the key that it has."""
    host = config.hosts[config.here]
    own = keys.load(host.key_file).public_key
    if own != host.public_key:
        raise SettingsError(f"{host.key_file} has the public key {own} - at `$.hosts.{config.here}.public_key`")


def _check_ports(config: settings.Config) -> None:
    taken: dict[int, str] = {}
    for path, port in (
        ("rtsp.port", config.rtsp.port), ("http.port", config.http.port),
        ("rtsp.tls_port", config.rtsp.tls_port), ("http.tls_port", config.http.tls_port),
    ):  # fmt: skip
        if port and port in taken:
            raise SettingsError(f"port {port} is asked for twice: $.{taken[port]} has it, too - at `$.{path}`")
        taken[port] = path
        if port and path.endswith("tls_port") and not config.tls.certificate:
            raise SettingsError(f"TLS needs a certificate: name its file - at `$.tls.certificate`, for `$.{path}`")
    if config.tls.certificate and config.processes.servers:
        certificate.load(config.tls.certificate, config.tls.key)


def _password_fault(user: settings.User, auth: settings.Auth) -> str:
    """Why a user cannot log in, or not by all that his client may choose from; else empty."""
    secrets = {"md5": user.digest_md5, "sha256": user.digest_sha256}
    if not user.password and not user.password_hash and not any(secrets.values()):
        return "this user has no password"
    if user.password or (user.password_hash and not any(secrets.values())):
        return ""
    offered = {"md5": ("md5",), "sha256": ("sha256",), "both": ("md5", "sha256"), "never": ()}[auth.digest]
    missing = [f"digest_{name}" for name in offered if not secrets[name]]
    return f'auth.digest = "{auth.digest}" needs {" and ".join(missing)} of this user' if missing else ""


def name_sources(texts: Sequence[str]) -> dict[str, str]:
    """The streams that `[NAME=]SOURCE` arguments stand for, by name. Raises SettingsError.

    Sources with the same default name get -2, -3 and so on; a name given twice is an error.
    """
    named: dict[str, str] = {}
    unnamed: list[str] = []
    for text in texts:
        name, source = _split(text)
        if name is None:
            unnamed.append(source)
        elif name in named:
            raise SettingsError(f"two sources are named {name}: give one of them another name")
        else:
            source_spec.parse(source)
            named[name] = source
    taken = set(named)
    defaults = iter([_free_name(source, taken) for source in unnamed])
    streams: dict[str, str] = {}
    for text in texts:  # in the order of the arguments
        name, source = _split(text)
        streams[next(defaults) if name is None else name] = source
    return streams


def _split(text: str) -> tuple[str | None, str]:
    """NAME=SOURCE apart. A `=` behind the colon of the source's kind belongs to the source."""
    name, equals, source = text.partition("=")
    if not equals or ":" in name:
        return None, text
    if not re.search(STREAM_NAME_PATTERN, name):
        raise SettingsError(
            f"{text}: the name before = may have letters, digits and _ . - and starts with a letter or digit, "
            f"at most {source_spec.NAME_CHARACTERS_MAX} characters"
        )
    return name, source


def _free_name(source: str, taken: set[str]) -> str:
    base = source_spec.default_name(source_spec.parse(source))
    name, count = base, 1
    while name in taken:
        count += 1
        suffix = f"-{count}"
        name = base[: source_spec.NAME_CHARACTERS_MAX - len(suffix)] + suffix
    taken.add(name)
    return name


def _override(config: settings.Config, flag: str, path: list[str], value: object) -> settings.Config:
    document: dict[str, Any] = msgspec.to_builtins(config)
    section = document
    for key in path[:-1]:
        section = section[key]
    section[path[-1]] = value
    try:
        return settings.from_document(document)
    except SettingsError as error:
        raise SettingsError(f"{flag} {value}: {error}") from None
