"""One pass through a media file, or a live stream, by libavformat: which tracks, which samples, in what order.

A file that begins in the middle of a group of pictures begins at its first sync point instead; one that is cut
short ends earlier.
"""

import os
import stat
from collections import deque
from collections.abc import Iterator
from typing import Any, TypeVar

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Disposition
from av.video.stream import VideoStream

from capture.file_tracks import AudioTrack, FileSample, VideoTrack
from common.errors import MediaError, SettingsError, SourceError
from common.sample import SAMPLE_BYTES_MAX, Codec

SYNC_SEARCH_SAMPLES_MAX = 10_000  # some minutes: a file without a sync point is not read to its end
AUDIO_LEAD_SAMPLES_MAX = 1000  # sound before the first picture; more of it is left out
_CODECS = {
    "h264": Codec.H264,
    "hevc": Codec.H265,
    "mjpeg": Codec.MJPEG,
    "aac": Codec.AAC,
    "mp3": Codec.MP3,
    "mp2": Codec.MP2,
    "ac3": Codec.AC3,
    "opus": Codec.OPUS,
    "pcm_mulaw": Codec.PCMU,
    "pcm_alaw": Codec.PCMA,
    "pcm_s16be": Codec.L16,
}
_WITHOUT_ORDER = frozenset({"avi", "h264", "hevc"})  # their presentation times are not there, or guessed
_UNTIMED = frozenset({"h264", "hevc", "mjpeg", "mpjpeg"})  # raw: pictures come when they come
_ENDS_IN_AN_ERROR = frozenset({"mpjpeg"})  # its last boundary is taken for a damaged picture
_AnyStream = TypeVar("_AnyStream", VideoStream, AudioStream)


class MediaFile:
    """One pass.

    damaged: samples left out because they were not whole. notes: what was left out of the file. fault: why it
    could not be read on. timed: whether its samples have times of their own; in a live stream without, they are 0.
    """

    def __init__(self, path: str, live: InputContainer | None = None) -> None:
        """Open `path`. live: an open stream, by that name, instead.

        Raises SourceError if it cannot be read now, SettingsError if nothing in it is of use.
        """
        self.damaged = 0
        self.notes: tuple[str, ...] = ()
        self.fault = ""
        self._path = path
        self._container = live or _open(path)
        self.timed = live is None or live.format.name not in _UNTIMED
        try:
            self._video = self._video_track()
            self._audio = self._audio_track()
            if self._video is None and self._audio is None:
                raise SettingsError(f"{path}: {self.notes[0] if self.notes else 'holds no picture and no sound'}")
        except FFmpegError as error:
            self._container.close()
            raise SourceError(f"{path}: damaged at its head ({error.strerror})") from None
        except BaseException:
            self._container.close()
            raise

    @property
    def tracks_count(self) -> int:
        """How many tracks there are, 1 or 2."""
        return (self._video is not None) + (self._audio is not None)

    def samples(self) -> Iterator[FileSample]:
        """All samples, in about the file's order. Ends at its end, or where it cannot be read on.

        Raises SettingsError if there is a picture track without any sync point.
        """
        if self._video is None:
            yield from self._all()
            return
        lead: deque[FileSample] = deque(maxlen=AUDIO_LEAD_SAMPLES_MAX)
        started = False
        searched = pictures = 0
        for sample in self._all():
            if started:
                yield sample
                continue
            searched += 1
            if sample.track.audio:
                lead.append(sample)
            elif sample.sync:
                started = True
                yield from lead
                yield sample
            else:
                pictures += 1
                lead.clear()
            if searched > SYNC_SEARCH_SAMPLES_MAX:
                break
        if not started and pictures:
            raise SettingsError(f"{self._path}: no picture that a decoder could start at (no IDR picture)")

    def close(self) -> None:
        """Free the file."""
        self._container.close()

    def _video_track(self) -> VideoTrack | None:
        stream = _first(self._container.streams.video)
        if stream is None:
            return None
        codec, name = _codec(stream)
        if codec is None or codec.audio:
            raise SettingsError(f"{self._path}: its video is {name}: only H.264, H.265 and MJPEG can be carried")
        ordered = self._container.format.name not in _WITHOUT_ORDER
        return VideoTrack(stream, codec, ordered=ordered, timed=self.timed)

    def _audio_track(self) -> AudioTrack | None:
        stream = _first(self._container.streams.audio)
        if stream is None:
            return None
        codec, name = _codec(stream)
        if codec is None or not codec.audio:
            self.notes = (f"{self._path}: its audio is {name}, which cannot be carried, and is left out",)
            return None
        return AudioTrack(stream, codec)

    def _all(self) -> Iterator[FileSample]:
        tracks = {track.index: track for track in (self._video, self._audio) if track is not None}
        for packet in self._packets(list(tracks)):
            if packet.is_corrupt or packet.size > SAMPLE_BYTES_MAX:
                self.damaged += 1
                continue
            try:
                yield from tracks[packet.stream_index].push(packet)
            except (MediaError, FFmpegError):
                self.damaged += 1
        for track in tracks.values():
            yield from track.flush()

    def _packets(self, indexes: list[int]) -> Iterator["Packet[Any]"]:
        """The packets of these streams, as far as the file can be read."""
        packets = self._container.demux(indexes)
        while True:
            try:
                packet = next(packets, None)
            except FFmpegError as error:
                self.fault = error.strerror or ""
                self.damaged += self._container.format.name not in _ENDS_IN_AN_ERROR
                return
            except IndexError:
                return  # a further stream came up on the way: PyAV loses count at the end of the file
            if packet is None:
                return
            if packet.size:  # an empty one marks the end of a stream
                yield packet


def _first(streams: tuple[_AnyStream, ...]) -> _AnyStream | None:
    """The first one that is no cover picture."""
    return next((stream for stream in streams if not stream.disposition & Disposition.attached_pic), None)


def _codec(stream: VideoStream | AudioStream) -> tuple[Codec | None, str]:
    """Its codec, None where it is none of ours, and what libavcodec calls it."""
    # A codec that libavcodec cannot decode leaves no context, whatever its type says.
    name = stream.codec_context.codec.canonical_name if stream.codec_context else "of an unknown codec"
    return _CODECS.get(name), name


def _open(path: str) -> InputContainer:
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise SourceError(f"{path}: is not a file")
        if status.st_size == 0:
            raise SourceError(f"{path}: is empty")
        return av.open(f"file:{path}", "r", metadata_errors="replace")
    except FileNotFoundError:
        raise SourceError(f"{path}: no such file") from None
    except PermissionError:
        raise SourceError(f"{path}: may not be read by this user") from None
    except FFmpegError as error:
        raise SourceError(f"{path}: no media file, or one cut short at its head ({error.strerror})") from None
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}") from None
