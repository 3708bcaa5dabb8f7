"""A source that becomes another one, or ends, while viewers watch: they go on where they can, or are told."""

import io
import os
import socket
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import av
import pytest

from tests.support import books, judge
from tests.support.instance import PATIENT, Instance
from tests.support.media_files import media_file
from tests.support.rtsp_client import RtspClient
from tests.support.udp_receiver import UdpReceiver
from tests.support.viewers import HttpViewer, RtspViewer, Viewer
from tests.support.wait import until

PMT_PID = 0x1000
BYE = 203  # RFC 3550 6.6
WITHIN_S = 20
KEEP_S = 3.0


def versions(ts: bytes) -> list[bytes]:
    """A TS in parts, each with one version of the PMT."""
    starts, version = [0], None
    for at in range(0, len(ts), 188):
        if int.from_bytes(ts[at + 1 : at + 3], "big") == 0x4000 | PMT_PID:
            found = ts[at + 5 + 5] >> 1 & 31  # behind the pointer: version_number of 2.4.4.8
            if version is not None and found != version:
                starts.append(at - 188)  # the PAT stands before it
            version = found
    return [ts[start:end] for start, end in zip(starts, [*starts[1:], len(ts)], strict=True)]


def pictures(ts: bytes) -> set[tuple[str, int, int]]:
    """Codec and size of each picture, as libavcodec has them; it has no complaint of any."""
    with av.open(io.BytesIO(judge.until_last_start(ts)), "r", format="mpegts") as container:
        stream = container.streams.video[0]
        stream.codec_context.options = {"err_detect": "explode"}
        return {(stream.codec_context.name, frame.width, frame.height) for frame in container.decode(stream)}


def test_a_source_that_changes_its_size_and_then_its_codec(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    large, small, other = (
        media_file(name, encoder, None, size=size)
        for name, encoder, size in (
            ("large.mp4", "libx264", (640, 360)),
            ("small.mp4", "libx264", (320, 240)),
            ("other.mp4", "libx265", (320, 240)),
        )
    )

    def become(file: Path) -> None:
        (tmp_path / "next").write_bytes(file.read_bytes())
        os.replace(tmp_path / "next", path)  # seen at the next pass

    become(large)
    with Instance(f"cam=mock:{path}", config=PATIENT) as instance, ExitStack() as watching:
        instance.wait_live("cam")
        url = instance.rtsp("cam")
        native = RtspViewer(f"{url}/native")
        viewers: list[Viewer] = [RtspViewer(url), HttpViewer(instance.http("cam")), native]
        for viewer in viewers:
            watching.enter_context(viewer)
            viewer.wait_bytes(20_000, WITHIN_S)
        become(small)
        until(lambda: instance.stream("cam")["width"] == 320, WITHIN_S, "the other size")
        for viewer in viewers:
            viewer.wait_bytes(30_000, WITHIN_S)
        assert native.error is None, "its parameter sets come in band: it can go on"
        become(other)
        until(lambda: instance.stream("cam")["codecs"] == ["h265"], WITHIN_S, "the other codec")
        for viewer in viewers[:2]:
            viewer.wait_bytes(30_000, WITHIN_S)
        until(lambda: native.error is not None, WITHIN_S, "the end of what the description does not fit")
        assert books.faults(instance.stats()) == []
    assert isinstance(native.error, EOFError)
    assert says_goodbye(native)
    assert instance.log_lines("viewer_ended", "the stream has changed")
    for viewer in viewers[:2]:
        assert viewer.error is None, repr(viewer.error)
        judge.check_ts(viewer.ts, spliced=True)
        parts = versions(viewer.ts)
        assert [pictures(part) for part in parts] == [
            {("h264", 640, 360)}, {("h264", 320, 240)}, {("hevc", 320, 240)},
        ]  # fmt: skip


def says_goodbye(viewer: RtspViewer) -> bool:
    """Whether the last RTCP packet ends with a BYE."""
    reports = [packet.data for packet in viewer.packets if packet.channel % 2]
    return bool(reports) and BYE in payload_types(reports[-1])


def payload_types(compound: bytes) -> list[int]:
    """Of the RTCP packets in one compound packet."""
    found, at = [], 0
    while at < len(compound):
        found.append(compound[at + 1])
        at += 4 + 4 * int.from_bytes(compound[at + 2 : at + 4], "big")
    return found


def test_a_file_that_ends_keeps_its_viewers_for_a_while() -> None:
    path = media_file("short.mp4", pictures=180)
    settings = (
        f'[streams.cam]\nsource = "mock:{path}"\nloop = false\non_demand = true\n'
        f"keep_ms = {KEEP_S * 1000:.0f}\n[capture]\nidle_ms = 500\n{PATIENT}"
    )
    with Instance(config=settings) as instance, UdpReceiver() as ports, ExitStack() as watching:
        url = instance.rtsp("cam")
        viewers = [RtspViewer(url), HttpViewer(instance.http("cam")), RtspViewer(f"{url}/native")]
        for viewer in viewers:
            watching.enter_context(viewer)
        udp = watching.enter_context(RtspClient(url))
        udp.describe()
        udp.setup(ports.transport)
        udp.play()
        for viewer in viewers:
            viewer.wait_bytes(10_000, WITHIN_S)
        until(lambda: instance.stream("cam")["state"] == "down", WITHIN_S, "the end of the file")
        assert "this is its end" in instance.stream("cam")["reason"]
        with RtspClient(url) as late:
            answer = late.request("DESCRIBE", Accept="application/sdp")
        assert answer.status in (404, 503), answer
        for viewer in viewers:
            until(lambda viewer=viewer: viewer.error is not None, WITHIN_S, "the end")  # type: ignore[misc]
            assert isinstance(viewer.error, EOFError), repr(viewer.error)
        for viewer in viewers:
            assert not isinstance(viewer, RtspViewer) or says_goodbye(viewer)
        assert said_goodbye_by_udp(ports.rtcp)
        with pytest.raises(EOFError):
            udp.next_packet()
        until(lambda: not instance.stats()["viewers"], WITHIN_S, "a report without viewers")
        last = books.wait_at_rest(instance.stats, on_demand=["cam"])
        assert instance.processes("muxer")[0]["counters"]["viewers_given_up"] == 4
        assert books.drops(last).keys() - {"left"} == {"track"}  # the sound, of one who has chosen pictures alone
        (down_at,), ended_at = logged_at(instance, "source_down"), logged_at(instance, "viewer_ended")
        assert len(ended_at) == 4
        assert (min(ended_at) - down_at).total_seconds() > KEEP_S - 1, "they are kept for a while"
        # Nobody wants it for a while: whoever comes then has it from the beginning.
        until(lambda: instance.log_lines("source_idle"), WITHIN_S, "a capture at rest")
        with RtspViewer(url) as again:
            again.wait_bytes(10_000, WITHIN_S)


def logged_at(instance: Instance, event: str) -> list[datetime]:
    """When each line with this event was logged."""
    lines = instance.log_lines(f"event={event}")
    return [datetime.fromisoformat(line.partition("timestamp=")[2].split()[0]) for line in lines]


def said_goodbye_by_udp(sock: socket.socket) -> bool:
    while True:
        if BYE in payload_types(sock.recv(2048)):
            return True
