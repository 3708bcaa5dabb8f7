"""RTSP header fields and URLs as values, and back to text (RFC 2326 section 12). Pure.

Every `parse_` function takes any text and returns None (or leaves out the part) where it makes no sense: what
to answer then is `rtsp_state`'s to say.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import unquote

import msgspec

from common.sample import TRACKS_MAX, Payload

# The controls of the SDP's media: MPEG-TS carries picture and sound in one, native payloads each in its own.
TRACKS = {
    "stream=0": (Payload.TS, 0),
    **{f"track={track}": (Payload.NATIVE, track) for track in range(TRACKS_MAX)},
}


# ---- URLs -----------------------------------------------------------------------------------------------


class Target(NamedTuple):
    """What a URL names. payload: None for the stream's own; track: None for all of them."""

    stream: str
    payload: Payload | None = None
    track: int | None = None


class Url(msgspec.Struct, frozen=True):
    """A Request-URI. root: scheme, host and port as the client knows us, without user and password; or nothing.

    path: decoded, without slashes at its ends; "" for the server itself. whole_server: it was `*`.
    """

    root: str
    path: str
    whole_server: bool = False

    @property
    def target(self) -> Target | None:
        """The stream, payload and track that it names; None where there is more in it, or nothing.

        `NAME`, `NAME/ts` or `NAME/native`, and a track behind any of these.
        """
        name, *parts = self.path.split("/")
        payload = track = None
        if parts and parts[-1] in TRACKS:
            payload, track = TRACKS[parts.pop()]
        if parts and parts[0] in tuple(Payload):
            chosen = Payload(parts.pop(0))
            if payload not in (None, chosen):
                return None
            payload = chosen
        return Target(name, payload, track) if name and not parts else None


_URL = re.compile(r"(?P<scheme>rtsp[su]?)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)", re.IGNORECASE)


def parse_url(text: str) -> Url | None:
    """An absolute `rtsp://` URL, an absolute path, or `*`. Query and fragment are left out."""
    if text == "*":
        return Url("", "", whole_server=True)
    match = _URL.match(text)
    if match is not None:
        authority, path = match["authority"].rpartition("@")[2], match["path"]
        root = f"{match['scheme'].lower()}://{authority}" if authority else ""
    elif text.startswith("/"):
        root, path = "", re.split(r"[?#]", text, maxsplit=1)[0]
    else:
        return None
    return Url(root, unquote(path).strip("/"))


def base_url(root: str, path: str) -> str:
    """The URL that a stream's tracks are relative to: Content-Base. root, path: as in the client's URL."""
    name, _, last = path.rpartition("/")
    return f"{root}/{name if last in TRACKS else path}/"


# ---- the small ones -------------------------------------------------------------------------------------


def parse_cseq(text: str) -> str | None:
    """CSeq (12.17): the digits, to be echoed as they are."""
    return text if re.fullmatch(r"\d{1,20}", text, re.ASCII) else None


def parse_session(text: str) -> str:
    """Session (12.37): the identifier alone; some clients send our `;timeout=` back to us."""
    return text.partition(";")[0].strip()


def format_session(identifier: str, timeout_s: int) -> str:
    """Session of an answer to SETUP."""
    return f"{identifier};timeout={timeout_s}"


class Range(msgspec.Struct, frozen=True):
    """Range in normal play time (3.6, 12.29), seconds. start None: now. end None: open."""

    start_s: float | None
    end_s: float | None


LIVE_RANGE = "npt=now-"  # of every answer
_NPT = r"(?:now|\d{1,10}(?::\d{1,2}:\d{1,2})?(?:\.\d{0,9})?)"
_RANGE = re.compile(rf"npt\s*=\s*(?P<start>{_NPT})?\s*-\s*(?P<end>{_NPT})?\s*(?:;.*)?", re.IGNORECASE | re.ASCII)


def parse_range(text: str) -> Range | None:
    """A range in normal play time; None for what is no range, or in other units."""
    match = _RANGE.fullmatch(text.strip())
    if match is None or not (match["start"] or match["end"]):
        return None
    return Range(_seconds(match["start"]), _seconds(match["end"]))


def _seconds(text: str | None) -> float | None:
    if text is None or text.lower() == "now":
        return None
    seconds = 0.0
    for part in text.split(":"):
        seconds = seconds * 60 + float(part)
    return seconds


def format_rtp_info(tracks: Iterable[tuple[str, int, int]]) -> str:
    """RTP-Info (12.33): URL, and first packet's sequence number and timestamp, of each track."""
    return ",".join(f"url={url};seq={sequence};rtptime={clock}" for url, sequence, clock in tracks)


def parse_list(text: str | None) -> list[str]:
    """The elements of a comma-separated header (Require, Accept); None has none."""
    return [element.strip() for element in (text or "").split(",") if element.strip()]


def accepts_sdp(accept: str | None) -> bool:
    """Whether Accept (12.1) allows application/sdp. No header allows everything."""
    media_types = [element.partition(";")[0].strip().lower() for element in parse_list(accept)]
    return not media_types or not {"application/sdp", "application/*", "*/*", "*"}.isdisjoint(media_types)
