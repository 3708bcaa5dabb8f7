"""What a server process has sent, by stream, payload and transport, and its viewers' figures.

A viewer's own books are closed into the ledger when it leaves: so what was sent is known of all that ever were.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable

from common.drops import Drop
from common.figures import DeliveryFigures, HistogramFigures, MemberFigures, ViewerFigures
from common.histogram import Histogram
from server.reception import Members
from server.viewers import LiveStream, Viewer

Key = tuple[str, str, str]  # stream, payload, transport


class _Sum:
    def __init__(self) -> None:
        self.viewers = self.frames_due = self.frames_sent = self.bytes_sent = 0
        self.drops: Counter[Drop] = Counter()

    def add(self, viewer: Viewer) -> None:
        self.viewers += 1
        self.frames_due += viewer.frames_due
        self.frames_sent += viewer.frames_sent
        self.bytes_sent += viewer.bytes_sent
        for reason, frames in viewer.drops.items():  # most have none
            self.drops[reason] += frames

    def close(self, viewer: Viewer) -> None:
        """Add one that leaves, with what it leaves behind."""
        self.add(viewer)
        unsent, left = viewer.outlet.frames_unfinished, viewer.frames_behind
        self.frames_sent -= unsent
        self.frames_due += left
        self.drops.update({Drop.UNSENT: unsent, Drop.LEFT: left})

    def merge(self, other: "_Sum") -> None:
        self.viewers += other.viewers
        self.frames_due += other.frames_due
        self.frames_sent += other.frames_sent
        self.bytes_sent += other.bytes_sent
        self.drops.update(other.drops)


class Ledger:
    """Of the viewers that have gone."""

    def __init__(self) -> None:
        self._gone: dict[Key, _Sum] = {}

    def close(self, viewer: Viewer) -> None:
        """The viewer leaves."""
        self._gone.setdefault(_key(viewer), _Sum()).close(viewer)

    def forget(self, stream: str) -> None:
        """There is no such stream any more: what was sent of it is kept without its name."""
        for key in [key for key in self._gone if key[0] == stream]:
            self._gone.setdefault(("", *key[1:]), _Sum()).merge(self._gone.pop(key))

    def figures(self, streams: Iterable[LiveStream]) -> list[DeliveryFigures]:
        """With those who are here now."""
        here: dict[Key, _Sum] = {}
        for stream in streams:
            by_transport: defaultdict[str, _Sum] = defaultdict(_Sum)
            for viewer in stream.viewers:
                by_transport[viewer.transport].add(viewer)
            for transport, sums in by_transport.items():
                here[stream.name, stream.payload.value, transport] = sums
        figures = []
        for key in sorted({*here, *self._gone}):
            now, gone = here.get(key, _Sum()), self._gone.get(key, _Sum())
            every = _Sum()
            every.merge(gone)
            every.merge(now)
            drops = {reason.value: frames for reason, frames in every.drops.items() if frames}
            sent, size = every.frames_sent, every.bytes_sent
            figures.append(DeliveryFigures(*key, now.viewers, gone.viewers, every.frames_due, sent, size, drops))
        return figures


def viewer_figures(viewer: Viewer, now_us: int) -> ViewerFigures:
    """One viewer's."""
    reception = viewer.reception
    round_trip_us = reception.round_trip_us if reception is not None else None
    epoch, number = viewer.position or (0, -1)
    return ViewerFigures(
        id=viewer.id,
        stream=viewer.stream.name,
        transport=viewer.transport,
        peer=viewer.peer,
        user_agent=viewer.user_agent,
        state="behind" if viewer.behind else "reading" if viewer.flow.reading else "stopped",
        age_ms=viewer.age_us(now_us) / 1000,
        frames_sent=viewer.frames_sent,
        frames_dropped=viewer.frames_dropped,
        splices=viewer.splices,
        bytes_sent=viewer.bytes_sent,
        connected_s=(now_us - viewer.connected_us) / 1e6,
        frames_behind=viewer.frames_behind,
        loss_percent=round(reception.fraction_lost * 100, 1) if reception is not None else None,
        packets_lost=reception.packets_lost if reception is not None else None,
        jitter_ms=reception.jitter_us / 1000 if reception is not None else None,
        round_trip_ms=round_trip_us / 1000 if round_trip_us is not None else None,
        key_frames_only=viewer.flow.key_frames_only,
        payload=viewer.stream.payload.value,
        frames_due=viewer.frames_due,
        drops={reason.value: frames for reason, frames in viewer.drops.items()},
        epoch=epoch,
        frame_number=number,
        members=_members(reception, now_us) if isinstance(reception, Members) else [],
    )


def _members(members: Members, now_us: int) -> list[MemberFigures]:
    """Of a multicast group, those who are heard."""
    return [
        MemberFigures(
            peer,
            round(reception.fraction_lost * 100, 1),
            reception.packets_lost,
            reception.jitter_us / 1000,
            reception.round_trip_us / 1000 if reception.round_trip_us is not None else None,
        )
        for peer, reception in members.lately(now_us).items()
    ]


def histograms(send_times: Histogram, streams: Iterable[LiveStream]) -> list[HistogramFigures]:
    """How long sending takes, and how old what is sent is, of streams of which anything was."""
    figures = [HistogramFigures("send_seconds", list(send_times.counts), send_times.total_us)]
    for stream in streams:
        for way, ages in (("live", stream.live_ages), ("catching_up", stream.catching_up_ages)):
            if any(ages.counts):
                labels = {"stream": stream.name, "payload": stream.payload.value, "way": way}
                figures.append(HistogramFigures("frame_age_seconds", list(ages.counts), ages.total_us, labels))
    return figures


def _key(viewer: Viewer) -> Key:
    return viewer.stream.name, viewer.stream.payload.value, viewer.transport
