"""RTSP over HTTP, as text: what begins a tunnel, and the base64 in which requests come through it. Pure.

A client that gets through nothing but a web proxy makes two HTTP connections with the same `x-sessioncookie`: a
GET, behind whose answer comes what RTSP's connection would carry to it, and a POST, whose body is what it says, in
base64.
"""

import base64
import binascii

COOKIE_CHARACTERS_MAX = 200
HEAD = (
    b"HTTP/1.0 200 OK\r\nServer: framegate\r\nConnection: close\r\nCache-Control: no-store\r\n"
    b"Pragma: no-cache\r\nContent-Type: application/x-rtsp-tunnelled\r\n\r\n"
)
_BEGINNINGS = (b"GET ", b"POST ", b"HEAD ")
_BLANKS = b" \t\r\n"


def is_http(data: bytes) -> bool | None:
    """Whether a connection that begins so is HTTP's, and not RTSP's; None: that cannot be told yet."""
    if data.startswith(_BEGINNINGS):
        return True
    return None if any(beginning.startswith(data) for beginning in _BEGINNINGS) else False


class Base64Reader:
    """Base64 in pieces of any size, padded anywhere: each request may be encoded by itself."""

    def __init__(self) -> None:
        self._rest = b""

    def read(self, data: bytes) -> bytes:
        """What `data` says, as far as it is complete. Raises ValueError where it is not base64."""
        text = self._rest + data.translate(None, _BLANKS)
        out = bytearray()
        at = 0
        while (padding := text.find(b"=", at)) >= 0:
            end = at + ((padding - at) // 4 + 1) * 4
            if end > len(text):
                break
            out += _decoded(text[at:end])
            at = end
        whole = at + (len(text) - at) // 4 * 4
        out += _decoded(text[at:whole])
        self._rest = text[whole:]
        return bytes(out)


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from None
