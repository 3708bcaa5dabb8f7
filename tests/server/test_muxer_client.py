"""The lines to the muxers: greetings, questions, and what happens when nobody is sure of anything any more."""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator

import msgpack
import pytest
import zmq

from common import logs, sockets, wire
from common.config import Config, Processes
from common.endpoints import muxer_endpoint
from common.lines import Lines
from common.messages import (
    VERSION,
    Describe,
    Described,
    Ended,
    Forget,
    FrameMessage,
    Head,
    Hello,
    Message,
    Welcome,
)
from common.poller import Poller
from common.sample import Payload
from server.counters import Counters
from server.greeting import CALM_INTERVAL_US, SEEK_INTERVAL_US
from server.muxer_client import OUTBOX_MAX, SILENCE_US, MuxerClient
from tests.support.frame_source import FrameSource
from tests.support.logged import logged
from tests.support.unwatched import Unwatched

WITHIN_S = 10.0


class Bench:
    """A client with a clock of its own, and one muxer's socket."""

    def __init__(self) -> None:
        self.directory = tempfile.mkdtemp(prefix="fg-", dir="/tmp")
        self.context: sockets.Context = zmq.Context()
        self.poller = Poller()
        self.counters = Counters()
        self.now_us = 1_000_000
        self.frames: list[FrameMessage] = []
        self.heads: list[Head] = []
        self.endings: list[Ended] = []
        self.moved: list[str] = []
        self.news: list[tuple[list[str], bool]] = []
        self.client = MuxerClient(
            self.context, self.poller, self.lines(1), "server-0", ["cam", "two"], self.counters,
            logs.Logger(), lambda: self.now_us, Unwatched(),
        )  # fmt: skip
        self.muxer: sockets.Socket | None = None
        self.identities: list[bytes] = []
        self.said = 0

    def lines(self, muxers: int) -> Lines:
        return Lines(Config(runtime_dir=self.directory, processes=Processes(muxers=muxers)))

    # as the listener

    def deliver(self, frame: FrameMessage, data: wire.Buffer) -> None:
        assert data
        self.frames.append(frame)

    def is_at(self, head: Head) -> None:
        self.heads.append(head)

    def ended(self, message: Ended) -> None:
        self.endings.append(message)

    def moves(self, stream: str) -> None:
        self.moved.append(stream)

    def muxer_is_new(self, streams: Iterable[str], replaced: bool) -> None:
        self.news.append((list(streams), replaced))

    # as the muxer

    def start_muxer(self) -> None:
        self.muxer = sockets.frames_out(self.context, muxer_endpoint(self.directory, 0))

    def heard(self, kind: type[Message]) -> Message:
        """The next message of this kind, while the client greets and drains; others are read over."""
        assert self.muxer is not None
        found: list[Message] = []

        def come() -> bool:
            assert self.muxer is not None
            while self.muxer.poll(0):
                identity, *frames = self.muxer.recv_multipart()
                if identity not in self.identities:
                    self.identities.append(identity)
                message = wire.decode_numbered(frames)[0]
                if isinstance(message, kind):
                    found.append(message)
                    return True
            return False

        self.turn_until(come)
        return found[0]

    def say(self, message: Message, media: bytes | None = None) -> None:
        assert self.muxer is not None
        self.muxer.send_multipart([self.identities[-1], *wire.encode(message, media, self.said)])
        self.said += 1

    def turn_until(self, probe: Callable[[], object]) -> None:
        """Turns of the loop, with a clock that goes on by a greeting each."""
        give_up_s = time.monotonic() + WITHIN_S
        while not probe():
            assert time.monotonic() < give_up_s
            self.now_us += CALM_INTERVAL_US
            self.client.tick()
            while self.client.drain(self):
                pass
            self.poller.poll(2_000)

    def welcome(self, epoch: int) -> None:
        self.heard(Hello)
        self.say(Welcome("muxer-0", epoch))

    def close(self) -> None:
        self.client.close()
        self.poller.close()
        if self.muxer is not None:
            self.muxer.close()
        self.context.term()
        shutil.rmtree(self.directory)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


def test_a_muxer_is_welcomed_and_a_new_epoch_is_another(bench: Bench) -> None:
    assert bench.client.up == 0
    bench.start_muxer()
    bench.welcome(5)
    bench.turn_until(lambda: bench.news)
    assert bench.news == [(["cam", "two"], False)]  # what viewers have had of it may have come sooner
    assert bench.client.up == 1
    bench.welcome(6)
    bench.turn_until(lambda: len(bench.news) == 2)
    assert bench.news[1] == (["cam", "two"], True)
    assert bench.counters.muxer_restarts == 1


def test_what_has_waited_for_a_muxer_comes_behind_a_greeting(bench: Bench) -> None:
    """Else frames of a new muxer might come before the word that it is new."""
    bench.client.send("cam", Forget(1))
    bench.start_muxer()
    assert bench.muxer is not None
    kinds: list[type[Message]] = []
    give_up_s = time.monotonic() + WITHIN_S
    while Forget not in kinds:
        assert time.monotonic() < give_up_s
        bench.client.drain(bench)
        while bench.muxer.poll(1):
            kinds.append(type(wire.decode_numbered(bench.muxer.recv_multipart()[1:])[0]))
    assert kinds[0] is Hello


def test_a_silence_in_which_nothing_was_missed_means_nothing(bench: Bench) -> None:
    bench.start_muxer()
    bench.welcome(5)
    bench.turn_until(lambda: bench.news)
    bench.now_us += SILENCE_US
    assert bench.client.up == 0
    bench.welcome(5)
    bench.turn_until(lambda: bench.client.up)
    assert len(bench.news) == 1


@pytest.mark.parametrize("missing", [1, -1])
def test_a_muxer_of_which_a_word_is_missing_is_not_heeded_until_it_has_said_who_it_is(
    bench: Bench, missing: int
) -> None:
    """Then all is said again: it may have been what mattered, or the muxer has forgotten us meanwhile."""
    bench.start_muxer()
    bench.welcome(5)
    bench.welcome(5)
    bench.turn_until(lambda: bench.news)
    bench.said += missing
    for reason in ("one", "another"):
        bench.say(Ended(1, reason))
    bench.welcome(5)
    bench.turn_until(lambda: len(bench.news) == 2)
    assert bench.news == [(["cam", "two"], False)] * 2
    assert bench.endings == []
    bench.say(Ended(1, "over"))
    bench.turn_until(lambda: bench.endings)
    assert [message.reason for message in bench.endings] == ["over"]
    assert bench.counters.muxers_unheard == 1
    assert bench.counters.muxer_restarts == 0


def test_a_muxer_of_which_a_word_is_missing_is_greeted_at_once_and_once(bench: Bench) -> None:
    bench.start_muxer()
    bench.welcome(5)
    bench.turn_until(lambda: bench.news)
    assert bench.muxer is not None
    while bench.muxer.poll(50):
        bench.muxer.recv_multipart()
    bench.said += 1
    for reason in ("one", "another"):
        bench.say(Ended(1, reason))
    give_up_s = time.monotonic() + WITHIN_S
    while not bench.muxer.poll(1):
        assert time.monotonic() < give_up_s
        bench.client.drain(bench)
    assert isinstance(wire.decode_numbered(bench.muxer.recv_multipart()[1:])[0], Hello)
    for _ in range(10):
        bench.client.drain(bench)
        assert not bench.muxer.poll(5)


def test_a_question_is_asked_again_of_another_muxer(bench: Bench) -> None:
    answers: list[tuple[str, str, bool]] = []
    bench.start_muxer()
    bench.welcome(5)
    bench.client.describe("cam", Payload.TS, 1 << 60, lambda *said: answers.append(said))
    asked = bench.heard(Describe)
    assert isinstance(asked, Describe)
    bench.welcome(6)
    again = bench.heard(Describe)
    assert again == asked
    bench.say(Described(asked.request, "cam", "v=0", ""))
    bench.say(Described(asked.request, "cam", "v=0", ""))
    bench.turn_until(lambda: answers)
    assert answers == [("v=0", "", False)]


def test_a_question_has_its_time(bench: Bench) -> None:
    answers: list[tuple[str, str, bool]] = []
    bench.client.describe("two", Payload.TS, bench.now_us + 500_000, lambda *said: answers.append(said))
    cancelled = bench.client.describe("cam", Payload.TS, bench.now_us, lambda *said: answers.append(said))
    bench.client.cancel(cancelled)
    bench.turn_until(lambda: answers)
    assert bench.now_us >= 1_500_000
    assert answers == [("", "the muxer of the stream two, muxer-0, does not answer", False)]


def test_an_outbox_that_overflows_makes_us_another_server(bench: Bench) -> None:
    bench.start_muxer()
    bench.welcome(5)
    bench.turn_until(lambda: bench.news)
    assert bench.muxer is not None
    bench.muxer.close()  # nobody takes anything now
    bench.muxer = None
    sent = 0
    while not bench.counters.muxer_outbox_overflows:
        bench.client.send("cam", Forget(1))
        sent += 1
        assert sent < 2 * OUTBOX_MAX
    assert bench.client.up == 0
    assert bench.client.due_us <= bench.now_us + SEEK_INTERVAL_US
    bench.start_muxer()
    bench.welcome(5)
    bench.turn_until(lambda: len(bench.news) == 2)
    assert len(bench.identities) == 2
    assert bench.news[1][1] is False  # the same muxer, but it knows nothing of us under this name


def test_what_comes_is_handed_on_and_what_is_no_message_is_counted(bench: Bench) -> None:
    bench.start_muxer()
    bench.welcome(5)
    frame = FrameSource().frame(sync=True)
    bench.say(frame.addressed(tickets=(1,)), frame.data)
    bench.say(Hello("x", 1))
    assert bench.muxer is not None
    bench.muxer.send_multipart([bench.identities[-1], b"\x00", b"x"])
    bench.said += 1
    bench.say(Ended(1, "over"))
    bench.turn_until(lambda: bench.endings)
    assert bench.client.refusals.messages == 2
    assert [message.number for message in bench.frames] == [0]
    assert [message.reason for message in bench.endings] == ["over"]
    assert bench.counters.muxers_unheard == 0, "refused, but not missing"


def test_how_far_streams_are_is_handed_on_but_not_of_those_that_are_another_muxers(bench: Bench) -> None:
    bench.start_muxer()
    bench.heard(Hello)
    cam, two = Head("cam", Payload.TS, 5, 70), Head("two", Payload.NATIVE, 6, 80)
    bench.say(Welcome("muxer-0", 5, (cam, Head("gone", Payload.TS, 7, 90), two)))
    bench.turn_until(lambda: bench.heads)
    assert bench.heads == [cam, two]
    assert bench.news == [(["cam", "two"], False)]


def test_streams_have_their_muxer() -> None:
    bench = Bench()
    names = [f"s{n}" for n in range(20)]
    client = MuxerClient(
        bench.context, bench.poller, bench.lines(3), "server-1", names, bench.counters, logs.Logger(), lambda: 0,
        Unwatched(),
    )  # fmt: skip
    routers = [sockets.frames_out(bench.context, muxer_endpoint(bench.directory, index)) for index in range(3)]
    for name in names:
        client.describe(name, Payload.TS, 1 << 60, lambda *_: None)
    asked: dict[str, int] = {}
    give_up_s = time.monotonic() + WITHIN_S
    while len(asked) < len(names):
        assert time.monotonic() < give_up_s
        client.drain(bench)
        for index, router in enumerate(routers):
            while router.poll(1):
                message = wire.decode_numbered(router.recv_multipart()[1:])[0]
                assert isinstance(message, Describe | Hello)
                if isinstance(message, Describe):
                    asked[message.stream] = index
    assert {name: f"muxer-{index}" for name, index in asked.items()} == {
        name: bench.lines(3).muxer_of(name) for name in names
    }
    client.close()
    for router in routers:
        router.close()
    bench.close()


def test_a_muxer_of_another_version_is_said_and_nobody_waits_for_it(bench: Bench) -> None:
    bench.start_muxer()
    answers: list[tuple[str, str, bool]] = []
    bench.client.describe("two", Payload.TS, bench.now_us + 10**12, lambda *said: answers.append(said))
    bench.heard(Hello)
    assert bench.muxer is not None
    with logged() as said:
        for _ in range(3):
            bench.muxer.send_multipart([bench.identities[-1], msgpack.packb([VERSION + 1, [21, "muxer-0", 5]])])
        bench.turn_until(lambda: bench.client.refusals.versions == 3)
    fault = (
        f"its muxer muxer-0 speaks version {VERSION + 1} of the protocol, this process speaks {VERSION}: "
        "run one framegate on all hosts"
    )
    assert answers == [("", fault, False)]
    assert [line["event"] for line in said if line["log_level"] == "error"] == ["version_refused"]
    bench.client.describe("two", Payload.TS, bench.now_us + 1, lambda *said: answers.append(said))
    bench.turn_until(lambda: len(answers) == 2)
    assert answers[1] == ("", fault, False)
    bench.welcome(5)  # it has been brought up to date
    bench.turn_until(lambda: bench.client.up)
    bench.client.describe("two", Payload.TS, bench.now_us + 1, lambda *said: answers.append(said))
    bench.turn_until(lambda: len(answers) == 3)
    assert answers[2] == ("", "the stream two has not started: its source gives nothing yet", False)


def test_a_frame_of_a_stream_that_is_another_muxers_has_moved(bench: Bench) -> None:
    bench.start_muxer()
    bench.welcome(5)
    bench.turn_until(lambda: bench.news)
    frame = FrameSource("two").frame(sync=True)
    bench.client.adopt(bench.lines(1), ["cam"], bench)
    bench.say(frame.addressed(to_live=True), frame.data)
    bench.turn_until(lambda: bench.counters.frames_moved)
    assert bench.frames == []


def test_other_streams_and_muxers_are_taken_on(bench: Bench) -> None:
    """A stream that moves is forgotten where it was, then asked for where it is."""
    bench.start_muxer()
    bench.welcome(5)
    bench.turn_until(lambda: bench.news)
    answers: list[tuple[str, str, bool]] = []
    bench.client.describe("two", Payload.TS, bench.now_us + 10**9, lambda *said: answers.append(said))
    names = [f"s{number}" for number in range(20)]
    bench.client.adopt(bench.lines(1), ["cam", *names], bench)
    assert answers == [("", "the stream two has been removed", False)]
    bench.client.adopt(bench.lines(2), ["cam", *names], bench)
    moved = [name for name in ("cam", *names) if bench.lines(2).muxer_of(name) == "muxer-1"]
    assert 0 < len(moved) < 20
    assert bench.moved == moved
    assert bench.news[1:] == [([name], True) for name in moved]
    other = sockets.frames_out(bench.context, muxer_endpoint(bench.directory, 1))
    try:
        bench.client.describe(moved[0], Payload.TS, bench.now_us + 10**9, lambda *said: answers.append(said))
        asked: list[Message] = []

        def come() -> bool:
            while other.poll(0):
                asked.append(wire.decode_numbered(other.recv_multipart()[1:])[0])
            return any(isinstance(message, Describe) and message.stream == moved[0] for message in asked)

        bench.turn_until(come)
        bench.client.adopt(bench.lines(1), ["cam", *names], bench)
        assert bench.moved == [*moved, *moved]
        assert isinstance(bench.heard(Describe), Describe)  # the question goes along
    finally:
        other.close()
