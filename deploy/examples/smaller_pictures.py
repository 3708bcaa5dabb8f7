"""Another encoding in a session of one's own: `on_send_sample` sends each picture in half its size.

python deploy/examples/smaller_pictures.py SOURCE out.ts [SECONDS]
"""

import sys
import time

import av

from capture.encode import PictureEncoder
from common.config import Encode
from common.grid import RTP_HEADER_BYTES
from common.sample import Sample
from muxer.camera import CameraSession


class HalfSession(CameraSession):
    """Decodes H.264 pictures, and encodes them anew; sound goes as it came."""

    def __init__(self, source: str) -> None:
        self._decoder = av.CodecContext.create("h264", "r")
        self._encoder = PictureEncoder(Encode(bitrate_bps=500_000), 0)
        super().__init__(source)

    def on_send_sample(self, sample: Sample) -> None:
        """Called with each sample when it is sent."""
        if sample.audio:
            super().on_send_sample(sample)
            return
        packet = av.Packet(bytes(sample.data))
        packet.pts = sample.time_us
        for picture in self._decoder.decode(packet):
            small = picture.reformat(picture.width // 2, picture.height // 2)
            for encoded in self._encoder.encode(small, sample.time_us):
                super().on_send_sample(encoded)


def main(source: str = "test:", target: str = "out.ts", seconds: str = "10") -> None:
    """Write the half pictures of `source` to `target` for some seconds."""
    with open(target, "wb") as out:
        session = HalfSession(source)
        session.read_start(lambda packet: out.write(packet[RTP_HEADER_BYTES:]))
        time.sleep(float(seconds))
        session.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
