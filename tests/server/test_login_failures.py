"""Failed logins by address."""

import pytest

from server.login_failures import (
    ADDRESSES_MAX,
    BARRED_US,
    FAILURES_MAX,
    WINDOW_US,
    LoginFailures,
    subscriber,
)


def fail(failures: LoginFailures, host: str, times: int, now_us: int = 0) -> None:
    for _ in range(times):
        failures.note(host, now_us)


def test_too_many_bar_an_address_for_a_while() -> None:
    failures = LoginFailures()
    fail(failures, "192.0.2.1", FAILURES_MAX - 1)
    assert not failures.bars("192.0.2.1", 0)
    failures.note("192.0.2.1", 5)
    assert failures.bars("192.0.2.1", 5)
    assert failures.bars("192.0.2.1", 4 + BARRED_US)
    assert not failures.bars("192.0.2.1", 5 + BARRED_US)
    assert not failures.bars("192.0.2.2", 5), "another's"
    assert (failures.failures, failures.barred) == (FAILURES_MAX, 2)


def test_few_at_a_time_bar_nobody() -> None:
    failures = LoginFailures()
    for now_us in range(0, 10 * WINDOW_US, WINDOW_US):
        fail(failures, "192.0.2.1", FAILURES_MAX - 1, now_us)
        assert not failures.bars("192.0.2.1", now_us)


def test_the_table_is_bounded() -> None:
    failures = LoginFailures()
    fail(failures, "192.0.2.1", FAILURES_MAX)
    for number in range(ADDRESSES_MAX):
        failures.note(f"host {number}", 0)
    assert failures.forgotten == 1
    assert not failures.bars("192.0.2.1", 0)
    failures.note("host 0", 0)
    failures.note("a new one", 0)
    fail(failures, "host 0", FAILURES_MAX - 2)
    assert failures.bars("host 0", 0), "what failed lately is kept"


@pytest.mark.parametrize(
    ("host", "whom"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("no address", "no address"),
    ],
)
def test_subscriber(host: str, whom: str) -> None:
    assert subscriber(host) == whom
