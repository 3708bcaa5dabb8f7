"""Where the ends of lines are, on one host and on several."""

import pytest

from common.config import Config, Host, Processes, Stream
from common.lines import Far, KeyPair, Lines, muxer_names, tcp_endpoint

KEYS = KeyPair("p" * 40, "s" * 40)
FLEET = Config(
    runtime_dir="/r",
    hosts={
        "yard": Host("y" * 40, "key", address="10.0.0.2"),
        "hub": Host("h" * 40, "key", address="hub.example", port=7000, muxers=2, listen="::"),
        "edge": Host("e" * 40, "key", servers=1),
    },
    streams={
        "door": Stream("test:", host="yard", port=7100),
        "lamp": Stream("test:", host="hub", port=7101),
    },
)


def at(here: str, fleet: Config = FLEET) -> Lines:
    return Lines(Config(here=here, runtime_dir="/r", hosts=fleet.hosts, streams=fleet.streams), KEYS)


def test_one_host_has_all_in_its_directory() -> None:
    lines = Lines(Config(runtime_dir="/r", processes=Processes(muxers=2), streams={"door": Stream("test:")}))
    assert lines.muxers == ["muxer-0", "muxer-1"]
    assert lines.muxer(1) == "muxer-1"
    assert lines.samples_out("door") == [lines.samples_in("door")] == ["ipc:///r/capture-door"]
    assert lines.frames_out(1) == [lines.frames_in("muxer-1")] == ["ipc:///r/muxer-1"]
    assert not lines.is_far("door")


def test_a_capture_listens_for_its_own_host_and_for_muxers_elsewhere() -> None:
    assert at("yard").samples_out("door") == ["ipc:///r/capture-door", Far("tcp://10.0.0.2:7100", KEYS)]
    assert at("hub").samples_in("door") == Far("tcp://10.0.0.2:7100", KEYS, "y" * 40)
    assert at("hub").is_far("door")


def test_what_stays_on_its_host_does_not_listen_on_tcp() -> None:
    assert at("hub").samples_in("lamp") == "ipc:///r/capture-lamp"
    assert at("hub").samples_out("lamp") == ["ipc:///r/capture-lamp"]
    assert not at("hub").is_far("lamp")


def test_servers_find_muxers_by_name_on_all_hosts() -> None:
    for here in FLEET.hosts:
        assert at(here).muxers == ["hub/muxer-0", "hub/muxer-1"]
        assert at(here).muxer_of("door") == at("edge").muxer_of("door")
    assert at("edge").frames_in("hub/muxer-1") == Far("tcp://hub.example:7001", KEYS, "h" * 40)
    assert at("hub").frames_in("hub/muxer-1") == "ipc:///r/muxer-1"
    assert at("hub").muxer(1) == "hub/muxer-1"
    assert at("hub").frames_out(1) == ["ipc:///r/muxer-1", Far("tcp://[::]:7001", KEYS)]


def test_another_muxer_host_moves_only_what_it_wins() -> None:
    streams = {f"cam{number}": Stream("test:", host="yard", port=8000 + number) for number in range(200)}
    hosts = FLEET.hosts | {"hub2": Host("i" * 40, "key", address="10.0.0.9", port=7000, muxers=2)}
    before, after = (at("edge", Config(hosts=which, streams=streams)) for which in (FLEET.hosts, hosts))
    moved = [name for name in streams if before.muxer_of(name) != after.muxer_of(name)]
    assert {after.muxer_of(name).partition("/")[0] for name in moved} == {"hub2"}
    assert 60 < len(moved) < 140  # half of the muxers are new


def test_muxer_names_are_those_of_the_settings() -> None:
    assert muxer_names(Config(processes=Processes(muxers=3))) == ["muxer-0", "muxer-1", "muxer-2"]
    assert muxer_names(FLEET) == ["hub/muxer-0", "hub/muxer-1"]


@pytest.mark.parametrize(
    ("address", "endpoint"),
    [
        ("10.0.0.1", "tcp://10.0.0.1:7000"),
        ("hub.example", "tcp://hub.example:7000"),
        ("2001:db8::1", "tcp://[2001:db8::1]:7000"),
    ],
)
def test_addresses_of_all_kinds(address: str, endpoint: str) -> None:
    assert tcp_endpoint(address, 7000) == endpoint
