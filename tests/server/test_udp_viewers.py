"""RTSP viewers over UDP, of a real server process."""

import socket
import struct

import pytest

from common.messages import Forget, ReadStart
from tests.support.fake_muxer import FakeMuxer
from tests.support.frame_source import Judge
from tests.support.rtsp_client import RtspClient
from tests.support.server_process import ServerProcess, framed, watch
from tests.support.udp_receiver import UdpReceiver, play_udp
from tests.support.wait import until


def test_a_viewer_gets_every_frame_its_reports_and_the_goodbye(server: ServerProcess, muxer: FakeMuxer) -> None:
    muxer.produce("cam")
    with UdpReceiver() as receiver, RtspClient(server.rtsp("cam")) as client:
        client.describe()
        answer = client.setup(receiver.transport)
        ports = answer.headers["transport"].partition("server_port=")[2].split("-")
        info = client.play().headers["rtp-info"]
        judge = Judge()
        first = receiver.packet()
        sequence, clock = struct.unpack_from(">HI", first, 2)
        assert info == f"url={client.control_url};seq={sequence};rtptime={clock}"
        judge.receive(b"$\0" + len(first).to_bytes(2, "big") + first)
        receiver.watch(judge, (muxer.epoch, 1))
        for _ in range(20):
            muxer.produce("cam", packets=30)
        receiver.watch(judge, (muxer.epoch, 21))
        assert [number for _, number in judge.frames] == list(range(22))
        assert receiver.sources == {("127.0.0.1", int(ports[0]))}
        kind, ssrc, packets, octets = struct.unpack_from(">xBxxI12xII", receiver.report())
        assert (kind, ssrc, packets, octets) == (200, judge.ssrc, 1, 5 * 188)
        until(lambda: [v.frames_sent for v in server.viewers()] == [22], 5, "the viewer's figures")
        [viewer] = server.viewers()
        assert (viewer.transport, viewer.frames_dropped) == ("rtsp-udp", 0)
        client.teardown()
        assert receiver.report()[-7] == 203
        client.session = None
        assert client.request("OPTIONS", "*").status == 200
    until(lambda: muxer.of(Forget), 5, "Forget")


@pytest.mark.usefixtures("muxer")
def test_it_ends_with_its_control_connection(server: ServerProcess, muxer: FakeMuxer) -> None:
    with UdpReceiver() as receiver:
        client = play_udp(server, receiver)
        receiver.watch(Judge(), (muxer.epoch, 0))
        client.close()
        until(lambda: muxer.of(Forget), 5, "Forget")
        client = play_udp(server, receiver)  # the ports are free again
        receiver.watch(Judge(), (muxer.epoch, 0))
        client.close()


def test_pause_shuts_the_gate_and_play_opens_it(server: ServerProcess, muxer: FakeMuxer) -> None:
    with UdpReceiver() as receiver, play_udp(server, receiver) as client:
        judge = Judge()
        receiver.watch(judge, (muxer.epoch, 0))
        assert client.request("PAUSE").status == 200
        muxer.produce("cam")
        muxer.produce("cam")
        client.play()
        receiver.watch(judge, (muxer.epoch, 2))
        assert [number for _, number in judge.frames] == [0, 1, 2]


def test_from_tcp_to_udp_and_back(server: ServerProcess, muxer: FakeMuxer) -> None:
    with UdpReceiver() as receiver, RtspClient(server.rtsp("cam")) as client:
        client.describe()
        client.setup()
        client.play()
        watch(client, Judge(), (muxer.epoch, 0))
        assert client.request("SETUP", Transport=receiver.transport).status == 455
        client.request("PAUSE")
        client.setup(receiver.transport)
        client.play()
        receiver.watch(Judge(), (muxer.epoch, 0))
        client.request("PAUSE")
        client.take_early()
        client.setup("RTP/AVP/TCP;interleaved=4-5")
        client.play()
        judge = Judge(channel=4)
        while not judge.frames:
            judge.receive(framed(client.next_packet()))


def test_nobody_can_aim_a_stream_at_another(server: ServerProcess, muxer: FakeMuxer) -> None:
    with UdpReceiver("127.0.0.2") as victim, RtspClient(server.rtsp("cam")) as client:
        client.describe()
        refused = client.request("SETUP", Transport=f"{victim.transport};destination=127.0.0.2")
        assert refused.status == 461
        client.setup(victim.transport)  # these ports of the client's own address
        client.play()
        muxer.produce("cam")
        until(lambda: server.counter("frames_sent") >= 2, 5, "frames to go out")
        victim.rtp.settimeout(0.2)
        with pytest.raises(TimeoutError):
            victim.packet()


@pytest.mark.usefixtures("muxer")
def test_reports_and_garbage_on_the_ports(server: ServerProcess) -> None:
    with UdpReceiver() as receiver, play_udp(server, receiver):
        receiver.packet()
        rtp, rtcp = (("127.0.0.1", port + i) for i, port in enumerate([server_rtp_port(receiver)] * 2))
        before = {name: server.counter(name) for name in ("reports_received", "rtcp_ignored", "udp_ignored")}
        receiver.rtcp.sendto(b"\x80\xc9\x00\x01\x00\x00\x00\x05", rtcp)
        receiver.rtcp.sendto(b"oops", rtcp)
        receiver.rtcp.sendto(bytes(range(200)), rtcp)
        receiver.rtp.sendto(b"anything", rtp)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(b"\x80\xc9\x00\x01\x00\x00\x00\x05", rtcp)
            stranger.sendto(b"", rtp)
        wanted = {"reports_received": 1, "rtcp_ignored": 2, "udp_ignored": 2}
        until(
            lambda: {name: server.counter(name) - before[name] for name in before} == wanted,
            5,
            "them to be counted",
        )


def receiver_report(ssrc: int, lost: int = 0, last_report: int = 0, delay: int = 0) -> bytes:
    return struct.pack(">BBHIIIIIII", 0x81, 201, 7, 42, ssrc, lost, 0, 900, last_report, delay)


@pytest.mark.usefixtures("muxer")
def test_what_a_viewer_reports_is_in_its_figures(server: ServerProcess) -> None:
    with UdpReceiver() as receiver, play_udp(server, receiver):
        receiver.packet()
        rtcp = "127.0.0.1", server_rtp_port(receiver) + 1
        until(
            lambda: [viewer.loss_percent for viewer in server.viewers()] == [None], 5, "a viewer without reports"
        )
        report = receiver.report()
        ssrc, ntp = struct.unpack_from(">4xIQ", report)
        receiver.rtcp.sendto(receiver_report(ssrc, 0x20_000011, ntp >> 16 & 0xFFFFFFFF), rtcp)
        receiver.rtcp.sendto(receiver_report(ssrc + 1, 0xFF_000000), rtcp)
        until(lambda: server.counter("reports_of_others") > 0, 5, "a report on another")
        [viewer] = server.viewers()
        assert (viewer.loss_percent, viewer.packets_lost, viewer.jitter_ms) == (12.5, 17, 10.0)
        assert viewer.round_trip_ms is not None
        assert 0 <= viewer.round_trip_ms < 10_000
        assert not viewer.key_frames_only


def test_who_keeps_losing_gets_key_frames_only(server: ServerProcess, muxer: FakeMuxer) -> None:
    with UdpReceiver() as receiver, play_udp(server, receiver) as client:
        receiver.packet()
        rtcp = "127.0.0.1", server_rtp_port(receiver) + 1
        ssrc = int.from_bytes(receiver.report()[4:8], "big")

        def lowered() -> bool:
            receiver.rtcp.sendto(receiver_report(ssrc, 0x40_000011), rtcp)
            return any(start.key_frames_only for start in muxer.of(ReadStart) if isinstance(start, ReadStart))

        until(lowered, 10, "the muxer to be asked for key frames only")
        assert client.request("OPTIONS", "*").status == 200
        until(lambda: [viewer.key_frames_only for viewer in server.viewers()] == [True], 5, "the figures")
    assert "event=viewer_lowered" in server.log
    assert server.counter("viewers_lowered") >= 1


def server_rtp_port(receiver: UdpReceiver) -> int:
    [(_, port)] = receiver.sources
    return port
