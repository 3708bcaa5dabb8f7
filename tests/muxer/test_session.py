"""The media session's verbs, each with its contract, in one process."""

import threading

import pytest

from common.errors import MediaError, SessionError
from common.sample import Codec, Sample, Track
from muxer.ring import Limits
from muxer.session import MediaSession, Packet, new_media_session
from muxer.stream import Stream
from tests.support.rtp_check import RtpCheck
from tests.support.ts_check import TsCheck

FRAME_US = 40_000


def picture(number: int, sync: bool = False, size: int = 3000) -> Sample:
    """An access unit that no decoder would like and every muxer must carry."""
    nal = b"\x67\x42\x00\x1e\xab\0\0\0\1\x68\xce\x38\x80\0\0\0\1\x65" if sync else b"\x41"
    return Sample(b"\0\0\0\1" + nal + bytes((number % 251 + 1,)) * size, number * FRAME_US, Codec.H264, sync)


def sound(number: int) -> Sample:
    return Sample(b"\x21" + bytes((number % 251,)) * 200, number * FRAME_US, Codec.AAC)


class Reader:
    """Collects packets; checks that they are whole and without a gap."""

    def __init__(self) -> None:
        self.packets: list[bytes] = []
        self.ended = 0
        self._rtp = RtpCheck()

    def __call__(self, packet: Packet) -> None:
        if not packet:
            self.ended += 1
            return
        self._rtp.feed(bytes(packet))
        self.packets.append(bytes(packet))

    def pictures(self) -> list[int]:
        """The numbers of the pictures that arrived whole; no continuity error may be among them."""
        check = TsCheck()
        for packet in self.packets:
            check.feed(packet[12:])
        report = check.finish()
        assert not report.continuity_errors
        assert not self._rtp.errors
        pictures = [pes for pid, all_pes in report.pes.items() if pid == 0x100 for pes in all_pes]
        for pes in pictures:
            assert len(set(pes.data[-3000:])) == 1, "a picture of two"
        return [pes.data[-1] - 1 for pes in pictures]


def test_samples_come_out_as_packets() -> None:
    session, reader = new_media_session(), Reader()
    session.read_start(reader)
    for i in range(4):
        session.write_sample(picture(i, sync=i == 0))
    assert reader.pictures() == [0, 1, 2, 3]


def test_nothing_comes_before_the_first_sync_point() -> None:
    session, reader = new_media_session(), Reader()
    session.read_start(reader)
    session.write_sample(picture(0))
    assert reader.packets == []
    session.write_sample(picture(1, sync=True))
    assert reader.pictures() == [1]


def test_a_shut_gate_queues_ten_frames_and_the_next_read_start_flushes_them() -> None:
    session, reader = new_media_session(), Reader()
    session.write_sample(picture(0, sync=True))
    for i in range(1, 10):
        session.write_sample(picture(i))
    assert session.flush_buffer() == 0
    session.read_start(reader)
    assert reader.pictures() == list(range(10))


def test_an_eleventh_frame_drops_up_to_the_next_sync_point() -> None:
    session, reader = new_media_session(), Reader()
    session.read_start(reader)
    session.write_sample(picture(0, sync=True))
    session.read_stop()
    for i in range(1, 12):
        session.write_sample(picture(i))
    session.read_start(reader)
    session.write_sample(picture(12))
    session.write_sample(picture(13, sync=True))
    session.write_sample(picture(14))
    assert reader.pictures() == [0, 13, 14]


def test_read_stop_from_inside_the_callback_stops_in_the_middle_of_a_frame() -> None:
    session, reader = new_media_session(), Reader()

    def one_packet(packet: Packet) -> None:
        reader(packet)
        session.read_stop()

    session.read_start(one_packet)
    session.write_sample(picture(0, sync=True, size=10_000))
    assert len(reader.packets) == 1
    session.write_sample(picture(1))
    assert len(reader.packets) == 1, "not one more after read_stop returned"
    session.read_start(one_packet)
    assert len(reader.packets) == 2, "the rest of the frame comes first"
    session.read_start(reader)
    session.write_sample(picture(2))
    check = TsCheck()
    for packet in reader.packets:
        check.feed(packet[12:])
    assert not check.finish().continuity_errors


def test_flush_buffer_says_how_many_frames_it_sent() -> None:
    session, reader = new_media_session(), Reader()
    counts: list[int] = []

    def flush_inside(packet: Packet) -> None:
        reader(packet)
        counts.append(session.flush_buffer())

    session.read_start(flush_inside)
    session.write_sample(picture(0, sync=True))
    assert set(counts) == {0}, "a flush within a flush does nothing"
    assert session.flush_buffer() == 0
    assert reader.pictures() == [0]


def test_close_tells_the_reader_once() -> None:
    session, reader = new_media_session(), Reader()
    session.read_start(reader)
    session.write_sample(picture(0, sync=True))
    session.close()
    session.close()
    assert reader.ended == 1
    with pytest.raises(SessionError, match="closed"):
        session.write_sample(picture(1))
    with pytest.raises(SessionError, match="closed"):
        session.write_packet(bytes(188), 0, 0)
    with pytest.raises(SessionError, match="closed"):
        session.read_start(reader)
    session.read_stop()
    assert session.flush_buffer() == 0


def test_sdp_is_valid_before_the_first_sample() -> None:
    sdp = new_media_session(Track(Codec.H264)).get_sdp_string()
    assert sdp.startswith("v=0\r\n")
    assert "m=video 0 RTP/AVP 33\r\n" in sdp


class Silent(MediaSession):
    """Leaves the sound out and delays the pictures."""

    def on_send_sample(self, sample: Sample) -> None:
        if not sample.audio:
            super().on_send_sample(Sample(sample.data, sample.time_us + 500_000, sample.codec, sample.sync))


class Raw(MediaSession):
    """Sends packets of its own."""

    def on_send_sample(self, sample: Sample) -> None:
        self.on_send_packet(b"frame %d" % sample.time_us)


def stream(*tracks: Track) -> Stream:
    made = Stream("session", ssrc=1, age_max_us=0)
    made.announce(tracks)
    return made


def test_an_override_changes_the_encoding() -> None:
    tracks = Track(Codec.H264), Track(Codec.AAC, sample_rate_hz=48000, channels=2)
    session, reader = Silent(stream(*tracks), Limits(frames_max=10)), Reader()
    session.read_start(reader)
    for i in range(5):
        session.write_sample(picture(i, sync=i == 0))
        session.write_sample(sound(i))
    assert reader.pictures() == [0, 1, 2, 3, 4]
    check = TsCheck()
    for packet in reader.packets:
        check.feed(packet[12:])
    report = check.finish()
    assert not report.pes.get(0x101)
    assert report.pes[0x100][0].pts == 500_000 * 9 // 100


def test_an_override_may_send_packets_of_its_own() -> None:
    packets: list[bytes] = []
    session = Raw(stream(Track(Codec.H264)), Limits(frames_max=10))
    session.read_start(lambda packet: packets.append(bytes(packet)))
    session.write_sample(picture(0, sync=True))
    session.write_sample(picture(1))
    assert packets == [b"frame 0", b"frame 40000"]


def ts_packet(pid: int, counter: int, fill: int) -> bytes:
    return bytes((0x47, pid >> 8, pid & 255, 0x10 | counter & 15)) + bytes((fill,)) * 184


def test_ready_made_packets_keep_their_continuity_across_a_splice() -> None:
    session, reader = new_media_session(), Reader()
    session.read_start(reader)
    counter = 0

    def frame(number: int, sync: bool) -> None:
        nonlocal counter
        for last in (0, 0, 2):
            session.write_packet(ts_packet(0x55, counter, number), number * FRAME_US, sync | last)
            counter += 1

    frame(0, sync=True)
    session.read_stop()
    for number in range(1, 12):
        frame(number, sync=False)
    session.read_start(reader)
    frame(12, sync=True)
    frame(13, sync=False)
    body = b"".join(packet[12:] for packet in reader.packets)
    cells = [body[i : i + 188] for i in range(0, len(body), 188)]
    assert [cell[4] for cell in cells] == [0, 0, 0, 12, 12, 12, 13, 13, 13]
    assert [cell[3] & 15 for cell in cells] == list(range(9))


def test_samples_and_packets_are_never_mixed() -> None:
    session = new_media_session()
    session.write_sample(picture(0, sync=True))
    with pytest.raises(SessionError, match="fed by write_sample"):
        session.write_packet(ts_packet(1, 0, 0), 0, 0)
    session = new_media_session()
    session.write_packet(ts_packet(1, 0, 0), 0, 2)
    with pytest.raises(SessionError, match="fed by write_packet"):
        session.write_sample(picture(0))


def test_what_ts_cannot_carry_is_refused_by_name() -> None:
    with pytest.raises(MediaError, match=r"(?i)mjpeg"):
        new_media_session(Track(Codec.MJPEG))
    with pytest.raises(MediaError):
        new_media_session().write_sample(Sample(b"", 0, Codec.H264))


def test_a_callback_that_raises_loses_its_packet_only() -> None:
    session, reader = new_media_session(), Reader()
    session.read_start(reader)
    session.write_sample(picture(0, sync=True))

    def broken(_packet: Packet) -> None:
        raise ConnectionResetError

    session.read_start(broken)
    with pytest.raises(ConnectionResetError):
        session.write_sample(picture(1))
    before = len(reader.packets)
    session.read_start(reader)
    session.write_sample(picture(2))
    assert len(reader.packets) > before


def test_no_packet_after_read_stop_returned_in_another_thread() -> None:
    session = new_media_session()
    session.write_sample(picture(0, sync=True))
    stopped = threading.Event()
    late: list[int] = []
    session.read_start(lambda _packet: late.append(1) if stopped.is_set() else None)

    def write() -> None:
        for i in range(1, 300):
            session.write_sample(picture(i))

    writer = threading.Thread(target=write)
    writer.start()
    session.read_stop()
    stopped.set()
    writer.join()
    assert late == []
