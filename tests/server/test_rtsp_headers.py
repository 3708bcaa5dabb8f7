"""RTSP header fields and URLs as values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.sample import Payload
from server.rtsp_headers import (
    Range,
    Target,
    Url,
    accepts_sdp,
    base_url,
    format_session,
    parse_cseq,
    parse_list,
    parse_range,
    parse_session,
    parse_url,
)

URLS = {
    "rtsp://h/cam": ("rtsp://h", "cam", "cam"),
    "rtsp://h:8554/cam/": ("rtsp://h:8554", "cam", "cam"),
    "rtsp://h:8554/cam/stream=0": ("rtsp://h:8554", "cam/stream=0", "cam"),
    "rtsp://h/cam/stream=0/": ("rtsp://h", "cam/stream=0", "cam"),
    "rtsp://h/cam/stream=1": ("rtsp://h", "cam/stream=1", None),
    "rtsp://h/cam/more/stream=0": ("rtsp://h", "cam/more/stream=0", None),
    "rtsp://h//cam": ("rtsp://h", "cam", "cam"),
    "rtsp://user:pass@h/cam": ("rtsp://h", "cam", "cam"),
    "rtsp://us@er:p@h/cam": ("rtsp://h", "cam", "cam"),
    "RTSP://H/cam": ("rtsp://H", "cam", "cam"),
    "rtspu://h/cam": ("rtspu://h", "cam", "cam"),
    "rtsps://h/cam": ("rtsps://h", "cam", "cam"),
    "rtsp://[::1]:8554/cam": ("rtsp://[::1]:8554", "cam", "cam"),
    "rtsp://h/cam?tcp#x": ("rtsp://h", "cam", "cam"),
    "rtsp://h/c%61m": ("rtsp://h", "cam", "cam"),
    "rtsp://h/a%2Fb": ("rtsp://h", "a/b", None),
    "rtsp://h": ("rtsp://h", "", None),
    "rtsp://h/": ("rtsp://h", "", None),
    "rtsp://": ("", "", None),
    "/cam": ("", "cam", "cam"),
    "/cam/stream=0?x": ("", "cam/stream=0", "cam"),
    "rtsp://h/stream=0": (
        "rtsp://h",
        "stream=0",
        "stream=0",
    ),  # of an aggregate that VLC left out: no stream's name
    "*": ("", "", None),
}


@pytest.mark.parametrize(("text", "parts"), URLS.items())
def test_urls(text: str, parts: tuple[str, str, str | None]) -> None:
    url = parse_url(text)
    assert url is not None
    assert (url.root, url.path, url.target and url.target.stream) == parts
    assert url.whole_server is (text == "*")


@pytest.mark.parametrize("text", ["", "cam", "http://h/cam", "rtsp:/h/cam", "rtsp//h", "**", "?"])
def test_what_is_no_url(text: str) -> None:
    assert parse_url(text) is None


@pytest.mark.parametrize(
    ("path", "target"),
    {
        "cam/native": Target("cam", Payload.NATIVE),
        "cam/ts/": Target("cam", Payload.TS),
        "cam/native/track=1": Target("cam", Payload.NATIVE, 1),
        "cam/track=0": Target("cam", Payload.NATIVE, 0),
        "cam/ts/stream=0": Target("cam", Payload.TS, 0),
        "native": Target("native"),
        "native/native": Target("native", Payload.NATIVE),
        "cam/ts/track=0": None,
        "cam/native/native": None,
        "cam/track=0/native": None,
        "cam/track=2": None,
    }.items(),
)
def test_targets(path: str, target: Target | None) -> None:
    url = parse_url(f"rtsp://h/{path}")
    assert url is not None
    assert url.target == target


def test_base_url_is_what_the_track_is_relative_to() -> None:
    assert parse_url(base_url("rtsps://h:1", "cam") + "stream=0") == Url("rtsps://h:1", "cam/stream=0")


RANGES: dict[str, Range | None] = {
    "npt=now-": Range(None, None),
    "npt=0.000-": Range(0.0, None),
    "npt=0-": Range(0.0, None),
    "NPT = 5 - 10.25": Range(5.0, 10.25),
    "npt=-20": Range(None, 20.0),
    "npt=1:02:03.5-": Range(3723.5, None),
    "npt=now-;time=19970123T143720Z": Range(None, None),
    "npt=7-3": Range(7.0, 3.0),
    "npt=-": None,
    "npt=": None,
    "npt=x-": None,
    "npt=1.2.3-": None,
    "smpte=10:07:33-": None,
    "clock=19961108T143720.25Z-": None,
    "": None,
}


@pytest.mark.parametrize(("text", "value"), RANGES.items())
def test_ranges(text: str, value: Range | None) -> None:
    assert parse_range(text) == value


@pytest.mark.parametrize(
    ("text", "value"), [("0", "0"), ("42", "42"), ("007", "007"), ("", None), ("-1", None), ("1a", None),
                        ("9" * 21, None), ("\u0661", None)]
)  # fmt: skip
def test_cseq(text: str, value: str | None) -> None:
    assert parse_cseq(text) == value


def test_session() -> None:
    assert parse_session(format_session("abc", 60)) == "abc"
    assert parse_session(" abc ; timeout=60") == "abc"
    assert parse_session("abc") == "abc"
    assert parse_session(";timeout=60") == ""


@pytest.mark.parametrize(
    ("text", "value"),
    [(None, True), ("", True), ("application/sdp", True), ("application/rtsl, application/SDP;level=-2", True),
     ("*/*", True), ("application/*", True), ("application/rtsl", False), ("text/html,image/*", False)],
)  # fmt: skip
def test_accept(text: str | None, value: bool) -> None:
    assert accepts_sdp(text) is value


def test_lists() -> None:
    assert parse_list(" a, ,b,") == ["a", "b"]
    assert parse_list(None) == []


SEEDS = st.sampled_from([*RANGES, *URLS])


@given(st.text(max_size=100) | st.builds(lambda a, b, c: a + b + c, SEEDS, st.text(max_size=5), SEEDS))
def test_any_text_is_read_without_an_error(text: str) -> None:
    parse_range(text)
    parse_cseq(text)
    parse_session(text)
    accepts_sdp(text)
    url = parse_url(text)
    assert url is None or not url.path.startswith("/")
