"""One send for all who want a stream by multicast: groups of their own, from the first session to the last."""

import socket
import struct
from collections.abc import Iterator

import pytest

from common.config import Rtsp
from common.errors import SettingsError
from common.messages import Forget, ReadStart
from server.multicast import PORTS_OF_STREAM, place
from tests.support.fake_muxer import FakeMuxer
from tests.support.frame_source import Judge
from tests.support.rtsp_client import RtspClient
from tests.support.server_process import ServerProcess, healthy
from tests.support.udp_receiver import UdpReceiver
from tests.support.wait import until

GROUPS = "239.192.77.0/28"


def test_places_do_not_meet() -> None:
    config = Rtsp(multicast_groups=GROUPS, multicast_port=20_000)
    places = [place(config, number) for number in range(16)]
    assert places[0] == ("239.192.77.0", 20_000)
    assert places[15] == ("239.192.77.15", 20_000 + 15 * PORTS_OF_STREAM)
    with pytest.raises(SettingsError, match=r"16 addresses.*multicast_groups"):
        place(config, 16)
    with pytest.raises(SettingsError, match=r"6 ports from 65534 on.*multicast_port"):
        place(Rtsp(multicast_groups=GROUPS, multicast_port=65_534), 0)


@pytest.mark.parametrize("text", ["10.0.0.0/24", "239.1.2.3/8", "ff02::1", "all", "239.1.2.3-9"])
def test_what_is_no_range_of_groups(text: str) -> None:
    with pytest.raises(SettingsError, match=r"no range of IPv4 multicast addresses.*multicast_groups"):
        place(Rtsp(multicast_groups=text), 0)


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with UdpReceiver() as free:
        port = free.ports[0]  # may serve others by now: that harms nobody
    sections = {"rtsp": {"multicast_groups": GROUPS, "multicast_port": min(port, 65_000)}}
    with ServerProcess("cam", "two", sections=sections) as process:
        yield process


class Member:
    """A host in a group, as `setup` was answered."""

    def __init__(self, transport: str) -> None:
        fields = dict(part.partition("=")[::2] for part in transport.split(";"))
        self.group = fields["destination"]
        self.sockets = []
        for port in map(int, fields["port"].split("-")):
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((self.group, port))
            wanted = socket.inet_aton(self.group) + socket.inet_aton("127.0.0.1")
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, wanted)
            sock.settimeout(10)
            self.sockets.append(sock)

    def watch(self, judge: Judge, last: tuple[int, int]) -> None:
        while not judge.frames or judge.frames[-1] != last:
            packet = self.sockets[0].recv(65_536)
            judge.receive(b"$\0" + len(packet).to_bytes(2, "big") + packet)

    def close(self) -> None:
        for sock in self.sockets:
            sock.close()


def test_one_send_for_all_from_the_first_session_to_the_last(server: ServerProcess) -> None:
    with FakeMuxer(server.directory, "cam", "two", epoch=7) as muxer:
        muxer.produce("cam", sync=True)
        until(lambda: muxer.greeted, 10, "the server to find the muxer")
        healthy(server)
        clients = [RtspClient(server.rtsp("cam")) for _ in range(3)]
        answers = []
        for client in clients:
            client.describe()
            answers.append(client.setup("RTP/AVP;multicast").headers["transport"])
        [transport] = set(answers)
        assert transport.startswith("RTP/AVP;multicast;destination=239.192.77.0;port=")
        assert transport.endswith(";ttl=1")
        member = Member(transport)
        judge = Judge()
        for client in clients:
            client.play()
        member.watch(judge, (7, 0))
        kind, ssrc = struct.unpack_from(">xBxxI", member.sockets[1].recv(2000))
        assert (kind, ssrc) == (200, judge.ssrc)
        for number in range(1, 10):
            muxer.produce("cam", packets=100)
            member.watch(judge, (7, number))
        assert [number for _, number in judge.frames] == list(range(10))
        assert len(muxer.of(ReadStart)) <= 2  # the first picture, and the rest
        until(lambda: [v.user_agent for v in server.viewers()] == ["3 sessions"], 5, "the figures")
        [viewer] = server.viewers()
        assert (viewer.transport, viewer.peer, viewer.frames_sent) == ("rtsp-multicast", "239.192.77.0", 10)
        clients[0].teardown()
        clients[1].request("PAUSE")
        muxer.produce("cam")
        member.watch(judge, (7, 10))
        assert not muxer.of(Forget)
        clients[2].close()  # without a word
        until(lambda: muxer.of(Forget), 5, "the last to be gone")
        while member.sockets[1].recv(2000)[-7] != 203:
            pass
        clients[1].play()  # and it begins again
        muxer.produce("cam", sync=True)
        member.watch(Judge(), (7, 11))
        member.close()
        for client in clients:
            client.close()


def receiver_report(ssrc: int, fraction: int, lost: int, jitter: int) -> bytes:
    return struct.pack(">BBHIIIIIII", 0x81, 201, 7, 42, ssrc, fraction << 24 | lost, 0, jitter, 0, 0)


def test_what_members_report_is_heard_by_member(server: ServerProcess) -> None:
    with FakeMuxer(server.directory, "cam", "two", epoch=10) as muxer, RtspClient(server.rtsp("cam")) as client:
        muxer.produce("cam", sync=True)
        until(lambda: muxer.greeted, 10, "the server to find the muxer")
        healthy(server)
        client.describe()
        member = Member(client.setup("RTP/AVP;multicast").headers["transport"])
        client.play()
        judge = Judge()
        member.watch(judge, (10, 0))
        _, ours = member.sockets[1].recvfrom(2000)
        ssrc, group = judge.ssrc, (member.group, member.sockets[1].getsockname()[1])
        assert ssrc is not None
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as by_group,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as by_port,
        ):
            for sock in (by_group, by_port):
                sock.bind(("127.0.0.1", 0))
            by_group.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
            ignored = server.counter("rtcp_ignored")
            by_group.sendto(receiver_report(ssrc, 128, 50, 900), group)
            by_group.sendto(b"\xff" * 200, group)
            by_port.sendto(receiver_report(ssrc, 64, 70, 1800), ours)
            by_port.sendto(receiver_report(ssrc + 1, 255, 99, 0), ours)
            until(lambda: [len(viewer.members) for viewer in server.viewers()] == [2], 10, "both members' figures")
            [viewer] = server.viewers()
            names = [f"127.0.0.1:{sock.getsockname()[1]}" for sock in (by_group, by_port)]
            found = {m.peer: (m.loss_percent, m.packets_lost, m.jitter_ms) for m in viewer.members}
            assert found == dict(zip(names, [(50.0, 50, 10.0), (25.0, 70, 20.0)], strict=True))
            assert (viewer.loss_percent, viewer.packets_lost, viewer.jitter_ms) == (50.0, 70, 20.0)
            assert not viewer.key_frames_only, "one member's loss is not the others'"
            until(lambda: server.counter("rtcp_ignored") > ignored, 5, "garbage to be counted")
            assert server.counter("reports_of_others") >= 1
            client.teardown()
            client.session = None
            until(lambda: muxer.of(Forget), 5, "the group to end")
            ignored = server.counter("udp_ignored")
            by_port.sendto(receiver_report(ssrc, 64, 70, 1800), ours)
            until(lambda: server.counter("udp_ignored") > ignored, 5, "who is no member any more to be ignored")
        member.close()


def test_a_session_changes_from_multicast_to_tcp(server: ServerProcess) -> None:
    with FakeMuxer(server.directory, "cam", "two", epoch=8) as muxer, RtspClient(server.rtsp("two")) as client:
        muxer.produce("two", sync=True)
        client.describe()
        client.setup("RTP/AVP/UDP;multicast")
        client.play()
        until(lambda: muxer.of(ReadStart), 10, "the group to read")
        client.request("PAUSE")
        client.setup()
        client.play()
        assert client.next_packet().channel == 0


def test_the_end_of_the_stream_ends_its_sessions(server: ServerProcess) -> None:
    with FakeMuxer(server.directory, "cam", "two", epoch=9) as muxer, RtspClient(server.rtsp("cam")) as client:
        muxer.produce("cam", sync=True)
        client.describe()
        client.setup("RTP/AVP;multicast")
        client.play()

        def over() -> bool:
            for start in muxer.of(ReadStart):  # whichever is open by now
                assert isinstance(start, ReadStart)
                muxer.end(start.ticket, "the file is over")
            return bool(muxer.of(Forget))

        until(over, 10, "the group to end")
        client.session = None
        with pytest.raises(EOFError):
            client.next_packet()
