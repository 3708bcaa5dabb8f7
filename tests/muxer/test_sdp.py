"""The session description."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.sample import Codec, Track
from muxer.native import NativeMuxer
from muxer.sdp import NAME_CHARACTERS_MAX, describe_native, describe_ts
from tests.muxer.test_h264_format import PPS, SPS, annex_b


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


def test_the_whole_text_of_native_payloads() -> None:
    muxer = NativeMuxer(
        (
            Track(Codec.H264, 640, 480, 29.97, config=annex_b(SPS, PPS)),
            Track(Codec.AAC, sample_rate_hz=48_000, channels=2, config=b"\x11\x90"),
        ),
        ssrc=1,
    )
    text = describe_native(
        name="door", session_id=12, version=3, media=muxer.media, bitrates_bps={0: 4_000_001}, host="192.0.2.7"
    )
    assert text == (
        "v=0\r\n"
        "o=- 12 3 IN IP4 192.0.2.7\r\n"
        "s=door\r\n"
        "c=IN IP4 0.0.0.0\r\n"
        "t=0 0\r\n"
        "a=control:*\r\n"
        "a=range:npt=now-\r\n"
        "m=video 0 RTP/AVP 96\r\n"
        "b=AS:4001\r\n"
        "a=rtpmap:96 H264/90000\r\n"
        "a=fmtp:96 packetization-mode=1;profile-level-id=42C01E;sprop-parameter-sets=Z0LAHtoCgL/lwEQ=,aM48gA==\r\n"
        "a=control:track=0\r\n"
        "a=framerate:29.97\r\n"
        "m=audio 0 RTP/AVP 97\r\n"
        "a=rtpmap:97 mpeg4-generic/48000/2\r\n"
        "a=fmtp:97 streamtype=5;profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;"
        "config=1190\r\n"
        "a=control:track=1\r\n"
    )


def test_static_payload_types_and_codecs_without_parameters() -> None:
    muxer = NativeMuxer((Track(Codec.PCMU), Track(Codec.MJPEG, 640, 480)), ssrc=1)
    lines = describe_native(
        name="x", session_id=1, version=1, media=muxer.media, bitrates_bps={}, host="::1"
    ).split("\r\n")
    assert lines[7:] == [
        "m=video 0 RTP/AVP 26", "a=rtpmap:26 JPEG/90000", "a=control:track=0",
        "m=audio 0 RTP/AVP 0", "a=rtpmap:0 PCMU/8000", "a=control:track=1", "",
    ]  # fmt: skip
