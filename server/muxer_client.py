"""This server's lines to the muxers: who is there, what goes out, what comes in.

A muxer is greeted now and then (`server.greeting`) and answers with its epoch. A new epoch is a new muxer; and
where a message is missing (`common.messages`: they are numbered), it may have been one that mattered, or the muxer
has forgotten us. In both cases `Listener.muxer_is_new` has every viewer's gate opened again.
"""

import secrets
from collections import deque
from collections.abc import Callable, Collection, Iterable
from typing import Protocol

import zmq

from common import sockets, wire
from common.errors import MessageError, VersionError
from common.lines import End, Lines
from common.logs import Logger
from common.messages import Describe, Described, Ended, FrameMessage, Head, Hello, Message, Welcome
from common.poller import READ, Poller, wake
from common.refusals import Refusals
from common.sample import Payload
from server.counters import Counters
from server.greeting import Greeting

SILENCE_US = 1_500_000  # without a Welcome: it does not answer
OUTBOX_MAX = 65_536  # messages that a muxer has not taken: some for each of all viewers of a process
MESSAGES_A_TURN_MAX = 64  # from one muxer, before sockets have their turn again
TURN_US_MAX = 10_000  # and no longer than this: a frame for a thousand viewers takes some 5 ms

# The SDP, and why there is none: one of them is empty; and whether that is what the payload cannot carry.
Answer = Callable[[str, str, bool], None]


class Listener(Protocol):
    """Whom frames and endings are for: `fanout.Fanout`."""

    def deliver(self, frame: FrameMessage, data: wire.Buffer) -> None:
        """One frame came. May raise MessageError."""

    def is_at(self, head: Head) -> None:
        """A stream is this far, of which few frames come, or none."""

    def ended(self, message: Ended) -> None:
        """A viewer's stream is over."""

    def moves(self, stream: str) -> None:
        """This stream is to have another muxer: the one that has it still can forget its viewers."""

    def muxer_is_new(self, streams: Iterable[str], replaced: bool) -> None:
        """A muxer that owns these streams may know none of our tickets; replaced: nor our positions."""


class Watcher(Protocol):
    """Who looks after lines to other hosts: `common.role.Role`."""

    def watch(self, name: str, socket: sockets.Socket, end: End) -> None:
        """A line has been connected."""

    def leave(self, socket: sockets.Socket) -> None:
        """Close it."""


class _Link:
    """The line to one muxer."""

    def __init__(self, name: str, end: End) -> None:
        self.name = name
        self.end = end
        self.streams: list[str] = []
        self.socket: sockets.Socket | None = None
        self.life = 0  # of this socket: to a muxer each is another server
        self.outbox: deque[Message] = deque()
        self.sent = 0  # messages: the number of the next; a muxer that does not know us takes any
        self.expected: int | None = None  # the number of its next message; None: this must be a Welcome
        self.empty = False  # nothing had come when it was last looked at, and nothing was sent since
        self.epoch: int | None = None
        self.fault = ""  # why nothing can come of it
        self.heard_us: int | None = None  # the newest Welcome; None: none on this socket
        self.greeting = Greeting()


class _Question:
    """What a stream is, asked of its muxer once for all who want to know. askers: deadline, and whom to tell."""

    def __init__(self, request: int) -> None:
        self.request = request
        self.askers: dict[int, tuple[int, Answer]] = {}


class MuxerClient:
    """All muxers, as one server sees them.

    The poller is only woken (ZeroMQ's descriptors are edge-triggered): call `drain` on every turn, and do not
    wait before it has returned False; call `tick` when it is due.
    """

    def __init__(
        self, context: sockets.Context, poller: Poller, lines: Lines, name: str, streams: Iterable[str],
        counters: Counters, log: Logger, clock: Callable[[], int], watcher: Watcher,
    ) -> None:  # fmt: skip
        self._context = context
        self._poller = poller
        self._watcher = watcher
        self.refusals = Refusals(log)
        self._name = name
        self._counters = counters
        self._log = log
        self._clock = clock
        self._links = {muxer: _Link(muxer, lines.frames_in(muxer)) for muxer in lines.muxers}
        self._by_stream = {stream: self._links[lines.muxer_of(stream)] for stream in streams}
        for stream, link in self._by_stream.items():
            link.streams.append(stream)
        for link in self._links.values():
            self._connect(link)
        self._questions: dict[tuple[str, Payload], _Question] = {}
        self._requests = 0

    @property
    def due_us(self) -> int:
        """When `tick` has something to do, at the latest."""
        return min(link.greeting.latest_us for link in self._links.values())

    @property
    def up(self) -> int:
        """How many muxers answer."""
        now_us = self._clock()
        heard_us = [link.heard_us for link in self._links.values()]
        return sum(at_us is not None and now_us - at_us < SILENCE_US for at_us in heard_us)

    @property
    def muxers(self) -> int:
        """How many there are."""
        return len(self._links)

    def send(self, stream: str, message: Message) -> None:
        """Send a message to the muxer of `stream`, now or when it takes it."""
        link = self._by_stream[stream]
        link.outbox.append(message)
        if len(link.outbox) > OUTBOX_MAX:
            self._counters.muxer_outbox_overflows += 1
            self._connect(link)
        elif len(link.outbox) == 1:
            self._flush(link)

    def describe(self, stream: str, payload: Payload, deadline_us: int, answer: Answer) -> int:
        """Ask for a stream's SDP in a payload. `answer` is called once, at the latest soon after the deadline."""
        self._requests += 1
        question = self._questions.get((stream, payload))
        if question is None:
            question = self._questions[stream, payload] = _Question(self._requests)
            self.send(stream, Describe(self._requests, stream, payload))
        question.askers[self._requests] = deadline_us, answer
        return self._requests

    def adopt(self, lines: Lines, streams: Collection[str], listener: Listener) -> None:
        """There are other streams, or other muxers. A stream that moves is opened anew at its new one.

        What has gone for good must have no viewers any more.
        """
        for muxer in lines.muxers:
            end = lines.frames_in(muxer)
            known = self._links.setdefault(muxer, _Link(muxer, end))
            if known.socket is None or known.end != end:
                known.end = end
                self._connect(known)
        for stream in [stream for stream in self._by_stream if stream not in streams]:
            self._by_stream[stream].streams.remove(stream)
            del self._by_stream[stream]
            for payload in Payload:
                question = self._questions.pop((stream, payload), None)
                for _, answer in question.askers.values() if question is not None else ():
                    answer("", f"the stream {stream} has been removed", False)
        for stream in streams:
            link, was = self._links[lines.muxer_of(stream)], self._by_stream.get(stream)
            if was is link:
                continue
            if was is not None:
                listener.moves(stream)
                was.streams.remove(stream)
            self._by_stream[stream] = link
            link.streams.append(stream)
            if was is not None:
                listener.muxer_is_new([stream], True)
            for (asked, payload), question in self._questions.items():
                if asked == stream:
                    self.send(stream, Describe(question.request, stream, payload))
        for muxer in [muxer for muxer in self._links if muxer not in lines.muxers]:
            link = self._links.pop(muxer)
            self._flush(link)
            self._disconnect(link)

    def cancel(self, request: int) -> None:
        """Nobody waits for this answer any more."""
        for question in self._questions.values():
            question.askers.pop(request, None)

    def tick(self) -> None:
        """Greet the muxers that are to be greeted, and give up on questions that are overdue."""
        now_us = self._clock()
        for link in self._links.values():
            if now_us >= link.greeting.due_us:
                self._greet(link)
        for (stream, payload), question in list(self._questions.items()):
            for request, (deadline_us, answer) in list(question.askers.items()):
                if now_us >= deadline_us and question.askers.pop(request, None) is not None:
                    answer("", self._why_nothing(stream, now_us), False)
            if not question.askers:
                del self._questions[stream, payload]  # whoever asks next asks anew

    def _why_nothing(self, stream: str, now_us: int) -> str:
        """Why a question has had no answer."""
        link = self._by_stream[stream]
        if link.fault:
            return link.fault
        if link.heard_us is None or now_us - link.heard_us >= SILENCE_US:
            return f"the muxer of the stream {stream}, {link.name}, does not answer"
        return f"the stream {stream} has not started: its source gives nothing yet"

    def drain(self, listener: Listener) -> bool:
        """Handle what has come, up to MESSAGES_A_TURN_MAX or TURN_US_MAX a muxer; whether there may be more."""
        for link in self._links.values():
            if link.outbox:
                self._greet(link)
            link.empty = False
            until_us = self._clock() + TURN_US_MAX
            for _ in range(MESSAGES_A_TURN_MAX):
                assert link.socket is not None
                frames = sockets.receive(link.socket)
                if frames is None:
                    link.empty = True
                    break
                try:
                    self._take(link, frames, listener)
                except MessageError as error:
                    self._refuse(link, error)
                link.greeting.said_us = now_us = self._clock()
                if now_us >= until_us:
                    break
        return not all(link.empty for link in self._links.values())

    def close(self) -> None:
        """Close the sockets."""
        for link in self._links.values():
            self._disconnect(link)

    # ---- inside -----------------------------------------------------------------------------------------

    def _take(self, link: _Link, frames: list[bytes], listener: Listener) -> None:
        """Handle a message, unless one before it is missing: then nothing is heeded until the next Welcome."""
        if link.expected is not None:
            link.expected += 1  # be it unreadable: then it is refused, but not missing
        message, media, sequence = wire.decode_numbered(frames)
        follows = link.expected == sequence + 1
        if not follows and not isinstance(message, Welcome):
            if link.expected is not None:
                link.expected = None
                self._greet(link)
            return
        link.expected = sequence + 1
        if isinstance(message, FrameMessage):
            if self._by_stream.get(message.stream) is link:
                listener.deliver(message, media)
            else:  # it moved: the rest of it comes from its new muxer
                self._counters.frames_moved += 1
        elif isinstance(message, Welcome):
            self._welcome(link, message, follows, listener)
        elif isinstance(message, Described):
            asked = message.stream, message.payload
            question = self._questions.get(asked)
            if question is not None and question.request == message.request:
                del self._questions[asked]
                for _, answer in question.askers.values():
                    answer(message.sdp, message.error, message.unsuited)
        elif isinstance(message, Ended):
            listener.ended(message)
        else:
            raise MessageError(f"{type(message).__name__} is not for a server")

    def _refuse(self, link: _Link, error: MessageError) -> None:
        self.refusals.note(link.name, error)
        if isinstance(error, VersionError):
            link.fault = f"its muxer {link.name} speaks {error}"
            for question in self._questions_to(link):
                for _, answer in question.askers.values():
                    answer("", link.fault, False)
                question.askers.clear()

    def _questions_to(self, link: _Link) -> list[_Question]:
        return [question for (stream, _), question in self._questions.items() if self._by_stream[stream] is link]

    def _welcome(self, link: _Link, message: Welcome, follows: bool, listener: Listener) -> None:
        # Before its first Welcome nobody else's positions can be meant, and some of its own may be known.
        replaced = link.epoch not in (None, message.epoch)
        if replaced:
            self._counters.muxer_restarts += 1
            self._log.info("muxer_replaced", muxer=message.muxer, viewers_of=len(link.streams))
        elif not follows and link.heard_us is not None:
            self._counters.muxers_unheard += 1
        link.epoch = message.epoch
        link.fault = ""
        link.heard_us = self._clock()
        if replaced or not follows:
            listener.muxer_is_new(link.streams, replaced)
            for (stream, payload), question in self._questions.items():
                if self._by_stream[stream] is link:
                    self.send(stream, Describe(question.request, stream, payload))
        for head in message.heads:
            if self._by_stream.get(head.stream) is link:
                listener.is_at(head)

    def _connect(self, link: _Link) -> None:
        """A new socket under a new identity: to the muxer this is another server, without viewers so far."""
        self._disconnect(link)
        link.life = secrets.randbits(63)
        link.outbox.clear()
        link.expected = link.heard_us = link.greeting.said_us = None
        link.socket = sockets.frames_in(self._context, link.end, f"{self._name}-{link.life:x}".encode())
        self._watcher.watch(link.name, link.socket, link.end)
        self._poller.add(link.socket.fileno(), READ, wake)

    def _disconnect(self, link: _Link) -> None:
        if link.socket is not None:
            self._poller.remove(link.socket.fileno())
            self._watcher.leave(link.socket)
            link.socket = None

    def _greet(self, link: _Link) -> None:
        """Say Hello, and then what waits: a new muxer has said so before the first frame that it is asked for."""
        link.greeting.done(self._clock())
        if self._send_now(link, Hello(self._name, link.life)):
            self._flush(link)

    def _flush(self, link: _Link) -> None:
        while link.outbox and self._send_now(link, link.outbox[0]):
            link.outbox.popleft()

    def _send_now(self, link: _Link, message: Message) -> bool:
        assert link.socket is not None
        link.empty = False  # sending swallows the descriptor's word that something has come
        try:
            sockets.send(link.socket, wire.encode(message, sequence=link.sent))
        except zmq.Again:
            return False  # the muxer is not there, or hangs; what it must know it is told when it answers again
        link.sent += 1
        return True
