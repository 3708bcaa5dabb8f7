"""Short clips in every codec that MPEG-TS carries, encoded by libavcodec, as tracks and samples."""

from fractions import Fraction
from functools import cache
from typing import Any, cast

import av
import numpy as np
import numpy.typing as npt

from common.annexb import is_sync, parameter_sets
from common.sample import Codec, Sample, Track

WIDTH, HEIGHT = 128, 96
_VIDEO_ENCODERS = {Codec.H264: "libx264", Codec.H265: "libx265"}
_AUDIO_ENCODERS = {
    Codec.AAC: "aac",
    Codec.MP2: "mp2",
    Codec.MP3: "libmp3lame",
    Codec.AC3: "ac3",
    Codec.OPUS: "libopus",
}


@cache
def video(
    codec: Codec,
    *,
    pictures: int = 30,
    fps: int = 30,
    b_pictures: int = 0,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    pixel_format: str = "yuv420p",
    parameters: str = "",
) -> tuple[Track, tuple[Sample, ...]]:
    """A moving pattern; a sync point every 10 pictures. The first decoding time is 0 or earlier.

    parameters: more of x264's or x265's own, "key=value:key=value".
    """
    width, height = size
    encoder = cast(av.VideoCodecContext, av.CodecContext.create(_VIDEO_ENCODERS[codec], "w"))
    encoder.width, encoder.height, encoder.pix_fmt = width, height, pixel_format
    encoder.time_base = Fraction(1, fps)
    encoder.framerate = Fraction(fps)
    own = f"keyint=10:min-keyint=10:scenecut=0:bframes={b_pictures}:b-adapt=0:open-gop=0"
    own = f"{own}:log-level=none" if codec is Codec.H265 else own
    own = f"{own}:{parameters}" if parameters else own
    encoder.options = {"preset": "ultrafast", "x264-params" if codec is Codec.H264 else "x265-params": own}
    samples: list[Sample] = []
    rows, columns = np.mgrid[0:height, 0:width]
    for number in range(pictures + 1):
        frame = None
        if number < pictures:
            wave = np.uint8((rows * 3 + columns * 2 + number * 9) % 256)
            frame = av.VideoFrame.from_ndarray(np.dstack([wave, wave, wave]), "rgb24")
            frame = frame.reformat(format=pixel_format)
            frame.pts = number
        for packet in encoder.encode(frame):
            assert packet.pts is not None
            assert packet.dts is not None
            time_us, decode_us = (round(t * 1_000_000 / fps) for t in (packet.pts, packet.dts))
            data = bytes(packet)
            samples.append(
                Sample(data, time_us, codec, is_sync(data, codec), None if time_us == decode_us else decode_us)
            )
    config = parameter_sets(samples[0].data, codec)
    return Track(codec, width, height, float(fps), config=config), tuple(samples)


@cache
def audio(codec: Codec, *, seconds: float = 1.0, rate_hz: int = 48000) -> tuple[Track, tuple[Sample, ...]]:
    """A tone in stereo. The first time is 0."""
    encoder = cast(av.AudioCodecContext, av.CodecContext.create(_AUDIO_ENCODERS[codec], "w"))
    encoder.sample_rate = rate_hz
    encoder.layout = "stereo"
    encoder.format = "s16" if codec in (Codec.MP2, Codec.OPUS) else "s16p" if codec is Codec.MP3 else "fltp"
    encoder.time_base = Fraction(1, rate_hz)
    encoder.open()
    step = encoder.frame_size
    wave = np.sin(np.arange(int(seconds * rate_hz) // step * step) * 2 * np.pi * 440 / rate_hz)
    planar = encoder.format.name.endswith("p")
    floats = encoder.format.name.startswith("flt")
    scaled: npt.NDArray[Any] = wave.astype(np.float32) if floats else (wave * 20000).astype(np.int16)
    samples: list[Sample] = []
    for at in range(0, len(scaled) + step, step):
        frame = None
        if at < len(scaled):
            one = scaled[at : at + step]
            both = np.stack([one, one]) if planar else np.repeat(one, 2)[np.newaxis]
            frame = av.AudioFrame.from_ndarray(both, encoder.format.name, "stereo")
            frame.sample_rate, frame.pts, frame.time_base = rate_hz, at, encoder.time_base
        samples += (Sample(bytes(packet), 0, codec) for packet in encoder.encode(frame))
    timed = tuple(
        Sample(sample.data, round(n * step * 1_000_000 / rate_hz), codec) for n, sample in enumerate(samples)
    )
    config = bytes(encoder.extradata or b"") if codec in (Codec.AAC, Codec.OPUS) else b""
    return Track(codec, sample_rate_hz=rate_hz, channels=2, config=config), timed
