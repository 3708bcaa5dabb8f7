"""Settings of several hosts: what is wrong with them is said by key, and each host runs what lives there."""

import os
from pathlib import Path

import pytest

from common import config as settings
from common import keys
from common.config import Config
from common.errors import SettingsError
from deploy.changes import Restart, Tell, check_fixed, in_words, steps
from deploy.cli import main
from deploy.effective import settle
from deploy.hosts import at_host, check_hosts
from deploy.supervisor import process_names

KEY = "k" * 40
TEXT = f"""
[hosts.yard]
public_key = "{KEY}"
key_file = "/yard.key"
address = "10.0.0.2"
[hosts.hub]
public_key = "{KEY}"
key_file = "/hub.key"
address = "10.0.0.1"
port = 7000
muxers = 2
[hosts.edge]
public_key = "{KEY}"
key_file = "/edge.key"
servers = 3
[streams.door]
source = "test:"
host = "yard"
port = 7100
[streams.lamp]
source = "test:"
host = "hub"
"""


def at(here: str, text: str = TEXT) -> Config:
    return at_host(settings.parse(text), here)


def test_each_host_runs_what_lives_there() -> None:
    check_hosts(settings.parse(TEXT))
    assert process_names(at("yard")) == [("capture", "capture-door")]
    hub = [name for _, name in process_names(at("hub"))]
    assert hub == ["muxer-0", "muxer-1", "capture-lamp"]
    assert [name for _, name in process_names(at("edge"))] == ["server-0", "server-1", "server-2"]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (("muxers = 2", ""), r"no host has muxers: .* - at `\$.hosts.NAME.muxers`"),
        (("servers = 3", ""), r"no host has servers: .* - at `\$.hosts.NAME.servers`"),
        (('host = "yard"', ""), r"say on which of the hosts its source is - at `\$.streams.door.host`"),
        (('host = "yard"', 'host = "barn"'), r"there is no host barn among hosts - at `\$.streams.door.host`"),
        (("port = 7100", ""), r"muxers of other hosts need a port of its own - at `\$.streams.door.port`"),
        (("port = 7000", ""), r"servers of other hosts need a port of its muxers - at `\$.hosts.hub.port`"),
        (
            ("port = 7000", "port = 65535"),
            r"servers of other hosts need a port of its muxers - at `\$.hosts.hub.port`",
        ),
        (('address = "10.0.0.2"', ""), r"other hosts need its address - at `\$.hosts.yard.address`"),
        (('address = "10.0.0.1"', ""), r"other hosts need its address - at `\$.hosts.hub.address`"),
        (
            ('host = "hub"', 'host = "yard"\nport = 7100'),
            r"port 7100 is asked for twice: \$.streams.door.port has it, too - at `\$.streams.lamp.port`",
        ),
    ],
)
def test_what_is_missing_is_named(change: tuple[str, str], fault: str) -> None:
    assert change[0] in TEXT
    with pytest.raises(SettingsError, match=f"^{fault}$"):
        check_hosts(settings.parse(TEXT.replace(*change)))


def test_a_port_of_a_muxer_and_of_a_stream_are_not_the_same() -> None:
    text = TEXT.replace('host = "hub"', 'host = "hub"\nport = 7001').replace(
        "servers = 3", "servers = 3\nmuxers = 1"
    )
    text = text.replace('key_file = "/edge.key"', 'key_file = "/edge.key"\naddress = "10.0.0.3"\nport = 7000')
    text = text.replace('address = "10.0.0.2"', 'address = "10.0.0.2"\nservers = 1')
    with pytest.raises(SettingsError, match=r"port 7001 is asked for twice: \$.hosts.hub.port has it"):
        check_hosts(settings.parse(text))


def test_one_host_alone_needs_no_address() -> None:
    check_hosts(
        settings.parse(
            f'[hosts.one]\npublic_key = "{KEY}"\nkey_file = "k"\nmuxers = 1\nservers = 1\n'
            '[streams.a]\nsource = "test:"\nhost = "one"'
        )
    )


def test_multicast_is_for_servers_of_one_host() -> None:
    text = '[rtsp]\nmulticast_groups = "239.192.7.0/24"\n' + TEXT
    check_hosts(settings.parse(text))
    with pytest.raises(SettingsError, match=r"the same groups - at `\$.rtsp.multicast_groups`"):
        check_hosts(settings.parse(text.replace("muxers = 2", "muxers = 2\nservers = 1")))


def test_which_host_this_is_must_be_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "fleet.toml"
    text = TEXT.replace('"/', f'"{tmp_path}/')
    for name in ("yard", "hub", "edge"):
        text = text.replace(KEY, keys.make(tmp_path / f"{name}.key").public_key, 1)
    file.write_text(text)
    monkeypatch.setattr("socket.gethostname", lambda: "edge")
    assert settle(str(file), {}, []).here == "edge"
    assert settle(str(file), {"--here": ("here", "yard")}, []).processes.servers == 0
    monkeypatch.setattr("socket.gethostname", lambda: "elsewhere")
    with pytest.raises(SettingsError, match=r"'elsewhere' is none of yard, hub, edge: say it by --here NAME"):
        settle(str(file), {}, [])
    with pytest.raises(SettingsError, match=r"--servers: with hosts the number stands there"):
        settle(str(file), {"--servers": ("processes.servers", 2)}, [])
    (tmp_path / "yard.key").rename(tmp_path / "edge.key")
    with pytest.raises(SettingsError, match=r"edge.key has the public key \S{40} - at `\$.hosts.edge.public_key`"):
        settle(str(file), {"--here": ("here", "edge")}, [])
    with pytest.raises(SettingsError, match=r"there is no host x among hosts - at `\$.here`"):
        check_hosts(settings.parse('here = "x"'))
    with pytest.raises(SettingsError, match=r"nothing is to run on the host idle"):
        at("idle", TEXT + f'[hosts.idle]\npublic_key = "{KEY}"\nkey_file = "k"')


def test_a_new_host_is_told_to_all_and_restarts_nothing() -> None:
    new = TEXT + f'[hosts.edge2]\npublic_key = "{KEY}"\nkey_file = "k"\nservers = 1\n'
    for here, processes in {
        "yard": {"capture-door": "capture"},
        "hub": {"muxer-0": "muxer", "muxer-1": "muxer", "capture-lamp": "capture"},
        "edge": {"server-0": "server", "server-1": "server", "server-2": "server"},
    }.items():
        check_fixed(at(here), at(here, new))
        done = [do for step in steps(at(here), at(here, new), processes, [], []) for do in step.do]
        assert sorted(do.name for do in done) == sorted(processes)
        assert {type(do) for do in done} == {Tell}


def test_a_change_of_hosts_is_said() -> None:
    new = TEXT + f'[hosts.edge2]\npublic_key = "{KEY}"\nkey_file = "k"\nservers = 1\n'
    assert in_words(at("hub"), at("hub", new), 0) == "hosts changed"


def test_a_port_that_changes_restarts_its_capture_alone() -> None:
    new = TEXT.replace("7100", "7200")
    done = [
        do for step in steps(at("yard"), at("yard", new), {"capture-door": "capture"}, [], []) for do in step.do
    ]
    assert done == [Restart("capture-door")]


@pytest.mark.parametrize("change", [("10.0.0.1", "10.0.0.9"), ("7000", "7500"), ("/hub.key", "/new.key")])
def test_a_hosts_own_address_and_key_need_another_start(change: tuple[str, str]) -> None:
    with pytest.raises(SettingsError, match=r"restart it - at `\$.hosts.hub`"):
        check_fixed(at("hub"), at("hub", TEXT.replace(*change)))
    check_fixed(at("edge"), at("edge", TEXT.replace(*change)))


def test_the_command_makes_keys_once_and_prints_what_the_settings_need(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["keys", "host.key"]) == 0
    first = capsys.readouterr().out
    assert main(["keys", "host.key"]) == 0
    assert capsys.readouterr().out == first
    host = settings.parse(f"[hosts.hub]\n{first}").hosts["hub"]
    assert host.key_file == str(tmp_path / "host.key")
    assert os.stat(host.key_file).st_mode & 0o777 == 0o600
    assert main(["keys", "none/host.key"]) == 78
    assert "No such file or directory" in capsys.readouterr().err
