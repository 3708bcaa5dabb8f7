"""The log, as a reader of stderr has it."""

import json
import subprocess
import sys

import pytest

_PROGRAM = """
import sys
from common import logs
from common.config import Log
logs.configure(Log(sys.argv[1], sys.argv[2]), "muxer-0")
logs.logger().info("viewer_slow", stream="a b", dropped=3)
logs.logger().warning("server_silent", reason='a "word"')
"""


def lines(level: str, form: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, level, form], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_text() -> None:
    first, second = lines("info", "text")
    assert first.startswith("timestamp=20")
    assert first.endswith(' level=info process=muxer-0 event=viewer_slow stream="a b" dropped=3')
    assert second.endswith('event=server_silent reason="a \\"word\\""')


def test_json_has_the_same_keys() -> None:
    first, second = map(json.loads, lines("info", "json"))
    assert first.pop("timestamp").startswith("20")
    assert first == {"level": "info", "process": "muxer-0", "event": "viewer_slow", "stream": "a b", "dropped": 3}
    assert second["reason"] == 'a "word"'


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_is_below_the_level_is_not_said(form: str) -> None:
    (only,) = lines("warning", form)
    assert "server_silent" in only
