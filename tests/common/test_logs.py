"""The log, as a reader of stderr has it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from common import logs
from common.logs import LINE_BYTES_MAX

_PROGRAM = """
import sys
from common import logs
from common.config import Log
logs.configure(Log(sys.argv[1], sys.argv[2]), "muxer-0")
logs.Logger().info("viewer_slow", stream="a b", dropped=3)
logs.Logger().warning("server_silent", reason='a "word"')
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


def test_what_strangers_say_stays_on_one_line_and_in_its_value() -> None:
    assert logs.logfmt({"peer": "::1", "agent": 'x" level=error\nevent=\x1b[2J\\'}) == (
        r'peer=::1 agent="x\" level=error\nevent=\x1b[2J\\"'
    )
    assert (
        logs.logfmt({"nothing": None, "empty": "", "path": r"a\b", "yes": True})
        == r"nothing= empty= path=a\b yes=True"
    )


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_name_that_is_no_utf8_is_said_all_the_same(form: str) -> None:
    program = _PROGRAM.replace('"a b"', r'"a \udcff"')
    done = subprocess.run(
        [sys.executable, "-c", program, "info", form], capture_output=True, timeout=60, check=True
    )
    assert rb"a \udcff" in done.stderr.splitlines()[0]


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_is_below_the_level_is_not_said(form: str) -> None:
    (only,) = lines("warning", form)
    assert "server_silent" in only


_CHATTERBOX = """
from common import logs
from common.config import Log
logs.configure(Log(), "muxer-0")
for number in range(2000):
    logs.Logger().info("viewer_slow", number=number, text="x" * 100)
print(logs.lines.lost)
"""


def lost(stderr: int) -> int:
    """How many of the 2000 lines of a program are lost whose stderr is this; it ends all the same."""
    done = subprocess.run(
        [sys.executable, "-c", _CHATTERBOX],
        stdout=subprocess.PIPE, stderr=stderr, text=True, timeout=60, check=True,
    )  # fmt: skip
    return int(done.stdout)


def test_a_full_disk_costs_lines_and_nothing_else() -> None:
    with Path("/dev/full").open("wb") as full:
        assert lost(full.fileno()) == 2000


def test_a_reader_who_has_gone_costs_lines_and_nothing_else() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        assert lost(write_end) == 2000
    finally:
        os.close(write_end)


def test_a_reader_who_sleeps_holds_up_nobody_and_gets_whole_lines() -> None:
    read_end, write_end = os.pipe()
    with open(read_end, encoding="utf-8") as pipe:
        with open(write_end, "wb") as asleep:
            missing = lost(asleep.fileno())
        kept = pipe.read().split("\n")
    assert missing > 0
    assert kept.pop() == ""
    assert len(kept) == 2000 - missing
    assert all(line.endswith("x" * 100) for line in kept)


def test_a_line_that_is_too_long_is_cut() -> None:
    program = _CHATTERBOX.replace("range(2000)", "range(1)").replace("* 100", "* 9000")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60, check=True)
    assert len(done.stderr) == LINE_BYTES_MAX
    assert done.stderr.endswith(b"x\n")
    assert done.stdout == b"1\n"
