"""Who may do what, and how little the others learn."""

from itertools import count
from typing import Any

import pytest

from common.config import from_document
from common.passwords import digest_secret, hash_password
from server.auth import HASHES_A_SECOND_MAX, Accounts, Login, Outcome, Verdict, is_of, path_of
from server.auth_headers import Digest
from server.login_failures import BARRED_US, FAILURES_MAX
from server.nonces import NONCE_AGE_US_MAX
from tests.support.digest_client import basic_answer, challenges, digest_answer

USERS: dict[str, dict[str, Any]] = {
    "clear": {"password": "pä:ss", "streams": ["door", "yard*"], "stats": True},
    "md5": {"digest_md5": digest_secret("MD5", "md5", "r", "pw"), "streams": ["door"]},
    "sha": {"digest_sha256": digest_secret("SHA-256", "sha", "r", "pw")},
    "salted": {"password_hash": hash_password("pw", bytes(16))},
}
PASSWORDS = {"clear": "pä:ss", "md5": "pw", "sha": "pw", "salted": "pw"}
URL = "rtsp://h:8554/door"


class Desk:
    """Accounts with a clock of their own, and a client of them."""

    def __init__(self, *, secure: bool = False, protected: bool = False, **auth: object) -> None:
        self.now_us = 1_000_000
        config = from_document({"auth": {"realm": "r", "public": ["lobby"], **auth}, "users": USERS})
        self.accounts = Accounts(config, b"secret")
        self.login = Login(
            self.accounts, "192.0.2.1", "scope", lambda: self.now_us, secure=secure, protected=protected
        )
        self._counts = count(1)

    def challenge(self, algorithm: str = "MD5") -> dict[str, str]:
        """Of a first request."""
        verdict = self.login.watch("door", "DESCRIBE", URL, None)
        assert verdict.outcome is Outcome.CHALLENGED
        assert not verdict.late
        return next(one for one in challenges(verdict.fields) if one.get("algorithm") == algorithm)

    def digest(
        self, user: str, stream: str = "door", uri: str = URL, algorithm: str = "MD5", password: str | None = None
    ) -> Verdict:
        """A whole login."""
        given = password if password is not None else PASSWORDS.get(user, "")
        answer = digest_answer(self.challenge(algorithm), "DESCRIBE", uri, user, given, count=next(self._counts))
        return self.login.watch(stream, "DESCRIBE", f"rtsp://h:8554/{stream}", answer)

    def basic(self, user: str, password: str | None = None) -> Verdict:
        given = password if password is not None else PASSWORDS.get(user, "")
        return self.login.watch("door", "GET", "/door.ts", basic_answer(user, given))


def test_without_users_everything_is_for_everybody() -> None:
    login = Login(Accounts(from_document({}), b""), "h", "s", lambda: 0, secure=False, protected=False)
    assert login.watch("any", "DESCRIBE", URL, None).outcome is Outcome.GRANTED
    assert login.enter(lambda _: False, "GET", "/api/stats", "garbage").outcome is Outcome.GRANTED


def test_the_proofs_of_the_standard_itself() -> None:
    """RFC 7616 3.9.1, both algorithms, and RFC 2617 3.5."""
    users = {"Mufasa": {"password": "Circle of Life"}}
    accounts = Accounts(from_document({"auth": {"realm": "http-auth@example.org"}, "users": users}), b"")
    proof = Digest(
        "Mufasa", "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", "/dir/index.html",
        "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1", "SHA-256", "auth", "00000001",
        "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
    )  # fmt: skip
    assert accounts.proves(proof, "GET", 0)
    assert not accounts.proves(proof, "POST", 0)
    response = "8ca523f5e9506fed4657c9700eebdbec"
    md5 = Digest(proof.user, proof.nonce, proof.uri, response, "MD5", "auth", proof.count, proof.cnonce)
    assert accounts.proves(md5, "GET", 0)
    users = {"Mufasa": {"password": "Circle Of Life"}}
    accounts = Accounts(from_document({"auth": {"realm": "testrealm@host.com"}, "users": users}), b"")
    assert accounts.proves(
        Digest(
            "Mufasa", "dcd98b7102dd2f0e8b11d0f600bfb0c093", "/dir/index.html", "6629fae49393a05397450978507c4ef1",
            "MD5", "auth", "00000001", "0a4f113b",
        ), "GET", 0,
    )  # fmt: skip


@pytest.mark.parametrize(("setting", "offered"), [
    ({}, ["Digest MD5"]),
    ({"digest": "both"}, ["Digest SHA-256", "Digest MD5"]),
    ({"digest": "sha256", "basic": "always"}, ["Digest SHA-256", "Basic"]),
    ({"digest": "never", "basic": "always"}, ["Basic"]),
    ({"secure": True}, ["Digest MD5", "Basic"]),
    ({"secure": True, "basic": "never"}, ["Digest MD5"]),
])  # fmt: skip
def test_what_is_offered(setting: dict[str, Any], offered: list[str]) -> None:
    found = challenges(Desk(**setting).login.watch("door", "DESCRIBE", URL, None).fields)
    assert [f"{one['scheme']} {one.get('algorithm', '')}".strip() for one in found] == offered
    assert {one["realm"] for one in found} == {"r"}


@pytest.mark.parametrize(("user", "algorithm"), [
    ("clear", "MD5"), ("clear", "SHA-256"), ("md5", "MD5"), ("sha", "SHA-256"),
])  # fmt: skip
def test_digest(user: str, algorithm: str) -> None:
    desk = Desk(digest="both")
    assert desk.digest(user, algorithm=algorithm).outcome is Outcome.GRANTED
    wrong = desk.digest(user, algorithm=algorithm, password="no")
    assert wrong.outcome is Outcome.FAILED
    assert wrong.late
    assert challenges(wrong.fields)
    assert desk.accounts.failures.failures == 1


@pytest.mark.parametrize(("user", "algorithm"), [
    ("md5", "SHA-256"), ("sha", "MD5"), ("salted", "MD5"), ("nobody", "MD5"), ("", "SHA-256"),
])  # fmt: skip
def test_a_secret_that_is_not_there_fits_nothing(user: str, algorithm: str) -> None:
    desk = Desk(digest="both")
    assert desk.digest(user, algorithm=algorithm).outcome is Outcome.FAILED
    empty = Digest(user, "n", "u", "", "MD5")
    assert not desk.accounts.proves(empty, "GET", 0)


@pytest.mark.parametrize("user", PASSWORDS)
def test_basic(user: str) -> None:
    desk = Desk(basic="always")
    assert desk.basic(user).outcome is Outcome.GRANTED
    assert desk.basic(user, "no").outcome is Outcome.FAILED
    assert desk.basic(user, "").outcome is Outcome.FAILED
    assert desk.basic("nobody").outcome is Outcome.FAILED


def test_basic_is_not_looked_at_where_it_was_not_offered() -> None:
    assert Desk(secure=True).basic("clear").outcome is Outcome.GRANTED
    for desk in (Desk(), Desk(secure=True, basic="never")):
        assert desk.basic("clear").outcome is Outcome.CHALLENGED
        assert desk.basic("clear", "no").outcome is Outcome.CHALLENGED
        assert desk.accounts.failures.failures == 0


def test_hashing_is_not_to_be_had_without_end() -> None:
    desk = Desk(basic="always")
    outcomes = [desk.basic("salted", "no").outcome for _ in range(FAILURES_MAX - 1)]
    assert {*outcomes} == {Outcome.FAILED}
    desk.accounts.failures = type(desk.accounts.failures)()  # as if they came from many addresses
    for _ in range(HASHES_A_SECOND_MAX):
        desk.basic("salted", "no")
        desk.accounts.failures = type(desk.accounts.failures)()
    assert desk.basic("salted", "no").outcome is Outcome.BUSY
    desk.now_us += 1_000_000
    assert desk.basic("salted").outcome is Outcome.GRANTED
    assert {desk.basic("salted").outcome for _ in range(2 * HASHES_A_SECOND_MAX)} == {Outcome.GRANTED}, (
        "remembered"
    )


def test_rights() -> None:
    desk = Desk()
    assert desk.digest("clear", "yard2").outcome is Outcome.CHALLENGED, "the proof is for another"
    for stream, outcome in (("yard2", Outcome.GRANTED), ("hall", Outcome.FORBIDDEN), ("", Outcome.FORBIDDEN)):
        assert desk.digest("clear", stream, uri=f"rtsp://h/{stream}").outcome is outcome
    assert desk.login.watch("lobby", "DESCRIBE", "rtsp://h/lobby", None).outcome is Outcome.GRANTED
    assert desk.login.watch("lobby", "DESCRIBE", "rtsp://h/lobby", "garbage").outcome is Outcome.GRANTED


def test_rights_that_are_no_stream_s() -> None:
    desk = Desk(basic="always")
    for user, outcome in (("clear", Outcome.GRANTED), ("md5", Outcome.FORBIDDEN)):
        answer = basic_answer(user, PASSWORDS[user])
        assert desk.login.enter(lambda user: user.stats, "GET", "/api/stats", answer).outcome is outcome


def test_a_right_answer_to_an_old_challenge_is_stale() -> None:
    desk = Desk()
    old = desk.challenge()
    desk.now_us += NONCE_AGE_US_MAX + 1
    verdict = desk.login.watch("door", "SETUP", URL, digest_answer(old, "SETUP", URL, "md5", "pw"))
    assert verdict.outcome is Outcome.CHALLENGED
    [new] = challenges(verdict.fields)
    assert new["stale"] == "true"
    assert new["nonce"] != old["nonce"]
    answer = digest_answer(new, "SETUP", URL, "md5", "pw")
    assert desk.login.watch("door", "SETUP", URL, answer).outcome is Outcome.GRANTED
    assert desk.login.watch("door", "SETUP", URL, answer).outcome is Outcome.CHALLENGED, "said again"
    wrong = digest_answer(old, "SETUP", URL, "md5", "no")
    assert desk.login.watch("door", "SETUP", URL, wrong).outcome is Outcome.FAILED


def test_an_answer_to_another_connection_s_challenge_is_stale() -> None:
    desk = Desk()
    other = Login(desk.accounts, "192.0.2.1", "other", lambda: desk.now_us, secure=False, protected=False)
    answer = digest_answer(desk.challenge(), "DESCRIBE", URL, "md5", "pw")
    verdict = other.watch("door", "DESCRIBE", URL, answer)
    assert verdict.outcome is Outcome.CHALLENGED
    assert challenges(verdict.fields)[0]["stale"] == "true"
    assert desk.login.watch("door", "DESCRIBE", URL, answer).outcome is Outcome.GRANTED


def test_old_rtsp_clients_know_no_qop_but_http_clients_do() -> None:
    for protected, outcome in ((False, Outcome.GRANTED), (True, Outcome.CHALLENGED)):
        desk = Desk(protected=protected)
        challenge = desk.challenge()
        answer = digest_answer(challenge, "DESCRIBE", URL, "md5", "pw", count=None)
        assert desk.login.watch("door", "DESCRIBE", URL, answer).outcome is outcome
        del challenge["algorithm"]  # clients that know MD5 only do not name it
        answer = digest_answer(challenge, "DESCRIBE", URL, "md5", "pw", count=None)
        assert desk.login.watch("door", "DESCRIBE", URL, answer).outcome is outcome


def test_too_many_failures() -> None:
    desk = Desk()
    assert {desk.digest("md5", password="no").outcome for _ in range(FAILURES_MAX)} == {Outcome.FAILED}
    barred = desk.digest("md5")
    assert barred.outcome is Outcome.BARRED
    assert ("Retry-After", "60") in barred.fields
    desk.now_us += BARRED_US
    assert desk.digest("md5").outcome is Outcome.GRANTED


def test_garbage_is_no_login() -> None:
    desk = Desk()
    for text in ("", " ", "Digest", "Basic", "Bearer x", 'Digest username="md5"', "\x00"):
        assert desk.login.watch("door", "DESCRIBE", URL, text).outcome is Outcome.CHALLENGED
    assert desk.accounts.failures.failures == 0


@pytest.mark.parametrize(("uri", "target", "fits"), [
    ("rtsp://h/door", "rtsp://h:8554/door/", True),
    ("rtsp://h/door/", "rtsp://h/door/stream=0", True),
    ("rtsp://h/door/stream=0", "rtsp://h/door", True),
    ("rtsp://user:pass@h/door", "rtsp://h/door", True),
    ("/door", "rtsp://h/door", True),
    ("stream=0", "rtsp://h/door/stream=0", True),
    ("*", "rtsp://h/door", True),
    ("/door.ts?x=/a", "http://h/door.ts", True),
    ("RTSP://h/d%6For", "rtsp://h/door", True),
    ("rtsp://h/yard", "rtsp://h/door", False),
    ("rtsp://h/doo", "rtsp://h/door", False),
    ("rtsp://h/", "rtsp://h/door", False),
    ("/", "/api/stats", False),
])  # fmt: skip
def test_the_uri_that_a_proof_is_for(uri: str, target: str, fits: bool) -> None:
    assert is_of(uri, target) is fits


def test_a_path_with_a_url_in_its_query() -> None:
    assert path_of("/door?of=rtsp://h/x") == "door"
