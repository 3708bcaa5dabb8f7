"""RTSP viewers of a real server process, whose muxer is a stand-in."""

import socket
import struct
import time
from itertools import pairwise

import pytest

from common.messages import Forget, ReadStart, ReadStop
from tests.support.fake_muxer import FakeMuxer
from tests.support.frame_source import Judge
from tests.support.rtsp_client import RtspClient
from tests.support.server_process import ServerProcess, framed, get, healthy, play, rest, watch
from tests.support.wait import until


def test_a_viewer_gets_every_frame_from_the_sync_point_on(server: ServerProcess, muxer: FakeMuxer) -> None:
    muxer.produce("cam")
    with play(server) as client:
        judge = Judge()
        watch(client, judge, (muxer.epoch, 1))
        for _ in range(20):
            muxer.produce("cam", packets=30)
        watch(client, judge, (muxer.epoch, 21))
        assert [number for _, number in judge.frames] == list(range(22))
        assert client.teardown().status == 200
    until(lambda: muxer.of(Forget), 5, "Forget")


@pytest.mark.usefixtures("muxer")
def test_the_first_report_comes_at_once_and_the_goodbye_before_the_answer(server: ServerProcess) -> None:
    with play(server) as client:
        first = client.next_packet()
        report = client.next_packet()
        assert (first.channel, report.channel) == (0, 1)
        kind, words, ssrc, ntp, clock, packets, octets = struct.unpack_from(">xBHIQIII", report.data)
        assert (kind, words, packets, octets) == (200, 6, 1, len(first.data) - 12)
        assert ssrc == int.from_bytes(first.data[8:12], "big")
        assert abs((ntp >> 32) - 2_208_988_800 - time.time()) < 60
        assert clock == int.from_bytes(first.data[4:8], "big")  # timed on no clock of this host
        assert report.data[29] == 202
        client.send("TEARDOWN")
        goodbye = client.next_packet()
        assert goodbye.channel == 1
        assert goodbye.data[-7] == 203
        assert client.response().status == 200
        client.session = None
        assert client.request("OPTIONS", "*").status == 200


def test_requests_while_frames_come_do_not_cut_them(server: ServerProcess, muxer: FakeMuxer) -> None:
    with play(server, receive_buffer_bytes=8192) as client:
        judge = Judge()
        for number in range(1, 40):
            muxer.produce("cam", packets=200, sync=number % 10 == 0)
            if number % 4 == 0:
                assert client.request("GET_PARAMETER").status == 200
            if number % 9 == 0:
                assert client.request("OPTIONS", "*").status == 200
            client.socket.sendall(b"$\x01\x00\x08\x80\xc9\x00\x01\x00\x00\x00\x05" + b"$\x01\x00\x04oops")
        watch(client, judge, (muxer.epoch, 39))
        assert [number for _, number in judge.frames] == list(range(40))
        ignored = server.counter("rtcp_ignored")
        until(lambda: server.counter("rtcp_ignored") > ignored or ignored >= 39, 5, "garbage to be counted")
        assert server.counter("reports_received") >= 1


def test_pause_and_play_again(server: ServerProcess, muxer: FakeMuxer) -> None:
    with play(server) as client:
        judge = Judge()
        watch(client, judge, (muxer.epoch, 0))
        assert client.request("PAUSE").status == 200
        while client._early:
            packet = client._early.popleft()
            judge.receive(framed(packet))
        muxer.produce("cam")
        assert client.request("OPTIONS").status == 200
        assert not client._early  # not one packet while it is paused
        until(lambda: muxer.of(ReadStop), 5, "ReadStop")
        assert client.play().status == 200
        watch(client, judge, (muxer.epoch, 1))


def test_a_stalled_viewer_goes_on_at_a_sync_point_and_hurts_nobody(
    server: ServerProcess, muxer: FakeMuxer
) -> None:
    muxer.models["two"].skips = True
    muxer.produce("two", sync=True)
    with play(server, "two", receive_buffer_bytes=8192) as slow, play(server, "two") as quick:
        judges = Judge(), Judge()
        watch(slow, judges[0], (muxer.epoch, 0))
        number = 0
        while not muxer.of(ReadStop):
            number += 1
            assert number < 400, "a reader that stalls was never stopped"
            muxer.produce("two", packets=300, sync=number % 5 == 0)
            watch(quick, judges[1], (muxer.epoch, number))
        for _ in range(20):
            number += 1
            muxer.produce("two", packets=300, sync=number % 5 == 0)
            watch(quick, judges[1], (muxer.epoch, number))
        assert judges[1].frames == [(muxer.epoch, n) for n in range(number + 1)]
        watch(slow, judges[0], (muxer.epoch, number))
        frames = [n for _, n in judges[0].frames]
        [gap] = [(a, b) for a, b in pairwise(frames) if b != a + 1]
        assert gap[1] % 5 == 0
        dropped = gap[1] - gap[0] - 1
        until(lambda: [v.frames_dropped for v in server.viewers() if v.stream == "two" and v.splices] == [dropped],
              5, "the figures of the slow viewer")  # fmt: skip
    until(lambda: "event=viewer_slow" in server.log, 5, "the line in the log")
    assert f"dropped={dropped}" in server.log


def test_a_reader_of_single_bytes(server: ServerProcess, muxer: FakeMuxer) -> None:
    with play(server, receive_buffer_bytes=4096, read_bytes_max=1) as client:
        judge = Judge()
        for _ in range(3):
            muxer.produce("cam", packets=40)
        watch(client, judge, (muxer.epoch, 3))
        assert [number for _, number in judge.frames] == list(range(4))


def test_two_sessions_on_one_connection(server: ServerProcess, muxer: FakeMuxer) -> None:
    muxer.produce("two", sync=True)
    with RtspClient(server.rtsp("cam")) as client:
        client.setup()
        first = client.session
        client.session = None
        client.control_url = server.rtsp("two")
        assert "interleaved=2-3" in client.setup("RTP/AVP/TCP").headers["transport"]
        client.play()
        client.session = first
        client.play()
        judges = {0: Judge(), 2: Judge(channel=2)}
        while not all(judge.frames for judge in judges.values()):
            packet = client.next_packet()
            judges[packet.channel & 2].receive(framed(packet))


def test_another_muxer_keeps_the_connection_and_the_numbers(server: ServerProcess) -> None:
    judge = Judge()
    with FakeMuxer(server.directory, "cam", epoch=5) as old:
        healthy(server)
        old.produce("cam", sync=True)
        client = play(server)
        watch(client, judge, (5, 0))
        old.produce("cam")
        watch(client, judge, (5, 1))
    with client, FakeMuxer(server.directory, "cam", epoch=6) as new:
        new.produce("cam", sync=True)
        watch(client, judge, (6, 0))
        new.produce("cam")
        watch(client, judge, (6, 1))
        assert judge.frames == [(5, 0), (5, 1), (6, 0), (6, 1)]
        assert judge.ssrc == 5
        first, *others = [start.after for start in new.of(ReadStart) if isinstance(start, ReadStart)]
        assert first == (5, 1)  # whose it is, the muxer knows by the epoch
        assert {after[0] for after in others if after} <= {6}, "these frames have no clock to go live by"


def test_the_end_of_a_stream(server: ServerProcess, muxer: FakeMuxer) -> None:
    with play(server) as client:
        watch(client, Judge(), (muxer.epoch, 0))
        [start] = muxer.of(ReadStart)
        assert isinstance(start, ReadStart)
        muxer.end(start.ticket, "the file is over")
        assert rest(client)[-1].data[-7] == 203
    until(lambda: 'reason="the file is over"' in server.log, 5, "the line in the log")


def test_play_is_answered_also_where_nothing_comes(server: ServerProcess, muxer: FakeMuxer) -> None:
    with RtspClient(server.rtsp("two")) as client:
        client.setup()
        client.socket.sendall(
            f"PLAY {client.url} RTSP/1.0\r\nCSeq: 8\r\nSession: {client.session}\r\n\r\n"
            "OPTIONS * RTSP/1.0\r\nCSeq: 9\r\n\r\n".encode()
        )
        for client._cseq in (8, 9):
            answer = client.response()
            assert answer.status == 200
            assert "rtp-info" not in answer.headers
    with RtspClient(server.rtsp("two")) as client:
        client.setup()
        client.send("PLAY")
        until(lambda: len(muxer.of(ReadStart)) == 2, 5, "the gate to open")
        newest = muxer.of(ReadStart)[-1]
        assert isinstance(newest, ReadStart)
        muxer.end(newest.ticket, "the file is over")
        assert client.response().status == 200
        with pytest.raises(EOFError):
            client.next_packet()
    with RtspClient(server.rtsp("two")) as client:
        client.setup()
        client.socket.sendall(
            b"".join(
                f"{method} {client.url} RTSP/1.0\r\nCSeq: 8\r\nSession: {client.session}\r\n\r\n".encode()
                for method in ("PLAY", "TEARDOWN")
            )
        )
        until(lambda: len(muxer.of(ReadStart)) == 3, 5, "the gate to open")
        newest = muxer.of(ReadStart)[-1]
        assert isinstance(newest, ReadStart)
        muxer.end(newest.ticket, "the file is over")
        client._cseq = 8
        assert [client.response().status for _ in range(2)] == [200, 200]
        client.session = None
        assert client.request("OPTIONS", "*").status == 200, "the connection is the client's own"


def test_a_stream_that_has_not_started_is_waited_for(server: ServerProcess, muxer: FakeMuxer) -> None:
    muxer.silent.add("two")
    with RtspClient(server.rtsp("two")) as client:
        client.socket.sendall(
            f"DESCRIBE {client.url} RTSP/1.0\r\nCSeq: 1\r\n\r\nOPTIONS * RTSP/1.0\r\nCSeq: 2\r\n\r\n".encode()
        )
        client._cseq = 1
        answer = client.response()
        assert answer.status == 503
        assert "two has not started" in answer.body
        client._cseq = 2
        assert client.response().status == 200
    muxer.silent.clear()
    muxer.failing["two"] = "no such file"
    with RtspClient(server.rtsp("two")) as client:
        answer = client.request("DESCRIBE")
        assert (answer.status, answer.body) == (503, "no such file\r\n")
    assert get(server, "/two.ts")[::2] == (503, b"no such file\n")
    muxer.failing["two"] = "too large for it"
    muxer.unsuited.add("two")
    with RtspClient(server.rtsp("two")) as client:
        answer = client.request("DESCRIBE")
        assert (answer.status, answer.body) == (415, "too large for it\r\n")
        assert "retry-after" not in answer.headers
    assert get(server, "/two.ts")[::2] == (415, b"too large for it\n")


def test_a_question_survives_the_muxer(server: ServerProcess) -> None:
    with RtspClient(server.rtsp("cam")) as client:
        client.send("DESCRIBE")
        with FakeMuxer(server.directory, "cam", epoch=77):
            assert client.response().status == 200


def test_errors_end_one_connection_only(server: ServerProcess, muxer: FakeMuxer) -> None:
    with play(server) as good:
        judge = Judge()
        watch(good, judge, (muxer.epoch, 0))
        for data in (
            b"\x16\x03\x01\x02\x00",
            b"A" * 5000,
            b"PLAY /cam RTSP/1.0\r\nCSeq: 1\r\nContent-Length: -1\r\n\r\n",
        ):
            with socket.create_connection(("127.0.0.1", server.rtsp_port), timeout=10) as bad:
                bad.sendall(data)
                answer = b""
                while piece := bad.recv(4096):
                    answer += piece
            assert answer[:12] in (b"", b"RTSP/1.0 414", b"RTSP/1.0 400")
        reset = play(server)
        reset.next_packet()
        reset.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        reset.close()
        for _ in range(10):
            muxer.produce("cam")
        watch(good, judge, (muxer.epoch, 10))
        assert [number for _, number in judge.frames] == list(range(11))


def test_a_client_that_only_asks_is_not_read_for_ever(server: ServerProcess) -> None:
    with socket.create_connection(("127.0.0.1", server.rtsp_port), timeout=2) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        client.settimeout(0.5)
        request = b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n" * 1000
        sent = 0
        try:
            while sent < 64 << 20:
                sent += client.send(request)
        except TimeoutError:
            pass  # as it should be
        assert sent < 64 << 20
        answers = 0
        client.settimeout(5)
        while answers < 150:
            answers += client.recv(65536).count(b"CSeq: 1")
    until(lambda: server.counter("connections_held") > 0, 5, "it to be counted")


def test_the_figures(server: ServerProcess, muxer: FakeMuxer) -> None:
    with play(server) as client:
        for _ in range(5):
            muxer.produce("cam")
        watch(client, Judge(), (muxer.epoch, 5))
        until(lambda: [v.frames_sent for v in server.viewers()] == [6], 5, "the viewer's figures")
        [viewer] = server.viewers()
        assert viewer.id.startswith("server-0-")
        assert (viewer.stream, viewer.transport, viewer.state) == ("cam", "rtsp-tcp", "reading")
        assert viewer.user_agent == "tests"
        assert viewer.peer == f"127.0.0.1:{client.socket.getsockname()[1]}"
        assert viewer.bytes_sent == 6 * (16 + 3 * 188) + 2 * 188
        client.request("PAUSE")
        until(lambda: [v.state for v in server.viewers()] == ["stopped"], 5, "stopped")
    assert server.counter("frames_in") > 0
    assert server.counter("muxers_up") == 1
    until(lambda: server.viewers() == [], 5, "the viewer to be gone")


def test_messages_that_are_none_are_counted(server: ServerProcess, muxer: FakeMuxer) -> None:
    refused = server.counter("messages_refused")
    muxer.say_raw(b"nonsense")
    muxer.produce("cam")
    frame = muxer.models["cam"].frames[0]
    muxer.say(frame.addressed(to_live=True), frame.data[:-5])
    muxer.say(Forget(3))
    until(lambda: server.counter("messages_refused") == refused + 3, 5, "three refusals")
