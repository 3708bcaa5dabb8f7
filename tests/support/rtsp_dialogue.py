"""One client of a `server.rtsp_state.Dialogue`: what it asks and is answered, and what else is to be done."""

from itertools import count

from common.sample import Payload
from server.rtsp_state import Dialogue
from server.rtsp_steps import Describe, Play, Reply, Step
from server.rtsp_transport import Multicast

SDP = "v=0\r\nm=video 0 RTP/AVP 33\r\n"
STREAMS = {"cam": Payload.TS, "two": Payload.TS}
TCP = "RTP/AVP/TCP;unicast;interleaved=0-1"


class Answer:
    """A response as the client sees it."""

    def __init__(self, data: bytes) -> None:
        head, _, body = data.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        self.status = int(status.split(" ")[1])
        self.fields = dict(line.split(": ", 1) for line in lines)
        self.body = body.decode()
        assert len(body) == int(self.fields.get("Content-Length", "0"))


class FreePorts:
    """UDP ports of which the client's 6000 and 6001 are another viewer's. claimed: and these are ours."""

    def __init__(self) -> None:
        self.claimed: set[tuple[int, int]] = set()

    def claim(self, client_ports: tuple[int, int]) -> tuple[int, int] | None:
        if client_ports == (6000, 6001) or client_ports in self.claimed:
            return None
        self.claimed.add(client_ports)
        return (8000, 8001)

    def release(self, client_ports: tuple[int, int]) -> None:
        self.claimed.remove(client_ports)

    def group(self, stream: str, payload: Payload, track: int) -> Multicast | None:
        port = 20_000 + 2 * track + (2 if payload is Payload.NATIVE else 0)
        return Multicast("239.1.2.3", (port, port + 1), 1) if stream == "two" else None


class Client:
    """Asks a dialogue, and answers its questions for a stream's SDP."""

    def __init__(self) -> None:
        numbers = count(1)
        self.ports = FreePorts()
        self.numbers: dict[int, tuple[int, int]] = {}  # of first packets
        self.dialogue = Dialogue(
            STREAMS, "rtsp://local:8554", 60, lambda: f"id{next(numbers)}", "10.0.0.1", self.ports
        )
        self.cseq = 0
        self.others: list[Step] = []  # all that is not a reply

    def ask(self, method: str, url: str = "rtsp://h/cam", body: str = "", **fields: str) -> Answer:
        self.cseq += 1
        lines = [f"{method} {url} RTSP/1.0", f"CSeq: {self.cseq}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
        if body:
            lines.append(f"Content-Length: {len(body.encode())}")
        [answer] = self.receive(("\r\n".join([*lines, "", ""]) + body).encode())
        assert answer.fields["CSeq"] == str(self.cseq)
        return answer

    def receive(self, data: bytes) -> list[Answer]:
        self.dialogue.receive(data)
        answers = []
        self.others = []
        while (step := self.dialogue.next_step()) is not None:
            if isinstance(step, Reply):
                answers.append(Answer(step.data))
                assert step.fault is (answers[-1].status != 200)
            elif isinstance(step, Describe):
                self.dialogue.described(SDP)
            else:
                self.others.append(step)
                if isinstance(step, Play):
                    self.dialogue.played(self.numbers)
        return answers

    def setup(self, url: str = "rtsp://h/cam/stream=0", transport: str = TCP) -> str:
        answer = self.ask("SETUP", url, Transport=transport)
        assert answer.status == 200
        return answer.fields["Session"].partition(";")[0]


def describe_native(client: Client) -> None:
    """Let it ask for `cam` as its own RTP: a video and an audio track."""
    client.dialogue.receive(b"DESCRIBE rtsp://h/cam/native RTSP/1.0\r\nCSeq: 1\r\n\r\n")
    assert client.dialogue.next_step() == Describe("cam", Payload.NATIVE)
    client.dialogue.described("v=0\r\nm=video 0 RTP/AVP 96\r\nm=audio 0 RTP/AVP 97\r\n")
    reply = client.dialogue.next_step()
    assert isinstance(reply, Reply)
    assert Answer(reply.data).fields["Content-Base"] == "rtsp://h/cam/native/"
