"""What an RTSP dialogue (`rtsp_state`) has its shell do, one step after the other, and for which session. Pure."""

from enum import Enum

import msgspec

from common.sample import Payload
from server.rtsp_transport import Delivery


class State(Enum):
    """Of a session."""

    READY = "ready"
    PLAYING = "playing"


class Session(msgspec.Struct):
    """One viewer of one stream. tracks: those that were set up, and how the media of each goes, all likewise.

    urls: of the tracks, as the client said them.
    """

    id: str
    stream: str
    payload: Payload
    tracks: dict[int, Delivery]
    state: State = State.READY
    urls: dict[int, str] = {}

    @property
    def ways(self) -> tuple[Delivery | None, ...]:
        """That of each track; None where it was not set up."""
        return tuple(self.tracks.get(track) for track in range(max(self.tracks) + 1))


class Reply(msgspec.Struct, frozen=True):
    """Send this response. fault: it is an error. late: make the client wait for it, and for all that follows."""

    data: bytes
    fault: bool = False
    late: bool = False


class Describe(msgspec.Struct, frozen=True):
    """Ask for the stream's SDP; answer by `described` or `refused`."""

    stream: str
    payload: Payload


class Play(msgspec.Struct, frozen=True):
    """Open the session's gate, and answer by `played`; user_agent: the client's."""

    session: Session
    user_agent: str


class Pause(msgspec.Struct, frozen=True):
    """Shut the session's gate."""

    session: Session


class End(msgspec.Struct, frozen=True):
    """The session is over: nothing more of it after its BYE, and its ports are free."""

    session: Session


class Feedback(msgspec.Struct, frozen=True):
    """The client sent RTCP (or something else) on the RTCP channel of a track of the session."""

    session: Session
    track: int
    data: bytes


class Close(msgspec.Struct, frozen=True):
    """Close the connection when all is sent. reason: for the log. fault: an error that was not answered."""

    reason: str
    fault: bool = False


Step = Reply | Describe | Play | Pause | End | Feedback | Close
