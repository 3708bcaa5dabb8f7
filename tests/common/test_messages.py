"""The messages' limits, at their edges, and the bytes that processes of two versions must agree on."""

from collections.abc import Callable
from typing import get_args

import pytest

from common.errors import MessageError
from common.messages import (
    HEADS_MAX,
    TEXT_MAX,
    TICKETS_MAX,
    Announce,
    AnyMessage,
    Describe,
    Described,
    Drain,
    Ended,
    Figures,
    FiguresRequest,
    Forget,
    FrameMessage,
    Head,
    Hello,
    KeyFrameRequest,
    Message,
    Order,
    Outcome,
    ReadStart,
    ReadStop,
    Ready,
    Reconfigure,
    Reconfigured,
    Report,
    SampleMessage,
    SourceState,
    TunnelEnd,
    Welcome,
)
from common.sample import CONFIG_BYTES_MAX, TIME_US_MAX, Codec, Payload, Track
from common.wire import decode, encode

U63_MAX = (1 << 63) - 1
U32_MAX = (1 << 32) - 1


def frame(**changes: object) -> FrameMessage:
    fields: dict[str, object] = {
        "stream": "a", "epoch": 1, "number": 2, "kind": 0, "sync": True, "time_us": 3, "payload": Payload.TS,
        "track": 0, "sequences": (4,), "clocks": (5,), "ssrcs": (6,), "rates_hz": (7,), "packets": 8,
        "counters": (1, 2, 3, 4), "counts": (0, 1, 2, 3), "to_live": True,
    }  # fmt: skip
    return FrameMessage(**{**fields, **changes})  # type: ignore[arg-type]


GOLDEN = [
    (Announce(5, (Track(Codec.AAC, sample_rate_hz=48000, channels=2, config=b"\x11"),)),
     "9203 93 01 05 91 97 a3616163 00 00 cb0000000000000000 cdbb80 02 c40111"),
    (SampleMessage(1, 2, -3, None, Codec.H264, True), "9203 99 02 01 02 fd c0 a468323634 c3 c2 00"),
    (SourceState(False, "gone"), "9203 94 03 c2 a4676f6e65 c2"),
    (KeyFrameRequest(True), "9203 92 04 c3"),
    (Hello("server-0", 7), "9203 93 14 a87365727665722d30 07"),
    (Welcome("muxer-0", 7, (Head("a", Payload.TS, 8, 9, (10, 11)),)),
     "9203 94 15 a76d757865722d30 07 91 95 a161 a27473 08 09 920a0b"),
    (Describe(1, "a"), "9203 94 16 01 a161 a27473"),
    (Described(1, "a", "v=0", ""), "9203 97 17 01 a161 a3763d30 a0 a27473 c2"),
    (ReadStart(1, 2, "a", (3, 4), 5, 6, True, (7, 8, True)),
     "9203 9a 18 01 02 a161 920304 05 06 c3 930708c3 a27473"),
    (ReadStop(2, None), "9203 93 19 02 c0"),
    (Forget(1), "9203 92 1a 01"),
    (frame(tickets=(8,), live=(8,), parked=()),
     "9203 dc0016 1b a161 a27473 00 01 02 00 c3 03 9104 9105 9106 9107 9401020304 9400010203 08 c3 "
     "9108 9108 90 c0 90"),
    (Ended(2, ""), "9203 93 1c 02 a0"),
    (Ready("muxer", "muxer-0", 9, {"rtsp": 1}), "9203 95 28 a56d75786572 a76d757865722d30 09 81a47274737001"),
    (Report("muxer", "muxer-0", 9, b"{}"), "9203 95 29 a56d75786572 a76d757865722d30 09 c4027b7d"),
    (FiguresRequest(1), "9203 93 2a 01 c2"),
    (Figures(1, b"{}"), "9203 93 2b 01 c4027b7d"),
    (Reconfigure(3), "9203 92 2c 03"),
    (Reconfigured("muxer-0", 9, 3), "9203 94 2d a76d757865722d30 09 03"),
    (Drain(), "9203 91 2e"),
    (Order(1, "scale", "server", 4), "9203 96 2f 01 a57363616c65 a6736572766572 04 c2"),
    (Outcome(1, 78, "no"), "9203 94 30 01 4e a26e6f"),
    (TunnelEnd(True, "c", "h:1", b"T1A="), "9203 96 3c c3 a163 a3683a31 c4045431413d c2"),
]  # fmt: skip


@pytest.mark.parametrize(("message", "header"), GOLDEN, ids=lambda value: type(value).__name__)
def test_the_bytes_are_fixed(message: Message, header: str) -> None:
    media = b"m" if isinstance(message, SampleMessage | FrameMessage) else None
    assert bytes(encode(message, media)[0]).hex() == header.replace(" ", "")


def test_every_message_is_listed_above_and_has_its_own_tag() -> None:
    kinds = get_args(AnyMessage)
    assert [type(message) for message, _ in GOLDEN] == list(kinds)
    assert len({kind.__struct_config__.tag for kind in kinds}) == len(kinds)


def edge(build: Callable[[int], Message], largest: int) -> tuple[Message, Message]:
    return build(largest), build(largest + 1)


EDGES = {
    "epoch": edge(lambda value: SampleMessage(value, 0, 0, None, Codec.AAC, True), U63_MAX),
    "sequence of a sample": edge(lambda value: SampleMessage(0, value, 0, None, Codec.AAC, True), U63_MAX),
    "time": edge(lambda value: SampleMessage(0, 0, value, None, Codec.AAC, True), TIME_US_MAX),
    "time back": edge(lambda value: SampleMessage(0, 0, -value, None, Codec.AAC, True), TIME_US_MAX),
    "decode time": edge(lambda value: SampleMessage(0, 0, 0, value, Codec.AAC, True), TIME_US_MAX),
    "tracks": edge(lambda count: Announce(0, (Track(Codec.H264),) * count), 2),
    "reason": edge(lambda count: SourceState(False, "x" * count), TEXT_MAX),
    "server": edge(lambda count: Hello("x" * count, 0), 80),
    "muxer": edge(lambda count: Welcome("x" * count, 0), 80),
    "heads": edge(lambda count: Welcome("x", 0, (Head("a", Payload.TS, 0, 0),) * count), HEADS_MAX),
    "head": edge(lambda value: Welcome("x", 0, (Head("a", Payload.TS, 0, value),)), U63_MAX),
    "sample of a head": edge(lambda v: Welcome("x", 0, (Head("a", Payload.TS, 0, 0, (0, v)),)), U63_MAX),
    "stream": edge(lambda count: Describe(0, "x" * count), 64),
    "sdp": edge(lambda count: Described(0, "a", "x" * count, ""), 16384),
    "error": edge(lambda count: Described(0, "a", "", "x" * count), TEXT_MAX),
    "room": edge(lambda value: ReadStart(0, 0, "a", None, value), U32_MAX),
    "ticket": edge(lambda value: ReadStop(value, None), U63_MAX),
    "after": edge(lambda value: ReadStop(0, (value, 0)), U63_MAX),
    "viewer": edge(lambda value: Forget(value), U63_MAX),
    "kind": edge(lambda value: frame(kind=value), 2),
    "rtp sequence": edge(lambda value: frame(sequences=(value,)), 0xFFFF),
    "clock": edge(lambda value: frame(clocks=(value,)), U32_MAX),
    "tickets": edge(lambda count: frame(tickets=(1,) * count), TICKETS_MAX),
    "live": edge(lambda count: frame(live=(1,) * count), TICKETS_MAX),
    "parked": edge(lambda count: frame(parked=(1,) * count), TICKETS_MAX),
    "ended": edge(lambda count: Ended(0, "x" * count), TEXT_MAX),
    "pid": edge(lambda value: Ready("muxer", "muxer-0", value), U32_MAX),
    "width": edge(lambda value: Announce(0, (Track(Codec.H264, width=value),)), 65535),
    "height": edge(lambda value: Announce(0, (Track(Codec.H264, height=value),)), 65535),
    "fps": edge(lambda value: Announce(0, (Track(Codec.H264, fps=float(value)),)), 1_000_000),
    "channels": edge(lambda value: Announce(0, (Track(Codec.AAC, channels=value),)), 255),
    "generation": edge(lambda value: Reconfigure(value), U63_MAX),
    "count": edge(lambda value: Order(0, "scale", "muxer", value), 0xFFFF),
    "exit code": edge(lambda value: Outcome(0, value, ""), 255),
    "outcome": edge(lambda count: Outcome(0, 0, "x" * count), TEXT_MAX),
    "config": edge(lambda count: Announce(0, (Track(Codec.H264, config=bytes(count)),)), CONFIG_BYTES_MAX),
}


@pytest.mark.parametrize("what", EDGES)
def test_limits_at_their_edge(what: str) -> None:
    fits, beyond = EDGES[what]
    media = b"" if isinstance(fits, SampleMessage | FrameMessage) else None
    assert decode(encode(fits, media))[0] == fits
    header = encode(beyond, media)
    with pytest.raises(MessageError):
        decode(header)


def test_a_muxer_that_does_not_tell_of_heads_yet_is_understood() -> None:
    assert decode([bytes.fromhex("92039315a76d757865722d3007")])[0] == Welcome("muxer-0", 7)


def test_a_frame_says_of_each_track_where_its_rtp_stream_stands() -> None:
    both = frame(track=1, sequences=(1, 2), clocks=(3, 4), ssrcs=(5, 6), rates_hz=(7, 8))
    assert (both.sequence, both.clock, both.ssrc) == (2, 4, 6)
    for changes in ({"track": 1}, {"ssrcs": (5, 6)}, {"clocks": (5, 6)}, {"rates_hz": (5, 6)}):
        with pytest.raises(ValueError, match="track"):
            frame(**changes)


@pytest.mark.parametrize(
    "message",
    [
        Announce(0, ()),
        Announce(0, (Track(Codec.H264, width=-1),)),
        Announce(0, (Track(Codec.H264, fps=float("nan")),)),
        Hello("", 0),
        Describe(0, ""),
        Describe(0, "a b"),
        Describe(0, "a\n"),
        Describe(0, "../a"),
        Describe(0, "-a"),
        Forget(-1),
        frame(counters=(1, 2, 3)),
        frame(stream="a/b"),
        Order(0, "stop"),  # type: ignore[arg-type]
        Order(0, "scale", "capture", 1),  # type: ignore[arg-type]
        frame(kind=-1),
    ],
    ids=repr,
)
def test_what_no_message_may_hold(message: Message) -> None:
    with pytest.raises(MessageError):
        decode(encode(message, b"" if isinstance(message, FrameMessage) else None))
