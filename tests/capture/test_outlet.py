"""Samples out over ZeroMQ, and what comes back: a real socket, a subscriber that reads every message."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from capture.outlet import RECEIVED_MAX, Outlet
from common import sockets, wire
from common.errors import SettingsError
from common.messages import (
    TEXT_MAX,
    Announce,
    AnyMessage,
    Describe,
    KeyFrameRequest,
    SampleMessage,
    SourceState,
)
from common.sample import Codec, Sample, Track
from tests.support.wait import until

WAIT_MS = 5000
VIDEO = Track(Codec.H264, 160, 120, 25.0, config=b"\0\0\0\1\x67")
AUDIO = Track(Codec.AAC, sample_rate_hz=48000, channels=2, config=b"\x11\x90")


class Subscriber:
    """A muxer's end."""

    def __init__(self, context: sockets.Context, endpoint: str) -> None:
        self.socket = sockets.samples_in(context, endpoint)

    def subscribe(self) -> None:
        self.socket.send(b"\x01")

    def next(self) -> tuple[AnyMessage, bytes]:
        assert self.socket.poll(WAIT_MS), "no message came"
        message, media = wire.decode(self.socket.recv_multipart())
        return message, bytes(media)

    def is_empty(self) -> bool:
        return not self.socket.poll(50)


@pytest.fixture
def context() -> Iterator[sockets.Context]:
    with zmq.Context() as made:
        yield made


@pytest.fixture
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"ipc://{tmp_path_factory.mktemp('p')}/s"


@pytest.fixture
def outlet(context: sockets.Context, endpoint: str) -> Iterator[Outlet]:
    made = Outlet(sockets.samples_out(context, endpoint))
    yield made
    made.close()


@pytest.fixture
def subscriber(context: sockets.Context, endpoint: str) -> Iterator[Subscriber]:
    made = Subscriber(context, endpoint)
    yield made
    made.socket.close()


def heard(outlet: Outlet, count: int = 1) -> bool:
    """Wait for the next subscriptions."""

    def probe() -> bool:
        outlet.receive()
        return outlet.subscriptions >= count

    return until(probe, 5, "a subscription")


def test_samples_are_numbered_from_the_start_of_each_life(outlet: Outlet, subscriber: Subscriber) -> None:
    subscriber.subscribe()
    heard(outlet)
    epochs = []
    for _ in range(2):
        outlet.begin((VIDEO, AUDIO))
        announce, _ = subscriber.next()
        assert isinstance(announce, Announce)
        assert announce.tracks == (VIDEO, AUDIO)
        epochs.append(announce.epoch)
        outlet.publish(Sample(b"key", 1000, Codec.H264, True, 900))
        outlet.publish(Sample(b"sound", 950, Codec.AAC))
        outlet.publish(Sample(memoryview(b"next"), 2000, Codec.H264, False))
        got = [subscriber.next() for _ in range(3)]
        assert [media for _, media in got] == [b"key", b"sound", b"next"]
        assert [message for message, _ in got] == [
            SampleMessage(announce.epoch, 0, 1000, 900, Codec.H264, True),
            SampleMessage(announce.epoch, 1, 950, None, Codec.AAC, True),
            SampleMessage(announce.epoch, 2, 2000, None, Codec.H264, False),
        ]
    assert epochs[0] != epochs[1]
    assert (outlet.samples, outlet.bytes, outlet.key_frames) == (6, 24, 2)


def test_who_is_new_is_told_the_tracks_and_the_state(
    context: sockets.Context, endpoint: str, outlet: Outlet, subscriber: Subscriber
) -> None:
    outlet.begin((VIDEO,))
    outlet.tell_state(True)
    subscriber.subscribe()
    heard(outlet)
    announce, _ = subscriber.next()
    assert subscriber.next()[0] == SourceState(True, "")
    second = Subscriber(context, endpoint)
    second.subscribe()
    heard(outlet, 2)
    assert second.next()[0] == announce
    assert second.next()[0] == SourceState(True, "")
    second.socket.close()


def test_who_is_new_is_given_what_came_since_the_sync_point(
    context: sockets.Context, endpoint: str, outlet: Outlet, subscriber: Subscriber
) -> None:
    subscriber.subscribe()
    heard(outlet)
    outlet.begin((VIDEO,))
    sent = [
        Sample(b"no sync", 0, Codec.H264, False),
        Sample(b"key", 1, Codec.H264),
        Sample(b"p", 2, Codec.H264, False),
    ]
    for sample in sent:
        outlet.publish(sample)
    first = [subscriber.next() for _ in range(4)]
    second = Subscriber(context, endpoint)
    second.subscribe()
    heard(outlet, 2)
    outlet.publish(Sample(b"after", 3, Codec.H264, False))
    assert second.next() == first[0]
    for number, data in ((1, b"key"), (2, b"p")):
        message, media = second.next()
        assert isinstance(message, SampleMessage)
        assert (message.sequence, message.repeated, media) == (number, True, data)
    message, media = second.next()
    assert isinstance(message, SampleMessage)
    assert (message.sequence, message.repeated, media) == (3, False, b"after")
    assert (outlet.samples, outlet.repeated) == (4, 2)
    second.socket.close()


def test_nothing_is_repeated_of_a_source_that_is_down(outlet: Outlet, subscriber: Subscriber) -> None:
    outlet.begin((VIDEO,))
    outlet.publish(Sample(b"key", 1, Codec.H264))
    outlet.tell_state(False, "unplugged")
    subscriber.subscribe()
    heard(outlet)
    assert isinstance(subscriber.next()[0], Announce)
    assert isinstance(subscriber.next()[0], SourceState)
    assert subscriber.is_empty()


def test_a_change_of_tracks_is_of_the_same_life(outlet: Outlet, subscriber: Subscriber) -> None:
    subscriber.subscribe()
    heard(outlet)
    outlet.begin((VIDEO,))
    outlet.publish(Sample(b"key", 1000, Codec.H264))
    outlet.announce((VIDEO, AUDIO))
    outlet.publish(Sample(b"sound", 950, Codec.AAC))
    messages = [subscriber.next()[0] for _ in range(4)]
    epochs = {message.epoch for message in messages if isinstance(message, Announce | SampleMessage)}
    assert len(epochs) == 1
    assert [message.sequence for message in messages if isinstance(message, SampleMessage)] == [0, 1]


def test_nothing_is_said_of_a_source_that_is_not_wanted(outlet: Outlet, subscriber: Subscriber) -> None:
    outlet.begin((VIDEO,))
    outlet.tell_state(False, "no such file")
    outlet.forget_state()
    subscriber.subscribe()
    heard(outlet)
    assert subscriber.is_empty()


def test_a_reason_fits_its_limit(outlet: Outlet, subscriber: Subscriber) -> None:
    outlet.tell_state(False, "x" * 2 * TEXT_MAX)
    subscriber.subscribe()
    heard(outlet)
    assert subscriber.next()[0] == SourceState(False, "x" * TEXT_MAX)


def test_demand_is_there_from_the_first_subscription_to_the_last(
    context: sockets.Context, endpoint: str, outlet: Outlet, subscriber: Subscriber
) -> None:
    assert not outlet.demanded
    subscriber.subscribe()
    heard(outlet)
    second = Subscriber(context, endpoint)
    second.subscribe()
    heard(outlet, 2)
    subscriber.socket.send(b"\x00")
    second.socket.send_multipart(wire.encode(KeyFrameRequest()))

    def asked() -> bool:
        outlet.receive()
        return outlet.take_key_frame_request()

    until(asked, 5, "the request")
    assert outlet.demanded
    second.socket.close()  # as one that dies

    def abandoned() -> bool:
        outlet.receive()
        return not outlet.demanded

    until(abandoned, 5, "the end of the demand")


def test_requests_are_heard_and_all_else_is_refused_and_counted(outlet: Outlet, subscriber: Subscriber) -> None:
    subscriber.subscribe()
    heard(outlet)
    junk: list[list[bytes]] = [
        [b"\xff\xff\xff"],
        [b"\x92\x07\x04"],
        [b"\x01a topic"],
        [b"\x93\x01\x04", b"media"],
        [bytes(frame) for frame in wire.encode(Describe(1, "stream"))],
    ]
    for frames in junk:
        subscriber.socket.send_multipart(frames)
    subscriber.socket.send_multipart(wire.encode(KeyFrameRequest()))
    subscriber.socket.send_multipart(wire.encode(KeyFrameRequest()))

    def probe() -> bool:
        outlet.receive()
        return outlet.requests == 2

    until(probe, 5, "both requests")
    assert outlet.refused == len(junk)
    assert outlet.take_key_frame_request()
    assert not outlet.take_key_frame_request()


def test_who_has_not_heard_what_it_is_is_greeted_again(outlet: Outlet, subscriber: Subscriber) -> None:
    subscriber.subscribe()
    heard(outlet)
    outlet.begin((VIDEO,))
    outlet.tell_state(True)
    outlet.publish(Sample(b"key", 1000, Codec.H264))
    said = [subscriber.next() for _ in range(3)]
    for request in (KeyFrameRequest(), KeyFrameRequest(unannounced=True)):
        subscriber.socket.send_multipart(wire.encode(request))

    def probe() -> bool:
        outlet.receive()
        return outlet.requests == 2

    until(probe, 5, "both requests")
    assert [subscriber.next() for _ in range(2)] == said[:2]
    message, media = subscriber.next()
    assert isinstance(message, SampleMessage)
    assert (message.sequence, message.repeated, media) == (0, True, b"key")
    assert subscriber.is_empty()


def test_a_flood_does_not_keep_the_source_waiting(
    outlet: Outlet, subscriber: Subscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("capture.outlet.RECEIVED_MAX", 5)
    assert RECEIVED_MAX > 100
    subscriber.subscribe()
    heard(outlet)
    for _ in range(20):
        subscriber.socket.send(b"\xc1")
    turns = 0

    def probe() -> bool:
        nonlocal turns
        before = outlet.refused
        outlet.receive()
        turns += outlet.refused > before
        assert outlet.refused - before <= 5
        return outlet.refused == 20

    until(probe, 5, "all of it")
    assert turns >= 4


def test_nobody_listening_costs_nothing(outlet: Outlet) -> None:
    outlet.begin((VIDEO,))
    for index in range(1000):
        outlet.publish(Sample(b"x" * 100_000, index, Codec.H264))
    assert outlet.samples == 1000


def test_where_it_cannot_listen_is_said(context: sockets.Context, tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match=r"cannot listen on ipc://.*: No such file or directory: check runtime_dir"
    ):
        sockets.samples_out(context, f"ipc://{tmp_path}/none/capture-a")
