"""A real muxer process between a stand-in capture and a stand-in server."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import msgpack
import pytest
import zmq

from common import config as settings
from common import sockets, wire
from common.endpoints import control_endpoint
from common.errors import EXIT_SETTINGS
from common.messages import (
    VERSION,
    Announce,
    Describe,
    Described,
    Ended,
    Forget,
    FrameMessage,
    Head,
    KeyFrameRequest,
    Message,
    ReadStart,
    ReadStop,
    Ready,
    Reconfigure,
    Reconfigured,
    Report,
    SampleMessage,
    SourceState,
    Welcome,
)
from common.sample import Codec, Payload, Track
from tests.muxer.muxer_process import ROOM, TRACKS, WAIT_MS, Capture, Server, muxer, watched


@pytest.fixture
def context() -> Iterator[sockets.Context]:
    with zmq.Context() as context:
        yield context


def test_other_versions_are_said_and_nobody_waits_for_them(context: sockets.Context) -> None:
    """A capture's, to the viewers; a server's, to itself, by a word in our own version."""
    with tempfile.TemporaryDirectory(prefix="fg-") as directory, ExitStack() as stack:
        file = Path(directory, "framegate.toml")
        streams = {"door": settings.Stream("test:")}
        file.write_text(settings.dump(settings.Config(runtime_dir=directory, streams=streams)), "utf-8")
        capture = Capture(context, directory, "door")
        stack.enter_context(capture.socket)
        process = subprocess.Popen(
            [sys.executable, "-m", "muxer", "--config", str(file)], stderr=subprocess.PIPE, text=True
        )
        stack.enter_context(process)
        try:
            server = Server(context, directory)
            stack.enter_context(server.socket)
            server.socket.send_multipart([msgpack.packb([VERSION - 1, [20, "server-0", 1]])])
            assert server.socket.poll(WAIT_MS), "nothing from the muxer"
            word, _ = wire.decode(server.socket.recv_multipart())  # without a number, which it might not look for
            assert isinstance(word, Welcome)
            server.sent += 1
            server.tell(Describe(5, "door"))
            assert capture.socket.poll(WAIT_MS), "no subscription"
            for _ in range(3):
                capture.socket.send_multipart([msgpack.packb([VERSION + 1, ["news"]])])
            described, _ = server.receive()
            assert isinstance(described, Described)
            spoken = f"speaks version {VERSION + 1} of the protocol, this process speaks {VERSION}"
            assert described.error == f"its capture {spoken}: run one framegate on all hosts"
        finally:
            process.terminate()
            _, log = process.communicate(timeout=10)
        said = [line for line in log.splitlines() if "version_refused" in line]
        assert len(said) == 2, log
        assert 'sender="a server"' in said[0]
        assert "sender=capture-door" in said[1]


def test_from_sample_to_frame_to_stop_and_back(context: sockets.Context) -> None:
    with muxer(door=settings.Stream("test:")) as (directory, _), ExitStack() as stack:
        capture = Capture(context, directory, "door")
        stack.enter_context(capture.socket)
        server = Server(context, directory)
        stack.enter_context(server.socket)
        server.tell(Describe(5, "door"))
        capture.start()
        described, _ = server.receive()
        assert isinstance(described, Described)
        assert (described.request, described.error) == (5, "")
        assert "MP2T/90000" in described.sdp

        capture.picture(sync=True)
        capture.picture()
        server.tell(ReadStart(1, 10, "door", None, ROOM))
        first = server.picture()
        assert (first.sync, first.tickets) == (True, (10,))
        epoch = first.epoch
        second = server.picture()
        capture.picture()
        third = server.picture()
        assert (third.to_live, third.tickets) == (True, ())
        server.tell(ReadStop(10, (epoch, second.number)))
        server.greet()
        server.tell(ReadStart(1, 11, "door", (epoch, second.number), ROOM))
        again = server.frame()
        while again.number < third.number:
            again = server.frame()
        assert again.number == third.number
        assert 11 in again.tickets


def test_a_server_that_was_cut_off_is_told_that_it_is_not_known_any_more(context: sockets.Context) -> None:
    with muxer(door=settings.Stream("test:", on_demand=True)) as (directory, _), ExitStack() as stack:
        capture = Capture(context, directory, "door")
        stack.enter_context(capture.socket)
        server = Server(context, directory, greets=False)
        server.greet()
        first = server.received
        server.greet()
        assert server.received == first + 1
        server.tell(ReadStart(1, 10, "door", None, ROOM))
        capture.start()
        capture.picture(sync=True)
        server.picture()
        server.socket.close(linger=0)
        give_up_s = time.monotonic() + WAIT_MS / 1000
        capture.picture()  # for a viewer that cannot be reached, as is found sooner or later
        while not capture.socket.poll(20) or capture.receive() != b"\x00":  # nobody wants it any more
            capture.picture()
            assert time.monotonic() < give_up_s
        again = Server(context, directory, greets=False)
        stack.enter_context(again.socket)
        assert again.greet().heads == ()
        assert again.received > server.received + 1000, "no number fits to what was sent before"


@pytest.mark.parametrize("missing", [1, -1])
def test_of_whom_a_word_is_missing_is_forgotten_and_told_so_first(context: sockets.Context, missing: int) -> None:
    """It may have been what opens a viewer's gate, or shuts it."""
    with watched(context) as (_, server, _):
        server.greet()
        before = server.received
        server.sent += missing
        server.tell(ReadStart(2, 11, "door", None, ROOM))
        said = [server.receive()[0]]
        numbers = [server.received]
        while not isinstance(said[-1], FrameMessage) or not said[-1].tickets:
            said.append(server.receive()[0])
            numbers.append(server.received)
        heard = next(index for index, message in enumerate(said) if isinstance(message, Welcome))
        assert numbers[heard] > [before, *numbers][heard] + 1, "no number fits to what was sent before"
        assert numbers[heard:] == list(range(numbers[heard], numbers[-1] + 1))
        assert said[-1].tickets == (11,)


def test_a_word_that_cannot_be_read_is_refused_but_not_missing(context: sockets.Context) -> None:
    """Else a server that says it again and again would have all its viewers begin anew for ever."""
    with muxer(door=settings.Stream("test:")) as (directory, _):
        server = Server(context, directory)
        with server.socket:
            before = server.received
            for unreadable in (b"\x00", wire.encode(Forget(1))[0]):
                server.socket.send(unreadable)
                server.sent += 1
            server.tell(Ended(1, "not for a muxer"))
            server.tell(ReadStart(1, 10, "gate", None, ROOM))
            assert server.receive()[0] == Ended(10, "no such stream"), "and no Welcome before it"
            assert server.received == before + 1


def test_a_server_none_of_whose_viewers_reads_is_told_how_far_the_stream_is(context: sockets.Context) -> None:
    with watched(context) as (capture, server, first):
        assert first.sample is not None
        life, number = first.sample
        assert server.greet().heads == (), "its viewer is live"
        server.tell(ReadStop(10, (first.epoch, first.number)))
        assert server.greet().heads[0].number >= first.number
        for _ in range(20):
            capture.picture()
        give_up_s = time.monotonic() + WAIT_MS / 1000
        while (head := server.greet().heads[0]).sample != (life, number + 20):
            assert time.monotonic() < give_up_s
        assert head == Head("door", Payload.TS, first.epoch, head.number, head.sample)
        assert head.number >= first.number + 20
        server.tell(Forget(1))
        assert server.greet().heads == ()


def test_who_asks_before_it_greets_is_told_first_by_whom_it_is_served(context: sockets.Context) -> None:
    """It may mean the muxer before this one, and must know before anything comes of this one."""
    with muxer(door=settings.Stream("test:")) as (directory, _):
        server = Server(context, directory, greets=False)
        with server.socket:
            for ticket in (10, 11):
                server.tell(ReadStart(1, ticket, "gate", None, ROOM))
            said = [server.receive()[0] for _ in range(3)]
            assert isinstance(said[0], Welcome)
            assert said[1:] == [Ended(10, "no such stream"), Ended(11, "no such stream")]


def test_a_stream_that_is_not_there_ends(context: sockets.Context) -> None:
    with muxer(door=settings.Stream("test:")) as (directory, _):
        server = Server(context, directory)
        with server.socket:
            server.tell(ReadStart(1, 10, "gate", None, ROOM))
            assert server.receive()[0] == Ended(10, "no such stream")
            server.tell(Describe(1, "gate"))
            described, _ = server.receive()
            assert isinstance(described, Described)
            assert described.error == "no such stream"


def test_on_demand_subscribes_with_the_first_request_only(context: sockets.Context) -> None:
    with muxer(door=settings.Stream("test:", on_demand=True)) as (directory, _), ExitStack() as stack:
        capture = Capture(context, directory, "door")
        stack.enter_context(capture.socket)
        assert not capture.socket.poll(300)
        server = Server(context, directory)
        stack.enter_context(server.socket)
        server.tell(Describe(1, "door"))
        capture.start()
        assert isinstance(server.receive()[0], Described)
        assert capture.receive() == b"\x00", "answered, and nobody reads"


def test_a_lost_sample_asks_for_a_key_frame_and_waits_for_it(context: sockets.Context) -> None:
    with muxer(door=settings.Stream("test:")) as (directory, _), ExitStack() as stack:
        capture = Capture(context, directory, "door")
        stack.enter_context(capture.socket)
        capture.start()
        server = Server(context, directory)
        stack.enter_context(server.socket)
        server.tell(ReadStart(1, 10, "door", None, ROOM))
        capture.picture(sync=True)
        assert server.picture().sync
        capture.sequence += 3
        capture.picture()
        while not isinstance(wire.decode([capture.receive()])[0], KeyFrameRequest):
            pass
        capture.picture(sync=True)
        assert server.picture().sync


def test_a_source_that_is_down_says_why(context: sockets.Context) -> None:
    with muxer(door=settings.Stream("test:")) as (directory, _), ExitStack() as stack:
        capture = Capture(context, directory, "door")
        stack.enter_context(capture.socket)
        assert capture.receive() == b"\x01"
        server = Server(context, directory)
        stack.enter_context(server.socket)
        server.tell(Describe(1, "door"))
        capture.socket.send_multipart(wire.encode(SourceState(False, "unplugged")))
        described, _ = server.receive()
        assert isinstance(described, Described)
        assert (described.error, described.unsuited) == ("unplugged", False)


def test_a_payload_that_cannot_carry_the_stream_says_so_as_what_no_waiting_helps(context: sockets.Context) -> None:
    with muxer(door=settings.Stream("test:")) as (directory, _), ExitStack() as stack:
        capture = Capture(context, directory, "door")
        stack.enter_context(capture.socket)
        assert capture.receive() == b"\x01"
        capture.socket.send_multipart(wire.encode(Announce(1, (Track(Codec.MJPEG, 4000, 3000),))))
        server = Server(context, directory)
        stack.enter_context(server.socket)
        for request, payload in enumerate(Payload):
            server.tell(Describe(request, "door", payload))
            described, _ = server.receive()
            assert isinstance(described, Described)
            assert (described.request, described.sdp, described.unsuited) == (request, "", True)
            said = (
                "MPEG-TS cannot carry MJPEG" if payload is Payload.TS else "JPEG of 4000x3000 does not go into RTP"
            )
            assert said in described.error


def test_nonsense_is_refused_and_hurts_nobody(context: sockets.Context) -> None:
    with muxer(door=settings.Stream("test:")) as (directory, _), ExitStack() as stack:
        capture = Capture(context, directory, "door")
        stack.enter_context(capture.socket)
        capture.start()
        server = Server(context, directory)
        stack.enter_context(server.socket)
        for nonsense in ([b""], [b"\xc1"], [b"x" * 1000, b"y"], wire.encode(Announce(1, TRACKS))):
            server.socket.send_multipart(nonsense)
            capture.socket.send_multipart(nonsense)
        header = SampleMessage(1, 0, 0, None, Codec.H264, True)
        capture.socket.send_multipart(wire.encode(header, b"no start code"))
        capture.sequence = 1
        server.tell(ReadStart(1, 10, "door", None, ROOM))
        capture.picture(sync=True)
        assert server.picture().sync


def test_a_muxer_that_is_not_there_is_a_setting_s_fault(tmp_path: Path) -> None:
    file = tmp_path / "framegate.toml"
    file.write_text(f'runtime_dir = "{tmp_path}"\n')
    result = subprocess.run(
        [sys.executable, "-m", "muxer", "--config", str(file), "--index", "3"],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert result.returncode == EXIT_SETTINGS
    assert "--index 3: there are 1 muxers" in result.stderr


def test_other_streams_are_taken_on_and_what_is_watched_here_stays(context: sockets.Context) -> None:
    with muxer(old=settings.Stream(source="test:")) as (directory, _):
        control = sockets.control_server(context, control_endpoint(directory))
        assert control.poll(WAIT_MS), "no report"
        line, *frames = control.recv_multipart()
        assert isinstance(wire.decode(frames)[0], Ready | Report)
        old = Capture(context, directory, "old")
        old.start()
        server = Server(context, directory)
        old.picture(sync=True)
        server.tell(ReadStart(1, 1, "old", None, ROOM))
        assert server.picture().stream == "old"

        config = settings.Config(runtime_dir=directory, streams={"new": settings.Stream(source="test:")})
        Path(directory, "framegate.toml").write_text(settings.dump(config), "utf-8")
        control.send_multipart([line, *wire.encode(Reconfigure(7))])
        said: Message | None = None
        while not isinstance(said, Reconfigured):
            assert control.poll(WAIT_MS), "not reconfigured"
            said, _ = wire.decode(control.recv_multipart()[1:])
        assert said.generation == 7
        new = Capture(context, directory, "new")
        new.start()
        old.picture()
        assert server.picture().stream == "old"  # until its server has heard of it
        server.tell(Describe(1, "new"))
        while not isinstance(answer := server.receive()[0], Described):
            pass
        assert (answer.stream, answer.error) == ("new", "")
        for socket in (control, old.socket, new.socket, server.socket):
            socket.close()
