"""The settings document: defaults, faults with their key path, and back to text."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.config import (
    PROCESSES_MAX,
    STREAMS_MAX,
    Config,
    Encode,
    Http,
    Processes,
    Rtsp,
    Stream,
    dump,
    from_document,
    load,
    parse,
)
from common.errors import SettingsError

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
ENCODES = st.builds(Encode, bitrate_bps=st.integers(0, 200_000_000), sync_interval_ms=st.integers(1, 3_600_000))
STREAMS = st.builds(
    Stream,
    source=TEXTS,
    on_demand=st.booleans(),
    width=st.integers(0, 16384),
    fps=st.floats(0, 1000),
    format=st.sampled_from(["auto", "h264", "h265", "mjpeg", "raw"]),
    encode=ENCODES,
)
CONFIGS = st.builds(
    Config,
    host=TEXTS,
    runtime_dir=TEXTS,
    rtsp=st.builds(Rtsp, port=st.integers(0, 65535)),
    http=st.builds(Http, port=st.integers(0, 65535)),
    processes=st.builds(Processes, muxers=st.integers(1, PROCESSES_MAX)),
    streams=st.dictionaries(NAMES, STREAMS, max_size=4),
)


def test_an_empty_document_is_all_defaults() -> None:
    assert parse("") == Config()
    assert parse("# nothing\n[rtsp]\n[viewer]\n") == Config()


@given(CONFIGS)
def test_what_is_dumped_is_parsed_to_the_same(config: Config) -> None:
    assert parse(dump(config)) == config


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("rtsp = 1", "Expected `object`, got `int` - at `$.rtsp`"),
        ("[rtsp]\nport = -1", "Expected `int` >= 0 - at `$.rtsp.port`"),
        ("[rtsp]\nport = 65536", "Expected `int` <= 65535 - at `$.rtsp.port`"),
        ("[rtsp]\nport = '1'", "Expected `int`, got `str` - at `$.rtsp.port`"),
        ("[rtsp]\nport = true", "Expected `int`, got `bool` - at `$.rtsp.port`"),
        ("[rtsp]\nsession_timeout_s = 9", "Expected `int` >= 10 - at `$.rtsp.session_timeout_s`"),
        ("[http]\nprot = 1", "Object contains unknown field `prot` - at `$.http`"),
        ("[processes]\nservers = 65", "Expected `int` <= 64 - at `$.processes.servers`"),
        ("[viewer]\nage_max_ms = 0", "Expected `int` >= 1 - at `$.viewer.age_max_ms`"),
        ("[log]\nlevel = 'loud'", "Invalid enum value 'loud' - at `$.log.level`"),
        ("host = 1", "Expected `str`, got `int` - at `$.host`"),
        ("nonsense = 1", "Object contains unknown field `nonsense`"),
        ("[streams]\na = 1", "Expected `object`, got `int` - at `$.streams.a`"),
        ("streams = []", "Expected `object`, got `array` - at `$.streams`"),
        ("[streams.a]", "Object missing required field `source` - at `$.streams.a`"),
        ("streams.ok.source = ''\nstreams.b.source = 1", "Expected `str`, got `int` - at `$.streams.b.source`"),
        ("[streams.a]\nsource = ''\nfps = 1001.0", "Expected `float` <= 1000.0 - at `$.streams.a.fps`"),
        ("[streams.a]\nsource = ''\nfps = nan", "at `$.streams.a.fps`"),
        ("[streams.a]\nsource = ''\nencode.bitrate_bps = -1",
         "Expected `int` >= 0 - at `$.streams.a.encode.bitrate_bps`"),
        ("[streams.a]\nsource = ''\nformat = 'mp4'", "Invalid enum value 'mp4' - at `$.streams.a.format`"),
    ],
)  # fmt: skip
def test_a_fault_names_the_exact_key(text: str, fault: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(fault) + "$"):
        parse(text)


@pytest.mark.parametrize("stream", ["", "a b", "-a", ".a", "a/b", "ä", "a" * 65, "a\\n", "a\\u0000"])
def test_a_stream_name_is_a_path_a_file_name_and_a_log_word(stream: str) -> None:
    with pytest.raises(SettingsError, match="stream name") as fault:
        parse(f'[streams."{stream}"]\nsource = "test:"')
    assert "\n" not in str(fault.value)
    assert str(fault.value).endswith("at `$.streams`")


@pytest.mark.parametrize("user", ["", "a:b", 'a"b', "a\\b", "a\nb", "a" * 65])
def test_a_user_name_is_what_basic_and_digest_can_carry(user: str) -> None:
    with pytest.raises(SettingsError, match="user name") as fault:
        from_document({"users": {user: {"password": "x"}}})
    assert "\n" not in str(fault.value)
    assert str(fault.value).endswith("at `$.users`")
    for good in ("alice", "al ice", "jürgen@x.org"):
        from_document({"users": {good: {"password": "x"}}})


@pytest.mark.parametrize("key", ["password", "digest_md5", "digest_sha256", "password_hash", "streams"])
def test_a_fault_shows_no_password(key: str) -> None:
    for value in (["hunter2"] * 101, 5, "hunter2" * 50):
        with pytest.raises(SettingsError, match=rf"\$\.users\.alice\.{key}`") as fault:
            from_document({"users": {"alice": {key: value}}})
        assert "hunter2" not in str(fault.value)


def test_rights_by_pattern() -> None:
    config = from_document(
        {"users": {"a": {"streams": ["door", "yard*"]}, "b": {}}, "auth": {"public": ["l?bby"]}}
    )
    names = ["door", "doors", "Door", "yard", "yard-2", "lobby"]
    assert [name for name in names if config.users["a"].may_watch(name)] == ["door", "yard", "yard-2"]
    assert [name for name in names if config.users["b"].may_watch(name)] == names
    assert [name for name in names if config.auth.is_public(name)] == ["lobby"]
    assert not config.users["b"].stats


@pytest.mark.parametrize("text", ["x", "[", "a = 1\na = 2", "a = '\x00'", "host = 'x\nport"])
def test_what_is_not_toml_says_where(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^not TOML: .*(line \d+|end of document)"):
        parse(text)


def test_the_number_of_streams_is_limited() -> None:
    streams = {f"s{index}": {"source": "test:"} for index in range(STREAMS_MAX)}
    assert len(from_document({"streams": streams}).streams) == STREAMS_MAX
    with pytest.raises(SettingsError, match=f"length <= {STREAMS_MAX}"):
        from_document({"streams": {**streams, "one-more": {"source": "test:"}}})


@given(st.text(max_size=200))
def test_any_text_is_settings_or_one_clear_fault(text: str) -> None:
    try:
        config = parse(text)
    except SettingsError as fault:
        said = str(fault)
        assert said
    else:
        assert parse(dump(config)) == config


class TestLoad:
    def test_a_file(self, tmp_path: Path) -> None:
        path = tmp_path / "f.toml"
        path.write_text(dump(Config(host="::")))
        assert load(path) == load(str(path)) == Config(host="::")

    def test_faults_name_the_file(self, tmp_path: Path) -> None:
        (tmp_path / "bad.toml").write_text("[rtsp]\nport = 'x'")
        (tmp_path / "bytes.toml").write_bytes(b"host = '\xff'")
        for name, fault in (
            ("bad.toml", "Expected `int`, got `str` - at `$.rtsp.port`"),
            ("bytes.toml", "not UTF-8 text"),
            ("none.toml", "No such file or directory"),
            ("", "Is a directory"),
        ):
            with pytest.raises(SettingsError) as error:
                load(tmp_path / name)
            assert str(error.value) == f"{tmp_path / name}: {fault}"
