"""A track of Motion JPEG that is encoded to H.264 on its way."""

from capture.encode import JpegDecoder, PictureEncoder
from capture.file_tracks import FileSample
from common import config
from common.sample import Codec, Sample, Track

LATE_US_MAX = 200_000  # a picture that is so late is left out, not encoded


class JpegTrack:
    """settings: the stream's. track: of what comes out; None before the first picture.

    dropped: pictures left out because they were late. damaged: those that are no whole JPEG.
    """

    def __init__(self, settings: config.Stream) -> None:
        self._settings = settings
        self._coders: tuple[JpegDecoder, PictureEncoder] | None = None
        self.dropped = self.damaged = 0

    @property
    def track(self) -> Track | None:
        return self._coders[1].track if self._coders is not None else None

    def takes(self, track: Track) -> bool:
        """Whether samples of this track are to be encoded, not passed on as they are."""
        return track.codec is Codec.MJPEG and self._settings.mjpeg == "encode"

    def encode(self, sample: FileSample, time_us: int, late_us: int) -> list[Sample]:
        """What the picture, to be shown at `time_us`, becomes. Raises SourceError where no encoder takes it."""
        if self._coders is None:
            self._coders = JpegDecoder(), PictureEncoder(self._settings.encode, sample.track.fps)
        if late_us > LATE_US_MAX:
            self.dropped += 1
            return []
        decoder, encoder = self._coders
        picture = decoder.decode(sample.data)
        if picture is None:
            self.damaged += 1
            return []
        return encoder.encode(picture, time_us)

    def request_key_frame(self) -> None:
        """Make the next picture a sync point."""
        if self._coders is not None:
            self._coders[1].request_key_frame()

    def close(self) -> None:
        """Free the encoder. The next picture opens it again."""
        if self._coders is not None:
            self._coders[1].close()
