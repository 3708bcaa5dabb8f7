"""The tracks of a source, read off its samples: told when all are known, and again when one changes. Pure."""

from collections.abc import Set

from common.sample import Track


class KnownTracks:
    """At most one of pictures and one of sound.

    expected: which there must be before the first sample may go out, by whether it is audio. tracks: empty until
    all of them are known; pictures come first.
    """

    def __init__(self, expected: Set[bool] = frozenset()) -> None:
        self.expected = expected
        self.tracks: tuple[Track, ...] = ()
        self._known: dict[bool, Track] = {}

    def __contains__(self, audio: object) -> bool:
        """Whether the track of sound, or of pictures, has been noted."""
        return audio in self._known

    def note(self, track: Track) -> None:
        """A sample of this track comes next."""
        known = self._known.get(track.audio)
        if known is track:
            return
        self._known[track.audio] = track
        if known != track and self.expected <= self._known.keys():
            self.tracks = tuple(self._known[audio] for audio in sorted(self._known))
