"""What clients offer in a Transport header, and what is taken of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.rtsp_transport import (
    TRANSPORTS_MAX,
    Delivery,
    Interleaved,
    Multicast,
    Pair,
    Transport,
    Unicast,
    choose,
    parse_pair,
    parse_transports,
)

TRANSPORTS: dict[str, list[Transport]] = {
    "RTP/AVP/TCP;unicast;interleaved=0-1": [Transport("TCP", interleaved=(0, 1))],
    "RTP/AVP/TCP;interleaved=0-1": [Transport("TCP", interleaved=(0, 1))],
    "rtp/avp/tcp;UNICAST;Interleaved=254-255": [Transport("TCP", interleaved=(254, 255))],
    "RTP/AVP/TCP;unicast;interleaved=4": [Transport("TCP", interleaved=(4, 5))],
    "RTP/AVP/TCP;interleaved=9-4": [Transport("TCP", interleaved=(9, 4))],
    "RTP/AVP/TCP": [Transport("TCP")],
    "RTP/AVP/TCP;interleaved=255": [Transport("TCP")],
    "RTP/AVP/TCP;interleaved=2-2": [Transport("TCP")],
    "RTP/AVP/TCP;interleaved=0-256": [Transport("TCP")],
    "RTP/AVP/TCP;interleaved=a-b": [Transport("TCP")],
    "RTP/AVP/TCP;interleaved=": [Transport("TCP")],
    "RTP/AVP/TCP;interleaved=-1-0": [Transport("TCP")],
    " RTP/AVP ; unicast ; client_port = 5000-5001 ": [Transport("UDP", client_port=(5000, 5001))],
    "RTP/AVP;unicast;client_port=5000": [Transport("UDP", client_port=(5000, 5001))],
    "RTP/AVP/UDP;unicast;client_port=5000-5001": [Transport("UDP", client_port=(5000, 5001))],
    "RTP/AVP;multicast": [Transport("UDP", multicast=True)],
    'RTP/AVP;unicast;client_port=5000-5001;mode="PLAY"': [Transport("UDP", client_port=(5000, 5001))],
    'RTP/AVP/TCP;interleaved=0-1;mode="RECORD"': [Transport("TCP", interleaved=(0, 1), record=True)],
    "RTP/AVP/TCP;mode=receive": [Transport("TCP", record=True)],
    'RTP/AVP/TCP;x="a,b;c";interleaved=2-3': [Transport("TCP", interleaved=(2, 3))],
    "RTP/AVP/TCP;interleaved=0-1;interleaved=2-3": [Transport("TCP", interleaved=(0, 1))],
    "RTP/SAVP;unicast, MP2T/H2221/UDP;unicast,RTP/AVP/TCP": [Transport("TCP")],
    "RTP/AVP;unicast;client_port=1-2,RTP/AVP/TCP;interleaved=0-1": [
        Transport("UDP", client_port=(1, 2)),
        Transport("TCP", interleaved=(0, 1)),
    ],
    "": [],
    ",,;,": [],
    "x": [],
    '"': [],
    'RTP/AVP/TCP;x="never closed': [Transport("TCP")],
}


@pytest.mark.parametrize(("text", "value"), TRANSPORTS.items())
def test_transports(text: str, value: list[Transport]) -> None:
    assert parse_transports(text) == value


def test_transports_are_limited() -> None:
    assert len(parse_transports("RTP/AVP," * 1000)) == TRANSPORTS_MAX


@given(st.integers(0, 255), st.integers(0, 255))
def test_an_answer_can_be_read(first: int, second: int) -> None:
    pair = (first, second) if first != second else None
    assert parse_transports(Interleaved((first, second)).text) == [Transport("TCP", interleaved=pair)]
    assert parse_transports(Unicast((first, second), (8000, 8001)).text) == [Transport("UDP", client_port=pair)]


SEEDS = st.sampled_from([*TRANSPORTS])


@given(st.text(max_size=100) | st.builds(lambda a, b, c: a + b + c, SEEDS, st.text(max_size=5), SEEDS))
def test_any_text_is_read_without_an_error(text: str) -> None:
    parse_transports(text)
    pair = parse_pair(text, 255)
    assert pair is None or (max(pair) <= 255 and min(pair) >= 0)


# ---- what is chosen --------------------------------------------------------------------------------------

TCP = Interleaved((0, 1))
UDP = Unicast((5000, 5001), (8000, 8001))
CHOICES: dict[str, Delivery | None] = {
    "RTP/AVP;unicast;client_port=5000-5001": UDP,
    "RTP/AVP/UDP;unicast;client_port=5000-5001": UDP,
    "RTP/AVP;client_port=5000": UDP,
    'RTP/AVP;unicast;client_port=5000-5001;mode="PLAY"': UDP,
    "RTP/AVP;unicast;client_port=5000-5001;destination=10.0.0.1": UDP,
    "RTP/AVP;unicast;client_port=5000-5001;destination=10.0.0.2": None,
    "RTP/AVP;unicast;client_port=5000-5001;destination=10.0.0.2,RTP/AVP/TCP": TCP,
    "RTP/AVP;unicast": None,
    "RTP/AVP;unicast;client_port=0-1": None,
    "RTP/AVP;unicast;client_port=1023-1024": None,
    "RTP/AVP;unicast;client_port=65535": None,
    "RTP/AVP;unicast;client_port=6000-6001": None,  # another viewer's
    "RTP/AVP;unicast;client_port=6000-6001,RTP/AVP;unicast;client_port=5000-5001": UDP,
    "RTP/AVP;unicast;client_port=5000-5001,RTP/AVP/TCP;interleaved=0-1": UDP,
    "RTP/AVP/TCP;interleaved=0-1,RTP/AVP;unicast;client_port=5000-5001": TCP,
    "RTP/AVP;multicast,RTP/AVP/TCP": TCP,
    "RTP/AVP;multicast": None,
    "RTP/SAVP;unicast;client_port=5000-5001": None,
    "RTP/AVP;unicast;client_port=5000-5001;mode=RECORD": None,
}


@pytest.mark.parametrize(("text", "delivery"), CHOICES.items())
def test_the_first_that_can_be(text: str, delivery: Delivery | None) -> None:
    def claim(ports: Pair) -> Pair | None:
        return (8000, 8001) if ports == (5000, 5001) else None

    assert choose(parse_transports(text), "10.0.0.1", frozenset(), claim, None) == delivery


def test_multicast_in_its_turn() -> None:
    group = Multicast("239.1.2.3", (20_000, 20_001), 1)
    for text, delivery in {
        "RTP/AVP;multicast": group,
        "RTP/AVP/UDP;multicast;port=5000-5001;ttl=5": group,
        "RTP/AVP/TCP,RTP/AVP;multicast": TCP,
        "RTP/AVP;multicast,RTP/AVP/TCP": group,
        "RTP/AVP/TCP;multicast": None,
        "RTP/AVP;multicast;mode=record": None,
    }.items():
        assert choose(parse_transports(text), "h", frozenset(), lambda _: None, group) == delivery


def test_channels_may_be_used_up() -> None:
    assert choose([Transport("TCP")], "h", frozenset(range(0, 255, 2)), lambda _: None, None) is None
