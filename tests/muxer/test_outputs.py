"""The payloads of one source: which are made, out of what, until when, and what is said of the others."""

from itertools import count

import pytest

from common.messages import Head, ReadStart, ReadStop
from common.sample import Codec, Payload, Sample, Track
from muxer.fanout import Fanout
from muxer.outputs import KEPT_US, Output, Outputs
from muxer.ring import Limits
from muxer.stream import Stream
from tests.muxer.test_jpeg_format import PICTURE
from tests.muxer.test_native import AUDIO, VIDEO, picture, sound

MJPEG = Track(Codec.MJPEG, 64, 48, 25.0)
L16 = Track(Codec.L16, sample_rate_hz=48_000, channels=1)
EPOCHS = count(1)


def make(payload: Payload) -> Output:
    stream = Stream("door", ssrc=1, age_max_us=1_000_000, payload=payload)
    epoch = next(EPOCHS)
    return Output(stream, Fanout(stream, epoch, Limits(), lambda: 0), epoch)


def outputs(*tracks: Track, main: Payload = Payload.TS) -> Outputs:
    made = Outputs(main, make)
    assert made.announce(tracks) == []
    return made


def read_start(ticket: int) -> ReadStart:
    return ReadStart(1, ticket, "door", None, 1 << 20)


def test_another_payload_begins_with_what_the_first_holds_from_the_newest_sync_point_on() -> None:
    made = outputs(VIDEO, AUDIO)
    for number in range(6):
        assert made.write(picture(number * 40_000, sync=number in (0, 3)), number * 40_000, (1, 2 * number)) == []
        assert made.write(sound(number * 40_000), number * 40_000, (1, 2 * number + 1)) == []
    assert list(made.by_payload) == [Payload.TS]
    native = made.get(Payload.NATIVE, 240_000)
    ring = native.stream.ring
    assert [entry.origin for entry in (ring[n] for n in range(ring.first, ring.head))] == [
        (1, n) for n in range(6, 12)
    ]
    assert ring.newest_sync == ring.first
    assert made.write(picture(240_000), 240_000, (1, 12)) == []
    assert ring[ring.head - 1].origin == (1, 12)
    assert made.get(Payload.NATIVE, 0) is native


def test_what_nobody_wants_is_let_go_but_not_the_streams_own() -> None:
    made = outputs(VIDEO)
    native = made.get(Payload.NATIVE, 1000)
    made.let_go(1000 + KEPT_US - 1)
    native.describes.append((b"server", 1))
    made.let_go(1000 + KEPT_US)
    assert made.wanted
    native.describes.clear()
    assert native.fanout.read_start(b"server", read_start(5))
    made.let_go(1000 + 2 * KEPT_US)
    assert (made.wanted, made.viewers) == (True, 1)
    native.fanout.forget(b"server", 1)
    made.let_go(1000 + 3 * KEPT_US)
    assert list(made.by_payload) == [Payload.TS]
    assert not made.wanted


@pytest.mark.parametrize("main", Payload)
def test_what_one_payload_cannot_carry_the_other_may(main: Payload) -> None:
    made = outputs(MJPEG, main=main)
    for payload in Payload:
        made.get(payload, 0)
    assert made.by_payload[Payload.TS].error == (
        "MPEG-TS cannot carry MJPEG: encode it to H.264; or open rtsp://HOST/door/native"
    )
    assert made.by_payload[Payload.NATIVE].error == ""
    assert made.shown is made.by_payload[Payload.NATIVE]
    assert made.write(Sample(PICTURE, 0, Codec.MJPEG), 0, (1, 0)) == []
    assert made.shown.stream.ring.newest_sync == 0


def test_what_no_payload_can_carry() -> None:
    made = outputs(Track(Codec.MJPEG, 4000, 3000))
    native = made.get(Payload.NATIVE, 0)
    assert native.error == "JPEG of 4000x3000 does not go into RTP, at most 2040: take H.264, or MPEG-TS"
    assert made.shown is made.by_payload[Payload.TS]


def test_a_refused_picture_is_told_until_one_is_taken() -> None:
    made = outputs(MJPEG, L16, main=Payload.NATIVE)
    native = made.by_payload[Payload.NATIVE]
    [reason] = made.write(Sample(b"\xff\xd8", 0, Codec.MJPEG), 0, (1, 0))
    assert native.refused == reason
    assert made.write(Sample(bytes(20), 0, Codec.L16), 0, (1, 1)) == []
    assert native.refused == reason  # sound does not make it good
    made.write(Sample(PICTURE, 0, Codec.MJPEG), 0, (1, 2))
    assert native.refused == ""


def test_viewers_of_native_payloads_are_told_when_their_description_is_not_true_any_more() -> None:
    made = outputs(VIDEO, AUDIO)
    ts, native = made.by_payload[Payload.TS], made.get(Payload.NATIVE, 0)
    for ticket, output in enumerate((ts, native)):
        assert output.fanout.read_start(b"server", read_start(ticket))
    assert made.announce((VIDEO, AUDIO)) == []
    assert made.announce((VIDEO,)) == [(b"server", 1, "the stream has changed: ask for its description again")]
    assert made.by_payload[Payload.TS] is ts
    assert made.by_payload[Payload.NATIVE].epoch != native.epoch
    assert made.viewers == 1
    [(_, ticket, reason)] = made.announce((MJPEG,))
    assert (ticket, reason) == (0, ts.error)


def test_a_server_whose_viewers_are_sent_nothing_is_told_how_far_the_stream_is() -> None:
    made = outputs(VIDEO)
    output = made.by_payload[Payload.TS]
    assert output.fanout.read_start(b"server", read_start(5))
    assert output.head(b"server") is None, "there is no frame yet"
    for number in range(3):
        made.write(picture(number * 40_000, sync=number == 0), number * 40_000, (1, number))
    head = Head("door", Payload.TS, output.epoch, 2, (1, 2))
    assert output.head(b"server") == head
    output.fanout.parcels()
    assert output.head(b"server") is None, "it is sent every frame"
    output.fanout.read_stop(b"server", ReadStop(5, (output.epoch, 0)))
    assert output.head(b"server") == head
    made.clear()
    assert output.head(b"server") == head, "they have been, whether they are to be had or not"
    assert output.head(b"another") is None


def test_clearing_and_clocks() -> None:
    made = outputs(VIDEO, main=Payload.NATIVE)
    assert made.next_tick_us is None
    assert not made.tick(1_000_000)
    made.get(Payload.TS, 0)
    made.write(picture(0, sync=True), 0, (1, 0))
    assert made.next_tick_us is not None
    assert made.tick(made.next_tick_us)
    made.clear()
    assert {output.stream.ring.newest_sync for output in made.by_payload.values()} == {None}
    assert not made.awaits_sync
