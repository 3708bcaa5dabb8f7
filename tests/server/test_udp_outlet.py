"""The way out over UDP: every packet by itself at the other end, from our ports, to nobody else."""

import errno
import socket
from collections.abc import Iterator

import pytest

from common.errors import SettingsError
from common.poller import Poller
from common.wire import Buffer
from server.counters import Counters
from server.datagrams import native_datagrams, ts_datagrams
from server.rtsp_message import encode_interleaved
from server.send_many import Company, ManySender
from server.udp_backlog import Pacing
from server.udp_outlet import DatagramTakers, UdpOutlet, UdpPorts, UdpWay, offer_datagrams
from tests.support.frame_source import FrameSource, Judge
from tests.support.udp_receiver import UdpReceiver

UNPACED = Pacing(0, 1500)


class Bench:
    """Ports, and one receiver."""

    def __init__(self, address: str = "127.0.0.1", pacing: Pacing = UNPACED) -> None:
        self.now_us = 0
        self.poller = Poller()
        self.counters = Counters()
        self.udp = UdpPorts(socket.AF_INET, address, 0, pacing, self.poller, self.counters, lambda: self.now_us)
        self.receiver = UdpReceiver()
        self.source = FrameSource()
        self.judge = Judge()

    def way(self, local: str = "127.0.0.1") -> UdpWay:
        way = self.udp.open(("127.0.0.1", 1), (local, 2), self.receiver.ports)
        assert way is not None
        return way

    def open(self, local: str = "127.0.0.1") -> UdpOutlet:
        return UdpOutlet(self.udp, (self.way(local),))

    def send(self, outlet: UdpOutlet, packets: int = 3) -> None:
        offer_datagrams([outlet], ts_datagrams(self.source.frame(packets=packets).data), DatagramTakers())

    def close(self) -> None:
        self.udp.close()
        self.receiver.close()
        self.poller.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


def test_the_ports_are_an_even_one_and_the_next(bench: Bench) -> None:
    rtp, rtcp = bench.udp.ports
    assert rtp % 2 == 0
    assert rtcp == rtp + 1
    with pytest.raises(SettingsError, match=rf"UDP port {rtp} of 127.0.0.1: .* rtsp.udp_port"):
        UdpPorts(socket.AF_INET, "127.0.0.1", rtp, UNPACED, bench.poller, bench.counters, lambda: 0)


@pytest.mark.parametrize("packets", [1, 30, 400, 2000])
def test_frames_arrive_packet_by_packet(bench: Bench, packets: int) -> None:
    outlet = bench.open()
    for number in range(3):
        bench.send(outlet, packets)
        bench.receiver.watch(bench.judge, (1, number))
    assert bench.receiver.sources == {("127.0.0.1", bench.udp.ports[0])}
    outlet.report(0, b"report")
    assert bench.receiver.rtcp.recvfrom(100) == (b"report", ("127.0.0.1", bench.udp.ports[1]))
    assert (bench.counters.udp_frames_lost, bench.counters.udp_errors) == (0, 0)


class Refusing(ManySender):
    """Nothing is taken for anybody, the first `times` times."""

    def __init__(self, sock: socket.socket, error: int, times: int = 1 << 30) -> None:
        super().__init__(sock)
        self._error = error
        self._times = times

    def send(self, company: Company, data: Buffer) -> list[tuple[int, OSError]]:
        if not self._times:
            return super().send(company, data)
        self._times -= 1
        return [(at, OSError(self._error, "no")) for at in range(company.count)]


class Failing:
    """A socket whose `sendmsg` fails with this error."""

    def __init__(self, sock: socket.socket, error: int) -> None:
        self._socket = sock
        self._error = error

    def __getattr__(self, name: str) -> object:
        return getattr(self._socket, name)

    def sendmsg(self, *_: object) -> int:
        raise OSError(self._error, "no")


@pytest.mark.parametrize("error", [errno.EMSGSIZE, errno.EINVAL, errno.EIO])
def test_a_path_that_bears_no_segments_gets_packets(
    bench: Bench, error: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.udp, "many", Refusing(bench.udp._rtp, error, times=1))
    outlet = bench.open()
    for number in range(2):
        bench.send(outlet, 100)
        bench.receiver.watch(bench.judge, (1, number))
    assert not outlet.segmented
    assert bench.counters.udp_unsegmented == 1
    assert outlet.frames_lost == 0


def test_the_others_get_segments_even_so(bench: Bench) -> None:
    outlet, other = bench.open(), UdpReceiver()
    way = bench.udp.open(("127.0.0.1", 1), ("127.0.0.1", 2), other.ports)
    outlets, judges = [outlet, UdpOutlet(bench.udp, (way,))], [bench.judge, Judge()]
    outlet.segmented = bench.udp._all_segmented = False
    for number in range(2):
        offer_datagrams(outlets, ts_datagrams(bench.source.frame(packets=30).data), DatagramTakers())
        for receiver, judge in zip((bench.receiver, other), judges, strict=True):
            receiver.watch(judge, (1, number))
    other.close()
    assert [each.segmented for each in outlets] == [False, True]
    assert (bench.counters.udp_unsegmented, bench.counters.udp_frames_lost) == (0, 0)


def test_a_kernel_without_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.udp_sockets.UDP_SEGMENT", 12345)  # unknown to every kernel
    old = Bench()
    outlet = old.open()
    old.send(outlet, 100)
    old.receiver.watch(old.judge, (1, 0))
    assert outlet.frames_lost == 0
    old.close()


@pytest.mark.parametrize(
    ("error", "counter"),
    [(errno.EAGAIN, "udp_sends_refused"), (errno.ENOBUFS, "udp_sends_refused"), (errno.ENETUNREACH, "udp_errors"),
     (errno.ECONNREFUSED, "udp_errors"), (errno.EPERM, "udp_errors")],
)  # fmt: skip
def test_what_the_kernel_does_not_take_is_lost_and_counted(
    bench: Bench, error: int, counter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.udp, "many", Refusing(bench.udp._rtp, error))
    monkeypatch.setattr(bench.udp, "_rtcp", Failing(bench.udp._rtcp, error))
    outlet = bench.open()
    bench.send(outlet, 1000)
    outlet.report(0, b"report")
    assert outlet.frames_lost == 1
    assert bench.counters.udp_frames_lost == 1
    assert getattr(bench.counters, counter) == 2


def test_a_closed_port_is_no_error(bench: Bench) -> None:
    outlet = bench.open()
    bench.receiver.rtp.close()
    for _ in range(5):
        bench.send(outlet)
    assert bench.counters.udp_errors == 0


def test_a_client_s_ports_are_one_viewer_s(bench: Bench) -> None:
    way = bench.way()
    a, b = bench.receiver.ports
    for ports in ((a, b), (a, b + 1), (a - 1, b), (b, a), (b, b + 1)):
        assert bench.udp.open(("127.0.0.1", 3), ("127.0.0.1", 4), ports) is None
    assert bench.udp.open(("127.0.0.2", 3), ("127.0.0.1", 4), (a, b)) is not None
    way.close()
    bench.open()


def test_reports_are_heard_from_the_viewer_s_port_only(bench: Bench) -> None:
    way = bench.way()
    heard: list[bytes] = []
    way.on_report = heard.append
    bench.receiver.rtcp.sendto(b"mine", ("127.0.0.1", bench.udp.ports[1]))
    bench.receiver.rtp.sendto(b"open the gate", ("127.0.0.1", bench.udp.ports[0]))
    bench.poller.poll(1_000_000)
    bench.poller.poll(0)
    assert heard == [b"mine"]
    assert bench.counters.udp_ignored == 0
    with UdpReceiver() as other:
        for port in bench.udp.ports:
            other.rtcp.sendto(b"garbage", ("127.0.0.1", port))
        bench.poller.poll(1_000_000)
        bench.poller.poll(0)
    assert heard == [b"mine"]
    assert bench.counters.udp_ignored == 2
    way.close()
    bench.receiver.rtcp.sendto(b"late", ("127.0.0.1", bench.udp.ports[1]))
    bench.poller.poll(1_000_000)
    assert bench.counters.udp_ignored == 3


def test_what_is_beyond_the_burst_goes_out_at_the_pace() -> None:
    bench = Bench(pacing=Pacing(1_000_000, 20_000, packet_bytes_min=0))
    outlet = bench.open()
    assert bench.udp.due_us is None
    frame = ts_datagrams(bench.source.frame(packets=1000).data)
    offer_datagrams([outlet], frame, DatagramTakers())
    small = ts_datagrams(bench.source.frame().data)
    offer_datagrams([outlet], small, DatagramTakers())  # it stays behind the large one
    got = 0
    at_us: dict[int, int] = {}
    while bench.udp.due_us is not None:
        bench.receiver.rtp.settimeout(0.02)
        try:
            while True:
                packet = bench.receiver.packet()
                got += len(packet)
                bench.judge.receive(b"$\0" + len(packet).to_bytes(2, "big") + packet)
                at_us[bench.now_us] = got
        except TimeoutError:
            pass
        bench.now_us = bench.udp.due_us
        bench.udp.tick()
    bench.receiver.watch(bench.judge, (1, 1))
    assert all(got <= 20_000 + 1328 + at * 1_000_000 // 1_000_000 for at, got in at_us.items())
    assert len(at_us) > 50
    assert (bench.counters.udp_frames_lost, outlet.frames_lost) == (0, 0)
    bench.close()


def test_the_queue_is_bounded_and_ends_with_the_viewer() -> None:
    bench = Bench(pacing=Pacing(1_000_000, 20_000, packet_bytes_min=0))
    outlet = bench.open()
    frame = ts_datagrams(bench.source.frame(packets=1000).data)
    assert outlet.room_bytes == 50_000
    for _ in range(4):
        offer_datagrams([outlet], frame, DatagramTakers())
    assert bench.counters.udp_queues_full == outlet.frames_lost == 1  # each is 190 kB, and 500 kB may wait
    assert outlet.room_bytes == 1
    outlet.close()
    assert bench.udp.due_us is None
    bench.close()


def test_each_track_goes_to_its_own_ports(bench: Bench) -> None:
    with UdpReceiver() as other:
        second = bench.udp.open(("127.0.0.1", 1), ("127.0.0.1", 2), other.ports)
        outlet = UdpOutlet(bench.udp, (bench.way(), second))
        for track, receiver in enumerate((bench.receiver, other)):
            packets = [bytes((track, n)) * 600 for n in range(3)] + [b"the last is short"]
            rows = [encode_interleaved(0, packet) for packet in packets]
            offer_datagrams([outlet], native_datagrams(b"".join(rows), track), DatagramTakers())
            assert [receiver.packet() for _ in packets] == packets
            outlet.report(track, b"report")
            assert receiver.report() == b"report"


def test_those_of_a_lane_are_put_together_until_they_are_others(bench: Bench) -> None:
    takers = DatagramTakers()
    with UdpReceiver() as other:
        second = bench.udp.open(("127.0.0.1", 1), ("127.0.0.1", 2), other.ports)
        assert second is not None
        one, two = bench.open(), UdpOutlet(bench.udp, (second,))
        assert takers.company([two], 0) is takers.company([two], 0)
        for outlets, receivers in (([two], [other]), ([two, one], [other, bench.receiver])):
            takers.forget()
            for packet in (b"the first packet", b"the second packet"):
                offer_datagrams(outlets, native_datagrams(encode_interleaved(0, packet), 0), takers)
                assert [receiver.packet() for receiver in receivers] == [packet] * len(receivers)


def test_media_comes_from_the_address_that_was_asked() -> None:
    bench = Bench("0.0.0.0")
    outlet = bench.open(local="127.0.0.9")
    bench.send(outlet)
    bench.receiver.packet()
    assert bench.receiver.sources == {("127.0.0.9", bench.udp.ports[0])}
    outlet.report(0, b"report")
    assert bench.receiver.rtcp.recvfrom(100)[1] == ("127.0.0.9", bench.udp.ports[1])
    bench.close()


def test_ipv6() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6")
    poller, counters = Poller(), Counters()
    try:
        udp = UdpPorts(socket.AF_INET6, "::", 0, UNPACED, poller, counters, lambda: 0)
    except SettingsError:
        pytest.skip("no IPv6")
    with UdpReceiver() as receiver:
        way = udp.open(("::ffff:127.0.0.1", 1, 0, 0), ("::ffff:127.0.0.1", 2, 0, 0), receiver.ports)
        assert way is not None
        offer_datagrams(
            [UdpOutlet(udp, (way,))], ts_datagrams(FrameSource().frame(packets=300).data), DatagramTakers()
        )
        receiver.watch(Judge(), (1, 0))
        assert receiver.sources == {("127.0.0.1", udp.ports[0])}
    udp.close()
    poller.close()
