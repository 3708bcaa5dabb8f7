"""RTSP header fields and URLs as values, and back to text (RFC 2326 section 12). Pure.

Every `parse_` function takes any text and returns None (or leaves out the part) where it makes no sense: what
to answer then is `rtsp_state`'s to say.
"""

import re
from urllib.parse import unquote

import msgspec

TRACK = "stream=0"  # the only one: MPEG-TS carries picture and sound in one


# ---- URLs -----------------------------------------------------------------------------------------------


class Url(msgspec.Struct, frozen=True):
    """A Request-URI. authority: host and port as the client knows us, without user and password.

    path: decoded, without slashes at its ends; "" for the server itself. whole_server: it was `*`.
    """

    authority: str
    path: str
    whole_server: bool = False

    @property
    def stream(self) -> str | None:
        """The stream it names, by itself or by its track; None where there is more in it, or nothing."""
        name = self.path.removesuffix(f"/{TRACK}")
        return name if name and "/" not in name else None


_URL = re.compile(r"(?:rtsp[su]?:)//(?P<authority>[^/?#]*)(?P<path>[^?#]*)", re.IGNORECASE)


def parse_url(text: str) -> Url | None:
    """An absolute `rtsp://` URL, an absolute path, or `*`. Query and fragment are left out."""
    if text == "*":
        return Url("", "", whole_server=True)
    match = _URL.match(text)
    if match is not None:
        authority, path = match["authority"].rpartition("@")[2], match["path"]
    elif text.startswith("/"):
        authority, path = "", re.split(r"[?#]", text, maxsplit=1)[0]
    else:
        return None
    return Url(authority, unquote(path).strip("/"))


def base_url(authority: str, stream: str) -> str:
    """The URL that a stream's track is relative to: Content-Base."""
    return f"rtsp://{authority}/{stream}/"


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


def parse_list(text: str | None) -> list[str]:
    """The elements of a comma-separated header (Require, Accept); None has none."""
    return [element.strip() for element in (text or "").split(",") if element.strip()]


def accepts_sdp(accept: str | None) -> bool:
    """Whether Accept (12.1) allows application/sdp. No header allows everything."""
    media_types = [element.partition(";")[0].strip().lower() for element in parse_list(accept)]
    return not media_types or not {"application/sdp", "application/*", "*/*", "*"}.isdisjoint(media_types)
