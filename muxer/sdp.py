"""The session description of a stream (RFC 8866): one MPEG-TS in RTP. Pure.

The shape is what every known client takes: a media-level `a=control:*` breaks GStreamer, and session-level
`c=` and `t=` are required by strict parsers.
"""

NAME_CHARACTERS_MAX = 200
_KILO = 1000
_CONTROLS = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029))


def describe_ts(
    *,
    name: str,
    session_id: int,
    version: int,
    bitrate_bps: int,
    fps: float = 0.0,
    host: str = "127.0.0.1",
) -> str:
    """The SDP text, with CRLF line ends.

    name: of the stream; control characters, also line ends, are left out. session_id, version: of the origin
    (5.2); the version grows with every change. bitrate_bps, fps: 0 for unknown, then left out. host: the IPv4 or
    IPv6 address in the origin.
    """
    session_name = _text(name).strip()[:NAME_CHARACTERS_MAX] or "-"
    family = "IP6" if ":" in host else "IP4"
    unspecified = "::" if ":" in host else "0.0.0.0"
    origin = "".join(_text(host).split()) or unspecified
    lines = [
        "v=0",
        f"o=- {session_id} {version} IN {family} {origin}",
        f"s={session_name}",
        f"c=IN {family} {unspecified}",
        "t=0 0",
        "a=control:*",
        "a=range:npt=now-",
        "m=video 0 RTP/AVP 33",
    ]
    if bitrate_bps > 0:
        lines.append(f"b=AS:{-(-bitrate_bps // _KILO)}")
    lines += ["a=rtpmap:33 MP2T/90000", "a=control:stream=0"]
    if fps > 0:
        lines.append(f"a=framerate:{fps:.6g}")
    return "".join(f"{line}\r\n" for line in lines)


def _text(text: str) -> str:
    """`text` as it may stand in a line: no control characters, no lone surrogates."""
    return text.translate(_CONTROLS).encode(errors="ignore").decode()
