"""EVERY message that crosses a process boundary, with its limits.

Theory of operation
-------------------
A message is one msgspec Struct; `common.wire` turns it into the frames of a ZeroMQ multipart message and
back: a MessagePack header, then, for `SampleMessage` and `FrameMessage`, the media bytes as a frame of
their own. The limits stand in the types, so that what arrives is validated by being read. A newer sender may
append fields; anything else that differs needs a new `VERSION`.

Who says what, and on which socket:

    capture → muxer     Announce, SampleMessage, SourceState      XPUB → XSUB, one endpoint a stream
    muxer   → capture   KeyFrameRequest (and the subscription itself: "somebody wants this stream")
    server  → muxer     Hello, Describe, ReadStart, ReadStop, Forget      DEALER → ROUTER, one a muxer, numbered
    muxer   → server    Welcome, Described, FrameMessage, Ended
    role    → supervisor   Ready, Report                                   DEALER → ROUTER "control"
    supervisor → role   Reconfigure, and Drain for a server;   role → supervisor   Reconfigured
    server, cli → supervisor   FiguresRequest;   supervisor → them   Figures
    server  → server    TunnelEnd, and a descriptor      datagrams over a unix socket, one a server
    cli → supervisor   Order;   supervisor → cli   Outcome

Reading, stopping, and what is in flight
----------------------------------------
A server opens a viewer's gate with `ReadStart`, under a `ticket` that it never uses twice. The muxer sends
the viewer's queued frames to that ticket (`tickets` of FrameMessage) as far as `room_bytes` allows. On the
last of them it says how the ticket goes on: in `live`, the ticket has caught up and from the next frame
on is meant whenever `to_live` is set; in `parked`, its room is used up and nothing more comes until the
server opens a new ticket. A ticket can also be parked by a frame that is not for it, and while it is live:
the way to that server was full, and its viewers go on each from the last frame it took. A server that cannot
write sends `ReadStop(ticket, after)` naming the last frame it did take; what is in flight for that ticket is
then ignored by its number, and the muxer's cursor goes back to `after`, so nothing is lost or doubled.

What is lost on the way
-----------------------
A line that breaks and stands again loses what was on it, and ZeroMQ says so to nobody. Between muxer and server a
message that is missing would be a picture broken or a viewer without any for ever; so the messages of each such
line are numbered, each way, without a gap. A muxer that misses one forgets the server, as one that has not been
heard for long, and answers as to a stranger: by `Welcome`, first of all. A server that misses one heeds nothing
until the next `Welcome`, for which it asks; then it names all its viewers anew, each from the last frame it took.
A muxer begins to number what it says to a server at its own clock, in us: so what it says to one that it has
forgotten never fits to what it said before.

What cannot be read is refused, but not missing. An answer or an ending for which a muxer finds no way, for it is
full, uses up its number all the same: it is said but once, and so it is missed, and asked for anew.

A muxer knows of a viewer from its first `ReadStart` to `Forget`: what it counts, and for whom it keeps a source
going, are the viewers that it knows. To one that may know none any more a server names them all anew: those whose
gates are to stay shut by a `ReadStart` and the `ReadStop` of that very ticket.
"""

from typing import Annotated, Literal

import msgspec

from common.drops import QUEUE_DROPS
from common.sample import TIME_US_MAX, TRACKS_MAX, Codec, Payload, Track

VERSION = 3
STREAM_NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z"  # not $, which a newline may follow
TICKETS_MAX = 4096  # viewers named in one message; more are split over several
HEADS_MAX = 1024  # streams named in one Welcome, by payload: all that one muxer has; more are split over several
TEXT_MAX = 500
TUNNEL_BYTES_MAX = 128 << 10  # a request's head, and what was read with it
FIGURES_BYTES_MAX = 64 << 20

U16 = Annotated[int, msgspec.Meta(ge=0, lt=1 << 16)]
U32 = Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]
U63 = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
TimeUs = Annotated[int, msgspec.Meta(ge=-TIME_US_MAX, le=TIME_US_MAX)]
StreamName = Annotated[str, msgspec.Meta(pattern=STREAM_NAME_PATTERN)]
ProcessName = Annotated[str, msgspec.Meta(min_length=1, max_length=80)]
Text = Annotated[str, msgspec.Meta(max_length=TEXT_MAX)]
Tracks = Annotated[tuple[Track, ...], msgspec.Meta(min_length=1, max_length=TRACKS_MAX)]
_EACH_TRACK = msgspec.Meta(min_length=1, max_length=TRACKS_MAX)
Tickets = Annotated[tuple[U63, ...], msgspec.Meta(max_length=TICKETS_MAX)]
Tally = Annotated[tuple[U32, ...], msgspec.Meta(min_length=len(QUEUE_DROPS), max_length=len(QUEUE_DROPS))]


class Message(msgspec.Struct, frozen=True, array_like=True):
    """Base of all messages."""


# ---- capture → muxer ------------------------------------------------------------------------------------


class Announce(Message, frozen=True, tag=1):
    """The tracks of a source. Sent when an epoch starts, to each new subscriber, on a change, and when asked for.

    epoch: one life of the source; sequence numbers of samples start again with it.
    """

    epoch: U63
    tracks: Tracks


class SampleMessage(Message, frozen=True, tag=2):
    """One `common.sample.Sample`; its data is the next frame of the multipart message.

    sequence counts every sample of the epoch, from 0: a gap is a loss on the way (PUB drops silently).
    repeated: it was published before, and comes again for a subscriber who was not there yet; it goes to all, and
    who had it knows it by its number. age_us: of a repeated one, how long ago its decoding time was: what its
    times do not say on another host, where the clock is another.
    """

    epoch: U63
    sequence: U63
    time_us: TimeUs
    decode_time_us: TimeUs | None
    codec: Codec
    sync: bool
    repeated: bool = False
    age_us: U63 = 0


class SourceState(Message, frozen=True, tag=3):
    """The source went up or down (camera unplugged, file missing), with one line that says why.

    slate: it is down, and the samples of this epoch are a picture that stands in for it.
    """

    up: bool
    reason: Text
    slate: bool = False


class KeyFrameRequest(Message, frozen=True, tag=4):
    """muxer → capture: make the next picture a sync point, where the source can.

    unannounced: and greet all subscribers as a new one: the samples that come are of no Announce that has come.
    """

    unannounced: bool = False


# ---- server ↔ muxer -------------------------------------------------------------------------------------


class Hello(Message, frozen=True, tag=20):
    """server → muxer, a few times a second: I live. A muxer forgets a server that falls silent."""

    server: ProcessName
    epoch: U63


class Head(msgspec.Struct, frozen=True, array_like=True):
    """How far a stream is in a payload: epoch, number and sample of its newest frame, as in FrameMessage."""

    stream: StreamName
    payload: Payload
    epoch: U63
    number: U63
    sample: tuple[U63, U63] | None = None


class Welcome(Message, frozen=True, tag=21):
    """muxer → server, answers Hello, and comes before all else to a server that the muxer does not know.

    A new epoch means a new muxer: every ticket must be opened again.
    heads: of the streams that this server has viewers of, but no live ticket: their frames do not tell it.
    """

    muxer: ProcessName
    epoch: U63
    heads: Annotated[tuple[Head, ...], msgspec.Meta(max_length=HEADS_MAX)] = ()


class Describe(Message, frozen=True, tag=22):
    """server → muxer: what is in this stream? Answered by `Described` as soon as its tracks are known."""

    request: U63
    stream: StreamName
    payload: Payload = Payload.TS


class Described(Message, frozen=True, tag=23):
    """muxer → server. `error` is empty and `sdp` complete, or the other way round.

    unsuited: the error is that this payload cannot carry what the stream is now, and asking again does not help.
    """

    request: U63
    stream: StreamName
    sdp: Annotated[str, msgspec.Meta(max_length=16384)]
    error: Text
    payload: Payload = Payload.TS
    unsuited: bool = False


class ReadStart(Message, frozen=True, tag=24):
    """server → muxer: open this viewer's gate.

    ticket: names this reading; never used before by this server.
    after: the (epoch, number) of the last frame the viewer was given, to go on behind it; None, or one of another
        muxer, to start at a sync point, or as `resume` says.
    room_bytes: what the viewer's socket takes now; queued frames beyond it are not sent (at least one is).
    delay_us: how long the kernel will take, at the viewer's pace, to send what it is given: what is queued has
        that much less time to wait.
    key_frames_only: of video it wants nothing else: it has been found to lose what it is sent.
    resume: for a muxer that replaces the one that sent the viewer's last frame: the newest sample that the viewer
        has, as `FrameMessage.sample`, and whether up to there nothing is missing that a decoder needs.
    """

    viewer: U63
    ticket: U63
    stream: StreamName
    after: tuple[U63, U63] | None
    room_bytes: U32
    delay_us: U32 = 0
    key_frames_only: bool = False
    resume: tuple[U63, U63, bool] | None = None
    payload: Payload = Payload.TS


class ReadStop(Message, frozen=True, tag=25):
    """server → muxer: shut the gate of this ticket. `after` as in ReadStart: what was taken last."""

    ticket: U63
    after: tuple[U63, U63] | None


class Forget(Message, frozen=True, tag=26):
    """server → muxer: the viewer is gone."""

    viewer: U63


class FrameMessage(Message, frozen=True, tag=27):
    """One frame, whole; its bytes are the next frame of the multipart message, laid out as `common.grid` says for
    payload TS, `common.rtp_rows` for native.

    number counts the frames of the stream in this payload from 0 in each epoch, which is the payload's own.
    kind, sequences to packets: see `common.grid.Frame`. All tracks are in `sequences` to `rates_hz`, in the
    order of the SDP's media; `track` is the one that this frame is of.
    to_live: it is for all live tickets of the stream on this server. tickets: and for these.
    live: which of `tickets` become live with this frame. parked: tickets, among `tickets` or not, that get
    nothing after this frame until the server opens new ones.
    sample: epoch and number of the newest sample in the stream up to here, as the capture counts them.
    left_out: of those of `tickets` for whom anything was: how many frames between this one and the one sent to it
        before, by reason, in the order of `common.drops.QUEUE_DROPS`.
    """

    stream: StreamName
    payload: Payload
    track: Annotated[int, msgspec.Meta(ge=0, lt=TRACKS_MAX)]
    epoch: U63
    number: U63
    kind: Annotated[int, msgspec.Meta(ge=0, le=2)]
    sync: bool
    time_us: TimeUs
    sequences: Annotated[tuple[U16, ...], _EACH_TRACK]
    clocks: Annotated[tuple[U32, ...], _EACH_TRACK]
    ssrcs: Annotated[tuple[U32, ...], _EACH_TRACK]
    rates_hz: Annotated[tuple[U32, ...], _EACH_TRACK]
    counters: tuple[int, int, int, int]
    counts: tuple[int, int, int, int]
    packets: Annotated[int, msgspec.Meta(ge=1, lt=1 << 20)]
    to_live: bool
    tickets: Tickets = ()
    live: Tickets = ()
    parked: Tickets = ()
    sample: tuple[U63, U63] | None = None
    left_out: Annotated[tuple[tuple[U63, Tally], ...], msgspec.Meta(max_length=TICKETS_MAX)] = ()

    def __post_init__(self) -> None:
        tracks = len(self.sequences)
        if not self.track < tracks == len(self.clocks) == len(self.ssrcs) == len(self.rates_hz):
            raise ValueError(f"track {self.track} of {tracks}")

    @property
    def sequence(self) -> int:
        """Of its first RTP packet."""
        return self.sequences[self.track]

    @property
    def clock(self) -> int:
        """Of its RTP stream at `time_us`."""
        return self.clocks[self.track]

    @property
    def ssrc(self) -> int:
        """Of its RTP packets."""
        return self.ssrcs[self.track]


class Ended(Message, frozen=True, tag=28):
    """muxer → server: this ticket's stream has ended, or is not this muxer's; close the viewer."""

    ticket: U63
    reason: Text


# ---- control --------------------------------------------------------------------------------------------


class Ready(Message, frozen=True, tag=40):
    """role → supervisor: I am up; the supervisor starts what depends on me. `ports`: what a server bound."""

    role: Text
    name: ProcessName
    pid: U32
    ports: dict[str, int] = {}


class Report(Message, frozen=True, tag=41):
    """role → supervisor, once a second: heartbeat and figures (JSON of `common.figures.RoleFigures`)."""

    role: Text
    name: ProcessName
    pid: U32
    figures: Annotated[bytes, msgspec.Meta(max_length=FIGURES_BYTES_MAX)]


class FiguresRequest(Message, frozen=True, tag=42):
    """server or cli → supervisor: all figures, please. metrics: as the text that Prometheus reads."""

    request: U63
    metrics: bool = False


class Figures(Message, frozen=True, tag=43):
    """supervisor → asker: `/api/stats` as JSON text; or `/metrics`, where these were asked for."""

    request: U63
    json: Annotated[bytes, msgspec.Meta(max_length=FIGURES_BYTES_MAX)]


class Reconfigure(Message, frozen=True, tag=44):
    """supervisor → role: the settings file has changed, read it again. generation: of the settings, growing."""

    generation: U63


class Reconfigured(Message, frozen=True, tag=45):
    """role → supervisor: this process works by the settings of `generation` now."""

    name: ProcessName
    pid: U32
    generation: U63


class Drain(Message, frozen=True, tag=46):
    """supervisor → server: take no new connections; end when those that there are have gone."""


class Order(Message, frozen=True, tag=47):
    """cli → supervisor: take the settings anew, or run another number of processes of a role.

    verb: "reload" (servers: replace every server process too) or "scale" (role, count).
    """

    request: U63
    verb: Literal["reload", "scale"]
    role: Literal["", "muxer", "server"] = ""
    count: U16 = 0
    servers: bool = False


class Outcome(Message, frozen=True, tag=48):
    """supervisor → cli: the order has been carried out, or has changed nothing. exit_code: `common.errors`."""

    request: U63
    exit_code: Annotated[int, msgspec.Meta(ge=0, le=255)]
    text: Text


# ---- server → server ------------------------------------------------------------------------------------


class TunnelEnd(Message, frozen=True, tag=60):
    """One of the two HTTP connections of an RTSP tunnel, for the process in which both are to meet.

    Its descriptor comes with it (SCM_RIGHTS). post: it is the POST, and data what has come behind its head.
    peer: "address:port" of the client. secure: it is encrypted and cannot leave its process; the descriptor is of
    what it says, and goes to all processes, of which one knows the cookie.
    """

    post: bool
    cookie: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    peer: Text
    data: Annotated[bytes, msgspec.Meta(max_length=TUNNEL_BYTES_MAX)]
    secure: bool = False


AnyMessage = (
    Announce | SampleMessage | SourceState | KeyFrameRequest
    | Hello | Welcome | Describe | Described | ReadStart | ReadStop | Forget | FrameMessage | Ended
    | Ready | Report | FiguresRequest | Figures | Reconfigure | Reconfigured | Drain | Order | Outcome
    | TunnelEnd
)  # fmt: skip
