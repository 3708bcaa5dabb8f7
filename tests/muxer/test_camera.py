"""Sessions bound to a source, with the real capture process; and the README's examples, run as a reader would."""

import io
import socket
import subprocess
import sys
import threading
from pathlib import Path

import av
import pytest

from common.errors import SessionError, SettingsError
from common.sample import Codec, Sample
from muxer.camera import start_camera_session
from muxer.session import Packet
from tests.support.rtp_check import RtpCheck
from tests.support.ts_check import TsCheck

EXAMPLES = Path(__file__).parents[2] / "deploy" / "examples"
PATIENCE_S = 20.0
RTP_HEADER_BYTES = 12
SMALL = "test:size=320x240,fps=25,sync_interval_ms=500"


class Collector:
    """Collects packets until there are enough pictures in them to be sure."""

    def __init__(self, packets: int) -> None:
        self.ts = bytearray()
        self.rtp = RtpCheck()
        self.enough = threading.Event()
        self.ended = False
        self._packets = packets

    def __call__(self, packet: Packet) -> None:
        if not packet:
            self.ended = True
            return
        self.rtp.feed(packet)
        self.ts += packet[RTP_HEADER_BYTES:]
        self._packets -= 1
        if self._packets <= 0:
            self.enough.set()

    def decoded(self) -> dict[str, int]:
        """How many frames of each type there are in it; no damage may be among them."""
        assert not self.rtp.errors
        check = TsCheck()
        check.feed(bytes(self.ts))
        assert not check.finish().continuity_errors
        counts = {"video": 0, "audio": 0}
        with av.open(io.BytesIO(bytes(self.ts)), mode="r", format="mpegts") as container:
            for frame in container.decode():
                counts["audio" if isinstance(frame, av.AudioFrame) else "video"] += 1
        return counts


def test_a_source_is_read_stopped_and_read_again() -> None:
    session = start_camera_session(SMALL)
    try:
        first = Collector(packets=100)
        session.read_start(first)
        assert first.enough.wait(PATIENCE_S), session.reason
        session.read_stop()
        packets = len(first.ts)
        second = Collector(packets=100)
        session.read_start(second)
        assert second.enough.wait(PATIENCE_S), session.reason
        assert len(first.ts) == packets
        counts = first.decoded()
        assert counts["video"] > 5
        assert counts["audio"] > 5
    finally:
        session.close()
    assert second.ended
    session.close()


def test_a_source_of_ones_own_is_not_written_to() -> None:
    session = start_camera_session(SMALL)
    try:
        with pytest.raises(SessionError, match="a source of its own"):
            session.write_sample(Sample(b"\0\0\1\x65", 0, Codec.H264))
        with pytest.raises(SessionError, match="a source of its own"):
            session.write_packet(bytes(188), 0)
    finally:
        session.close()


def test_what_cannot_be_understood_is_said_at_once() -> None:
    with pytest.raises(SettingsError, match="nonsense"):
        start_camera_session("nonsense")


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    session = start_camera_session(f"mock:{tmp_path / 'nothing.mp4'}")
    try:
        session.read_start(lambda _packet: None)
        waited = threading.Event()
        for _ in range(int(PATIENCE_S * 20)):
            if session.reason:
                break
            waited.wait(0.05)
        assert "nothing.mp4" in session.reason
    finally:
        session.close()


def test_example_own_samples(tmp_path: Path) -> None:
    source, target = tmp_path / "clip.mp4", tmp_path / "out.ts"
    with av.open(str(source), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"bf": "2", "g": "10"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for i in range(30):
            frame = av.VideoFrame(64, 64, "yuv420p")
            frame.pts = i
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    run = subprocess.run(
        [sys.executable, str(EXAMPLES / "own_samples.py"), str(source), str(target)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (run.returncode, run.stderr) == (0, "")
    with av.open(str(target)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 30


def test_example_send_rtp() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as viewer:
        viewer.bind(("127.0.0.1", 0))
        viewer.settimeout(PATIENCE_S)
        port = viewer.getsockname()[1]
        with subprocess.Popen(
            [sys.executable, str(EXAMPLES / "send_rtp.py"), SMALL, str(port), "8"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as example:  # fmt: skip
            collector = Collector(packets=60)
            while not collector.enough.is_set():
                collector(viewer.recv(2048))
            out, errors = example.communicate(timeout=PATIENCE_S)
    assert example.returncode == 0, errors
    assert "a=rtpmap:33 MP2T/90000" in out
    assert "Traceback" not in errors
    assert collector.decoded()["video"] > 0
