"""One stream of a muxer's shard: where its samples come from, and what becomes of them."""

import secrets

import msgspec

from common import sockets
from common.clock import now_us
from common.config import Stream as StreamSettings
from common.config import Viewer
from common.figures import StreamFigures
from common.intake import FarArrivals, Intake, arrival_us
from common.lines import End, Far
from common.messages import SampleMessage
from common.poller import READ, Handler, Poller
from common.role import Role
from common.sample import Payload, Sample
from common.source_spec import without_secrets
from muxer.fanout import Fanout
from muxer.outputs import Output, Outputs, Ticket
from muxer.ring import Limits
from muxer.sheet import Sheets
from muxer.stream import Stream


class Source(msgspec.Struct):
    """One stream of this shard, with all that belongs to it.

    keep_us: how long viewers are kept without a sample of the source; 0: for ever. heard_us: when the newest came,
    or this began to be waited for. end: where its capture is found. subscribed: whether it has been told that the
    stream is wanted. leaving_us: since when it is another muxer's, or nobody's, and kept here only for those who
    do not know yet.
    """

    name: str
    outputs: Outputs
    intake: Intake = msgspec.field(default_factory=Intake)
    far_arrivals: FarArrivals = msgspec.field(default_factory=FarArrivals)
    on_demand: bool = False
    text: str = ""
    keep_us: int = 0
    heard_us: int = 0
    end: End = ""
    subscribed: bool = False
    leaving_us: int | None = None
    _socket: sockets.Socket | None = None

    @property
    def socket(self) -> sockets.Socket:
        """The line to its capture, once it is connected."""
        assert self._socket is not None
        return self._socket

    def arrival_us(self, message: SampleMessage, sample: Sample, now_us: int) -> int:
        """When a sample came, µs."""
        if isinstance(self.end, Far):  # its times are of another clock
            return self.far_arrivals.arrival_us(message, sample, now_us)
        return arrival_us(message, sample, now_us)

    def adopt(self, settings: StreamSettings) -> None:
        """These are its settings now."""
        self.on_demand = settings.on_demand
        self.keep_us = settings.keep_ms * 1000
        self.text = without_secrets(settings.source)

    def given_up(self, now_us: int) -> list[Ticket]:
        """The tickets of its viewers, who are forgotten, where the source has been away for too long."""
        if not self.outputs.viewers or not self.heard_us:
            self.heard_us = now_us  # who comes now waits from now on
        if not self.keep_us or now_us - self.heard_us < self.keep_us:
            return []
        self.heard_us = now_us
        return self.outputs.end(self.intake.reason or "nothing comes from the source")

    def connect(self, end: End, role: Role, poller: Poller, may_read: Handler) -> None:
        """Have a line to the capture at this end."""
        if self.end == end:
            return
        if self._socket is not None:
            self.disconnect(role, poller)
        self.end = end
        self.subscribed = False
        self._socket = sockets.samples_in(role.context, end)
        poller.add(self._socket.fileno(), READ, may_read)
        role.watch(f"capture-{self.name}", self._socket, end)

    def disconnect(self, role: Role, poller: Poller) -> None:
        """Give the line up."""
        poller.remove(self.socket.fileno())
        role.leave(self.socket)

    def figures(self, now_us: int) -> StreamFigures:
        """What the stream does now."""
        stream = self.outputs.shown.stream
        fps, bitrate_bps = stream.rates(now_us)
        video = next((track for track in stream.tracks if not track.audio), None)
        return StreamFigures(
            name=self.name,
            source=self.text,
            codecs=[track.codec.value for track in stream.tracks],
            width=video.width if video is not None else 0,
            height=video.height if video is not None else 0,
            fps=round(fps, 2),
            bitrate_bps=bitrate_bps,
            sync_interval_s=stream.sync_interval_us / 1e6,
            viewers=self.outputs.viewers,
            epoch=self.intake.epoch,
            samples_in=self.intake.samples_in,
            samples_lost=self.intake.samples_lost,
            samples_missed=self.intake.samples_missed,
            samples_unannounced=self.intake.samples_unannounced,
            samples_known=self.intake.samples_known,
            samples_awaiting_sync=self.intake.samples_awaiting_sync,
            samples_used=self.intake.samples_used,
            payloads=[output.figures for output in self.outputs.by_payload.values()],
            state=self.intake.state,
            reason=self.intake.reason,
        )


def new_output(name: str, viewer: Viewer, sheets: Sheets, payload: Payload) -> Output:
    """An empty output of the stream `name`. sheets: of all outputs of this process."""
    age_max_us = viewer.age_max_ms * 1000
    limits = Limits(age_max_us=age_max_us, instant=viewer.start == "instant", paced=True)
    epoch = secrets.randbits(62)
    stream = Stream(name, ssrc=secrets.randbits(32), age_max_us=age_max_us, payload=payload, sheets=sheets)
    return Output(stream, Fanout(stream, epoch, limits, now_us), epoch)
