"""The corpus, whole and damaged, without an unexpected exception. `python -m tests.fuzz` goes on from there."""

import random

import pytest

from tests.fuzz.inputs import load, mutated
from tests.fuzz.targets import PASSWORD, TARGETS
from tests.support.digest_client import basic_answer

DAMAGED = 1500  # inputs of each target


@pytest.mark.parametrize("target", TARGETS)
def test_the_corpus(target: str) -> None:
    corpus = load(target)
    assert corpus
    for data in corpus:
        TARGETS[target](data)


@pytest.mark.parametrize("target", TARGETS)
def test_damage(target: str) -> None:
    corpus = load(target)
    for seed in range(DAMAGED):
        data = mutated(corpus, random.Random(f"{target} {seed}"))
        try:
            TARGETS[target](data)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {data!r}") from error


def test_a_fault_would_be_seen() -> None:
    """Of the harness: it does look at what comes back."""
    right = basic_answer("alice", PASSWORD).encode()
    with pytest.raises(AssertionError, match="does not know the password"):
        TARGETS["rtsp"](
            b"\xff\0DESCRIBE rtsp://h/cam RTSP/1.0\r\nCSeq: 1\r\nAuthorization: " + right + b"\r\n\r\n"
        )
