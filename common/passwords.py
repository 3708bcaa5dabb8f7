"""How passwords are stored and compared: the secrets of Digest (RFC 7616 3.4.2), and scrypt (RFC 7914). Pure.

A Digest secret ("HA1") hides the password's text, but whoever has it can log in by Digest: it is to be kept like
the password itself. A scrypt hash cannot be used so, and serves Basic alone.
"""

import hashlib
import hmac
from typing import Literal

Algorithm = Literal["MD5", "SHA-256"]

SCRYPT_COST = 1 << 12  # N: 4 MB and some 10 ms each, so that a server process is never held up for long
SCRYPT_BLOCK = 8  # r
SALT_BYTES = 16
HASH_BYTES = 32
HASH_PATTERN = rf"^(scrypt:[0-9a-f]{{{2 * SALT_BYTES}}}:[0-9a-f]{{{2 * HASH_BYTES}}})?$"


def digest(algorithm: Algorithm, text: str) -> str:
    """The hash of a text in UTF-8, lower-case hexadecimal."""
    if algorithm == "MD5":
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()  # what RFC 2617 has, and old clients
    return hashlib.sha256(text.encode()).hexdigest()


def digest_secret(algorithm: Algorithm, user: str, realm: str, password: str) -> str:
    """What Digest needs to know of a password, hexadecimal."""
    return digest(algorithm, f"{user}:{realm}:{password}")


def hash_password(password: str, salt: bytes) -> str:
    """What Basic needs to know of a password, as HASH_PATTERN has it. salt: SALT_BYTES, never used before."""
    return f"scrypt:{salt.hex()}:{_scrypt(password, salt).hex()}"


def fits_hash(password: str, stored: str) -> bool:
    """Whether `stored`, made by `hash_password`, is of this password. Takes as long in either case."""
    _, salt, hashed = stored.split(":")
    return hmac.compare_digest(_scrypt(password, bytes.fromhex(salt)), bytes.fromhex(hashed))


def same(one: str, other: str) -> bool:
    """Whether two texts are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(one.encode("utf-8", "surrogatepass"), other.encode("utf-8", "surrogatepass"))


def _scrypt(password: str, salt: bytes) -> bytes:
    key = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(key, salt=salt, n=SCRYPT_COST, r=SCRYPT_BLOCK, p=1, dklen=HASH_BYTES)
