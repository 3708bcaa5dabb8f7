"""Endpoints, and which muxer owns a stream."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.endpoints import (
    UNIX_PATH_BYTES_MAX,
    capture_endpoint,
    control_endpoint,
    muxer_endpoint,
    owner_of,
)
from common.errors import SettingsError


def test_every_process_has_its_own_under_the_runtime_directory() -> None:
    endpoints = [
        control_endpoint("/run/x"),
        *(muxer_endpoint("/run/x", index) for index in range(64)),
        *(capture_endpoint("/run/x", stream) for stream in ("a", "b", "a-1", "control", "muxer-0")),
    ]
    assert len(set(endpoints)) == len(endpoints)
    assert all(re.fullmatch(r"ipc:///run/x/[^/]+", endpoint) for endpoint in endpoints)


def test_a_path_too_long_for_a_socket_is_refused_with_the_way_out() -> None:
    room = UNIX_PATH_BYTES_MAX - len("//control")
    assert control_endpoint("/" + "x" * room).endswith("/control")
    with pytest.raises(SettingsError, match=r"is over 107 bytes: choose a shorter --runtime-dir"):
        control_endpoint("/" + "x" * (room + 1))
    with pytest.raises(SettingsError):
        control_endpoint("/" + "ä" * (room // 2 + 1))  # bytes count, not letters


@given(st.text("abc.-_019", min_size=1), st.lists(st.text("abc/-01", min_size=1), min_size=2, unique=True))
def test_with_one_more_muxer_only_the_streams_it_wins_move(stream: str, muxers: list[str]) -> None:
    *others, new = muxers
    before, after = owner_of(stream, others), owner_of(stream, muxers)
    assert before in others
    assert after in (before, new)


@given(st.text("abc.-_019", min_size=1), st.lists(st.text("abc/-01", min_size=1), min_size=1, unique=True))
def test_the_order_of_the_muxers_does_not_matter(stream: str, muxers: list[str]) -> None:
    assert owner_of(stream, muxers) == owner_of(stream, muxers[::-1])


def test_streams_are_shared_out_evenly_and_the_same_for_ever() -> None:
    muxers = [f"muxer-{index}" for index in range(4)]
    owners = [owner_of(f"camera{index}", muxers) for index in range(400)]
    assert all(60 <= owners.count(muxer) <= 140 for muxer in muxers)
    # Fixed by the wire: processes of two versions must agree.
    names = ("test", "door", "yard", "camera0", "camera1")
    assert [owner_of(name, muxers) for name in names] == ["muxer-2", "muxer-1", "muxer-0", "muxer-2", "muxer-0"]
