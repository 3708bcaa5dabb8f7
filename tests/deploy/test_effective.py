"""The settings of `serve`: file, flags, sources."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.config import (
    STREAMS_MAX,
    Config,
    Encode,
    Http,
    Limits,
    Processes,
    RoleLimits,
    Rtsp,
    Stream,
    from_document,
)
from common.errors import SettingsError
from common.passwords import hash_password
from common.source_spec import NAME_CHARACTERS_MAX
from deploy.effective import check, counted, name_sources, settle
from tests.support.certificates import issue

FILE = """
host = "::1"
[rtsp]
port = 1000
session_timeout_s = 90
[streams.door]
source = "camera:0"
on_demand = true
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "framegate.toml"
    path.write_text(FILE)
    return str(path)


class TestSettle:
    def test_nothing_said_is_the_test_picture(self) -> None:
        assert settle(None, {}, []) == Config(streams={"test": Stream(source="test:")})

    def test_the_file(self, file: str) -> None:
        config = settle(file, {"--host": ("host", None), "--rtsp-port": ("rtsp.port", None)}, [])
        assert config == Config(
            host="::1",
            rtsp=Rtsp(port=1000, session_timeout_s=90),
            streams={"door": Stream(source="camera:0", on_demand=True)},
        )

    def test_flags_override_the_file_key_by_key(self, file: str) -> None:
        config = settle(file, {"--rtsp-port": ("rtsp.port", 0), "--muxers": ("processes.muxers", 3)}, [])
        assert config.rtsp == Rtsp(port=0, session_timeout_s=90)
        assert config.host == "::1"
        assert config.processes.muxers == 3

    def test_sources_are_added_and_replace_their_name(self, file: str) -> None:
        assert settle(file, {}, ["yard=test:"]).streams == {
            "door": Stream(source="camera:0", on_demand=True), "yard": Stream(source="test:"),
        }  # fmt: skip
        assert settle(file, {}, ["door=test:"]).streams == {"door": Stream(source="test:")}

    def test_a_flags_fault_names_the_flag(self) -> None:
        with pytest.raises(SettingsError, match=r"^--muxers -1: Expected `int` >= 0 - at `\$.processes.muxers`$"):
            settle(None, {"--muxers": ("processes.muxers", -1)}, [])

    def test_a_files_fault_names_the_file(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match=r"missing\.toml: No such file or directory"):
            settle(str(tmp_path / "missing.toml"), {}, [])

    def test_too_many_streams(self) -> None:
        assert len(settle(None, {}, ["test:"] * STREAMS_MAX).streams) == STREAMS_MAX
        with pytest.raises(SettingsError, match=f"{STREAMS_MAX + 1} streams: at most {STREAMS_MAX}"):
            settle(None, {}, ["test:"] * (STREAMS_MAX + 1))


class TestCheck:
    def test_a_source_that_is_none_names_its_key(self) -> None:
        with pytest.raises(SettingsError, match=r"'nope' is no source: .* - at `\$\.streams\.a\.source`$"):
            check(Config(streams={"a": Stream(source="nope")}))

    def test_one_port_for_two(self) -> None:
        with pytest.raises(SettingsError, match=r"port 7 is asked for twice"):
            check(Config(rtsp=Rtsp(port=7), http=Http(port=7)))
        check(Config(rtsp=Rtsp(port=0), http=Http(port=0)))

    @pytest.mark.parametrize(
        ("auth", "user", "fault"),
        [
            ({}, {}, "this user has no password"),
            ({}, {"streams": ["*"], "stats": True}, "this user has no password"),
            ({"digest": "sha256"}, {"digest_md5": "a" * 32}, 'auth.digest = "sha256" needs digest_sha256'),
            ({"digest": "both"}, {"digest_md5": "a" * 32}, 'auth.digest = "both" needs digest_sha256'),
            ({"digest": "md5"}, {"digest_sha256": "a" * 64}, 'auth.digest = "md5" needs digest_md5'),
        ],
    )
    def test_a_user_who_could_not_log_in(self, auth: dict[str, Any], user: dict[str, Any], fault: str) -> None:
        with pytest.raises(SettingsError, match=rf"{fault}.*framegate password --help.* - at `\$\.users\.alice`"):
            check(from_document({"auth": auth, "users": {"alice": user}}))

    def test_tls(self, tmp_path: Path) -> None:
        file = tmp_path / "cert.pem"
        issue(file)
        good = {"rtsp": {"tls_port": 322}, "http": {"tls_port": 443}, "tls": {"certificate": str(file)}}
        check(from_document(good))
        for change, fault in (
            ({"http": {"tls_port": 322}}, r"port 322 is asked for twice.*`\$\.http\.tls_port`"),
            ({"http": {"tls_port": 8554}}, r"port 8554 is asked for twice.*`\$\.http\.tls_port`"),
            ({"tls": {}}, r"needs a certificate.*`\$\.tls\.certificate`, for `\$\.rtsp\.tls_port`"),
            ({"tls": {"certificate": str(tmp_path / "none")}}, r"none: No such file.*`\$\.tls`"),
        ):
            with pytest.raises(SettingsError, match=fault):
                check(from_document({**good, **change}))

    @pytest.mark.parametrize("user", [{"password": "x"}, {"password_hash": hash_password("x", bytes(16))},
                                      {"digest_md5": "a" * 32, "digest_sha256": "a" * 64}])  # fmt: skip
    def test_a_user_who_can(self, user: dict[str, Any]) -> None:
        for digest in ("md5", "sha256", "both", "never"):
            check(from_document({"auth": {"digest": digest}, "users": {"alice": user}}))

    def test_what_is_well_passes(self) -> None:
        check(Config(streams={"a": Stream(source="mock:a.mp4", encode=Encode(bitrate_bps=0))}))


class TestNames:
    @pytest.mark.parametrize(
        ("texts", "streams"),
        [
            (["test:"], {"test": "test:"}),
            (["mock:/a/clip.mp4", "camera:0"], {"clip": "mock:/a/clip.mp4", "camera0": "camera:0"}),
            (["x=test:", "test:"], {"x": "test:", "test": "test:"}),
            (["test:", "test:fps=5", "test:"], {"test": "test:", "test-2": "test:fps=5", "test-3": "test:"}),
            (["test:", "test=camera:1"], {"test-2": "test:", "test": "camera:1"}),
            (["test:", "test:", "test-2=mock:a"], {"test": "test:", "test-3": "test:", "test-2": "mock:a"}),
            (["mock:a=b.mp4"], {"a-b": "mock:a=b.mp4"}),
            (["n=mock:a=b.mp4"], {"n": "mock:a=b.mp4"}),
            (["test:size=640x480,fps=5"], {"test": "test:size=640x480,fps=5"}),
        ],
    )
    def test_streams(self, texts: list[str], streams: dict[str, str]) -> None:
        named = name_sources(texts)
        assert list(named.items()) == list(streams.items())

    @pytest.mark.parametrize(
        ("texts", "words"),
        [
            (["a=test:", "a=camera:0"], "two sources are named a"),
            (["=test:"], "the name before ="),
            (["a b=test:"], "the name before ="),
            (["a\n=test:"], "the name before ="),
            (["-a=test:"], "the name before ="),
            ([f"{'a' * (NAME_CHARACTERS_MAX + 1)}=test:"], "the name before ="),
            (["a="], "is no source"),
            (["clip.mp4"], "'clip.mp4' is no source: it is one of mock:FILE"),
            ([""], "is no source"),
            (["a=mock:"], "name a media file"),
        ],
    )
    def test_faults(self, texts: list[str], words: str) -> None:
        with pytest.raises(SettingsError, match=words):
            name_sources(texts)

    def test_a_long_name_is_cut_for_its_number(self) -> None:
        source = f"mock:{'x' * 80}.mp4"
        first, second = name_sources([source, source])
        assert first == "x" * NAME_CHARACTERS_MAX
        assert second == "x" * (NAME_CHARACTERS_MAX - 2) + "-2"

    @given(
        st.lists(
            st.sampled_from(["test:", "test-2=test:", "mock:test.mp4", "mock:test-2.ts", "a=test:"]), max_size=8
        )
    )
    def test_no_source_is_lost(self, texts: list[str]) -> None:
        try:
            streams = name_sources(texts)
        except SettingsError:
            assert len(set(texts)) < len(texts)
        else:
            assert list(streams.values()) == [text.rpartition("=")[2] for text in texts]


@pytest.mark.parametrize(
    ("cores", "streams", "muxers", "servers"),
    [(1, 1, 1, 1), (2, 1, 1, 1), (4, 1, 1, 3), (8, 5, 2, 7), (64, 3, 3, 63), (400, 400, 64, 64)],
)
def test_numbers_that_are_left_to_the_machine(cores: int, streams: int, muxers: int, servers: int) -> None:
    assert counted(Processes(muxers=0, servers=0), cores, streams) == Processes(muxers=muxers, servers=servers)
    assert counted(Processes(muxers=9, servers=8), cores, streams) == Processes(muxers=9, servers=8)


def test_auto_is_settled_before_anything_starts() -> None:
    config = settle(None, {"--servers": ("processes.servers", 0)}, [])
    assert config.processes.servers == max(len(os.sched_getaffinity(0)) - 1, 1)


def test_a_core_that_is_not_there_is_named() -> None:
    stranger = max(os.sched_getaffinity(0)) + 1
    config = Config(streams={"a": Stream(source="test:")}, limits=Limits(server=RoleLimits(cpus=(stranger,))))
    with pytest.raises(SettingsError, match=rf"core {stranger} is not there; .* - at `\$\.limits\.server\.cpus`"):
        check(config)
