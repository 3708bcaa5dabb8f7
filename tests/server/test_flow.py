"""A viewer's gate: every input in every state, and what holds whatever comes."""

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from common.messages import ReadStart, ReadStop
from server.flow import Flow, Gate
from server.pacing import Room

Messages = tuple[ReadStart | ReadStop, ...]

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
# Opened and shut at once.
NAMED = ReadStart(1, 0, "cam", AFTER, 1), STOP
NAMED_ANEW = ReadStart(1, 0, "cam", AFTER, 1, resume=RESUME), STOP
TABLE: dict[str, dict[Gate, tuple[Gate, ReadStart | ReadStop | Messages | None] | None]] = {
    "read_start": {C: (U, START), U: (U, None), L: (L, None), W: (W, None)},
    "read_start, full": {C: (W, None), U: (U, None), L: (L, None), W: (W, None)},
    "read_stop": {C: (C, None), U: (C, STOP), L: (C, STOP), W: (C, None)},
    "blocked": {C: None, U: (W, STOP), L: (W, STOP), W: None},
    "drained": {C: (C, None), U: (U, None), L: (L, None), W: (U, START)},
    "took": {C: None, U: (U, None), L: None, W: None},
    "live": {C: None, U: (L, None), L: None, W: None},
    "parked": {C: None, U: (U, START), L: (U, START), W: None},
    "parked, full": {C: None, U: (W, None), L: (W, None), W: None},
    "muxer_replaced": {C: (C, NAMED_ANEW), U: (U, RESUMED), L: (U, RESUMED), W: (U, RESUMED)},
    "muxer_replaced, full": {C: (C, NAMED_ANEW), U: (W, NAMED_ANEW), L: (W, NAMED_ANEW), W: (W, NAMED_ANEW)},
    "muxer_forgot": {C: (C, NAMED), U: (U, START), L: (U, START), W: (U, START)},
    "muxer_forgot, full": {C: (C, NAMED), U: (W, NAMED), L: (W, NAMED), W: (W, NAMED)},
    "lower": {C: (C, None), U: (U, LOWERED), L: (U, LOWERED), W: (W, None)},
    "lower, full": {C: (C, None), U: (U, None), L: (L, None), W: (W, None)},
}


def feed(flow: Flow, given_input: str) -> Messages:
    """Give the gate one input; what it says."""
    name, _, full = given_input.partition(", ")
    room = None if full else ROOM
    said: tuple[ReadStart | ReadStop | None, ...] = ()
    match name:
        case "read_start":
            said = (flow.read_start(AFTER, room),)
        case "read_stop":
            said = (flow.read_stop(AFTER),)
        case "blocked":
            said = (flow.blocked(AFTER),)
        case "drained":
            said = (flow.drained(AFTER, ROOM),)
        case "took":
            flow.took()
        case "live":
            flow.live()
        case "parked":
            said = (flow.parked(AFTER, room),)
        case "muxer_replaced":
            said = flow.muxer_replaced(AFTER, RESUME, room)
        case "muxer_forgot":
            said = flow.muxer_forgot(AFTER, room)
        case "lower":
            said = (flow.lower(True, AFTER, room),)
        case _:
            raise AssertionError(name)
    return tuple(message for message in said if message is not None)


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
    gate, messages = expected
    if not isinstance(messages, tuple):
        messages = () if messages is None else (messages,)
    flow = gate_in(state)
    open_ticket = before = flow.ticket
    said = feed(flow, given_input)
    assert flow.gate is gate
    assert tuple(replace(message, ticket=0) for message in said) == messages
    for message in said:
        if isinstance(message, ReadStart):
            assert message.ticket != before
            open_ticket = message.ticket
        else:
            assert message.ticket == open_ticket
            open_ticket = None
    assert not said or open_ticket == flow.ticket
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


def test_one_who_has_not_begun_is_not_named_to_a_muxer_that_knows_none() -> None:
    flow = gate_in(C)
    assert flow.muxer_forgot(None, ROOM) == ()
    assert flow.muxer_replaced(None, None, None) == ()
    assert flow.gate is C


def test_and_of_a_viewer_that_was_stopped_meanwhile_too() -> None:
    flow = gate_in(L)
    flow.read_stop(AFTER)
    assert [type(message) for message in feed(flow, "muxer_replaced")] == [ReadStart, ReadStop]
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
        for message in feed(flow, given_input):
            if isinstance(message, ReadStart):
                assert message.ticket not in used
                used.add(message.ticket)
                open_ticket = message.ticket
            else:
                assert message.ticket == open_ticket
        assert flow.ticket is None or flow.ticket in used
