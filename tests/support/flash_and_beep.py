"""A clip that flashes and beeps at the same moment, once a second, and how far apart a client gets the two."""

from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import Any

import av
import numpy as np

FPS = 25
RATE_HZ = 48_000
PERIOD_S = 1
BEEP_S = 0.1
BEEP_HZ = 1000
DARK, BRIGHT = 30, 220
LOUD = 0.1  # of full scale: above what the encoder smears before the onset


def make(path: Path, seconds: int) -> Path:
    """H.264 and AAC; a flash is one bright picture, and the beep begins with it."""
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream("libx264", rate=FPS)
        video.width, video.height, video.pix_fmt, video.gop_size = 160, 120, "yuv420p", FPS
        video.options = {"preset": "ultrafast", "tune": "zerolatency"}
        audio: Any = container.add_stream("aac", rate=RATE_HZ, layout="mono")
        at = np.arange(seconds * RATE_HZ)
        beeps = np.where(at % (PERIOD_S * RATE_HZ) < BEEP_S * RATE_HZ, 0.5, 0.0)
        wave = (beeps * np.sin(at * (2 * np.pi * BEEP_HZ / RATE_HZ))).astype(np.float32)
        step = 1024
        for number in range(seconds * FPS):
            bright = number % (PERIOD_S * FPS) == 0
            picture = av.VideoFrame.from_ndarray(
                np.full((180, 160), BRIGHT if bright else DARK, np.uint8), format="yuv420p"
            )
            picture.pts, picture.time_base = number, Fraction(1, FPS)
            container.mux(video.encode(picture))
            until = (number + 1) * RATE_HZ // FPS // step * step
            for start in range(number * RATE_HZ // FPS // step * step, until, step):
                sound = av.AudioFrame.from_ndarray(wave[np.newaxis, start : start + step], "fltp", "mono")
                sound.sample_rate, sound.pts, sound.time_base = RATE_HZ, start, Fraction(1, RATE_HZ)
                container.mux(audio.encode(sound))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    return path


def offset_ms(url: str, *, seconds: float, options: dict[str, str] | None = None) -> float:
    """How much later the sound comes than the picture that it belongs to, as a client's timestamps say: median.

    Raises AssertionError where fewer than half of the flashes and beeps of the time were found.
    """
    flashes: list[float] = []
    beeps: list[float] = []
    begin = None
    loud_until = -1.0
    with av.open(url, options=options or {}, timeout=20) as live:
        for packet in live.demux():
            if packet.dts is None:
                continue
            begin = float(packet.dts * packet.time_base) if begin is None else begin
            if float(packet.dts * packet.time_base) - begin > seconds:
                break
            for frame in packet.decode():
                if not isinstance(frame, av.VideoFrame | av.AudioFrame):
                    continue
                assert frame.time is not None
                if isinstance(frame, av.VideoFrame):
                    if frame.to_ndarray()[: frame.height].mean() > (DARK + BRIGHT) / 2:
                        flashes.append(frame.time)
                else:
                    loud = np.flatnonzero(np.abs(frame.to_ndarray()[0]) > LOUD)
                    if len(loud):
                        first = frame.time + float(loud[0]) / frame.sample_rate
                        if first > loud_until:
                            beeps.append(first)
                        loud_until = frame.time + float(loud[-1]) / frame.sample_rate + BEEP_S
    offsets = [(beep - flash) * 1000 for flash in flashes for beep in beeps if abs(beep - flash) < PERIOD_S / 2]
    assert len(offsets) >= seconds / PERIOD_S / 2, f"{len(flashes)} flashes, {len(beeps)} beeps in {seconds} s"
    return median(offsets)
