"""The session description of a stream (RFC 8866): one MPEG-TS in RTP, or each track in its own payload. Pure.

The shape is what every known client takes: a media-level `a=control:*` breaks GStreamer, and session-level
`c=` and `t=` are required by strict parsers.
"""

from collections.abc import Iterable, Mapping

from muxer.native import Media

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
    media = ["m=video 0 RTP/AVP 33", *_bandwidth(bitrate_bps), "a=rtpmap:33 MP2T/90000", "a=control:stream=0"]
    return _text_of(_session(name, session_id, version, host) + media + _framerate(fps))


def describe_native(
    *,
    name: str,
    session_id: int,
    version: int,
    media: Iterable[Media],
    bitrates_bps: Mapping[int, int],
    host: str = "127.0.0.1",
) -> str:
    """The SDP text of a stream whose tracks go each in their own payload.

    media: of `NativeMuxer`. bitrates_bps: by track, 0 for unknown. The rest as for `describe_ts`.
    """
    lines = _session(name, session_id, version, host)
    for number, (track, payload_format) in enumerate(media):
        kind, payload_type = "audio" if track.audio else "video", payload_format.payload_type
        lines += [f"m={kind} 0 RTP/AVP {payload_type}", *_bandwidth(bitrates_bps.get(number, 0))]
        lines.append(f"a=rtpmap:{payload_type} {payload_format.encoding}")
        if payload_format.parameters:
            lines.append(f"a=fmtp:{payload_type} {payload_format.parameters}")
        lines += [f"a=control:track={number}", *_framerate(track.fps)]
    return _text_of(lines)


def _session(name: str, session_id: int, version: int, host: str) -> list[str]:
    """The lines before the media."""
    session_name = _text(name).strip()[:NAME_CHARACTERS_MAX] or "-"
    family = "IP6" if ":" in host else "IP4"
    unspecified = "::" if ":" in host else "0.0.0.0"
    origin = "".join(_text(host).split()) or unspecified
    return [
        "v=0",
        f"o=- {session_id} {version} IN {family} {origin}",
        f"s={session_name}",
        f"c=IN {family} {unspecified}",
        "t=0 0",
        "a=control:*",
        "a=range:npt=now-",
    ]


def _bandwidth(bitrate_bps: int) -> list[str]:
    return [f"b=AS:{-(-bitrate_bps // _KILO)}"] if bitrate_bps > 0 else []


def _framerate(fps: float) -> list[str]:
    return [f"a=framerate:{fps:.6g}"] if fps > 0 else []


def _text_of(lines: list[str]) -> str:
    return "".join(f"{line}\r\n" for line in lines)


def _text(text: str) -> str:
    """`text` as it may stand in a line: no control characters, no lone surrogates."""
    return text.translate(_CONTROLS).encode(errors="ignore").decode()
