"""A screen as a source: Xvfb, with something on it, and without it."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import av
import pytest

from capture.screen import ScreenSource
from common import config
from common.clock import now_us
from common.errors import SettingsError, SourceError
from common.sample import Codec, Sample
from common.source_spec import ScreenSpec
from tests.support.wait import until

SIZE = (320, 240)


@contextmanager
def display() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A white screen of its own, at a free number."""
    if shutil.which("Xvfb") is None:
        pytest.skip("Xvfb is not installed")
    inward, outward = os.pipe()
    words = ["Xvfb", "-displayfd", str(outward), "-wr", "-screen", "0", f"{SIZE[0]}x{SIZE[1]}x24"]
    process = subprocess.Popen(words, pass_fds=[outward], stderr=subprocess.DEVNULL)
    os.close(outward)
    try:
        with os.fdopen(inward) as told:
            number = told.readline().strip()
        assert number, "Xvfb does not start"
        yield f":{number}", process
    finally:
        process.kill()
        process.wait()


def source_of(display: str, **settings: object) -> ScreenSource:
    document = {"streams": {"a": {"source": "screen:", "fps": 20.0, **settings}}}
    return ScreenSource(ScreenSpec(display), config.from_document(document).streams["a"])


def samples(source: ScreenSource, count: int) -> list[Sample]:
    got: list[Sample] = []

    def enough() -> bool:
        sample = source.read(0.05)
        if sample is not None:
            got.append(sample)
        return len(got) >= count

    until(enough, 20, "pictures")
    return got


def test_it_is_shown_as_it_is_and_its_end_is_said() -> None:
    with display() as (name, server):
        before_us = now_us()
        source = source_of(name)
        source.open()
        try:
            got = samples(source, 5)
            (track,) = source.tracks
            assert (track.codec, track.width, track.height, track.fps) == (Codec.H264, *SIZE, 20.0)
            assert got[0].sync
            times = [sample.time_us for sample in got]
            assert times == sorted(set(times))
            assert before_us < times[0] < times[-1] < now_us()
            decoder = av.CodecContext.create("h264", "r")
            assert isinstance(decoder, av.VideoCodecContext)
            decoder.thread_count = 1
            shown = decoder.decode(av.Packet(bytes(got[0].data)))[0]
            assert shown.to_ndarray()[: SIZE[1]].mean() > 225  # white, and perhaps a pointer
            source.request_key_frame()
            until(lambda: (sample := source.read(0.05)) is not None and sample.sync, 20, "a key frame")
            server.kill()
            with pytest.raises(SourceError, match=f"screen:{name}: "):
                until(lambda: source.read(0.05) is None and False, 20, "its end")
        finally:
            source.close()
        source.close()


def test_a_part_of_it() -> None:
    with display() as (name, _):
        source = source_of(name, width=160, height=120)
        source.open()
        samples(source, 1)
        assert (source.tracks[0].width, source.tracks[0].height) == (160, 120)
        source.close()


def test_who_is_late_gets_the_newest() -> None:
    with display() as (name, _):
        source = source_of(name)
        source.open()
        samples(source, 1)
        until(lambda: source.counters["dropped_raw"] > 3, 20, "pictures that nobody fetched")
        (sample,) = samples(source, 1)
        assert now_us() - sample.time_us < 1_000_000
        source.close()


def test_no_such_display() -> None:
    with pytest.raises(SourceError, match="screen::9999: no X display, or not for this user"):
        source_of(":9999").open()


def test_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(SettingsError, match="name one, as in screen::0"):
        source_of("").open()


def test_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":9998")
    with pytest.raises(SourceError, match="screen::9998: "):
        source_of("").open()
