"""A motion detector on a tap: any stream's samples, decoded, each picture compared with the one before.

framegate serve
python deploy/examples/detect_motion.py [STREAM [SECONDS]]
"""

import sys
import time

import av
import numpy as np

from muxer.tap import subscribe

CHANGE_MIN = 20  # of 255: less is noise
SHARE_MIN = 0.002  # of the pixels


def main(stream: str = "test", seconds: str = "3600") -> None:
    """Say once a second how much of the picture moves."""
    end_s = time.monotonic() + float(seconds)
    decoder = av.CodecContext.create("h264", "r")
    before, said_s = None, 0.0
    for sample in subscribe(stream):
        if time.monotonic() > end_s:
            break
        for picture in () if sample.audio else decoder.decode(av.Packet(bytes(sample.data))):
            luma = picture.to_ndarray(format="gray").astype(np.int16)
            if before is not None and before.shape == luma.shape and time.monotonic() - said_s >= 1:
                share = float(np.mean(np.abs(luma - before) > CHANGE_MIN))
                said_s = time.monotonic()
                sys.stdout.write(f"{'motion' if share > SHARE_MIN else 'still'} {share:.1%}\n")
                sys.stdout.flush()
            before = luma


if __name__ == "__main__":
    main(*sys.argv[1:])
