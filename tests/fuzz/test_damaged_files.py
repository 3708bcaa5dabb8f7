"""Media files with damage anywhere: played as far as they go, or refused with one line; never a traceback."""

import random
from pathlib import Path

import pytest

from capture.mock import MockSource
from common import config
from common.errors import SettingsError, SourceError
from common.source_spec import FileSpec
from tests.support.media_files import media_file
from tests.support.virtual_clock import VirtualClock

FILES: list[tuple[str, str | None, str | None]] = [
    ("a.mp4", "libx264", "aac"), ("a.mkv", "libx264", "aac"), ("a.ts", "libx264", "aac"),
    ("a.avi", "libx264", "aac"), ("a.flv", "libx264", "aac"), ("a.h264", "libx264", None),
    ("a.hevc", "libx265", None), ("b.ts", "libx265", "aac"), ("a.mov", "mjpeg", "aac"),
    ("a.mjpeg", "mjpeg", None), ("a.aac", None, "aac"), ("a.mp3", None, "libmp3lame"),
]  # fmt: skip
DAMAGES = 8
READS = 300


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Bytes changed, left out and put in, often near the head."""
    spoilt = bytearray(data)
    for _ in range(rng.choice([1, 3, 20, 200])):
        at = rng.randrange(len(spoilt) if rng.random() < 0.6 else min(4000, len(spoilt)))
        kind = rng.random()
        if kind < 0.6:
            spoilt[at] = rng.randrange(256)
        elif kind < 0.8:
            spoilt[at : at + 8] = rng.randbytes(8)
        elif kind < 0.9:
            del spoilt[at : min(at + rng.randrange(200), len(spoilt) - 100)]
        else:
            spoilt[at:at] = rng.randbytes(rng.randrange(50))
    return bytes(spoilt)


@pytest.mark.parametrize(("name", "video", "audio"), FILES, ids=[name for name, _, _ in FILES])
def test_damage_is_survived(name: str, video: str | None, audio: str | None, tmp_path: Path) -> None:
    whole = media_file(name, video, audio).read_bytes()
    path = tmp_path / name
    for seed in range(DAMAGES):
        path.write_bytes(damaged(whole, random.Random(f"{name} {seed}")))
        refusal = played(path)
        assert refusal == "" or (refusal.startswith(str(path)) and "\n" not in refusal), seed


def played(path: Path) -> str:
    """Why the file was refused; empty where it plays."""
    clock = VirtualClock()
    source = MockSource(FileSpec(str(path)), config.Stream(source="mock:"), clock.now_us, clock.sleep_s)
    try:
        source.open()
        check(source, clock)
    except (SourceError, SettingsError) as error:
        return str(error)
    finally:
        source.close()
    return ""


def check(source: MockSource, clock: VirtualClock) -> None:
    """Read on, and hold the source to its promises."""
    newest: dict[bool, int] = {}
    for _ in range(READS):
        sample = source.read(0.05)
        if sample is None:
            continue
        assert source.tracks
        assert sample.order_us > newest.get(sample.audio, 0)
        assert sample.time_us >= sample.order_us
        assert abs(sample.order_us - clock.us) < 3_000_000
        newest[sample.audio] = sample.order_us
