"""A program's own pictures or samples as a stream of a running framegate.

    publisher = Publisher("door")                # framegate serve door=program:
    while True:
        publisher.write_picture(next_picture())  # numpy, as OpenCV has it

The instance must have the stream, with the source `program:`. A program that ends is a camera unplugged; it may
come back at any time, as may the instance: what was published since the last sync point is given to it then.
Nothing here waits: what framegate does not take in time is left out. To be used from one thread.
"""

from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
import zmq
from numpy.typing import NDArray

from capture.encode import PictureEncoder
from capture.outlet import Outlet
from capture.sync_points import SyncPoints
from common import annexb, clock, sockets
from common.endpoints import program_endpoint
from common.errors import MediaError, SettingsError
from common.instance import stream_of
from common.sample import SAMPLE_BYTES_MAX, Codec, Sample, Track
from common.source_spec import ProgramSpec, parse, without_secrets

CLOCK_OFF_US_MAX = 10_000_000  # first times further from now than this are of a clock of the program's own
_WITH_PARAMETER_SETS = (Codec.H264, Codec.H265)


class Publisher:
    """Publishes one stream, from the first sample or picture to `close`.

    demanded: whether anybody takes samples now; always, but for a stream that is on demand.
    """

    def __init__(
        self, stream: str, *tracks: Track, fps: float = 0.0, runtime_dir: str | Path | None = None
    ) -> None:
        """Find the instance.

        stream: its name there. tracks: what samples there will be; without any, the first one says (only AAC must
        be described, by its `config`). fps: of the pictures, about; 0 takes that of the stream's settings.
        runtime_dir: the instance's; None is the default one. Raises SettingsError where none runs, or has no such
        stream.
        """
        config, settings = stream_of(stream, runtime_dir)
        if not isinstance(parse(settings.source), ProgramSpec):
            raise SettingsError(
                f"the stream {stream} is {without_secrets(settings.source)}: "
                "only one with the source program: takes samples"
            )
        self._context: sockets.Context = zmq.Context()
        self._outlet = Outlet(sockets.program_out(self._context, program_endpoint(config.runtime_dir, stream)))
        self._encode, self._fps = settings.encode, fps or settings.fps
        self._encoder: PictureEncoder | None = None
        self._sync_points: SyncPoints | None = None
        self._expected = {track.audio: track for track in tracks}  # what is announced, as soon as it is complete
        self._complete = {track.audio for track in tracks if track.codec not in _WITH_PARAMETER_SETS}
        self._announced: tuple[Track, ...] = ()
        self._offset_us: int | None = None
        self._newest_us: dict[bool, int] = {}
        self._closed = False

    @property
    def demanded(self) -> bool:
        """Whether anybody takes samples now."""
        self._outlet.receive()
        return self._outlet.demanded

    def write_picture(
        self, picture: NDArray[np.uint8], time_us: int | None = None, pixel_format: str = "bgr24"
    ) -> bool:
        """Encode one picture to H.264 and publish it, if anybody wants it; returns whether anybody does.

        picture: (height, width, 3) for "bgr24" and "rgb24", (height, width) for "gray", (height * 3 / 2, width)
        for "yuv420p" and "nv12". time_us: when it was taken, µs of `common.clock.now_us`; None is now.
        Raises MediaError for what is no such picture, SourceError if the encoder fails.
        """
        self._receive()
        if not self._outlet.demanded:
            if self._announced:
                self._outlet.forget_state()
                self._announced = ()
            return False
        if not self._announced and self._encoder is not None:
            self._encoder.request_key_frame()
        if self._encoder is None:
            self._encoder = PictureEncoder(self._encode, self._fps)
            self._expected.setdefault(False, Track(Codec.H264))
        at_us = self._time_us(time_us)
        self._check_time(at_us, audio=False)
        for sample in self._encoder.encode(_frame(picture, pixel_format), at_us):
            assert self._encoder.track is not None
            self._note(self._encoder.track)
            self._publish(sample)
        return True

    def write_sample(self, sample: Sample) -> None:
        """Publish one whole access unit or audio frame, at its time.

        Its times are µs of `common.clock.now_us`; a first one far from now is taken for now, and those behind it
        keep their distance. Those of one track rise. Raises MediaError for a sample that cannot be published.
        """
        self._receive()
        if not 0 < len(sample.data) <= SAMPLE_BYTES_MAX:
            raise MediaError(f"a sample of {len(sample.data)} bytes, allowed are 1 to {SAMPLE_BYTES_MAX}")
        self._expect(sample.codec)
        data, sync = sample.data, sample.sync
        if sample.codec in _WITH_PARAMETER_SETS:
            if self._sync_points is None:
                self._sync_points = SyncPoints(sample.codec, self._expected[False].config)
            unit = self._sync_points.feed(bytes(data))
            if unit is None:
                return
            data, sync = unit
            if sync:
                self._note(_described(self._expected[False], self._sync_points.config))
        decode_time_us = None if sample.decode_time_us is None else self._time_us(sample.decode_time_us)
        time_us = self._time_us(sample.time_us)
        self._publish(Sample(data, time_us, sample.codec, sync, decode_time_us))

    def close(self) -> None:
        """End the stream. A second call does nothing."""
        if not self._closed:
            self._closed = True
            self._outlet.close()
            self._context.term()
            if self._encoder is not None:
                self._encoder.close()

    def __enter__(self) -> "Publisher":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _receive(self) -> None:
        self._outlet.receive()
        if self._outlet.take_key_frame_request() and self._encoder is not None:
            self._encoder.request_key_frame()

    def _expect(self, codec: Codec) -> None:
        track = self._expected.get(codec.audio)
        if track is None and not self._expected:
            if codec is Codec.AAC:
                raise MediaError(
                    "AAC must be described: Publisher(name, Track(Codec.AAC, sample_rate_hz=, channels=, config=))"
                )
            self._expected[codec.audio] = track = Track(codec)
            if codec not in _WITH_PARAMETER_SETS:
                self._complete.add(codec.audio)
        if track is None or track.codec is not codec:
            said = ", ".join(known.codec for known in self._expected.values())
            raise MediaError(f"a sample of {codec}, but the tracks are {said}: name all tracks to Publisher()")

    def _note(self, track: Track) -> None:
        self._expected[track.audio] = track
        self._complete.add(track.audio)

    def _publish(self, sample: Sample) -> None:
        if self._complete != self._expected.keys():
            return  # a decoder could not begin yet
        tracks = tuple(self._expected[audio] for audio in sorted(self._expected))
        self._check_time(sample.order_us, sample.audio)
        if not self._announced:
            self._outlet.begin(tracks)
        elif tracks != self._announced:
            self._outlet.announce(tracks)
        self._announced = tracks
        self._newest_us[sample.audio] = sample.order_us
        self._outlet.publish(sample)

    def _check_time(self, order_us: int, audio: bool) -> None:
        newest_us = self._newest_us.get(audio)
        if newest_us is not None and order_us <= newest_us:
            raise MediaError(f"{order_us} µs is not later than the one before, {newest_us} µs: times must rise")

    def _time_us(self, time_us: int | None) -> int:
        now_us = clock.now_us()
        if time_us is None:
            return now_us
        if self._offset_us is None:
            self._offset_us = now_us - time_us if abs(now_us - time_us) > CLOCK_OFF_US_MAX else 0
        return time_us + self._offset_us


def _described(track: Track, config: bytes) -> Track:
    try:
        width, height = annexb.picture_size(config, track.codec)
    except MediaError:
        width, height = track.width, track.height
    return Track(track.codec, width, height, track.fps, config=config)


def _frame(picture: NDArray[np.uint8], pixel_format: str) -> av.VideoFrame:
    try:
        pixels: NDArray[Any] = np.ascontiguousarray(picture)
        return av.VideoFrame.from_ndarray(pixels, format=pixel_format)
    except (ValueError, TypeError, IndexError) as error:
        shape, kind = getattr(picture, "shape", None), getattr(picture, "dtype", type(picture).__name__)
        raise MediaError(f"no picture in {pixel_format}: an array {shape} of {kind}: {error}") from None
