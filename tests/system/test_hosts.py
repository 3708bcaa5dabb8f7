"""Three hosts: the camera's, the muxer's, and one with servers near the viewers. Network namespaces are the hosts.

yard ═══ hub ═══ edge: the hub is in this namespace, and each of the others behind a link that takes its time and
can lose packets, or be cut. Each host has a monotonic clock of its own, days from the others'.
"""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgpack
import pytest
import zmq

from common import keys, sockets
from common.lines import Far
from common.messages import VERSION
from deploy.cli import main
from tests.support import judge
from tests.support.check_picture import CheckClip
from tests.support.far_link import FarLink, NoFarLinkError
from tests.support.instance import Instance
from tests.support.viewers import HttpViewer, RtspViewer
from tests.support.wait import until

DELAY_MS = 20
LOST = 0.02
CUT_NOTICED_S = 10.0  # promised: 3
BACK_WITHIN_S = 15.0
DAYS_S = 200_000
CAMERA_PORT = 7100  # in a namespace of its own
Watching = TypeVar("Watching", RtspViewer, HttpViewer)


class Fleet:
    """The three hosts, with one settings file."""

    def __init__(self, stack: ExitStack, home: Path, clip: CheckClip) -> None:
        self.home = home
        self.to_yard = stack.enter_context(FarLink(0, 0))
        self.to_edge = stack.enter_context(FarLink(DELAY_MS, 1))
        self.keys = {name: keys.make(home / f"{name}.key") for name in ("yard", "hub", "edge", "stranger")}
        self.clip = clip
        with socket.create_server((self.to_edge.near, 0)) as free:
            self.muxer_port = free.getsockname()[1]
        self.hub_file = home / "hub.toml"
        self.hub_file.write_text(self.text())
        yard, edge = self.behind(self.to_yard, DAYS_S), self.behind(self.to_edge, 2 * DAYS_S)
        hub_settings = ("--config", str(self.hub_file))  # its own file: it is reloaded
        self.yard = self.host("yard", stack, serves=False, under=yard)
        self.hub = self.host("hub", stack, serves=False, extra=hub_settings)
        self.edge = self.host("edge", stack, under=edge)

    def text(self, *more: str) -> str:
        """The settings; more: hosts that are servers, too."""
        listening = {
            "yard": f'address = "{self.to_yard.far}"',
            "hub": f'address = "{self.to_edge.near}"\nport = {self.muxer_port}\nmuxers = 1',
            "edge": "servers = 1",
        }
        text = "[viewer]\nage_max_ms = 20000\n"
        for name, says in (listening | dict.fromkeys(more, "servers = 1")).items():
            pair = self.keys[name].public_key
            text += f'[hosts.{name}]\npublic_key = "{pair}"\nkey_file = "{self.home}/{name}.key"\n{says}\n'
        return text + f'[streams.cam]\nsource = "mock:{self.clip.path}"\nhost = "yard"\nport = {CAMERA_PORT}\n'

    def behind(self, link: FarLink, ahead_s: int) -> list[str]:
        """The command that runs one on a host behind a link."""
        return link.inside("unshare", "--time", "--monotonic", str(ahead_s))

    def host(self, name: str, stack: ExitStack, *, extra: tuple[str, ...] = (), **options: Any) -> Instance:
        """One host, running."""
        config = None if extra else self.text(*({name} - {"yard", "hub", "edge"}))
        extra = (*extra, "--here", name)
        instance = Instance(config=config, muxers=None, servers=None, extra=extra, **options)
        return stack.enter_context(instance)

    @contextmanager
    def watching(self, kind: type[Watching], host: Instance | None = None) -> Iterator[Watching]:
        """A viewer beside the edge, of the edge or another host there."""
        host = host or self.edge
        with ExitStack() as stack:
            with self.to_edge.far_side():
                url = host.http("cam") if issubclass(kind, HttpViewer) else host.rtsp("cam")
                viewer = stack.enter_context(kind(url))
            yield viewer


@pytest.fixture(scope="module")
def fleet(clip: CheckClip, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with ExitStack() as stack:
        if subprocess.run(["unshare", "--time", "--monotonic", "1", "true"], capture_output=True).returncode:
            pytest.skip("no time namespaces")
        try:
            made = Fleet(stack, tmp_path_factory.mktemp("fleet"), clip)
        except NoFarLinkError as error:
            pytest.skip(str(error))
        with made.to_edge.far_side():
            until(
                lambda: made.edge.stats()["processes"][-1]["counters"].get("muxers_up"), 20, "the lines to stand"
            )
        yield made


def process(instance: Instance, name: str) -> dict[str, Any]:
    """The figures of a process, asked of a host that may have no server."""
    figures = instance.stats_of_supervisor()
    found: dict[str, Any] = next(one for one in figures["processes"] if one["name"] == name)
    return found


def counters(instance: Instance, name: str) -> dict[str, int]:
    """What it counts; nothing before its first report."""
    found: dict[str, int] = process(instance, name)["counters"]
    return found


def check(viewer: RtspViewer | HttpViewer, clip: CheckClip, *, whole: bool) -> None:
    """All that a viewer got can be decoded; whole: nothing was left out."""
    assert viewer.error is None, repr(viewer.error)
    if isinstance(viewer, RtspViewer):
        judge.check_rtp(viewer.rtp)
    judge.check_ts(viewer.ts, spliced=not whole)
    judge.check_pictures(viewer.ts, clip, consecutive=whole)


def test_pictures_come_across_and_their_age_is_right_though_clocks_are_days_apart(fleet: Fleet) -> None:
    with fleet.watching(RtspViewer) as viewer, fleet.watching(HttpViewer) as other:
        viewer.wait_bytes(400_000)
        other.wait_bytes(400_000)
        with fleet.to_edge.far_side():
            figures = fleet.edge.stats()
    check(viewer, fleet.clip, whole=True)
    check(other, fleet.clip, whole=True)
    assert {viewer["transport"] for viewer in figures["viewers"]} == {"rtsp-tcp", "http-ts"}
    assert all(0 <= viewer["age_ms"] < 20_000 for viewer in figures["viewers"])
    (stream,) = figures["streams"]
    assert (stream["state"], stream["reason"], stream["viewers"]) == ("elsewhere", "see hub/muxer-0", 2)


@pytest.mark.parametrize("where", ["to_edge", "to_yard"])
def test_a_link_is_cut_and_comes_back(fleet: Fleet, where: str) -> None:
    """Viewers stay connected, and have pictures again."""
    link: FarLink = getattr(fleet, where)
    asker, asked = (fleet.edge, "hub/muxer-0") if where == "to_edge" else (fleet.hub, "capture-cam")
    with fleet.watching(RtspViewer) as viewer:
        viewer.wait_bytes(100_000)
        ups, downs = (len(asker.log_lines(event, asked)) for event in ("line_up", "line_down"))
        link.cut()
        until(lambda: len(asker.log_lines("line_down", asked)) > downs, CUT_NOTICED_S, "the cut to be noticed")
        link.mend()
        until(lambda: len(asker.log_lines("line_up", asked)) > ups, BACK_WITHIN_S, "the line to stand again")
        viewer.wait_bytes(300_000, BACK_WITHIN_S)
    check(viewer, fleet.clip, whole=False)


def test_a_connection_is_broken_and_stands_again_before_anybody_is_missed(fleet: Fleet) -> None:
    """What was on it, either way, is missing, and both see that by the numbers of the messages."""
    with fleet.watching(RtspViewer) as viewer:
        viewer.wait_bytes(100_000)
        ups = len(fleet.edge.log_lines("line_up", "hub/muxer-0"))
        if not fleet.to_edge.reset(fleet.muxer_port):
            pytest.skip("this kernel breaks no connections on demand")
        until(lambda: len(fleet.edge.log_lines("line_up", "hub/muxer-0")) > ups, BACK_WITHIN_S, "the line again")
        viewer.wait_bytes(300_000, BACK_WITHIN_S)
    check(viewer, fleet.clip, whole=False)


def test_the_muxer_dies_and_viewers_of_another_host_go_on(fleet: Fleet) -> None:
    with fleet.watching(RtspViewer) as viewer:
        viewer.wait_bytes(100_000)
        old = process(fleet.hub, "muxer-0")["pid"]
        os.kill(old, signal.SIGKILL)
        until(lambda: process(fleet.hub, "muxer-0")["pid"] not in (0, old), BACK_WITHIN_S, "a new muxer")
        viewer.wait_bytes(300_000, BACK_WITHIN_S)
    check(viewer, fleet.clip, whole=False)


def test_delay_and_loss_cost_no_picture(fleet: Fleet) -> None:
    with fleet.watching(RtspViewer) as viewer:
        viewer.wait_bytes(100_000)
        fleet.to_edge.impair(LOST)
        viewer.wait_bytes(500_000, BACK_WITHIN_S)
        fleet.to_edge.impair(0)
    check(viewer, fleet.clip, whole=True)


def test_an_unknown_key_is_refused_until_the_settings_have_it(fleet: Fleet) -> None:
    with ExitStack() as stack:
        stranger = fleet.host("stranger", stack, under=fleet.behind(fleet.to_edge, 1))
        until(lambda: stranger.log_lines("line_down", "does not let this one in"), 10, "the refusal, there")
        until(lambda: counters(fleet.hub, "muxer-0")["keys_refused"] > 1, 10, "another try")
        (refused,) = fleet.hub.log_lines("key_refused")
        assert fleet.keys["stranger"].public_key in refused
        assert not stranger.log_lines("line_up")
        muxer = fleet.hub.log_lines("event=ready", "process=muxer-0")
        fleet.hub_file.write_text(fleet.text("stranger"))
        assert main(["reload", "--runtime-dir", str(fleet.hub.runtime_dir)]) == 0
        until(lambda: stranger.log_lines("line_up"), 10, "the line to stand")
        with fleet.watching(RtspViewer, stranger) as viewer:
            viewer.wait_bytes(100_000)
        assert fleet.hub.log_lines("event=ready", "process=muxer-0") == muxer  # it was not restarted for that
    check(viewer, fleet.clip, whole=True)


def test_an_old_version_is_refused_with_a_word(fleet: Fleet) -> None:
    before = counters(fleet.hub, "muxer-0")["versions_refused"]
    with fleet.to_edge.far_side(), zmq.Context() as context:
        endpoint = f"tcp://{fleet.to_edge.near}:{fleet.muxer_port}"
        far = Far(endpoint, fleet.keys["edge"], fleet.keys["hub"].public_key)
        with sockets.frames_in(context, far, b"old") as old:
            assert old.poll(10_000, zmq.POLLOUT)
            old.send_multipart([msgpack.packb([VERSION - 1, [20, "server-0", 5]])])
            assert old.poll(10_000), "no answer"
            assert msgpack.unpackb(old.recv_multipart()[0])[0] == VERSION  # by which it can say why
    spoken = (
        f"version {VERSION - 1} of the protocol, this process speaks {VERSION}: run one framegate on all hosts"
    )
    until(lambda: fleet.hub.log_lines("version_refused", spoken), 5, "a line in the log")
    until(lambda: counters(fleet.hub, "muxer-0")["versions_refused"] == before + 1, 5, "the count")
