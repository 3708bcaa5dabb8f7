"""Source texts: what each says, and that every wrong one is refused with words that help."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import SettingsError
from common.messages import STREAM_NAME_PATTERN
from common.source_spec import (
    CameraSpec,
    FileSpec,
    GeneratedSpec,
    ProgramSpec,
    ScreenSpec,
    SourceSpec,
    default_name,
    parse,
    path_of,
)


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("mock:clip.mp4", FileSpec("clip.mp4")),
        ("mock:/media/a clip: part 2, take=3.mkv", FileSpec("/media/a clip: part 2, take=3.mkv")),
        ("camera:0", CameraSpec("/dev/video0")),
        ("camera:12", CameraSpec("/dev/video12")),
        ("camera:/dev/v4l/by-id/usb-Emu_Cam-video-index0", CameraSpec("/dev/v4l/by-id/usb-Emu_Cam-video-index0")),
        ("program:", ProgramSpec()),
        ("screen:", ScreenSpec()),
        ("screen::0", ScreenSpec(":0")),
        ("screen::10.1", ScreenSpec(":10.1")),
        ("test:", GeneratedSpec()),
        ("test:size=640x480", GeneratedSpec(size=(640, 480))),
        ("test:fps=29.97,tone=off", GeneratedSpec(fps=29.97, tone=False)),
        (
            "test:size=1920x1080,fps=60,tone=on,bitrate_bps=0,sync_interval_ms=500",
            GeneratedSpec((1920, 1080), 60.0, True, 0, 500),
        ),
    ],
)  # fmt: skip
def test_a_source_text_says(text: str, spec: SourceSpec) -> None:
    assert parse(text) == spec


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is no source: it is one of mock:FILE, camera:ID, "),
        ("clip.mp4", "'clip.mp4' is no source"),
        ("file:clip.mp4", "is no source"),
        ("test", "is no source"),
        ("Mock:clip.mp4", "is no source"),
        ("mock:", "name a media file"),
        ("mock:a\0b", "zero byte"),
        ("camera:", "a camera is a number"),
        ("camera:front", "a camera is a number"),
        ("camera:-1", "a camera is a number"),
        ("camera:99999", "a camera is a number"),
        ("camera:/dev/", "a camera is a number"),
        ("camera:dev/video0", "a camera is a number"),
        ("program:door", "nothing follows the colon"),
        ("screen:0", "an X display is :NUMBER, as in screen::0"),
        ("screen:host:0", "an X display is :NUMBER"),
        ("screen::0+10,20", "an X display is :NUMBER"),
        ("test:640x480", "'640x480' is none of size=, fps=, tone="),
        ("test:,", "'' is none of size="),
        ("test:size=640", "size is WIDTHxHEIGHT, even numbers from 128 to 4096"),
        ("test:size=641x480", "even numbers"),
        ("test:size=64x48", "from 128"),
        ("test:size=8192x480", "to 4096"),
        ("test:fps=0", "fps is a number from 1 to 240"),
        ("test:fps=1e3", "fps is a number"),
        ("test:fps=nan", "fps is a number"),
        ("test:tone=yes", "tone is on or off"),
        ("test:fps=25,fps=30", "fps is said twice"),
        ("test:bitrate_bps=-1", "bitrate_bps is a whole number"),
        ("test:bitrate_bps=2M", "bitrate_bps is a whole number"),
        ("test:sync_interval_ms=10", "sync_interval_ms is a whole number from 100"),
    ],
)
def test_a_wrong_text_is_refused_with_its_reason(text: str, words: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(words)) as caught:
        parse(text)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=60) | st.from_regex(r"(mock|camera|test):[ -~]{0,40}", fullmatch=True))
def test_any_text_is_read_or_refused_and_has_a_valid_default_name(text: str) -> None:
    try:
        spec = parse(text)
    except SettingsError:
        return
    assert re.fullmatch(STREAM_NAME_PATTERN, default_name(spec))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("mock:clip.mp4", "clip"),
        ("mock:/media/my film (1).2024.mkv", "my-film-1-.2024"),
        ("mock:.hidden", "hidden"),
        ("mock:日本.ts", "file"),
        ("mock:" + "a" * 80 + ".ts", "a" * 64),
        ("camera:0", "camera0"),
        ("camera:/dev/video2", "camera2"),
        ("camera:/dev/v4l/by-id/usb-046d_C920-video-index0", "usb-046d_C920-video-index0"),
        ("test:size=640x480", "test"),
    ],
)
def test_default_names(text: str, name: str) -> None:
    assert default_name(parse(text)) == name


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("mock:a/b.mp4", "a/b.mp4"),
        ("camera:3", "/dev/video3"),
        ("camera:/dev/v4l/x", "/dev/v4l/x"),
        ("test:", None),
    ],
)
def test_what_a_source_reads(text: str, path: str | None) -> None:
    assert path_of(parse(text)) == path
