"""Taps: what a program gets of a stream, with a real capture's outlet on the other end."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from capture.outlet import Outlet
from common import clock, intake, sockets
from common.endpoints import capture_endpoint
from common.errors import SettingsError
from common.sample import Codec, Sample, Track
from muxer.tap import Tap, subscribe
from tests.support.published import pretend_instance
from tests.support.wait import until

VIDEO, AUDIO = Track(Codec.H264), Track(Codec.AAC)


@pytest.fixture
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("i")
    pretend_instance(path, door="test:")
    return path


@pytest.fixture
def outlet(directory: Path) -> Iterator[Outlet]:
    with zmq.Context() as context:
        made = Outlet(sockets.samples_out(context, capture_endpoint(str(directory), "door")))
        made.begin((VIDEO, AUDIO))
        made.tell_state(True)
        yield made
        made.close()


def publish(outlet: Outlet, letters: str, age_us: int = 0) -> None:
    """A sample a letter: S a sync picture, v another, a sound; `age_us` old."""
    for number, letter in enumerate(letters):
        codec = Codec.AAC if letter == "a" else Codec.H264
        outlet.publish(Sample(letter.encode(), clock.now_us() - age_us + number, codec, letter in "Sa"))


def greeted(outlet: Outlet) -> None:
    """Until the tap is known."""

    def probe() -> int:
        outlet.receive()
        return outlet.subscriptions

    until(probe, 5, "the subscription")


def letters(tap: Tap, count: int) -> str:
    return "".join(bytes(next(tap).data).decode() for _ in range(count))


def test_it_begins_with_the_newest_sync_point(directory: Path, outlet: Outlet) -> None:
    publish(outlet, "vaSva", age_us=5_000_000)
    with subscribe("door", runtime_dir=directory) as tap:
        greeted(outlet)
        publish(outlet, "vSa")
        assert letters(tap, 6) == "SvavSa"
        assert (tap.tracks, tap.reason, tap.dropped) == ((VIDEO, AUDIO), "", 0)
        assert tap.read(0) is None


def test_what_is_taken_too_late_is_left_out_up_to_a_sync_point(directory: Path, outlet: Outlet) -> None:
    with subscribe("door", runtime_dir=directory, age_max_ms=1000) as tap:
        greeted(outlet)
        publish(outlet, "Sv")
        publish(outlet, "vSa", age_us=2_000_000)
        publish(outlet, "vavSv")
        assert letters(tap, 5) == "SvaSv"
        assert tap.dropped == 5


def test_a_key_frame_can_be_asked_for(directory: Path, outlet: Outlet) -> None:
    with subscribe("door", runtime_dir=directory) as tap:
        greeted(outlet)
        tap.request_key_frame()

        def asked() -> bool:
            outlet.receive()
            return outlet.take_key_frame_request()

        until(asked, 5, "the request")


def test_one_that_has_missed_what_it_is_asks(
    directory: Path, outlet: Outlet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "UNANNOUNCED_US", 0)
    with subscribe("door", runtime_dir=directory) as tap:
        greeted(outlet)
        publish(outlet, "S")
        assert letters(tap, 1) == "S"
        with monkeypatch.context() as lost:
            lost.setattr(sockets, "send", lambda *_: None)
            outlet.begin((VIDEO,))
        publish(outlet, "Sv")
        assert tap.read(0.5) is None

        def asked() -> bool:
            outlet.receive()
            return outlet.repeated > 0

        until(asked, 5, "the request")
        assert letters(tap, 2) == "Sv"


def test_why_there_is_nothing_is_known(directory: Path, outlet: Outlet) -> None:
    with subscribe("door", runtime_dir=directory) as tap:
        greeted(outlet)
        outlet.tell_state(False, "unplugged")
        until(lambda: tap.read(0.02) or tap.reason, 5, "the reason")
        assert tap.reason == "unplugged"


def test_a_closed_one_is_at_its_end(directory: Path) -> None:
    tap = subscribe("door", runtime_dir=directory)
    tap.close()
    tap.close()
    assert list(tap) == []
    assert tap.read(1) is None


def test_where_there_is_nothing_to_tap_is_said(directory: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="has no stream yard; it has: door"):
        subscribe("yard", runtime_dir=directory)
    with pytest.raises(SettingsError, match="no framegate runs in"):
        subscribe("door", runtime_dir=tmp_path / "none")
