"""A media session in a program of one's own: a source out as RTP over UDP.

python deploy/examples/send_rtp.py [SOURCE [PORT [SECONDS]]]
ffplay rtp://127.0.0.1:5004
"""

import socket
import sys
import time

from muxer.camera import start_camera_session


def main(source: str = "test:", port: str = "5004", seconds: str = "3600") -> None:
    """Send `source` to a port of this machine for some seconds."""
    viewer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    session = start_camera_session(source)
    sys.stdout.write(session.get_sdp_string())
    session.read_start(lambda packet: viewer.sendto(packet, ("127.0.0.1", int(port))))
    time.sleep(float(seconds))
    session.read_stop()
    session.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
