"""A capture's way out, a muxer and a server's fan-out, joined by lines of memory: processes but for their ends.

`capture.outlet.Outlet`, `muxer.worker.Worker`, `server.muxer_client.MuxerClient` and `server.fanout.Fanout` are
the real ones, and so is what they say to each other. ZeroMQ, the clock and the viewers' kernels are models: so
whatever a machine under load does to processes can be done at will, and again. One stands still, one is killed, a
line is full, a message comes late; time moves only when told to.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from capture.outlet import Outlet as CaptureOutlet
from common import clock, logs, sockets, wire
from common.config import Config, Processes, Stream
from common.lines import Lines
from common.messages import SampleMessage
from common.sample import Codec, Payload, Sample, Track
from common.wire import Buffer
from muxer import sources as muxer_sources
from muxer import worker as muxer_worker
from server.counters import Counters
from server.fanout import Fanout
from server.frame_buffers import Framing
from server.muxer_client import MuxerClient
from server.tcp_outlet import TcpOutlet
from server.viewers import Channels, Viewer
from tests.support.muxer_in_memory import Line, MuxerProcess, Parts, Unpolled
from tests.support.unwatched import Unwatched

STREAM = "door"  # of two muxers the second has it, by its name
AGE_MAX_US = 1_000_000
STEP_US = 10_000
PICTURE_US = 40_000
GROUP = 50  # pictures
AUDIO_EVERY = 3  # a frame of sound comes with one picture in so many
TRACKS = (
    Track(Codec.H264, 320, 240, 25.0),
    Track(Codec.AAC, sample_rate_hz=48000, channels=2, config=b"\x11\x90"),
)
SYNC_BYTES, PICTURE_BYTES, AUDIO_BYTES = 5000, 1200, 300
KERNEL_BYTES = 12_000  # of a viewer's connection: half a second of the stream


class Connection:
    """A viewer with its way out: a kernel that holds so much, and a client that reads when told to.

    Stands for `TcpOutlet` and is the viewer's owner, too.
    """

    frames_lost = queue_overflows = 0
    sends_files = False
    round_trip_us = 0

    def __init__(self, fanout: Fanout, kernel_bytes_max: int) -> None:
        self._fanout = fanout
        self._max = kernel_bytes_max
        self.blocked = False
        self.kernel_bytes = 0
        self.unfinished_bytes = 0
        self.rate_bps = 0
        self.viewer: Viewer | None = None

    def offer(self, frame: Buffer) -> bool:
        if self.blocked:
            return False
        taken = min(len(frame), self._max - self.kernel_bytes)
        self.blocked = taken < len(frame)
        if not taken:
            return False
        self.kernel_bytes += taken
        self.unfinished_bytes = len(frame) - taken
        return True

    def read(self, size: int) -> None:
        """The client takes so many bytes; the kernel so many more of what is unfinished."""
        self.kernel_bytes -= min(size, self.kernel_bytes)
        if not self.blocked or self.viewer is None or self.kernel_bytes > self._max // 2:
            return
        taken = min(self.unfinished_bytes, self._max - self.kernel_bytes)
        self.kernel_bytes += taken
        self.unfinished_bytes -= taken
        if not self.unfinished_bytes:
            self.blocked = False
            self._fanout.drained(self.viewer)

    @property
    def window_bytes(self) -> int:
        return self._max

    @property
    def frames_unfinished(self) -> int:
        return int(self.unfinished_bytes > 0)

    def fit(self, *_: int) -> None:
        pass

    def leave(self) -> None:
        if self.viewer is not None:
            self._fanout.remove(self.viewer)
            self.viewer = None

    # as the viewer's owner

    def broken(self, error: OSError) -> None:
        raise error

    def starting(self, *_: object) -> None:
        pass

    def started(self, *_: object) -> None:
        pass

    def ended(self, _viewer: Viewer, _reason: str) -> None:
        self.leave()


class WholePath:
    """One stream from a capture to viewers at one server.

    captures, muxes, serves: whether such processes run, or stand still. muxers: the first has the stream; where
    there are two, the second.
    """

    def __init__(self) -> None:
        self.now_us = 1_000_000_000
        self.captures = self.muxes = self.serves = True
        self._patch = pytest.MonkeyPatch()
        self._install()
        self._samples_out = Line(self._publish)
        config = _config(muxers=1)
        self.muxers = [MuxerProcess(index, config, self._samples_out) for index in range(2)]
        self.capture = CaptureOutlet(cast(sockets.Socket, self._samples_out))
        self._pictures = 0
        self._picture_us = 0
        self.begin_source()
        self.counters = Counters()
        self.client = MuxerClient(
            cast(sockets.Context, None), cast(Any, Unpolled()), Lines(config), "server-0", [STREAM],
            self.counters, logs.Logger(), lambda: self.now_us, Unwatched(),
        )  # fmt: skip
        self.fanout = Fanout(
            "server-0", [STREAM], self.client.send, self.counters, lambda: self.now_us, AGE_MAX_US
        )
        self.connections: list[Connection] = []
        self.muxer.start()
        self.muxer.connected = True

    # ---- what happens ---------------------------------------------------------------------------------------

    def begin_source(self) -> None:
        """A new life of the source."""
        self.capture.begin(TRACKS)
        self.capture.tell_state(True)
        self._pictures = 0
        self._picture_us = self.now_us

    def end_source(self) -> None:
        """It is unplugged."""
        self.capture.tell_state(False, "unplugged")

    @property
    def muxer(self) -> MuxerProcess:
        """The first one."""
        return self.muxers[0]

    def muxers_take(self, muxers: int) -> None:
        """There are so many now, as far as they know: with two, the stream is the second one's."""
        for index, muxer in enumerate(self.muxers):
            # One that there is not any more is left as it is: nobody asks it for anything.
            muxer.take(_config(max(muxers, index + 1)))
            if muxer.worker is None:
                muxer.start()
                muxer.connected = True

    def server_takes(self, muxers: int) -> None:
        """There are so many now, as far as the server knows."""
        self.client.adopt(Lines(_config(muxers)), [STREAM], self.fanout)

    def join(
        self, framing: Framing, rate_bps: int, payload: Payload = Payload.TS, kernel_bytes_max: int = KERNEL_BYTES
    ) -> Connection:
        """A viewer comes, and plays: of a native payload the picture alone."""
        connection = Connection(self.fanout, kernel_bytes_max)
        channels: Channels = ((0, 1), None) if payload is Payload.NATIVE else ((0, 1),)
        connection.viewer = self.fanout.add(
            STREAM, connection, cast(TcpOutlet, connection), framing, channels, "peer:1", "agent", payload
        )
        connection.rate_bps = rate_bps
        self.connections.append(connection)
        self.fanout.read_start(connection.viewer)
        return connection

    def lose_samples(self, samples: int) -> None:
        """So many, at most, do not come to the muxers: they were behind."""
        for muxer in self.muxers:
            under_way = list(muxer.samples.inbox)
            lost = [parts for parts in under_way if isinstance(wire.decode(parts)[0], SampleMessage)][:samples]
            muxer.samples.inbox.clear()
            muxer.samples.inbox.extend(parts for parts in under_way if parts not in lost)

    def lose_all(self) -> None:
        """Nothing of what the capture has sent comes to the muxers any more."""
        for muxer in self.muxers:
            muxer.samples.inbox.clear()

    # ---- time -----------------------------------------------------------------------------------------------

    def run(self, time_us: int, greets: bool = True) -> None:
        """All that runs does so for so long. greets: the server does, if it is time to."""
        for _ in range(time_us // STEP_US):
            self.now_us += STEP_US
            self.capture_turn()
            self.muxer_turns(1)
            self.server_turn(greets)
            self.viewers_read()

    def capture_turn(self) -> None:
        """What is due of the source."""
        if not self.captures:
            return
        self.capture.receive()
        if self.capture.take_key_frame_request():
            self._pictures = -(-self._pictures // GROUP) * GROUP
        while self._picture_us <= self.now_us:
            self.publish()

    def publish(self) -> None:
        """One more picture, and perhaps a frame of sound."""
        sync = self._pictures % GROUP == 0
        head = b"\x65" if sync else b"\x01" if self._pictures % 4 == 3 else b"\x41"
        data = b"\0\0\0\1" + head + b"\x55" * (SYNC_BYTES if sync else PICTURE_BYTES)
        self.capture.publish(Sample(data, self._picture_us, Codec.H264, sync))
        if self._pictures % AUDIO_EVERY == 0:
            self.capture.publish(Sample(b"\x21" * AUDIO_BYTES, self._picture_us, Codec.AAC))
        self._pictures += 1
        self._picture_us += PICTURE_US

    def muxer_turns(self, turns: int) -> None:
        """Turns of the loop of each muxer."""
        for muxer in self.muxers if self.muxes else ():
            muxer.run(turns)

    def viewers_read(self) -> None:
        """What they read in a step of time."""
        for connection in self.connections:
            connection.read(connection.rate_bps * STEP_US // 8_000_000)

    def server_turn(self, greets: bool = True) -> None:
        """What the server does until it has nothing more to do."""
        if not self.serves:
            return
        if greets:
            self.client.tick()
        self.fanout.tick()
        while self.client.drain(self.fanout):
            pass

    # ---- books ----------------------------------------------------------------------------------------------

    @property
    def viewers(self) -> list[Viewer]:
        return [connection.viewer for connection in self.connections if connection.viewer is not None]

    @property
    def known_viewers(self) -> set[int]:
        """Of the stream's, by number, those that the muxer knows which the server takes to have it."""
        (muxer,) = [muxer for muxer in self.muxers if muxer.name == self.client._by_stream[STREAM].name]
        assert muxer.worker is not None
        fanouts = [output.fanout for output in muxer.worker._sources[STREAM].outputs.by_payload.values()]
        servers = [server for fanout in fanouts for server in fanout._servers.values()]
        return {viewer for server in servers for viewer in server.sessions}

    def close(self) -> None:
        self._patch.undo()

    # ---- inside ---------------------------------------------------------------------------------------------

    def _publish(self, parts: Parts) -> None:
        for muxer in self.muxers:
            if not muxer.samples.closed:
                muxer.samples.inbox.append(parts)

    def _install(self) -> None:
        """Put the lines in the place of ZeroMQ's sockets, and this clock in the place of the real one."""

        def receive(line: Line) -> Parts | None:
            return line.inbox.popleft() if line.inbox else None

        def frames_in(_context: object, end: object, identity: bytes) -> Line:
            return next(muxer for muxer in self.muxers if muxer.endpoint == end).attach(identity)

        verbs: dict[str, Callable[..., object]] = {
            "send": lambda line, parts: line.say([bytes(part) for part in parts]),
            "receive": receive,
            "take": receive,
            "readable": lambda lines: [line for line in lines if line.inbox],
            "frames_in": frames_in,
            "frames_out": lambda muxer, *_: muxer.asked,
            "samples_in": lambda muxer, _: muxer.listens(),
        }
        for name, verb in verbs.items():
            self._patch.setattr(sockets, name, verb)
        self._patch.setattr(clock, "now_us", lambda: self.now_us)
        for module in (muxer_worker, muxer_sources):
            self._patch.setattr(module, "now_us", lambda: self.now_us)
        self._patch.setattr(muxer_worker, "Poller", Unpolled)
        self._patch.setattr(muxer_worker, "time", SimpleNamespace(sleep=lambda _: None))


def _config(muxers: int) -> Config:
    streams = {STREAM: Stream("test:", keep_ms=0)}
    return Config(runtime_dir="/nowhere", processes=Processes(muxers=muxers), streams=streams)
