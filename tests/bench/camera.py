"""The CPU share of a camera at 30 pictures a second, by each path, against ffmpeg doing the same.

    python -m tests.bench.camera [--sizes 640x480,1280x720] [--rounds 5] [--pictures 150]

Recorded pictures go through the code that a capture process has for them (`capture.camera`), with no camera and no
driver before it: what V4L2 hands over is a buffer in memory, and so is this. ffmpeg reads the same pictures from a
file in memory, and encodes with the same settings of libx264; what ffmpeg costs with one picture is taken off.
Each round is all paths of ours and ffmpeg's in turn; the ratio is the median of each round's.

    passthrough      H.264: parameter sets made whole; ffmpeg: -c copy to MPEG-TS
    mjpeg to h264    decoded and encoded
    yuyv to h264     copied out of the buffer, converted, encoded
"""

import argparse
import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from statistics import median

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext

from capture.encode import JpegDecoder, PictureEncoder
from capture.raw_pictures import RawLayout
from capture.sync_points import SyncPoints
from common.config import Encode
from common.sample import Codec

FPS = 30
SETTINGS = Encode()
X264 = (
    f"-c:v libx264 -threads 1 -preset ultrafast -tune zerolatency -crf 23 -profile:v baseline -forced-idr 1"
    f" -maxrate {SETTINGS.bitrate_bps} -bufsize {SETTINGS.bitrate_bps} -pix_fmt yuv420p"
    f" -g {FPS * SETTINGS.sync_interval_ms // 1000} -bf 0"
)


class Material:
    """Pictures that move a little, with the noise of a sensor, in each of the three forms."""

    def __init__(self, width: int, height: int, pictures: int, folder: Path) -> None:
        self.width, self.height, self.pictures = width, height, pictures
        self._noise = np.random.default_rng(1)
        self.yuyv, self.jpeg, self.h264 = folder / "a.yuv", folder / "a.mjpeg", folder / "a.h264"
        self.raw_pictures: list[bytes] = []
        self.jpeg_pictures: list[bytes] = []
        self.h264_pictures: list[bytes] = []
        self._make()
        for path, made in (
            (self.yuyv, self.raw_pictures), (self.jpeg, self.jpeg_pictures), (self.h264, self.h264_pictures),
        ):  # fmt: skip
            path.write_bytes(b"".join(made))

    def _make(self) -> None:
        base = np.linspace(40, 200, self.width * 2)[None, :] * np.linspace(0.6, 1, self.height)[:, None]
        jpeg = self._encoder("mjpeg", "yuvj420p", {"qmin": "3", "qmax": "3"})
        h264 = self._encoder("libx264", "yuv420p", {"preset": "ultrafast", "tune": "zerolatency"})
        for number in range(self.pictures):
            luma = base[:, number * 4 % self.width :][:, : self.width]
            luma = luma + self._noise.normal(0, 2, luma.shape)
            data = np.full((self.height, self.width, 2), 128, np.uint8)
            data[:, :, 0] = luma.clip(16, 235)
            self.raw_pictures.append(data.tobytes())
            frame = av.VideoFrame.from_ndarray(data, "yuyv422")
            for context, pixels, made in (
                (jpeg, "yuvj420p", self.jpeg_pictures), (h264, "yuv420p", self.h264_pictures),
            ):  # fmt: skip
                picture = frame.reformat(format=pixels)
                picture.pts, picture.time_base = number, Fraction(1, FPS)
                made += [bytes(packet) for packet in context.encode(picture)]
        for context, made in ((jpeg, self.jpeg_pictures), (h264, self.h264_pictures)):
            made += [bytes(packet) for packet in context.encode(None)]

    def _encoder(self, name: str, pixels: str, options: dict[str, str]) -> VideoCodecContext:
        context = VideoCodecContext.create(name, "w")
        assert isinstance(context, VideoCodecContext)
        context.width, context.height, context.pix_fmt = self.width, self.height, pixels
        context.time_base, context.framerate, context.gop_size = Fraction(1, FPS), Fraction(FPS), 2 * FPS
        context.options = options
        context.thread_count = 1
        return context


def _ours(material: Material, path: str) -> float:
    """CPU seconds of all pictures."""
    encoder, decoder = PictureEncoder(SETTINGS, FPS), JpegDecoder()
    layout = RawLayout("YUYV", material.width, material.height)
    sync_points = SyncPoints(Codec.H264)

    def mjpeg(data: bytes, time_us: int) -> object:
        picture = decoder.decode(bytes(memoryview(data)))
        assert picture is not None
        return encoder.encode(picture, time_us)

    def yuyv(data: bytes, time_us: int) -> object:
        picture = layout.picture(memoryview(data))
        assert picture is not None
        return encoder.encode(picture, time_us)

    works: dict[str, tuple[Sequence[bytes], Callable[[bytes, int], object]]] = {
        "passthrough": (material.h264_pictures, lambda data, _: sync_points.feed(bytes(memoryview(data)))),
        "mjpeg to h264": (material.jpeg_pictures, mjpeg),
        "yuyv to h264": (material.raw_pictures, yuyv),
    }
    pictures, work = works[path]
    work(pictures[0], 0)  # opens the encoder, as ffmpeg has with its one picture
    began_s = time.process_time()
    for number, data in enumerate(pictures[1:], 1):
        work(data, number * 1_000_000 // FPS)
    return time.process_time() - began_s


def _ffmpeg(material: Material, path: str) -> float:
    """CPU seconds of all pictures but the first."""
    size = f"{material.width}x{material.height}"
    inputs = {
        "passthrough": f"-f h264 -framerate {FPS} -i {material.h264} -c copy",
        "mjpeg to h264": f"-threads 1 -f mjpeg -framerate {FPS} -i {material.jpeg} {X264}",
        "yuyv to h264": f"-f rawvideo -pix_fmt yuyv422 -s {size} -framerate {FPS} -i {material.yuyv} {X264}",
    }
    line = f"ffmpeg -nostdin -v error {inputs[path]} -filter_threads 1 -frames:v {{}} -f mpegts -y /dev/null"
    return _cpu_s(line.format(material.pictures)) - _cpu_s(line.format(1))


def _cpu_s(line: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(line.split(), check=True, stdin=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.camera", description="A camera's CPU share, by path."
    )
    parser.add_argument("--sizes", default="640x480,1280x720", metavar="WxH,...")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--pictures", type=int, default=5 * FPS, metavar="N")
    options = parser.parse_args()
    print("| size | path | ours, of a core at 30 fps | ffmpeg | ratio (least to most) |")
    print("|---|---|---|---|---|")
    shared = Path("/dev/shm")
    for text in options.sizes.split(","):
        width, height = map(int, text.split("x"))
        with tempfile.TemporaryDirectory(dir=shared if os.access(shared, os.W_OK) else None) as folder:
            material = Material(width, height, options.pictures, Path(folder))
            seconds = (options.pictures - 1) / FPS
            for path in ("passthrough", "mjpeg to h264", "yuyv to h264"):
                rounds = [(_ours(material, path), _ffmpeg(material, path)) for _ in range(options.rounds)]
                ours, theirs = (median(one[index] for one in rounds) / seconds for index in (0, 1))
                ratios = sorted(mine / max(other, 1e-3) for mine, other in rounds)
                spread = f"{median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
                print(f"| {text} | {path} | {ours:.1%} | {theirs:.1%} | {spread} |", flush=True)


if __name__ == "__main__":
    main()
