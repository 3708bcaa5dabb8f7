"""What is stored of a password."""

import hashlib
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.passwords import HASH_PATTERN, SALT_BYTES, digest_secret, fits_hash, hash_password, same

SALT = bytes(range(SALT_BYTES))


def test_digest_secrets_are_those_of_the_standard() -> None:
    # RFC 2617 3.5 and RFC 7616 3.9.1, made with md5sum and sha256sum.
    assert digest_secret("MD5", "Mufasa", "testrealm@host.com", "Circle Of Life") == (
        "939e7578ed9e3c518a452acee763bce9"
    )
    assert digest_secret("SHA-256", "Mufasa", "http-auth@example.org", "Circle of Life") == (
        "7987c64c30e25f1b74be53f966b49b90f2808aa92faf9a00262392d7b4794232"
    )


@given(st.text(max_size=40))
@settings(max_examples=10)
def test_a_hash_fits_its_password_only(password: str) -> None:
    stored = hash_password(password, SALT)
    assert re.search(HASH_PATTERN, stored)
    assert fits_hash(password, stored)
    assert not fits_hash(password + "x", stored)
    assert hash_password(password, SALT[::-1]) != stored


def test_a_hash_is_scrypt() -> None:
    made = hashlib.scrypt("pässword".encode(), salt=SALT, n=4096, r=8, p=1, dklen=32)
    assert hash_password("pässword", SALT) == f"scrypt:{SALT.hex()}:{made.hex()}"


@pytest.mark.parametrize(("one", "other"), [("", ""), ("a", "b"), ("a", "ab"), ("ä", "ä"), ("\ud800", "\ud800")])
def test_same(one: str, other: str) -> None:
    assert same(one, other) == (one == other)
