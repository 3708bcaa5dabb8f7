"""The session description."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxer.sdp import NAME_CHARACTERS_MAX, describe_ts


def test_the_whole_text() -> None:
    text = describe_ts(name="door", session_id=12, version=3, bitrate_bps=4_000_001, fps=29.97, host="192.0.2.7")
    assert text == (
        "v=0\r\n"
        "o=- 12 3 IN IP4 192.0.2.7\r\n"
        "s=door\r\n"
        "c=IN IP4 0.0.0.0\r\n"
        "t=0 0\r\n"
        "a=control:*\r\n"
        "a=range:npt=now-\r\n"
        "m=video 0 RTP/AVP 33\r\n"
        "b=AS:4001\r\n"
        "a=rtpmap:33 MP2T/90000\r\n"
        "a=control:stream=0\r\n"
        "a=framerate:29.97\r\n"
    )


def test_what_is_not_known_is_left_out() -> None:
    text = describe_ts(name="door", session_id=1, version=1, bitrate_bps=0)
    assert "b=" not in text
    assert "framerate" not in text
    assert "o=- 1 1 IN IP4 127.0.0.1\r\n" in text


def test_ipv6() -> None:
    text = describe_ts(name="x", session_id=1, version=1, bitrate_bps=0, host="2001:db8::7")
    assert "o=- 1 1 IN IP6 2001:db8::7\r\n" in text
    assert "c=IN IP6 ::\r\n" in text


@pytest.mark.parametrize(("fps", "text"), [(30.0, "30"), (12.5, "12.5"), (23.976, "23.976"), (1.0, "1")])
def test_the_frame_rate_is_short(fps: float, text: str) -> None:
    sdp = describe_ts(name="x", session_id=1, version=1, bitrate_bps=0, fps=fps)
    assert f"a=framerate:{text}\r\n" in sdp


@given(st.text(), st.text())
def test_nothing_can_be_injected(name: str, host: str) -> None:
    plain = describe_ts(name="x", session_id=1, version=1, bitrate_bps=9).split("\r\n")
    text = describe_ts(name=name, session_id=1, version=1, bitrate_bps=9, host=host)
    lines = text.split("\r\n")
    assert text.encode().count(b"\n") == text.encode().count(b"\r") == len(plain) - 1
    assert [line[:2] for line in lines] == [line[:2] for line in plain]
    assert lines == [*text.splitlines(), ""]
    assert 2 < len(lines[2]) <= 2 + NAME_CHARACTERS_MAX
    assert len(lines[1].split()) == 6


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\r\nm=audio 0 RTP/AVP 0", "am=audio 0 RTP/AVP 0"),
        ("Küche 厨房", "Küche 厨房"),
        ("", "-"),
        ("\r\n", "-"),
        ("a\udc80b", "ab"),
        ("a\0b\x85c\u2028d", "abcd"),
        ("x" * 500, "x" * NAME_CHARACTERS_MAX),
    ],
)
def test_odd_names(name: str, shown: str) -> None:
    text = describe_ts(name=name, session_id=1, version=1, bitrate_bps=0)
    assert text.split("\r\n")[2] == f"s={shown}"
