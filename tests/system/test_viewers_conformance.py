"""What a viewer gets is a conforming transport stream, across the seam of a looped file too."""

import pytest

from tests.support import decoding, judge
from tests.support.check_picture import CheckClip
from tests.support.instance import PATIENT, Instance
from tests.support.viewers import HttpViewer, RtspViewer, Viewer

STREAMS = ("short", "test", "slow")


@pytest.fixture(scope="module")
def watched(short_clip: CheckClip) -> dict[tuple[str, str], Viewer]:
    """Each stream by each transport, some 7 s of it: three seams of the short file."""
    sources = [
        f"short=mock:{short_clip.path}",
        "test=test:size=320x240,fps=25",
        "slow=test:size=320x240,fps=2,tone=off",
    ]
    viewers: dict[tuple[str, str], Viewer] = {}
    with Instance(*sources, config=PATIENT) as instance:
        instance.wait_live(*STREAMS)
        try:
            for name in STREAMS:
                viewers[name, "rtsp"] = RtspViewer(instance.rtsp(name))
                viewers[name, "http"] = HttpViewer(instance.http(name))
            for viewer in viewers.values():
                viewer.__enter__()
            viewers["short", "rtsp"].wait_bytes(1_200_000, 30)
        finally:
            for viewer in viewers.values():
                viewer.stop()
    return viewers


@pytest.mark.parametrize("transport", ["rtsp", "http"])
@pytest.mark.parametrize("name", STREAMS)
def test_it_conforms(watched: dict[tuple[str, str], Viewer], name: str, transport: str) -> None:
    viewer = watched[name, transport]
    assert viewer.error is None, repr(viewer.error)
    report = judge.check_ts(viewer.ts, timing=True)
    assert set(report.stream_types.values()) == ({0x1B} if name == "slow" else {0x1B, 0x0F})
    assert report.discontinuities == 0
    if isinstance(viewer, RtspViewer):
        check = judge.check_rtp(viewer.rtp)
        assert check.markers == 0
        assert {packet.channel for packet in viewer.packets} <= {0, 1}
    decoded = decoding.decode(viewer.ts)
    decoded.check_whole()
    assert decoded.pictures > 8


@pytest.mark.parametrize("transport", ["rtsp", "http"])
def test_nothing_is_lost_at_the_seam(
    watched: dict[tuple[str, str], Viewer], short_clip: CheckClip, transport: str
) -> None:
    ts = watched["short", transport].ts
    decoded = judge.check_pictures(ts, short_clip, consecutive=True)
    numbers = [reading.number for reading in decoded.readings]
    assert numbers.count(0) >= 2, "no seam was seen"
    assert judge.check_splices(ts, short_clip) == 0


def test_sender_reports_count_what_was_sent(watched: dict[tuple[str, str], Viewer]) -> None:
    """RFC 3550 6.4.1: the first at once, and compound with an SDES."""
    viewer = watched["short", "rtsp"]
    assert isinstance(viewer, RtspViewer)
    reports = [(at, packet) for at, packet in enumerate(viewer.packets) if packet.channel == 1]
    assert reports, "no sender report in 7 s"
    assert reports[0][0] < 200, "the first report came late"
    ssrc = viewer.rtp[0].data[8:12]
    for at, packet in reports:
        data = packet.data
        assert data[:2] == b"\x80\xc8"
        assert data[4:8] == ssrc
        length = (int.from_bytes(data[2:4], "big") + 1) * 4
        assert data[length + 1] == 202, "no SDES behind the report"
        before = [sent for sent in viewer.packets[:at] if sent.channel == 0]
        assert int.from_bytes(data[20:24], "big") == len(before)
        assert int.from_bytes(data[24:28], "big") == sum(len(sent.data) - 12 for sent in before)
