"""Native payloads seen from outside: numbers, clocks and reports of each track, through drops and a dead muxer."""

import struct
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from itertools import groupby, pairwise

import pytest

from tests.support.check_picture import CheckClip
from tests.support.depacketise import h264
from tests.support.instance import Instance
from tests.support.media_files import media_file
from tests.support.rtsp_client import Packet, RtspClient
from tests.support.wait import until

AUDIO_RATE_HZ, VIDEO_RATE_HZ = 48_000, 90_000
PICTURE_TICKS = VIDEO_RATE_HZ // 25
SMALL_BUFFER_BYTES = 16384
SPS, IDR = 7, 5
SAMPLES_BEHIND = 4 * (25 + 47)  # of 4 s, three more than the drop queue holds


@pytest.fixture(scope="module")
def instance(wide_clip: CheckClip) -> Iterator[Instance]:
    jpeg = media_file("native.mjpeg", "mjpeg", None, pictures=50)
    cam = f'[streams.cam]\nsource = "mock:{wide_clip.path}"\n'
    settings = f'{cam}[streams.jpeg]\nsource = "mock:{jpeg}"\nmjpeg = "pass"\n'
    with Instance(config=settings) as running:
        running.wait_live("cam", "jpeg")
        yield running


class NativeViewer:
    """Both tracks of a stream over one connection; packets: all that came."""

    def __init__(self, url: str, *, tracks: tuple[int, ...] = (0, 1), buffer_bytes: int | None = None) -> None:
        self.client = RtspClient(f"{url}/native", receive_buffer_bytes=buffer_bytes)
        self.sdp = self.client.describe()
        for track in tracks:
            self.client.control_url = f"{url}/native/track={track}"
            self.client.setup(f"RTP/AVP/TCP;unicast;interleaved={2 * track}-{2 * track + 1}")
        self.client.play()
        self.packets: list[Packet] = []

    def __enter__(self) -> "NativeViewer":
        return self

    def __exit__(self, *_error: object) -> None:
        self.client.close()

    def read(self, seconds: float) -> None:
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            self.packets.append(self.client.next_packet())

    def of(self, channel: int) -> list[bytes]:
        return [packet.data for packet in self.packets if packet.channel == channel]

    def check(self) -> None:
        """Each track is one RTP stream without a gap, whole in every access unit."""
        for track, kind in ((0, 96), (1, 97)):
            headers = [struct.unpack_from(">BBHII", packet) for packet in self.of(2 * track)]
            assert {(first, marked & 0x7F, ssrc) for first, marked, _, _, ssrc in headers} <= {
                (0x80, kind, headers[0][4] if headers else 0)
            }
            for before, after in pairwise(headers):
                assert after[2] == (before[2] + 1) % 65536
                assert (before[1] & 0x80 == 0) is (before[3] == after[3]), "the marker ends an access unit"

    def pictures(self) -> list[tuple[int, list[int]]]:
        """Each access unit's timestamp and the types of its NAL units; the last one may be cut."""
        found = []
        groups = groupby(self.of(0), key=lambda packet: int.from_bytes(packet[4:8], "big"))
        units = [(clock, list(packets)) for clock, packets in groups]
        for clock, packets in units[:-1]:
            found.append((clock, [unit[0] & 0x1F for unit in h264([packet[12:] for packet in packets])]))
        return found


def test_both_tracks_and_their_clocks(instance: Instance) -> None:
    with NativeViewer(instance.rtsp("cam")) as viewer:
        viewer.read(2.0)
    viewer.check()
    assert viewer.sdp.count("\r\nm=") == 2
    pictures = viewer.pictures()
    assert {SPS, SPS + 1, IDR} <= set(pictures[0][1])
    assert len(pictures) > 25
    clocks = [int.from_bytes(packet[4:8], "big") for packet in viewer.of(2)]
    assert {(after - before) % (1 << 32) for before, after in pairwise(clocks)} == {1024}
    reports = [viewer.of(1)[0], viewer.of(3)[0]]
    (ntp, video), (audio_ntp, audio) = (struct.unpack_from(">QI", report, 8) for report in reports)
    assert ntp == audio_ntp
    names = {report[28:].partition(b"framegate@")[2][:8] for report in reports}
    assert len(names) == 1
    # Both clocks count the same time, so that they differ by less than a tick of the slower, but for their wrap.
    video_wraps_s, audio_wraps_s = (1 << 32) / VIDEO_RATE_HZ, (1 << 32) / AUDIO_RATE_HZ
    apart_s = min(
        abs((video / VIDEO_RATE_HZ + n * video_wraps_s) % audio_wraps_s - audio / AUDIO_RATE_HZ)
        for n in range(200)
    )
    assert apart_s < 1.1 / AUDIO_RATE_HZ


def test_one_track_alone(instance: Instance) -> None:
    with NativeViewer(instance.rtsp("cam"), tracks=(1,)) as viewer:
        viewer.read(1.0)
    assert {packet.channel for packet in viewer.packets} == {2, 3}
    viewer.check()
    assert len(viewer.of(2)) > 20


def test_a_viewer_that_stalls_goes_on_at_a_key_frame_and_no_track_has_a_gap(instance: Instance) -> None:
    with NativeViewer(instance.rtsp("cam"), buffer_bytes=SMALL_BUFFER_BYTES) as viewer:
        viewer.read(1.0)
        before = instance.stream("cam")["samples_in"]
        until(lambda: instance.stream("cam")["samples_in"] - before > SAMPLES_BEHIND, 40, "it is far behind")
        viewer.read(3.0)
    viewer.check()
    pictures = viewer.pictures()
    jumps = [
        kinds
        for (before, _), (clock, kinds) in pairwise(pictures)
        if (clock - before) % (1 << 32) > 20 * PICTURE_TICKS and (clock - before) % (1 << 32) < 1 << 31
    ]
    assert jumps, "it was not spliced"
    assert all(IDR in kinds for kinds in jumps)


def test_a_muxer_that_is_killed_changes_no_number(instance: Instance) -> None:
    with NativeViewer(instance.rtsp("cam")) as viewer:
        viewer.read(1.0)
        before = len(viewer.packets)
        instance.kill("muxer")
        viewer.read(4.0)
    viewer.check()
    assert len(viewer.packets) > 1.5 * before


def test_what_a_payload_cannot_carry_is_said_with_the_url_to_use(instance: Instance) -> None:
    with RtspClient(f"{instance.rtsp('jpeg')}") as client:
        refused = client.request("DESCRIBE", Accept="application/sdp")
        assert refused.status == 503
        assert "open rtsp://HOST/jpeg/native" in refused.body
    with pytest.raises(urllib.error.HTTPError, match="503"):
        urllib.request.urlopen(instance.http("jpeg"), timeout=10)
    with RtspClient(f"{instance.rtsp('jpeg')}/native") as client:
        assert "a=rtpmap:26 JPEG/90000\r\n" in client.describe()
