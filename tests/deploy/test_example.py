"""deploy/framegate.example.toml names every key, shows its default, and explains it."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from common.config import Config, Host, Stream, User, parse
from deploy.effective import check

EXAMPLE = Path(__file__).parents[2] / "deploy" / "framegate.example.toml"


def whole() -> str:
    """The example with what is commented out because it changes more than itself: a # right before a key."""
    return re.sub(r"(?m)^#(?=[a-z\[])", "", EXAMPLE.read_text())


def keys(document: dict[str, Any], path: str = "") -> Iterator[str]:
    for key, value in document.items():
        if isinstance(value, dict) and value:
            yield from keys(value, f"{path}{key}.")
        else:
            yield f"{path}{key}"


def test_names_every_key_there_is() -> None:
    complete = msgspec.to_builtins(
        Config(
            streams={"test": Stream(source="test:")}, users={"alice": User()}, hosts={"hub": Host("k" * 40, "f")}
        )
    )
    assert sorted(keys(tomllib.loads(whole()))) == sorted(keys(complete))


def test_shows_the_defaults() -> None:
    config = parse(EXAMPLE.read_text())
    assert config == Config(streams={"test": Stream(source="test:")})
    hub = parse(whole()).hosts["hub"]
    changed = {key for key in Host.__struct_fields__ if getattr(hub, key) != getattr(Host("", ""), key)}
    assert changed == {"public_key", "key_file", "address", "port", "muxers", "servers"}  # a host without is none
    assert parse(whole()) == msgspec.structs.replace(config, users={"alice": User()}, hosts={"hub": hub})
    check(config)


def test_explains_each_key_in_its_line() -> None:
    settings = [line for line in whole().splitlines() if " = " in line.partition("#")[0]]
    assert len(settings) == len(list(keys(tomllib.loads(whole()))))
    assert [line for line in settings if len(line.partition("  # ")[2].partition(" # ")[0]) < 10] == []
