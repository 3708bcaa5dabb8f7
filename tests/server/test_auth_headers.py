"""Authorization as clients write it."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.auth_headers import Basic, Digest, basic_challenge, digest_challenge, parse_authorization

FULL = (
    'Digest username="Mufasa", realm="r", uri="/dir/index.html", algorithm=SHA-256, nonce="n", nc=0000000A, '
    'cnonce="c", qop=auth, response="AB", opaque="o"'
)


def test_all_of_digest() -> None:
    assert parse_authorization(FULL) == Digest(
        "Mufasa", "n", "/dir/index.html", "ab", "SHA-256", "auth", "0000000A", "c"
    )


@pytest.mark.parametrize(
    ("text", "credentials"),
    [
        ('digest username="a",nonce="n",uri="rtsp://h/x",response="ff"', Digest("a", "n", "rtsp://h/x", "ff")),
        ('Digest   username = a , nonce=n, uri=*, response=ff, algorithm="md5"', Digest("a", "n", "*", "ff")),
        (r'Digest username="a\"b\\", nonce="n", uri="u", response="f"', Digest('a"b\\', "n", "u", "f")),
        ('Digest username="a, b=c", nonce="", uri="", response=""', Digest("a, b=c", "", "", "")),
        ('Digest username="a", username="b", nonce="n", uri="u", response="f"', Digest("a", "n", "u", "f")),
        (
            'Digest username="a", nonce="n", uri="u", response="f", qop="auth", nc=00000001, cnonce="c",',
            Digest("a", "n", "u", "f", "MD5", "auth", "00000001", "c"),
        ),
        (f"Basic {base64.b64encode(b'a:b:c').decode()}", Basic("a", "b:c")),
        (f"BASIC  {base64.b64encode('ä:ö'.encode()).decode()} ", Basic("ä", "ö")),
        (f"Basic {base64.b64encode('ä:ö'.encode('latin-1')).decode()}", Basic("ä", "ö")),
        (f"Basic {base64.b64encode(b':').decode()}", Basic("", "")),
    ],
)
def test_what_clients_write(text: str, credentials: Basic | Digest) -> None:
    assert parse_authorization(text) == credentials


@pytest.mark.parametrize(
    "text",
    [
        "", "Digest", "Basic", "Basic !", "Basic YQ==", "Basic é", "Bearer x", "Digest x", "Digest =,=",
        FULL.replace("SHA-256", "SHA-256-sess"), FULL.replace("qop=auth", "qop=auth-int"),
        FULL.replace("nc=0000000A", "nc=A"), FULL.replace("nc=0000000A, ", ""), FULL.replace("nonce=", "n="),
        FULL.replace('username="Mufasa"', "username*=UTF-8''Mufasa"),
    ],
)  # fmt: skip
def test_what_makes_no_sense(text: str) -> None:
    assert parse_authorization(text) is None


@given(st.text(max_size=200) | st.builds("Digest {}".format, st.text('abnceou=", \\', max_size=200)))
def test_any_text(text: str) -> None:
    parse_authorization(text)


def test_a_long_header_costs_no_more_than_its_length() -> None:
    for piece in ("a", '"', "a=", "\\", ' "'):
        assert parse_authorization("Digest " + piece * 20_000) is None


def test_challenges() -> None:
    assert digest_challenge("r", "n", "MD5", stale=False) == (
        'Digest realm="r", nonce="n", algorithm=MD5, qop="auth"'
    )
    assert digest_challenge("r", "n", "SHA-256", stale=True).endswith(
        ', algorithm=SHA-256, qop="auth", stale=true'
    )
    assert basic_challenge("r") == 'Basic realm="r"'
