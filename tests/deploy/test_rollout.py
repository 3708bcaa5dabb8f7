"""Step by step, each when the one before it is done; and what ends it."""

from deploy.changes import Add, Replace, Step, Tell
from deploy.policy import Process, State
from deploy.rollout import STEP_US_MAX, Rollout


def process(name: str, generation: int = 2, state: State = State.UP) -> Process:
    return Process(role=name.partition("-")[0], name=name, state=state, generation=generation)


def table(*processes: Process) -> dict[str, Process]:
    return {process.name: process for process in processes}


def rollout(*steps: Step) -> Rollout:
    return Rollout(steps, 2, 0)


TWO = (Step((Tell("muxer-0"),), ("muxer-0",)), Step((Replace("server-0"),)))


def test_nothing_to_do_is_done() -> None:
    assert rollout().finished


def test_the_next_step_waits_for_the_settings_to_be_taken() -> None:
    way = rollout(*TWO)
    assert not way.finished
    old = table(process("muxer-0", generation=1))
    assert way.tick(old, 0) == [Tell("muxer-0")]
    assert way.tick(old, 1) == []
    assert not way.finished
    assert way.tick(table(process("muxer-0")), 2) == [Replace("server-0")]
    assert way.finished
    assert way.tick(table(process("muxer-0")), 3) == []
    assert way.fault == ""


def test_one_that_is_being_restarted_is_not_up_yet() -> None:
    way = rollout(*TWO)
    way.tick({}, 0)
    restarting = process("muxer-0")
    restarting.again = True
    for waiting in (restarting, process("muxer-0", state=State.STARTING), process("muxer-0", state=State.BACKOFF)):
        assert way.tick(table(waiting), 1) == []
        assert not way.finished


def test_one_that_has_gone_is_not_waited_for() -> None:
    leaving = process("muxer-0", generation=1)
    leaving.leaving = True
    for processes in ({}, table(leaving)):
        way = rollout(*TWO)
        way.tick(processes, 0)
        assert way.tick(processes, 1) == [Replace("server-0")]


def test_one_that_finds_the_settings_wrong_is_a_fault() -> None:
    way = rollout(Step((Add("server", "server-1"),), ("server-1",)), *TWO)
    way.tick({}, 0)
    failed = process("server-1", state=State.FAILED)
    failed.reason = "its settings are wrong"
    assert way.tick(table(failed), 1) == []
    assert way.finished
    assert way.fault == "server-1: its settings are wrong"


def test_so_is_one_that_does_not_get_up() -> None:
    way = rollout(*TWO)
    way.tick({}, 5)
    assert way.due_us == 5 + STEP_US_MAX
    slow = process("muxer-0", state=State.BACKOFF)
    assert way.tick(table(slow), 4 + STEP_US_MAX) == []
    assert way.fault == ""
    assert way.tick(table(slow), 5 + STEP_US_MAX) == []
    assert way.fault == "muxer-0 is not up after 60 s: it does not answer"
