"""What real clients said, each request as it stood on the wire, said again to ours."""

import json
import re
from itertools import count
from pathlib import Path

import pytest

from common.sample import Payload
from server.rtsp_message import Interleaved, Reader, Response, encode_interleaved
from server.rtsp_state import Dialogue
from server.rtsp_steps import Describe, Feedback, Play, Reply, Step
from server.rtsp_transport import Multicast, Pair

GOLDEN = Path(__file__).parent.parent / "golden" / "client_dialogues.json"
DIALOGUES: list[dict[str, list[str]]] = json.loads(GOLDEN.read_text(encoding="ascii"))
STREAMS = dict.fromkeys(("av", "ts", "h264"), Payload.TS)
FRAME = encode_interleaved(1, b"\x80\xc9\x00\x01\x00\x00\x00\x01")  # an empty receiver report


class FreePorts:
    """All of the client's."""

    def claim(self, _client_ports: Pair) -> Pair | None:
        return 8000, 8001

    def release(self, _client_ports: Pair) -> None:
        pass

    def group(self, _stream: str, _payload: Payload, _track: int) -> Multicast | None:
        return Multicast("239.1.2.3", (20_000, 20_001), 1)


def requests(dialogue: dict[str, list[str]]) -> tuple[list[bytes], list[int]]:
    """The requests, under the session identifiers that ours gives, and the statuses they deserve.

    What ours does not have (yet): a second track of a stream in MPEG-TS.
    """
    sessions = 0
    open_sessions: set[str] = set()
    data, statuses = [], []
    for text in dialogue["requests"]:
        method, url = text.split(" ")[:2]
        text = text.replace("HOST", "127.0.0.1:8554").replace("{session}", f"id{sessions}")
        session = re.search(r"(?m)^Session: (\w+)", text)
        status = 200
        if session is not None and session[1] not in open_sessions:
            status = 454
        elif method == "SETUP" and url.endswith("stream=1"):
            status = 404
        elif (
            method == "SETUP"
            and "RTP/AVP/TCP" not in text
            and "client_port=" not in text
            and "multicast" not in text
        ):
            status = 461
        elif method == "SETUP" and session is None:
            sessions += 1
            open_sessions.add(f"id{sessions}")
        elif method == "TEARDOWN" and session is not None:
            open_sessions.remove(session[1])
        data.append(text.replace("\n", "\r\n").encode() + b"\r\n\r\n")
        statuses.append(status)
    return data, statuses


def replay(pieces: list[bytes]) -> tuple[list[tuple[int, str]], list[Step]]:
    """Status and CSeq of each answer to bytes that come in these pieces, and the other steps."""
    numbers = count(1)
    dialogue = Dialogue(
        STREAMS, "rtsp://127.0.0.1:8554", 60, lambda: f"id{next(numbers)}", "127.0.0.1", FreePorts()
    )
    answers: list[tuple[int, str]] = []
    others: list[Step] = []
    for piece in pieces:
        dialogue.receive(piece)
        while (step := dialogue.next_step()) is not None:
            if isinstance(step, Reply):
                cseq = re.search(rb"\r\nCSeq: (\d+)\r\n", step.data)
                assert cseq is not None
                answers.append((int(step.data[9:12]), cseq[1].decode()))
                reader = Reader()
                reader.receive(step.data)
                assert isinstance(reader.next(), Response)
                assert not reader.incomplete
            else:
                others.append(step)
                if isinstance(step, Describe):
                    dialogue.described("v=0\r\nm=video 0 RTP/AVP 33\r\n")
                elif isinstance(step, Play):
                    dialogue.played({0: (1, 2)})
    assert not dialogue.incomplete
    return answers, others


def first_cseq(request: bytes) -> str:
    found = re.search(rb"\r\nCSeq: (\d+)\r\n", request)
    assert found is not None
    return found[1].decode()


@pytest.mark.parametrize("dialogue", DIALOGUES, ids=lambda dialogue: dialogue["clients"][0])
def test_dialogue(dialogue: dict[str, list[str]]) -> None:
    data, statuses = requests(dialogue)
    expected = [(status, first_cseq(request)) for status, request in zip(statuses, data, strict=True)]
    answers, others = replay(data)
    assert answers == expected
    assert [step for step in others if isinstance(step, Feedback)] == []
    whole = b"".join(data)
    assert replay([whole]) == (answers, others)  # pipelined
    assert replay([whole[i : i + 1] for i in range(len(whole))]) == (answers, others)
    with_frames, more = replay([request + FRAME for request in data])
    assert with_frames == answers
    assert [step for step in more if not isinstance(step, Feedback)] == others
    on_line_ends = re.findall(rb"[^\r]*\r?|\n", whole)
    assert replay(on_line_ends) == (answers, others)  # cut between CR and LF


def test_there_is_a_feedback_channel_in_them() -> None:
    frames = Reader()
    frames.receive(FRAME)
    assert isinstance(frames.next(), Interleaved)
    playing = next(dialogue for dialogue in DIALOGUES if "ffmpeg1-ts-tcp-mini" in dialogue["clients"])
    data, _ = requests(playing)
    _, steps = replay([request + FRAME for request in data])
    assert any(isinstance(step, Feedback) for step in steps)


def test_they_cover_what_clients_are_known_for() -> None:
    text = "\n".join(request for dialogue in DIALOGUES for request in dialogue["requests"])
    for known in (
        "CSeq: 0\n",
        "{session};timeout=60",
        "/stream=0 RTSP",
        'mode="PLAY"',
        "\n: \n",
        "RTP/AVP;multicast",
    ):
        assert known in text
