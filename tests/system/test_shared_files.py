"""Several files in one capture process: each is a stream like any other."""

from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import pytest

from muxer.tap import subscribe
from tests.support import judge
from tests.support.check_picture import CheckClip
from tests.support.instance import PATIENT, Instance
from tests.support.media_files import media_file
from tests.support.viewers import HttpViewer, RtspViewer
from tests.support.wait import until

NAMES = ("a", "b", "c")
SHARED = "[processes]\nfiles = 1\n"


def settings(processes: str = SHARED, **streams: str) -> str:
    named = (f'[streams.{name}]\nsource = "{source}"\n' for name, source in streams.items())
    return PATIENT + processes + "".join(named)


def captures(instance: Instance) -> dict[str, int]:
    return {process["name"]: process["pid"] for process in instance.processes("capture")}


def wait_captures(instance: Instance, names: set[str]) -> None:
    """Until the captures are these: a reload has told the others to end when it answers, not seen them gone."""
    until(lambda: captures(instance).keys() == names, 10, f"{sorted(names)} and no other")


@pytest.fixture
def source(clip: CheckClip) -> str:
    return f"mock:{clip.path}"


@pytest.fixture
def instance(source: str) -> Iterator[Instance]:
    streams = {**dict.fromkeys(NAMES, source), "test": "test:size=160x128"}
    with Instance(config=settings(**streams)) as running:
        running.wait_live(*NAMES, "test")
        yield running


def test_all_are_whole_and_outlive_their_process(instance: Instance, clip: CheckClip) -> None:
    before = captures(instance)
    assert before.keys() == {"files-0", "capture-test"}
    with ExitStack() as watching:
        viewers = [watching.enter_context(RtspViewer(instance.rtsp(name))) for name in NAMES]
        for viewer in viewers:
            viewer.wait_bytes(200_000)
        instance.kill("capture", list(before).index("files-0"))
        until(lambda: captures(instance)["files-0"] not in (0, before["files-0"]), 10, "the next life")
        for viewer in viewers:
            viewer.wait_bytes(200_000)
    for viewer in viewers:
        judge.check_survivor(viewer, clip)
    assert captures(instance)["capture-test"] == before["capture-test"]
    with subscribe("b", runtime_dir=instance.runtime_dir) as tap:  # a program finds it, too
        assert next(iter(tap)).data


def test_a_fault_of_one_is_its_own(instance: Instance, source: str, clip: CheckClip, tmp_path: Path) -> None:
    late, useless = tmp_path / "late.mp4", media_file("useless.mkv", video="mpeg4", audio=None)
    before = captures(instance)
    with RtspViewer(instance.rtsp("a")) as viewer:
        viewer.wait_bytes(100_000)
        instance.settings_file.write_text(settings(a=source, late=f"mock:{late}", useless=f"mock:{useless}"))
        assert instance.order("reload") == "2 streams added, 3 streams removed"
        until(lambda: "no such file" in instance.stream("late")["reason"], 10, "word of what is missing")
        until(lambda: "only H.264" in instance.stream("useless")["reason"], 10, "word of what cannot be carried")
        late.write_bytes(clip.path.read_bytes())
        instance.wait_live("a", "late")
        viewer.wait_bytes(200_000)
    judge.check_survivor(viewer, clip)
    wait_captures(instance, {"files-0"})
    assert captures(instance)["files-0"] == before["files-0"]
    assert instance.stream("useless")["state"] == "down"


def test_a_process_whose_files_give_little_is_not_taken_for_dead() -> None:
    path = media_file("slow.mkv", audio=None, fps=Fraction(1, 4), pictures=4, b_pictures=0)
    with Instance(
        config=settings("[processes]\nfiles = 1\nhung_after_ms = 2000\n", slow=f"mock:{path}")
    ) as instance:
        instance.wait_live("slow")
        samples = instance.stream("slow")["samples_in"]
        until(
            lambda: instance.stream("slow")["samples_in"] >= samples + 2,
            15,
            "two pictures more, four seconds apart",
        )
    assert not instance.log_lines("process_hung")


def test_a_stream_changes_its_process_as_it_runs(instance: Instance, source: str, clip: CheckClip) -> None:
    streams = {**dict.fromkeys(NAMES, source), "test": "test:size=160x128"}
    with RtspViewer(instance.rtsp("a")) as rtsp, HttpViewer(instance.http("b")) as http:
        for viewer in (rtsp, http):
            viewer.wait_bytes(100_000)
        for processes, names in (
            ("", {"capture-a", "capture-b", "capture-c", "capture-test"}),
            ("[processes]\nfiles = 2\n", {"files-0", "files-1", "capture-test"}),
        ):
            instance.settings_file.write_text(settings(processes, **streams))
            instance.order("reload")
            wait_captures(instance, names)
            for viewer in (rtsp, http):
                viewer.wait_bytes(200_000)
        instance.settings_file.write_text(settings(**{**streams, "c": "test:size=160x128", "test": source}))
        instance.order("reload")
        instance.wait_live(*NAMES, "test")
    for viewer in (rtsp, http):
        judge.check_survivor(viewer, clip)
    wait_captures(instance, {"files-0", "capture-c"})
