"""A viewer's gate: every input in every state, and what holds whatever comes."""

from itertools import count

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.messages import ReadStart, ReadStop
from server.flow import Flow, Gate
from server.pacing import Room

ROOM = Room(1000, 20_000)
AFTER = (7, 3)
RESUME = (5, 9, True)

INPUTS = (
    "read_start", "read_start, full", "read_stop", "blocked", "drained", "took", "live", "parked", "parked, full",
    "muxer_replaced", "muxer_replaced, full", "muxer_forgot", "muxer_forgot, full", "lower", "lower, full",
)  # fmt: skip
START = ReadStart(1, 0, "cam", AFTER, *ROOM)
RESUMED = ReadStart(1, 0, "cam", AFTER, *ROOM, resume=RESUME)
STOP = ReadStop(0, AFTER)
LOWERED = ReadStart(1, 0, "cam", AFTER, *ROOM, True)

# Next state and message, the message's ticket aside. None: the input cannot come in this state.
C, U, L, W = Gate.CLOSED, Gate.CATCHING_UP, Gate.LIVE, Gate.WAITING
TABLE: dict[str, dict[Gate, tuple[Gate, ReadStart | ReadStop | None] | None]] = {
    "read_start": {C: (U, START), U: (U, None), L: (L, None), W: (W, None)},
    "read_start, full": {C: (W, None), U: (U, None), L: (L, None), W: (W, None)},
    "read_stop": {C: (C, None), U: (C, STOP), L: (C, STOP), W: (C, None)},
    "blocked": {C: None, U: (W, STOP), L: (W, STOP), W: None},
    "drained": {C: (C, None), U: (U, None), L: (L, None), W: (U, START)},
    "took": {C: None, U: (U, None), L: None, W: None},
    "live": {C: None, U: (L, None), L: None, W: None},
    "parked": {C: None, U: (U, START), L: (U, START), W: None},
    "parked, full": {C: None, U: (W, None), L: (W, None), W: None},
    "muxer_replaced": {C: (C, None), U: (U, RESUMED), L: (U, RESUMED), W: (U, RESUMED)},
    "muxer_replaced, full": {C: (C, None), U: (W, None), L: (W, None), W: (W, None)},
    "muxer_forgot": {C: (C, None), U: (U, START), L: (U, START), W: (U, START)},
    "muxer_forgot, full": {C: (C, None), U: (W, None), L: (W, None), W: (W, None)},
    "lower": {C: (C, None), U: (U, LOWERED), L: (U, LOWERED), W: (W, None)},
    "lower, full": {C: (C, None), U: (U, None), L: (L, None), W: (W, None)},
}


def feed(flow: Flow, given_input: str) -> ReadStart | ReadStop | None:
    """Give the gate one input."""
    name, _, full = given_input.partition(", ")
    room = None if full else ROOM
    match name:
        case "read_start":
            return flow.read_start(AFTER, room)
        case "read_stop":
            return flow.read_stop(AFTER)
        case "blocked":
            return flow.blocked(AFTER)
        case "drained":
            return flow.drained(AFTER, ROOM)
        case "took":
            flow.took()
        case "live":
            flow.live()
        case "parked":
            return flow.parked(AFTER, room)
        case "muxer_replaced":
            return flow.muxer_replaced(AFTER, RESUME, room)
        case "muxer_forgot":
            return flow.muxer_forgot(AFTER, room)
        case "lower":
            return flow.lower(True, AFTER, room)
        case _:
            raise AssertionError(name)
    return None


PATHS: dict[Gate, tuple[str, ...]] = {
    C: (),
    U: ("read_start",),
    L: ("read_start", "took", "live"),
    W: ("read_start", "blocked"),
}


def gate_in(state: Gate) -> Flow:
    """A gate in this state, by the shortest way."""
    flow = Flow(1, "cam", count(1))
    for step in PATHS[state]:
        feed(flow, step)
    assert flow.gate is state
    return flow


def test_the_table_is_complete() -> None:
    assert tuple(TABLE) == INPUTS
    assert all(set(row) == set(Gate) for row in TABLE.values())


@pytest.mark.parametrize("state", Gate)
@pytest.mark.parametrize("given_input", INPUTS)
def test_every_input_in_every_state(given_input: str, state: Gate) -> None:
    expected = TABLE[given_input][state]
    if expected is None:
        return  # `Fanout` gives it only to a gate with an open ticket
    flow = gate_in(state)
    ticket = flow.ticket
    message = feed(flow, given_input)
    assert flow.gate is expected[0]
    if isinstance(message, ReadStart):
        assert message.ticket == flow.ticket
        assert message.ticket != ticket
        assert msgspec.structs.replace(message, ticket=0) == expected[1]
    elif isinstance(message, ReadStop):
        assert message.ticket == ticket
        assert ReadStop(0, message.after) == expected[1]
    else:
        assert expected[1] is None
    assert (flow.ticket is None) is (flow.gate in (C, W))
    assert flow.reading is (flow.gate is not C)


def test_a_new_muxer_is_told_which_sample_the_viewer_has_until_a_frame_of_it_came() -> None:
    flow = gate_in(L)
    feed(flow, "muxer_replaced")
    stop = flow.blocked(AFTER)
    assert stop is not None
    assert stop.after == AFTER
    again = flow.drained(AFTER, ROOM)
    assert again is not None
    assert (again.after, again.resume) == (AFTER, RESUME)
    flow.took()
    stop = flow.blocked(AFTER)
    assert stop is not None
    assert stop.after == AFTER
    again = flow.drained(AFTER, ROOM)
    assert again is not None
    assert (again.after, again.resume) == (AFTER, None)


def test_and_of_a_viewer_that_was_stopped_meanwhile_too() -> None:
    flow = gate_in(L)
    flow.read_stop(AFTER)
    assert feed(flow, "muxer_replaced") is None
    start = flow.read_start(AFTER, ROOM)
    assert start is not None
    assert (start.after, start.resume) == (AFTER, RESUME)


def test_a_lowered_viewer_says_so_until_it_is_not() -> None:
    flow = gate_in(L)
    assert flow.lower(False, AFTER, ROOM) is None
    lowered = flow.lower(True, AFTER, ROOM)
    assert lowered is not None
    assert lowered.key_frames_only
    assert flow.lower(True, AFTER, ROOM) is None
    flow.blocked(AFTER)
    assert flow.lower(False, AFTER, ROOM) is None
    again = flow.drained(AFTER, ROOM)
    assert again is not None
    assert not again.key_frames_only


@given(st.lists(st.sampled_from(INPUTS), max_size=40))
def test_no_ticket_is_used_twice_and_none_is_stopped_that_is_not_open(inputs: list[str]) -> None:
    flow = Flow(1, "cam", count(1))
    used: set[int] = set()
    for given_input in inputs:
        if TABLE[given_input][flow.gate] is None:
            continue
        open_ticket = flow.ticket
        message = feed(flow, given_input)
        if isinstance(message, ReadStart):
            assert message.ticket not in used
            used.add(message.ticket)
        elif isinstance(message, ReadStop):
            assert message.ticket == open_ticket
        assert flow.ticket is None or flow.ticket in used
