"""The settings: one TOML document whose every key has a default. Pure, but for `load`.

tomllib reads the text, msgspec checks it: an error names the exact key path (`$.viewer.age_max_ms`). The
example file `deploy/framegate.example.toml` explains every key; a test holds the two together.
"""

import re
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import tomli_w

from common.errors import SettingsError
from common.messages import STREAM_NAME_PATTERN
from common.passwords import HASH_PATTERN
from common.sample import Payload

STREAMS_MAX = 500
PROCESSES_MAX = 64
SOUND_CHARACTERS_MAX = 100
CAMERA_CONTROLS_MAX = 64
SLATE_PATTERN = r"^[A-Za-z0-9 !&'()+,./:?-]{1,40}\Z"  # what there are glyphs for
CPUS_MAX = 4096
USERS_MAX = 1000
PATTERNS_MAX = 100  # of streams, a user
PASSWORD_CHARACTERS_MAX = 256
USER_NAME_PATTERN = r"^[^:\"\\\x00-\x1f\x7f]{1,64}$"  # what Basic and Digest can carry
REALM_PATTERN = r"^[^\"\\\x00-\x1f\x7f-\U0010ffff]{1,64}$"
HOSTS_MAX = 256
HOST_NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9.-]{0,62}\Z"  # as DNS and Kubernetes have them
ADDRESS_PATTERN = r"^([A-Za-z0-9.-]{1,253}|[0-9A-Fa-f:.]{2,45})?\Z"  # a name, IPv4 or IPv6, without brackets
PUBLIC_KEY_PATTERN = r"^[0-9A-Za-z.:+=^!/*?&<>()\[\]{}@%$#-]{40}\Z"  # 32 bytes in Z85 (rfc.zeromq.org/spec/32)

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Count = Annotated[int, msgspec.Meta(ge=0, le=PROCESSES_MAX)]
Ms = Annotated[int, msgspec.Meta(ge=1, le=3_600_000)]
Address = Annotated[str, msgspec.Meta(pattern=ADDRESS_PATTERN)]
Patterns = Annotated[list[Annotated[str, msgspec.Meta(max_length=64)]], msgspec.Meta(max_length=PATTERNS_MAX)]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all sections."""


class Rtsp(Section, frozen=True):
    """The RTSP side of the servers. Port 0 picks a free one; `tls_port` 0 is none.

    udp_port: even; RTP over UDP comes from it and RTCP from the next; each further server process has two more.
    multicast_groups: a range of IPv4 addresses, one of them for each stream of each server; "": no multicast.
    udp_burst_bytes: so much goes out over UDP to a viewer at once, what is more at `udp_pace_bps`; 0: all at once.
    """

    port: Port = 8554
    udp_port: Annotated[int, msgspec.Meta(ge=0, le=65534, multiple_of=2)] = 0
    multicast_groups: str = ""
    multicast_port: Annotated[int, msgspec.Meta(ge=1024, le=65534, multiple_of=2)] = 20000
    multicast_ttl: Annotated[int, msgspec.Meta(ge=0, le=255)] = 1
    udp_burst_bytes: Annotated[int, msgspec.Meta(ge=1500, le=16 << 20)] = 32 << 10
    udp_pace_bps: Annotated[int, msgspec.Meta(ge=0, le=100_000_000_000)] = 50_000_000
    session_timeout_s: Annotated[int, msgspec.Meta(ge=10, le=3600)] = 60
    connections_max: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 5000
    connections_per_address_max: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 4000
    tls_port: Port = 0


class Http(Section, frozen=True):
    """The HTTP side of the servers. Port 0 picks a free one; `tls_port` 0 is none."""

    port: Port = 8080
    tls_port: Port = 0


class Tls(Section, frozen=True):
    """The certificate, with its chain, and its key, as PEM files; an empty `key`: it is in the former's file."""

    certificate: str = ""
    key: str = ""


class Processes(Section, frozen=True):
    """How many processes of each role run; 0 chooses by the machine's cores. Captures are one a stream, but for
    the files (`mock:`) if `files` is not 0: so many processes share them.

    One that says nothing to the supervisor for `hung_after_ms` is killed and started again. A server that has been
    replaced lives until its viewers have gone, `drain_max_s` at the longest.
    """

    muxers: Count = 1
    servers: Count = 1
    files: Count = 0
    hung_after_ms: Annotated[int, msgspec.Meta(ge=2000, le=3_600_000)] = 10_000  # it speaks once a second
    drain_max_s: Annotated[int, msgspec.Meta(ge=1, le=604_800)] = 3600


class RoleLimits(Section, frozen=True):
    """What each process of a role may take of the machine; 0 and empty: as much as there is.

    memory_max_mb: of private memory (RLIMIT_DATA). cpus: the numbers of the cores that it may run on.
    """

    memory_max_mb: Annotated[int, msgspec.Meta(ge=0, le=1 << 30)] = 0
    open_files_max: Annotated[int, msgspec.Meta(ge=0, le=1 << 30)] = 0
    cpus: Annotated[tuple[Annotated[int, msgspec.Meta(ge=0)], ...], msgspec.Meta(max_length=CPUS_MAX)] = ()


class Limits(Section, frozen=True):
    """The limits of the processes, by role."""

    capture: RoleLimits = RoleLimits()
    muxer: RoleLimits = RoleLimits()
    server: RoleLimits = RoleLimits()


class Viewer(Section, frozen=True):
    """What a slow viewer may cost himself. The drop queue holds what is younger than `age_max_ms`.

    start: a new viewer gets the newest sync point there is, and what came since, at once ("instant"), or waits
    for the next ("live": the picture is never behind, and comes later).
    A viewer that takes not one byte for `stalled_close_ms` while there is something for him is closed.
    """

    age_max_ms: Ms = 1000
    start: Literal["instant", "live"] = "instant"
    source_wait_ms: Ms = 5000  # DESCRIBE and GET wait this long for a stream that is starting
    stalled_close_ms: Ms = 60_000


class Capture(Section, frozen=True):
    """Retries of a source that cannot be read, and how long an on-demand one runs on with no viewer."""

    retry_ms: Ms = 500
    retry_max_ms: Ms = 5000
    idle_ms: Ms = 10_000


class Encode(Section, frozen=True):
    """How raw and MJPEG pictures are encoded to H.264. `bitrate_bps` 0 leaves it to the encoder's quality.

    profile: "main" has arithmetic coding, "high" also 8x8 transforms. codec: which encoder; "auto": the board's
    own where it has one that works, else libx264.
    """

    bitrate_bps: Annotated[int, msgspec.Meta(ge=0, le=200_000_000)] = 4_000_000
    sync_interval_ms: Ms = 2000
    profile: Literal["baseline", "main", "high"] = "baseline"
    codec: Literal["auto", "libx264", "h264_v4l2m2m"] = "auto"


class Stream(Section, frozen=True):
    """One stream: a source under a name.

    `payload` is what its plain URL gives: MPEG-TS, or each track in its own RTP format; `/ts` and `/native` behind
    the URL give either. `width`, `height` and `fps` ask the camera or the test picture; 0 leaves them to it.
    `format` chooses among the camera's own; "auto" prefers what needs no encoding. `mjpeg`: of a
    camera or file, encoded to H.264 or passed through, for native RTP only. `sound`: an ALSA
    device beside a camera; `sound_codec`: what that, or the beep of the test picture, is encoded to.
    `controls`: the camera's, by name. `slate`: what is shown, with the time since when, while the source is away;
    true has words of its own. `keep_ms`: how long viewers are kept while it is; 0: for as long as they wish.
    `loop`: a file begins again at its end. `host`: which of `hosts`, if there are any, has its source; `port`:
    there, for the muxers of other hosts.
    """

    source: str
    on_demand: bool = False
    payload: Payload = Payload.TS
    width: Annotated[int, msgspec.Meta(ge=0, le=16384)] = 0
    height: Annotated[int, msgspec.Meta(ge=0, le=16384)] = 0
    fps: Annotated[float, msgspec.Meta(ge=0, le=1000)] = 0.0
    format: Literal["auto", "h264", "h265", "mjpeg", "raw"] = "auto"
    mjpeg: Literal["encode", "pass"] = "encode"
    sound: Annotated[str, msgspec.Meta(max_length=SOUND_CHARACTERS_MAX)] = ""
    sound_codec: Literal["aac", "opus"] = "aac"
    controls: Annotated[dict[str, bool | int | str], msgspec.Meta(max_length=CAMERA_CONTROLS_MAX)] = {}
    slate: bool | Annotated[str, msgspec.Meta(pattern=SLATE_PATTERN)] = False
    loop: bool = True
    keep_ms: Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)] = 300_000
    encode: Encode = Encode()
    host: str = ""
    port: Port = 0


class Host(Section, frozen=True):
    """One machine of several that work together; the file is the same on all of them.

    public_key, key_file: as `framegate keys` makes and prints them; the file is on that machine alone.
    address: where others reach it; only of a host that others connect to: for muxers, or streams muxed elsewhere.
    listen: the address of its own that it listens on; empty: `address`. port: of its first muxer; each further one
    has the next. muxers, servers: how many of these processes run there.
    """

    public_key: Annotated[str, msgspec.Meta(pattern=PUBLIC_KEY_PATTERN)]
    key_file: str
    address: Address = ""
    listen: Address = ""
    port: Port = 0
    muxers: Count = 0
    servers: Count = 0


class Log(Section, frozen=True):
    """What the log says, on stderr, and how: as `key=value`, or a JSON object a line."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class Auth(Section, frozen=True):
    """How users log in. Without `users` nobody has to.

    digest: the hashes that Digest is offered with; basic: where passwords may go over the network as they are.
    public: the streams, by pattern, that need no user. secret: signs challenges; empty: a new one at each start.
    """

    realm: Annotated[str, msgspec.Meta(pattern=REALM_PATTERN)] = "framegate"
    digest: Literal["md5", "sha256", "both", "never"] = "md5"
    basic: Literal["tls", "always", "never"] = "tls"
    public: Patterns = []
    secret: Annotated[str, msgspec.Meta(max_length=PASSWORD_CHARACTERS_MAX)] = ""

    def is_public(self, stream: str) -> bool:
        """Whether a stream needs no user."""
        return _fits(stream, self.public)


class User(Section, frozen=True):
    """One user: his password in one or more of four forms (`common.passwords`), and what he may see.

    streams: patterns of their names, as in a shell. stats: whether he may see the figures of the instance.
    """

    password: Annotated[str, msgspec.Meta(max_length=PASSWORD_CHARACTERS_MAX)] = ""
    digest_md5: Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{32})?$")] = ""
    digest_sha256: Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{64})?$")] = ""
    password_hash: Annotated[str, msgspec.Meta(pattern=HASH_PATTERN)] = ""
    streams: Patterns = msgspec.field(default_factory=lambda: ["*"])
    stats: bool = False

    def may_watch(self, stream: str) -> bool:
        """Whether he may see a stream."""
        return _fits(stream, self.streams)


def _fits(stream: str, patterns: list[str]) -> bool:
    return any(fnmatchcase(stream, pattern) for pattern in patterns)


class Config(Section, frozen=True):
    """The whole document. `runtime_dir` empty means the default of `deploy`.

    hosts: the machines, where there are several. here: which of them this is; empty: the one named as the machine.
    """

    host: str = "127.0.0.1"
    here: str = ""
    runtime_dir: str = ""
    rtsp: Rtsp = Rtsp()
    http: Http = Http()
    tls: Tls = Tls()
    processes: Processes = Processes()
    limits: Limits = Limits()
    viewer: Viewer = Viewer()
    capture: Capture = Capture()
    log: Log = Log()
    auth: Auth = Auth()
    users: Annotated[
        dict[Annotated[str, msgspec.Meta(pattern=USER_NAME_PATTERN)], User], msgspec.Meta(max_length=USERS_MAX)
    ] = {}
    hosts: Annotated[
        dict[Annotated[str, msgspec.Meta(pattern=HOST_NAME_PATTERN)], Host], msgspec.Meta(max_length=HOSTS_MAX)
    ] = {}
    streams: Annotated[
        dict[Annotated[str, msgspec.Meta(pattern=STREAM_NAME_PATTERN)], Stream],
        msgspec.Meta(max_length=STREAMS_MAX),
    ] = {}


def from_document(document: dict[str, Any]) -> Config:
    """The settings in a parsed TOML document. Raises SettingsError that names the key path."""
    try:
        return msgspec.convert(document, Config)
    except msgspec.ValidationError as error:
        raise SettingsError(_fault_in_named(document) or str(error)) from None


_STREAM_NAME = "1 to 64 letters, digits and _ . - of which the first is a letter or digit"
_USER_NAME = '1 to 64 characters other than : " and \\'
_HOST_NAME = "1 to 63 letters, digits and . - of which the first is a letter or digit"
_NAMED: tuple[tuple[str, str, str, str, type[Section]], ...] = (
    ("streams", "stream", STREAM_NAME_PATTERN, _STREAM_NAME, Stream),
    ("users", "user", USER_NAME_PATTERN, _USER_NAME, User),
    ("hosts", "host", HOST_NAME_PATTERN, _HOST_NAME, Host),
)


def _fault_in_named(document: dict[str, Any]) -> str:
    """The fault with the stream's or user's name in its key path, where msgspec says `[...]`; else empty."""
    for section, what, pattern, rule, kind in _NAMED:
        entries = document.get(section)
        for name, entry in entries.items() if isinstance(entries, dict) else ():
            if not re.search(pattern, name):
                return f"the {what} name {name!r} is not {rule} - at `$.{section}`"
            try:
                msgspec.convert(entry, kind)
            except msgspec.ValidationError as error:
                fault, at, path = str(error).partition(" - at `$")
                return f"{fault} - at `$.{section}.{name}{path if at else '`'}"
    return ""


def parse(text: str) -> Config:
    """The settings in a TOML text. Raises SettingsError with the line, or the key path."""
    try:
        return from_document(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"not TOML: {error}") from None


def load(path: str | Path) -> Config:
    """The settings in a file. Raises SettingsError that names the file."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise SettingsError(f"{path}: {reason}") from None
    try:
        return parse(text)
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from None


def dump(config: Config) -> str:
    """The TOML text that `parse` reads back as `config`."""
    return tomli_w.dumps(msgspec.to_builtins(config))
