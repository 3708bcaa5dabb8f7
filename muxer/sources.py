"""One stream of a muxer's shard: where its samples come from, and what becomes of them."""

import msgspec

from common import sockets
from common.figures import StreamFigures
from common.intake import Intake
from muxer.outputs import Outputs


class Source(msgspec.Struct):
    """One stream of this shard, with all that belongs to it."""

    name: str
    on_demand: bool
    text: str
    socket: sockets.Socket
    intake: Intake
    outputs: Outputs
    subscribed: bool = False

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
            state=self.intake.state,
            reason=self.intake.reason,
        )
