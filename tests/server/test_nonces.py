"""Nonces: ours, for one scope, young, and each use counted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.nonces import NONCE_AGE_US_MAX, USED_MAX, Nonces

NOW = 5_000_000_000


def test_a_nonce_is_good_for_its_scope_and_time() -> None:
    nonces = Nonces(b"secret")
    nonce = nonces.make("h:1", NOW)
    assert nonces.use(nonce, "h:1", None, NOW)
    assert nonces.use(nonce, "h:1", None, NOW + NONCE_AGE_US_MAX)
    assert not nonces.use(nonce, "h:1", None, NOW + NONCE_AGE_US_MAX + 1)
    assert not nonces.use(nonce, "h:1", None, NOW - 1), "from the future"
    assert not nonces.use(nonce, "h:2", None, NOW)


def test_another_process_with_the_same_secret_knows_it() -> None:
    nonce = Nonces(b"secret").make("h", NOW)
    assert Nonces(b"secret").use(nonce, "h", 1, NOW)
    assert not Nonces(b"other").use(nonce, "h", 1, NOW)


def test_no_two_are_equal() -> None:
    nonces = Nonces(b"secret")
    assert len({nonces.make("h", NOW) for _ in range(100)}) == 100


def test_its_count_only_grows() -> None:
    nonces = Nonces(b"secret")
    nonce = nonces.make("h", NOW)
    uses = [(1, True), (1, False), (2, True), (9, True), (3, False), (0, False), (10, True)]
    assert [nonces.use(nonce, "h", count, NOW) for count, _ in uses] == [good for _, good in uses]


def test_what_is_forgotten_is_not_taken_again() -> None:
    nonces = Nonces(b"secret")
    made = [nonces.make("h", NOW + index) for index in range(USED_MAX + 1)]
    assert all(nonces.use(nonce, "h", 1, NOW + USED_MAX) for nonce in made)
    assert not nonces.use(made[0], "h", 1, NOW + USED_MAX)
    assert not nonces.use(made[0], "h", 2, NOW + USED_MAX)
    assert nonces.use(made[1], "h", 2, NOW + USED_MAX)


@given(st.text(max_size=80) | st.text("0123456789abcdef", min_size=50, max_size=60))
def test_what_is_none_of_ours(text: str) -> None:
    assert not Nonces(b"secret").use(text, "h", None, NOW)


@pytest.mark.parametrize("at", range(56))
def test_no_digit_can_be_changed(at: int) -> None:
    nonces = Nonces(b"secret")
    nonce = nonces.make("h", NOW)
    assert len(nonce) == 56
    spoilt = nonce[:at] + ("0" if nonce[at] != "0" else "1") + nonce[at + 1 :]
    assert not nonces.use(spoilt, "h", None, NOW)
