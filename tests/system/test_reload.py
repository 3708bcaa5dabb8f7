"""`framegate reload` and `framegate scale` on a running instance with viewers on it."""

import signal
import socket
import threading
from typing import Self

from tests.support import judge
from tests.support.check_picture import CheckClip
from tests.support.instance import Instance
from tests.support.viewers import HttpViewer, RtspViewer
from tests.support.wait import until


def settings(**streams: str) -> str:
    return "".join(f'[streams.{name}]\nsource = "{source}"\n' for name, source in streams.items())


def pids(instance: Instance) -> dict[str, int]:
    return {process["name"]: process["pid"] for process in instance.stats()["processes"]}


class Knocker:
    """Connects again and again, in a thread, from entering to leaving the context; every refusal is kept."""

    def __init__(self, url: str) -> None:
        host, port = url.split("/")[2].rsplit(":", 1)
        self._address = host, int(port)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._knock, daemon=True)
        self.answered = 0
        self.faults: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(20)

    def _knock(self) -> None:
        while not self._stopping.is_set():
            try:
                with socket.create_connection(self._address, timeout=10) as sock:
                    sock.sendall(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n")
                    assert sock.recv(100).startswith(b"RTSP/1.0 200")
                self.answered += 1
            except (OSError, AssertionError) as error:
                self.faults.append(repr(error))


def test_streams_come_and_go_and_the_others_see_nothing(clip: CheckClip) -> None:
    source = f"mock:{clip.path}"
    with Instance(config=settings(stays=source, goes=source, turns="test:size=320x240")) as instance:
        instance.wait_live("stays", "goes", "turns")
        before = pids(instance)
        gone = HttpViewer(instance.http("goes"))
        with RtspViewer(instance.rtsp("stays")) as rtsp, HttpViewer(instance.http("stays")) as http, gone:
            for viewer in (rtsp, http, gone):
                viewer.wait_bytes(100_000)
            instance.settings_file.write_text(settings(stays=source, turns="test:size=160x128", comes=source))
            said = instance.order("reload")
            assert said == "1 stream added, 1 stream removed, 1 stream changed"
            until(lambda: gone.error is not None, 5, "the end of what was removed")
            assert isinstance(gone.error, EOFError)
            with HttpViewer(instance.http_base() + "/comes.ts") as comes:
                comes.wait_bytes(100_000)
            until(lambda: instance.stream("turns")["width"] == 160, 10, "the other size")
            for viewer in (rtsp, http):
                viewer.wait_bytes(200_000)
            after = pids(instance)
            check_bad_settings_change_nothing(instance, after)
            for viewer in (rtsp, http):
                viewer.wait_bytes(100_000)
    for viewer in (rtsp, http):
        judge.check_survivor(viewer, clip)
    assert {name for name in after if after[name] != before.get(name)} == {"capture-turns", "capture-comes"}
    assert before.keys() - after.keys() == {"capture-goes"}
    assert not instance.log_lines("process_died")


def check_bad_settings_change_nothing(instance: Instance, before: dict[str, int]) -> None:
    good = instance.settings_file.read_text()
    for text, fault in (
        (good + "[viewer]\nage_max_ms = 'x'\n", "Expected `int`, got `str` - at `$.viewer.age_max_ms`"),
        (
            good.replace("mock:", "mick:"),
            "is no source: it is one of ",
        ),
        ("x" + good, "not TOML"),
    ):
        instance.settings_file.write_text(text)
        said = instance.order("reload", code=78)
        assert said.startswith("nothing has changed: ")
        assert fault in said
    instance.settings_file.write_text(good)
    instance.process.send_signal(signal.SIGHUP)
    until(lambda: instance.log_lines("reloaded", 'changes="nothing has changed"'), 10, "a reload by signal")
    assert len(instance.log_lines("reload_refused")) == 3
    assert pids(instance) == before


def test_servers_are_replaced_one_by_one_and_nobody_is_refused(clip: CheckClip) -> None:
    base = settings(cam=f"mock:{clip.path}")
    with Instance(config=base, servers=2) as instance:
        instance.wait_live("cam")
        with RtspViewer(instance.rtsp("cam")) as rtsp, HttpViewer(instance.http("cam")) as http:
            for viewer in (rtsp, http):
                viewer.wait_bytes(100_000)
            with Knocker(instance.rtsp("cam")) as knocker:
                assert instance.order("reload", "--servers") == "2 servers replaced"
                until(lambda: knocker.answered > 50, 20, "many who knock")
            assert knocker.faults == []
            new = {process["name"]: process["state"] for process in instance.processes("server")}
            assert {name for name, state in new.items() if state == "up"} == {"server-2", "server-3"}
            for viewer in (rtsp, http):
                viewer.wait_bytes(200_000)
            with RtspViewer(instance.rtsp("cam")) as comes:
                comes.wait_bytes(50_000)
        names = {"server-2", "server-3"}
        until(lambda: {p["name"] for p in instance.processes("server")} == names, 15, "the end of the old ones")
        for viewer in (rtsp, http):
            judge.check_survivor(viewer, clip)

        instance.settings_file.write_text(base + "[viewer]\nage_max_ms = 1500\n")
        with RtspViewer(instance.rtsp("cam")) as rtsp:
            rtsp.wait_bytes(100_000)
            muxer = pids(instance)["muxer-0"]
            assert instance.order("reload") == "2 servers replaced"
            assert pids(instance)["muxer-0"] != muxer  # it goes by that too
            rtsp.wait_bytes(300_000)
        judge.check_survivor(rtsp, clip)
        assert not instance.log_lines("process_died")


def test_settings_that_a_server_cannot_work_with_are_taken_back(clip: CheckClip) -> None:
    base = settings(cam=f"mock:{clip.path}")
    with Instance(config=base) as instance, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        instance.wait_live("cam")
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        port -= port % 2
        with RtspViewer(instance.rtsp("cam")) as viewer:
            viewer.wait_bytes(50_000)
            text = base + settings(more="test:") + f"[rtsp]\nudp_port = {port - 2}\n"  # server-1 takes the next
            instance.settings_file.write_text(text)
            said = instance.order("reload", code=1)
            assert said.startswith("server-1: its settings are wrong")
            assert said.endswith("The settings before hold again")
            until(
                lambda: set(pids(instance)) == {"supervisor", "muxer-0", "capture-cam", "server-0"},
                10,
                "as before",
            )
            assert [stream["name"] for stream in instance.stats()["streams"]] == ["cam"]
            viewer.wait_bytes(100_000)
            instance.settings_file.write_text(base)
            assert instance.order("reload") == "nothing has changed"
        judge.check_survivor(viewer, clip)


def test_muxers_and_servers_come_and_go_under_viewers(clip: CheckClip) -> None:
    names = ("north", "south", "east")
    with Instance(*[f"{name}=mock:{clip.path}" for name in names]) as instance:
        instance.wait_live(*names)
        viewers = [RtspViewer(instance.rtsp(name), user_agent=name) for name in names]
        try:
            for viewer in viewers:
                viewer.__enter__()
                viewer.wait_bytes(50_000)
            for count, change in ((4, "muxers 1 to 4"), (1, "muxers 4 to 1")):
                assert instance.order("scale", "muxers", str(count)) == change
                assert len(instance.processes("muxer")) == count
                for viewer in viewers:
                    viewer.wait_bytes(60_000, 20)
            assert instance.order("scale", "servers", "3") == "servers 1 to 3"
            assert [process["state"] for process in instance.processes("server")] == ["up"] * 3
            assert instance.order("reload") == "nothing has changed"  # what was scaled stays so
            assert instance.order("scale", "servers", "1") == "servers 3 to 1"
            until(lambda: len(instance.processes("server")) == 1, 15, "the end of those that nobody watched")
            for viewer in viewers:
                viewer.wait_bytes(50_000)
        finally:
            for viewer in viewers:
                viewer.stop()
        assert "64 can be had" in instance.order("scale", "servers", "65", code=78)
        assert not instance.log_lines("process_died")
    for viewer in viewers:
        judge.check_survivor(viewer, clip)
