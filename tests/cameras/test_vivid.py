"""The camera source over the kernel's virtual camera: raw pictures, and every fault that its driver can play."""

import os
import resource
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import av
import numpy as np
import pytest
from linuxpy.video import device as linuxpy_device
from numpy.typing import NDArray

from capture import camera, devices, raw_pictures
from capture.camera import CameraSource
from capture.v4l2 import cameras
from common import annexb, clock
from common.errors import SettingsError, SourceError
from common.sample import Codec, Sample
from tests.support import camera_life, vivid
from tests.support.camera_life import SAMPLE_S, next_sample, read_until, until_fault

SIZE = {"width": 320, "height": 180, "fps": 10.0}  # its smallest: the processor is emulated


@pytest.fixture
def path() -> Iterator[str]:
    first = vivid.devices()[0]
    vivid.control(first, vivid.OVERLAY, vivid.NO_OVERLAY)
    yield first
    vivid.control(first, vivid.DROPPED_PERCENT, 0)


def source_of(path: str, **settings: object) -> CameraSource:
    return camera_life.source_of(path, **SIZE | settings)


def opened(path: str, **settings: object) -> AbstractContextManager[CameraSource]:
    return camera_life.opened(path, **SIZE | settings)


def decoded(sample: Sample) -> NDArray[np.uint8]:
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    picture = decoder.decode(av.Packet(bytes(sample.data)))[0]
    assert isinstance(picture, av.VideoFrame)
    return picture.to_ndarray().astype(np.uint8)


# ---- pictures -------------------------------------------------------------------------------------------


def test_pictures_come_with_the_drivers_times_to_the_microsecond(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said_us: list[int] = []
    dequeue = linuxpy_device.dequeue_buffer

    def noted(*arguments: object) -> object:
        buffer = dequeue(*arguments)
        said_us.append(buffer.timestamp.secs * 1_000_000 + buffer.timestamp.usecs)
        return buffer

    monkeypatch.setattr(linuxpy_device, "dequeue_buffer", noted)
    before_us = clock.now_us()
    with opened(path) as source:
        samples = [next_sample(source) for _ in range(10)]
        track = source.tracks[0]
    times = [sample.time_us for sample in samples]
    assert times == sorted(set(times))
    assert set(times) <= set(said_us)
    assert before_us - 200_000 < times[0] < times[-1] < clock.now_us() + 200_000  # vivid's run ahead
    assert samples[0].sync
    assert annexb.parameter_sets(samples[0].data, Codec.H264) == track.config
    assert (track.codec, track.width, track.height, track.fps) == (Codec.H264, 320, 180, 10.0)
    assert source.notes == ()


@pytest.mark.parametrize("fourcc", raw_pictures.FORMATS)
def test_every_raw_format_shows_the_same_picture(path: str, fourcc: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw_pictures, "FORMATS", {fourcc: raw_pictures.FORMATS[fourcc]})
    with opened(path, format="raw") as source:
        picture = decoded(next_sample(source))
    # vivid's colour bars: white, yellow, cyan, green, magenta, red, blue, black, at 75 % and BT.601 ...
    bars = [(180, 128, 128), (162, 44, 142), (131, 156, 44), (112, 72, 58),
            (84, 184, 198), (65, 100, 212), (35, 212, 114), (16, 128, 128)]  # fmt: skip
    if fourcc == "GREY":  # ... and of BT.709 where it has no colour
        bars = [(y, 128, 128) for y in (180, 168, 145, 133, 63, 51, 28, 16)]
    luma, chroma = picture[:180], picture[180:].reshape(2, 90, 160)
    for index, (y, blue, red) in enumerate(bars):
        column = 40 * index + 20
        assert abs(float(np.median(luma[120:170, column - 8 : column + 8])) - y) < 8, (index, "luma")
        for plane, value in zip(chroma, (blue, red), strict=True):
            middle = plane[60:85, column // 2 - 4 : column // 2 + 4]
            assert abs(float(np.median(middle)) - value) < 12, (index, "chroma")


def test_a_key_frame_can_be_asked_for(path: str) -> None:
    with opened(path) as source:
        assert next_sample(source).sync
        assert not next_sample(source).sync
        source.request_key_frame()
        assert next_sample(source).sync


def test_a_size_that_is_not_there_becomes_the_nearest_and_is_said(path: str) -> None:
    with opened(path, width=350, height=200) as source:
        next_sample(source)
        assert (source.tracks[0].width, source.tracks[0].height) == (320, 180)
        assert "320x180" in source.notes[0]


def test_controls_are_set_by_name(path: str) -> None:
    with opened(path, controls={"gain_automatic": False, "brightness": 7, "menu": "Menu Item 4"}) as source:
        next_sample(source)
        assert vivid.value(path, "Brightness") == 7
        assert vivid.value(path, "Gain, Automatic") == 0
        assert vivid.value(path, "Menu") == 4
    with pytest.raises(SettingsError, match=f"{path}: it has no control 'sharpness'; it has .*brightness"):
        source_of(path, controls={"sharpness": 1}).open()


def test_the_list_of_cameras_says_what_can_be_had(path: str) -> None:
    text = devices.as_text(cameras())
    lines = text.splitlines()
    assert lines[0] == "camera:0  vivid  (platform:vivid-000)"
    assert "    YUYV  YUYV 4:2:2" in lines
    assert any(line.startswith("        320x180 at 1, 2, 4, 5, 10,") for line in lines)
    assert any(line.startswith("        brightness 0 to 255; default 1") for line in lines)
    assert len([line for line in lines if line.startswith("    formats that cannot be used: ")]) == 1
    assert path in {camera.device for camera in cameras()}


def test_it_has_no_motion_jpeg_and_that_is_said_in_one_line(path: str) -> None:
    with pytest.raises(SourceError, match=f"{path}: has no mjpeg pictures; it offers ") as caught:
        source_of(path, format="mjpeg").open()
    assert "\n" not in str(caught.value)


# ---- who is late ----------------------------------------------------------------------------------------


def test_who_is_late_gets_the_newest_and_the_others_are_counted(path: str) -> None:
    with opened(path) as source:
        last = next_sample(source)
        give_up_s = time.monotonic() + SAMPLE_S
        while source.counters["dropped_raw"] < 3 and time.monotonic() < give_up_s:
            time.sleep(0.5)  # what a machine in trouble does: five pictures pass, four buffers fill
            sample = next_sample(source)
            assert sample.time_us > last.time_us
            last = sample
        assert source.counters["dropped_raw"] >= 3


def test_lost_pictures_are_counted(path: str) -> None:
    with opened(path) as source:
        next_sample(source)
        vivid.control(path, vivid.DROPPED_PERCENT, 60)
        read_until(source, lambda: source.counters["gaps"] > 0)


def test_damaged_pictures_are_counted_and_left_out(path: str) -> None:
    with opened(path) as source:
        next_sample(source)
        vivid.control(path, vivid.DAMAGED)
        read_until(source, lambda: source.counters["damaged"] > 0)
        assert source.counters["damaged"] == 1
        next_sample(source)


def test_waiting_costs_nothing(path: str) -> None:
    with opened(path, fps=1.0) as source:
        next_sample(source)
        began_s, cpu_s = time.monotonic(), time.process_time()
        for _ in range(2):
            assert source.read(0.8) is None or source.read(0.8) is None
        assert time.process_time() - cpu_s < 0.5 * (time.monotonic() - began_s)


# ---- who may not, and who must wait ---------------------------------------------------------------------


def test_who_comes_second_is_told_and_disturbs_nobody(path: str) -> None:
    with opened(path) as first:
        next_sample(first)
        second = source_of(path)
        for _ in range(3):
            with pytest.raises(SourceError, match=f"{path}: in use by another program"):
                second.open()
        gaps = first.counters["gaps"]
        assert next_sample(first).data
        assert first.counters["gaps"] <= gaps + 3
    with opened(path) as second:
        assert next_sample(second).sync


def test_without_permission_it_is_said_whom_to_ask_and_it_is_listed(path: str) -> None:
    os.chmod(path, 0o600)
    os.seteuid(65534)  # root may do anything
    try:
        with pytest.raises(SourceError, match="this user may not open it: add the user to the group video"):
            source_of(path).open()
        listed = {one.device: one.problem for one in cameras()}
    finally:
        os.seteuid(0)
    assert "may not open it" in listed[path]
    with opened(path) as source:
        next_sample(source)


def test_no_such_device() -> None:
    with pytest.raises(SourceError, match="/dev/video99: no such device"):
        source_of("/dev/video99").open()


def test_descriptors_beyond_1024_are_as_good(path: str) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    with ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        while stack.enter_context(open("/dev/null", "rb")).fileno() < 1024:
            pass
        with opened(path) as source:
            next_sample(source)


@pytest.mark.parametrize("asked", [1, 4])
def test_as_many_buffers_are_used_as_were_granted(path: str, asked: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera, "BUFFERS", asked)  # vivid gives two at least
    with opened(path) as source:
        for _ in range(2 * asked + 3):
            next_sample(source)
    assert source.counters["damaged"] == 0


# ---- a driver in trouble --------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [vivid.NO_BUFFERS, vivid.NO_START])
def test_a_start_that_fails_is_one_line_and_the_next_one_works(path: str, fault: str) -> None:
    vivid.control(path, fault)
    with pytest.raises(SourceError, match=f"{path}: ") as caught:
        source_of(path).open()
    assert "\n" not in str(caught.value)
    with opened(path) as source:
        next_sample(source)


@pytest.mark.parametrize("fault", [vivid.FATAL, vivid.REFUSED_BUFFER])
def test_a_fault_of_the_driver_ends_this_life_and_the_next_one_works(path: str, fault: str) -> None:
    with opened(path) as source:
        next_sample(source)
        vivid.control(path, fault)
        assert until_fault(source).startswith(f"{path}: ")
    with opened(path) as source:
        assert next_sample(source).sync


def test_a_camera_that_is_stopped_by_others_ends_the_wait(path: str) -> None:
    with opened(path) as source:
        next_sample(source)
        descriptor = next(
            int(link.name) for link in Path("/proc/self/fd").iterdir() if link.resolve() == Path(path)
        )
        kind = linuxpy_device.BufferType.VIDEO_CAPTURE
        stop = threading.Timer(0.2, linuxpy_device.stream_off, (descriptor, kind))
        stop.start()
        assert until_fault(source).startswith(f"{path}: ")
        stop.join()


def test_a_hundred_faults_leave_nothing_behind(path: str) -> None:
    def held() -> tuple[int, int]:
        mappings = Path("/proc/self/maps").read_text().count("/dev/video")
        return len(os.listdir("/proc/self/fd")), mappings

    before = held()
    for number in range(100):
        source = source_of(path)
        if number % 2:
            vivid.control(path, vivid.NO_START)
            with pytest.raises(SourceError):
                source.open()
        else:
            source.open()
            vivid.control(path, vivid.FATAL)
            until_fault(source)
        source.close()
    assert held() == before
