"""Authorization and WWW-Authenticate, of RTSP and HTTP alike (RFC 7616, 7617, and 2617 of old clients). Pure."""

import base64
import binascii
import re

import msgspec

from common.passwords import Algorithm

PARAMETERS_MAX = 32  # of one header; clients send 9

_PARAMETER = re.compile(r'[\s,]*([\w*-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))', re.ASCII | re.DOTALL)
_REQUIRED = {"username", "nonce", "uri", "response"}
_ALGORITHMS: dict[str, Algorithm] = {"": "MD5", "MD5": "MD5", "SHA-256": "SHA-256"}


class Basic(msgspec.Struct, frozen=True):
    """A user and a password, as they are."""

    user: str
    password: str


class Digest(msgspec.Struct, frozen=True):
    """A proof that a user knows a password. nonce: of a challenge of ours, if it is honest.

    protection: "auth", or "" of clients that know RFC 2069 only: these have no count and no cnonce. count: of uses
    of the nonce, as it was written.
    """

    user: str
    nonce: str
    uri: str
    response: str
    algorithm: Algorithm = "MD5"
    protection: str = ""
    count: str = ""
    cnonce: str = ""


Credentials = Basic | Digest


def parse_authorization(text: str) -> Credentials | None:
    """The credentials in an Authorization header; None for what makes no sense, or is of another scheme."""
    scheme, _, rest = text.strip().partition(" ")
    if scheme.lower() == "basic":
        return _parse_basic(rest.strip())
    if scheme.lower() == "digest":
        return _parse_digest(rest)
    return None


def digest_challenge(realm: str, nonce: str, algorithm: Algorithm, stale: bool) -> str:
    """A WWW-Authenticate header. stale: the last answer was right, but for its nonce."""
    fields = [f'realm="{realm}"', f'nonce="{nonce}"', f"algorithm={algorithm}", 'qop="auth"']
    return f"Digest {', '.join([*fields, 'stale=true'] if stale else fields)}"


def basic_challenge(realm: str) -> str:
    """A WWW-Authenticate header."""
    return f'Basic realm="{realm}"'


def _parse_basic(text: str) -> Basic | None:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    try:
        user, colon, password = data.decode().partition(":")
    except UnicodeDecodeError:
        user, colon, password = data.decode("latin-1").partition(":")
    return Basic(user, password) if colon else None


def _parse_digest(text: str) -> Digest | None:
    fields: dict[str, str] = {}
    at = 0
    for _ in range(PARAMETERS_MAX):
        match = _PARAMETER.match(text, at)
        if match is None:
            break
        name, quoted, token = match.groups()
        fields.setdefault(name.lower(), token if quoted is None else re.sub(r"\\(.)", r"\1", quoted))
        at = match.end()
    algorithm = _ALGORITHMS.get(fields.get("algorithm", "").upper())
    protection = fields.get("qop", "").lower()
    if algorithm is None or protection not in ("", "auth") or not fields.keys() >= _REQUIRED:
        return None
    count = fields.get("nc", "")
    if protection and not re.fullmatch(r"[0-9a-f]{8}", count, re.IGNORECASE | re.ASCII):
        return None
    return Digest(
        fields["username"], fields["nonce"], fields["uri"], fields["response"].lower(), algorithm, protection,
        count, fields.get("cnonce", ""),
    )  # fmt: skip
