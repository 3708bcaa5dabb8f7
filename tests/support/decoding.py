"""What a decoder makes of a TS: libavformat and libavcodec through PyAV, every complaint of theirs kept."""

import io
import itertools
import math
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import av.logging
from av.bitstream import BitStreamFilterContext

from tests.support import check_picture
from tests.support.check_picture import CheckClip, Reading

TICKS_90K = Fraction(1, 90000)


@dataclass(frozen=True)
class Unit:
    """One demuxed packet. Times in ticks of 90 kHz. key: the demuxer says that a decoder can start here."""

    audio: bool
    pts: int
    dts: int
    key: bool
    data: bytes


@dataclass
class Decoded:
    """All of a TS, decoded."""

    width: int = 0
    height: int = 0
    shown_pts: list[int | None] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    audio_frames: int = 0
    errors: list[str] = field(default_factory=list)

    @property
    def pictures(self) -> int:
        """How many there are."""
        return len(self.shown_pts)

    def check_whole(self) -> None:
        """Assert that the decoder found no error, and each check picture is as it was drawn."""
        assert not self.errors, self.errors[:20]
        damaged = [(at, reading.number) for at, reading in enumerate(self.readings) if reading.damaged]
        assert not damaged, f"(index, number) of damaged pictures: {damaged[:20]} of {len(self.readings)}"

    def check_consecutive(self, clip: CheckClip) -> None:
        """Assert that no picture of the looped clip is missing."""
        assert not (found := self.gaps(clip)), f"(before, after) of gaps: {found[:20]}"

    def gaps(self, clip: CheckClip) -> list[tuple[int, int]]:
        """The numbers before and after each place where pictures of the looped clip are missing."""
        numbers = [reading.number for reading in self.readings]
        return [pair for pair in itertools.pairwise(numbers) if not clip.follows(pair[1], pair[0])]


def units(source: bytes | Path) -> list[Unit]:
    """The packets of a TS, or a file, in their order; H.264 with start codes whatever the container.

    Of a TS, which was cut off anywhere, the last packet of each track is left out: it may not be whole.
    """
    found: list[Unit] = []
    with av.open(io.BytesIO(source) if isinstance(source, bytes) else str(source), "r") as container:
        with_lengths = {
            stream.index: BitStreamFilterContext("h264_mp4toannexb", stream)
            for stream in container.streams.video
            if (stream.codec_context.extradata or b"\0")[0] == 1  # an AVCDecoderConfigurationRecord
        }
        for packet in container.demux():
            if not packet.size or packet.stream.type not in ("video", "audio"):
                continue
            kind, to_start_codes = packet.stream.type, with_lengths.get(packet.stream.index)
            for whole in [packet] if to_start_codes is None else to_start_codes.filter(packet):
                found.append(_unit(whole, kind == "audio"))
    if isinstance(source, bytes):
        for audio in (False, True):
            last = [index for index, unit in enumerate(found) if unit.audio is audio][-1:]
            for index in last:
                del found[index]
    return found


def _unit(packet: "av.Packet[av.stream.Stream]", audio: bool) -> Unit:
    assert packet.pts is not None
    assert packet.dts is not None
    pts, dts = (round(time * packet.time_base / TICKS_90K) for time in (packet.pts, packet.dts))
    return Unit(audio, pts, dts, packet.is_keyframe, bytes(packet))


def decode(ts: bytes, *, check_pictures: bool = False) -> Decoded:
    """Decode all of a TS but the last packet of each track, which may be cut off, and what is shown after it."""
    result = Decoded()
    av.logging.set_level(av.logging.ERROR)
    try:
        with av.logging.Capture(local=False) as complaints, av.open(io.BytesIO(ts), "r", "mpegts") as container:
            for track in (*container.streams.video, *container.streams.audio):
                track.codec_context.thread_count = 1
                track.codec_context.options = {"err_detect": "explode"}
                if isinstance(track, av.VideoStream):
                    result.width, result.height = track.width, track.height
            _decode(container, result, check_pictures)
        result.errors += [f"{name}: {text.strip()}" for _, name, text in complaints]
    finally:
        av.logging.set_level(None)
    return result


def _decode(container: av.container.InputContainer, result: Decoded, check_pictures: bool) -> None:
    waiting: dict[int, av.Packet[av.stream.Stream]] = {}
    end_pts: int | float = math.inf
    for packet in container.demux():
        index = packet.stream.index
        held = waiting.pop(index, None)
        if packet.size:
            waiting[index] = packet
        else:  # the flush: what is held is the last, and left out
            if held is not None and held.pts is not None and packet.stream.type == "video":
                end_pts = held.pts
            held = packet
        if held is None or packet.stream.type not in ("video", "audio"):
            continue
        try:
            frames = held.decode()
        except av.FFmpegError as error:
            result.errors.append(f"at dts {held.dts}: {error}")
            continue
        for frame in frames:
            if isinstance(frame, av.AudioFrame):
                result.audio_frames += 1
            elif isinstance(frame, av.VideoFrame):
                result.shown_pts.append(frame.pts)
                if check_pictures:
                    result.readings.append(check_picture.read(check_picture.from_frame(frame)))
    whole = sum(pts is None or pts < end_pts for pts in result.shown_pts)  # a decoder shows in the order of PTS
    del result.shown_pts[whole:], result.readings[whole:]
