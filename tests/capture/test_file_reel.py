"""A file, pass after pass: always the same samples, and what has changed is seen at the seam."""

import os
from pathlib import Path

import pytest

from capture import file_reel
from capture.demux import MediaFile
from capture.file_reel import FileReel
from common.errors import SourceError
from tests.support.media_files import media_file, variant


def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that are opened from now on."""
    paths: list[str] = []

    def count(path: str) -> MediaFile:
        paths.append(path)
        return MediaFile(path)

    monkeypatch.setattr(file_reel, "MediaFile", count)
    return paths


@pytest.mark.parametrize("limit", [file_reel.KEPT_BYTES_MAX, 1000])
def test_every_pass_is_the_same(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_reel, "KEPT_BYTES_MAX", limit)
    paths = opened(monkeypatch)
    reel = FileReel(str(media_file("a.mp4")))
    first = list(reel.next_pass())
    assert len(first) > 50
    assert reel.tracks_count == 2
    for _ in range(3):
        assert list(reel.next_pass()) == first
    assert len(paths) == (1 if limit > 1000 else 4)
    assert reel.damaged == 0
    reel.close()
    reel.close()


def test_a_pass_that_was_not_read_to_its_end_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = opened(monkeypatch)
    reel = FileReel(str(media_file("a.mp4")))
    assert next(reel.next_pass()) == next(reel.next_pass())
    assert len(paths) == 2
    reel.close()


def test_what_has_changed_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(media_file("a.mp4").read_bytes())
    reel = FileReel(str(path))
    first = list(reel.next_pass())
    path.write_bytes(media_file("b.mp4", "libx265", None, size=(320, 240)).read_bytes())
    second = list(reel.next_pass())
    assert [sample.track.codec for sample in (first[0], second[0])] == ["h264", "h265"]
    os.utime(path, (1, 1))
    assert list(reel.next_pass()) == second
    path.unlink()
    with pytest.raises(SourceError, match="no such file"):
        reel.next_pass()
    reel.close()


def test_damage_counts_in_every_pass() -> None:
    whole = media_file("a.mp4", muxer_options="movflags=faststart")
    reel = FileReel(str(variant(whole, "cut.mp4", lambda data: data[: len(data) * 2 // 3])))
    list(reel.next_pass())
    once = reel.damaged
    assert once >= 1
    list(reel.next_pass())
    list(reel.next_pass())
    assert reel.damaged == 3 * once
    reel.close()
    assert reel.damaged == 3 * once
