"""Who may do what: users, their proofs, and their rights (RFC 7616, RFC 7617). Pure.

Theory of operation
-------------------
`Accounts` are all users of a process; each connection has a `Login` of them and asks it before anything is
described, set up or sent. A request without credentials is a challenge, not a failure: clients begin so. One with
wrong credentials is a failure: it is counted by address, and to be answered late (`Verdict.late`). From an address
with too many failures credentials are not even looked at for a while.

Rules
-----
1. Without rights a user learns as little as from a name that does not exist: 404. Who has not logged in is asked
   to for every name that is not public, whether it exists or not.
2. Digest: the secret stands for one user, realm and algorithm. The nonce is checked after the proof, so that a
   right answer to an old challenge is `stale`, which clients answer without asking their user again.
3. Digest's `uri` is hashed as the client wrote it, and must name the resource, or what it is part of or relative
   to: clients give the base, the track, a relative one, or one with user and password in it.
4. Basic shows the password to the network: it is looked at only where it was offered.
5. Several challenges: SHA-256 first, then MD5, then Basic; ffmpeg, which knows no SHA-256, takes the last Digest.
"""

import re
from collections.abc import Callable
from enum import Enum
from urllib.parse import unquote

import msgspec

from common.config import Config, User
from common.passwords import Algorithm, digest, digest_secret, fits_hash, same
from server.auth_headers import (
    Basic,
    Credentials,
    Digest,
    basic_challenge,
    digest_challenge,
    parse_authorization,
)
from server.login_failures import BARRED_US, LoginFailures
from server.nonces import Nonces

HASHES_A_SECOND_MAX = 10  # scrypt, some 10 ms each, for all connections together
HASHES_REMEMBERED_MAX = 1024  # logins by Basic whose password was right

OFFERED: dict[str, tuple[Algorithm, ...]] = {
    "md5": ("MD5",),
    "sha256": ("SHA-256",),
    "both": ("SHA-256", "MD5"),
    "never": (),
}

_AUTHORITY = re.compile(r"^[a-z][a-z0-9+.-]*://[^/?#]*", re.IGNORECASE | re.ASCII)


class Outcome(Enum):
    """Of a request. The value is what to say about it."""

    GRANTED = ""
    CHALLENGED = "log in"
    FAILED = "wrong user or password"
    FORBIDDEN = "not for this user"
    BARRED = "too many failed logins: try again in a minute"
    BUSY = "too many log in at once: try again"


DENIALS = {  # the status of each, in RTSP and HTTP; FORBIDDEN is that of what does not exist
    Outcome.CHALLENGED: 401,
    Outcome.FAILED: 401,
    Outcome.FORBIDDEN: 404,
    Outcome.BARRED: 403,
    Outcome.BUSY: 503,
}


class Verdict(msgspec.Struct, frozen=True):
    """user: who asks, if he has logged in. fields: of the headers of the refusal."""

    outcome: Outcome
    user: User | None = None
    fields: list[tuple[str, str]] = []

    @property
    def late(self) -> bool:
        """Whether to keep the client waiting for it."""
        return self.outcome is Outcome.FAILED


GRANTED = Verdict(Outcome.GRANTED)


class Accounts:
    """All users of one process. secret: of the nonces, the same in all processes of the instance."""

    def __init__(self, config: Config, secret: bytes) -> None:
        self.settings = config.auth
        self.users = config.users
        self.nonces = Nonces(secret)
        self.failures = LoginFailures()
        self._secret = secret
        self._remembered: dict[str, None] = {}
        self._hashes = 0
        self._hashes_since_us = 0

    def is_public(self, stream: str) -> bool:
        """Whether a stream is for everybody."""
        return not self.users or self.settings.is_public(stream)

    def proves(self, credentials: Credentials, method: str, now_us: int) -> bool | None:
        """Whether somebody knows his password; None: ask again later. The nonce is not looked at."""
        user = self.users.get(credentials.user)
        if isinstance(credentials, Basic):
            return user is not None and self._is_password(credentials, user, now_us)
        secret = "" if user is None else self._secret_of(user, credentials.user, credentials.algorithm)
        proof = _response(credentials, method, secret or self.nonces.make("", now_us))  # the latter fits nothing
        return same(proof, credentials.response) and secret != ""

    def _secret_of(self, user: User, name: str, algorithm: Algorithm) -> str:
        if user.password:
            return digest_secret(algorithm, name, self.settings.realm, user.password)
        return user.digest_md5 if algorithm == "MD5" else user.digest_sha256

    def _is_password(self, credentials: Basic, user: User, now_us: int) -> bool | None:
        algorithms: tuple[Algorithm, ...] = ("SHA-256", "MD5")
        for algorithm in algorithms:
            secret = self._secret_of(user, credentials.user, algorithm)
            if secret:
                given = digest_secret(algorithm, credentials.user, self.settings.realm, credentials.password)
                return same(given, secret)
        remembered = digest("SHA-256", f"{self._secret.hex()}:{credentials.user}:{credentials.password}")
        if remembered in self._remembered:
            return True
        if now_us - self._hashes_since_us >= 1_000_000:
            self._hashes, self._hashes_since_us = 0, now_us
        if self._hashes >= HASHES_A_SECOND_MAX:
            return None
        self._hashes += 1
        fits = fits_hash(credentials.password, user.password_hash)
        if fits:
            self._remembered[remembered] = None
            if len(self._remembered) > HASHES_REMEMBERED_MAX:
                del self._remembered[next(iter(self._remembered))]
        return fits


class Login:
    """The logins on one connection.

    host: its address. scope: of its nonces. secure: over TLS. protected: `qop` is required, which all HTTP clients
    have: without it a proof could be used twice where the scope is more than this connection.
    """

    def __init__(
        self, accounts: Accounts, host: str, scope: str, clock: Callable[[], int], *, secure: bool, protected: bool
    ) -> None:
        self._accounts = accounts
        self._host = host
        self._scope = scope
        self._clock = clock
        self._protected = protected
        self._digests = OFFERED[accounts.settings.digest]
        self._basic = accounts.settings.basic == "always" or (accounts.settings.basic == "tls" and secure)

    def watch(self, stream: str, method: str, target: str, authorization: str | None) -> Verdict:
        """Whether who sends this request may have the stream, of whatever name."""
        if self._accounts.is_public(stream):
            return GRANTED
        return self.enter(lambda user: user.may_watch(stream), method, target, authorization)

    def enter(
        self, allows: Callable[[User], bool], method: str, target: str, authorization: str | None
    ) -> Verdict:
        """Whether who sends this request has the right that `allows` tells.

        target: of the request, a URL or path. authorization: the header.
        """
        accounts = self._accounts
        if not accounts.users:
            return GRANTED
        if not authorization:
            return self._challenge(Outcome.CHALLENGED)
        now_us = self._clock()
        if accounts.failures.bars(self._host, now_us):
            return Verdict(Outcome.BARRED, None, [("Retry-After", str(BARRED_US // 1_000_000))])
        credentials = parse_authorization(authorization)
        if credentials is None or not self._was_offered(credentials, target):
            return self._challenge(Outcome.CHALLENGED)  # no guess of a password: clients try Basic before they ask
        proved = accounts.proves(credentials, method, now_us)
        if proved is None:
            return Verdict(Outcome.BUSY, None, [("Retry-After", "2")])
        if not proved:
            accounts.failures.note(self._host, now_us)
            return self._challenge(Outcome.FAILED)
        if isinstance(credentials, Digest):
            count = int(credentials.count, 16) if credentials.protection else None
            if not accounts.nonces.use(credentials.nonce, self._scope, count, now_us):
                return self._challenge(Outcome.CHALLENGED, stale=True)
        user = accounts.users[credentials.user]
        return Verdict(Outcome.GRANTED if allows(user) else Outcome.FORBIDDEN, user)

    def _was_offered(self, credentials: Credentials, target: str) -> bool:
        if isinstance(credentials, Basic):
            return self._basic
        if credentials.algorithm not in self._digests or (self._protected and not credentials.protection):
            return False
        return is_of(credentials.uri, target)

    def _challenge(self, outcome: Outcome, *, stale: bool = False) -> Verdict:
        accounts = self._accounts
        realm = accounts.settings.realm
        nonce = accounts.nonces.make(self._scope, self._clock())
        values = [digest_challenge(realm, nonce, algorithm, stale) for algorithm in self._digests]
        if self._basic:
            values.append(basic_challenge(realm))
        return Verdict(outcome, None, [("WWW-Authenticate", value) for value in values])


def is_of(uri: str, target: str) -> bool:
    """Whether the `uri` of a proof stands for a request's target: the same, its base, its track, or relative."""
    if not uri.startswith("/") and not _AUTHORITY.match(uri):
        return True
    one, other = path_of(uri), path_of(target)
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


def path_of(url: str) -> str:
    """The decoded path of a URL or of an absolute path, without query, fragment, and slashes at its ends."""
    path = _AUTHORITY.sub("", url, count=1)
    return unquote(re.split(r"[?#]", path, maxsplit=1)[0]).strip("/")


def _response(given: Digest, method: str, secret: str) -> str:
    """The proof that fits a secret: RFC 7616 3.4.1, without protection RFC 2069 2.1.1."""
    request = digest(given.algorithm, f"{method}:{given.uri}")
    if not given.protection:
        return digest(given.algorithm, f"{secret}:{given.nonce}:{request}")
    middle = f"{given.nonce}:{given.count}:{given.cnonce}:{given.protection}"
    return digest(given.algorithm, f"{secret}:{middle}:{request}")
