"""Which capture process has which stream."""

import msgspec

from common.captures import endpoint_of, process_of, processes_of, shared_processes, streams_of
from common.config import Config, Host, Processes, Stream

FILES = [f"film{index}" for index in range(40)]
CONFIG = Config(
    runtime_dir="/r",
    streams={
        "door": Stream("camera:0"),
        "test": Stream("test:"),
        "shop": Stream("rtsp://host/shop"),
        **{name: Stream(f"mock:{name}.mp4") for name in FILES},
    },
)


def sharing(files: int, config: Config = CONFIG) -> Config:
    return msgspec.structs.replace(config, processes=Processes(files=files))


def test_each_stream_has_a_process_of_its_own() -> None:
    assert processes_of(CONFIG) == [f"capture-{name}" for name in CONFIG.streams]
    assert all(streams_of(CONFIG, f"capture-{name}") == [name] for name in CONFIG.streams)
    assert endpoint_of(CONFIG, "film0") == "ipc:///r/capture-film0"
    assert shared_processes(CONFIG) == []


def test_files_share_and_nothing_else_does() -> None:
    config = sharing(1)
    assert processes_of(config) == ["capture-door", "capture-test", "capture-shop", "files-0"]
    assert streams_of(config, "files-0") == FILES
    assert streams_of(config, "capture-film0") == []
    assert endpoint_of(config, "film0") == "ipc:///r/files-0-film0"
    assert endpoint_of(config, "door") == "ipc:///r/capture-door"


def test_several_share_the_files_out_and_one_more_moves_only_what_it_gets() -> None:
    before, after = sharing(2), sharing(3)
    for config in (before, after):
        processes = shared_processes(config)
        assert sorted(name for process in processes for name in streams_of(config, process)) == sorted(FILES)
        assert all(streams_of(config, process) for process in processes)
    moved = [name for name in FILES if process_of(before, name) != process_of(after, name)]
    assert moved == streams_of(after, "files-2")


def test_a_process_that_gets_no_file_is_not_started() -> None:
    few = msgspec.structs.replace(CONFIG, streams={"film0": Stream("mock:film0.mp4")})
    assert len(processes_of(sharing(8, few))) == 1


def test_streams_of_other_hosts_are_theirs() -> None:
    config = Config(
        here="yard",
        hosts={"yard": Host("y" * 40, "f"), "hub": Host("h" * 40, "f")},
        processes=Processes(files=1),
        streams={"a": Stream("mock:a.mp4", host="yard"), "b": Stream("mock:b.mp4", host="hub")},
    )
    assert (processes_of(config), streams_of(config, "files-0")) == (["files-0"], ["a"])
