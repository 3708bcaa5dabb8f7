"""A media session fed by the program: a file's pictures, read by PyAV, through the session to a TS file.

python deploy/examples/own_samples.py clip.mp4 out.ts
"""

import sys

import av

from common.grid import RTP_HEADER_BYTES
from common.sample import Codec, Sample
from muxer.session import new_media_session


def main(source: str, target: str) -> None:
    """Write the H.264 pictures of `source` to `target`, in transport stream packets."""
    with av.open(source) as container, open(target, "wb") as out:
        session = new_media_session()
        session.read_start(lambda packet: out.write(packet[RTP_HEADER_BYTES:]))
        annexb = av.BitStreamFilterContext("h264_mp4toannexb", container.streams.video[0])
        for packet in container.demux(video=0):
            for unit in annexb.filter(packet):
                if unit.pts is None or unit.dts is None or unit.time_base is None:
                    continue
                time_us, decode_time_us = (round(t * unit.time_base * 1_000_000) for t in (unit.pts, unit.dts))
                session.write_sample(Sample(bytes(unit), time_us, Codec.H264, unit.is_keyframe, decode_time_us))
        session.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
