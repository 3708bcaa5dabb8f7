"""A stream with its viewers at a muxer, and what servers ask of it."""

from common.messages import ReadStart
from muxer.fanout import Fanout
from muxer.ring import Limits
from muxer.stream import Stream

EPOCH = 77
ROOM = 1 << 20


class Clock:
    def __init__(self) -> None:
        self.now_us = 0

    def __call__(self) -> int:
        return self.now_us


def make(age_max_us: int = 1_000_000) -> tuple[Fanout, Stream, Clock]:
    clock = Clock()
    stream = Stream("door", ssrc=1, age_max_us=age_max_us)
    stream.ring.has_video = True
    return Fanout(stream, EPOCH, Limits(age_max_us=age_max_us), clock), stream, clock


def start(viewer: int, ticket: int, after: int | None = None, room_bytes: int = ROOM) -> ReadStart:
    return ReadStart(viewer, ticket, "door", None if after is None else (EPOCH, after), room_bytes)
