"""A media file, pass after pass: taken apart once, and again only where it is too large to keep or has changed.

Opening a file costs libavformat as much as some hundred pictures cost us, and taking it apart half of what each of
them does. A clip of a few seconds that is shown for days is better kept as it came out the first time.
"""

import os
from collections.abc import Iterator

from capture.demux import MediaFile
from capture.file_tracks import FileSample

KEPT_BYTES_MAX = 16 << 20  # of samples: half a minute of 4 Mbit/s

_Version = tuple[int, int, int, int]


class FileReel:
    """Raises SourceError and SettingsError as `capture.demux.MediaFile` does, here and at each pass.

    damaged: as there, of all passes so far. notes, tracks_count: of the first one.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._damaged = 0
        self._kept: list[FileSample] | None = None
        self._kept_damaged = 0
        self._version = _version(path)
        self._file: MediaFile | None = MediaFile(path)
        self.notes = self._file.notes
        self.tracks_count = self._file.tracks_count
        self._is_begun = False

    @property
    def damaged(self) -> int:
        """How much of it could not be read."""
        return self._damaged + (self._file.damaged if self._file is not None else 0)

    def next_pass(self) -> Iterator[FileSample]:
        """The samples from the beginning."""
        if not self._is_begun:
            self._is_begun = True
            assert self._file is not None
            return self._read(self._file)
        self._put_away()
        version = _version(self._path)
        if self._kept is not None and version is not None and version == self._version:
            self._damaged += self._kept_damaged
            return iter(self._kept)
        self._kept = None
        self._version = version
        self._file = MediaFile(self._path)
        return self._read(self._file)

    def close(self) -> None:
        """Let go of it; a second call does nothing."""
        self._put_away()
        self._kept = None

    def _read(self, file: MediaFile) -> Iterator[FileSample]:
        read: list[FileSample] = []
        size = 0
        for sample in file.samples():
            yield sample
            size += len(sample.data)
            if size <= KEPT_BYTES_MAX:
                read.append(sample)
            else:
                read.clear()
        if size <= KEPT_BYTES_MAX:
            self._kept, self._kept_damaged = read, file.damaged

    def _put_away(self) -> None:
        if self._file is not None:
            self._damaged += self._file.damaged
            self._file.close()
            self._file = None


def _version(path: str) -> _Version | None:
    """What is another one when the file has been written to, or is another; None for one that is not there."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
