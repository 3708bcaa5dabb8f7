"""What one client may take."""

from server.limits import (
    INPUT_BYTES_A_SECOND_MAX,
    REQUESTS_A_SECOND_MAX,
    Addresses,
    Allowance,
    peer_host,
)


def test_addresses_are_counted_and_forgotten() -> None:
    addresses = Addresses()
    for host in ("192.0.2.1", "192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1", "2001:db8::2"):
        addresses.add(host)
    assert addresses.count("192.0.2.1") == 3
    assert addresses.count("2001:db8::9") == 2, "of one network"
    assert addresses.count("192.0.2.2") == 0
    for host in ("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1", "2001:db8::2", "2001:db8::1"):
        addresses.remove(host)
    assert addresses._counts == {}


def test_an_allowance() -> None:
    allowance = Allowance()
    allowance.spend(REQUESTS_A_SECOND_MAX - 1, INPUT_BYTES_A_SECOND_MAX - 1)
    assert not allowance.spent
    allowance.spend(0, 1)
    assert allowance.spent
    allowance.renew()
    assert not allowance.spent
    allowance.spend(REQUESTS_A_SECOND_MAX, 0)
    assert allowance.spent


def test_the_address_of_a_peer() -> None:
    assert [peer_host(peer) for peer in ("192.0.2.1:80", "[::1]:80")] == ["192.0.2.1", "::1"]
