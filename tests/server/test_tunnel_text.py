"""What begins a tunnel, and the base64 in it."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.tunnel_text import Base64Reader, is_http


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
def test_http_is_told_by_its_method(method: str) -> None:
    request = f"{method} /cam HTTP/1.1\r\n".encode()
    for length in range(len(request)):
        assert is_http(request[:length]) is (True if length > len(method) else None)


@pytest.mark.parametrize(
    "text",
    ["GET_PARAMETER * RTSP/1.0", "PLAY", "PAUSE", "OPTIONS", "$\0", "\r\nGET ", "get ", "POSTS", "\x16\x03"],
)
def test_what_is_not(text: str) -> None:
    assert is_http(text.encode("latin-1")) is False


@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=6),
    st.sampled_from(["", "\r\n", "\n"]),
    st.integers(1, 50),
)
def test_base64_in_any_pieces(messages: list[bytes], between: str, size: int) -> None:
    text = between.join(base64.b64encode(message).decode() for message in messages).encode()
    reader = Base64Reader()
    got = b"".join(reader.read(text[at : at + size]) for at in range(0, len(text), size))
    assert got == b"".join(messages)


@given(st.binary(max_size=100))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    reader = Base64Reader()
    try:
        reader.read(data + b"AAAA")  # what is left in it may be wrong, too, but is not complete
    except ValueError:
        return
    kept = data.translate(None, b" \t\r\n")
    whole = len(kept) // 4 * 4
    assert set(kept[:whole]) <= set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=")


@pytest.mark.parametrize("text", [b"OPTIONS * RTSP/1.0", b"=", b"===="])
def test_what_is_no_base64(text: bytes) -> None:
    with pytest.raises(ValueError, match="not base64"):
        Base64Reader().read(text + b"AAAA")
