"""How an instance starts and stops by deploy.policy, and what always holds; observations in, actions out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import EXIT_CRASH, EXIT_OK, EXIT_SETTINGS
from deploy.policy import TICK_MAX_US, Action, AllUp, Finish, Kill, Limits, Note, Policy, Start, State, Terminate
from tests.deploy.policies import LIMITS, MS, PROCESSES, S, all_up, keep_reporting, kills, starts


class TestStart:
    def test_roles_start_in_order_each_when_the_former_is_ready(self) -> None:
        policy = Policy(PROCESSES, LIMITS, 0)
        assert policy.tick(0) == [Start("muxer-0")]
        assert policy.tick(1 * S) == []
        policy.ready("muxer-0", 2 * S)
        assert policy.tick(2 * S) == [Start("capture-a"), Start("capture-b")]
        policy.ready("capture-b", 3 * S)
        assert policy.tick(3 * S) == []
        policy.ready("capture-a", 3 * S)
        assert policy.tick(3 * S) == [Start("server-0")]
        policy.ready("server-0", 4 * S)
        assert policy.tick(4 * S) == [AllUp()]
        assert policy.tick(4 * S) == []

    def test_a_slow_role_delays_the_next_one_no_longer_than_its_term(self) -> None:
        policy = Policy(PROCESSES, LIMITS, 0)
        policy.tick(0)
        assert keep_reporting(policy, 9 * S) == []
        assert policy.next_us(9 * S) == 10 * S
        assert policy.tick(10 * S) == [Start("capture-a"), Start("capture-b")]
        for name in ("capture-a", "capture-b"):
            policy.ready(name, 11 * S)
        assert starts(policy.tick(11 * S)) == []  # the muxer is still waited for, and captures have their term
        assert starts(policy.tick(20 * S)) == ["server-0"]
        policy.ready("server-0", 20 * S)
        assert policy.tick(20 * S) == []
        policy.ready("muxer-0", 21 * S)
        assert policy.tick(21 * S) == [AllUp()]

    def test_a_process_that_never_gets_ready_is_killed_and_started_again(self) -> None:
        policy = Policy(PROCESSES, LIMITS, 0)
        policy.tick(0)
        actions = keep_reporting(policy, LIMITS.ready_wait_us - S)
        assert kills(actions) == []
        assert kills(policy.tick(LIMITS.ready_wait_us)) == ["muxer-0"]
        (note,) = policy.died("muxer-0", LIMITS.ready_wait_us, -9, "killed by SIGKILL")
        assert note == Note("process_died", "muxer-0", "not ready after 30 s: killed", 0)

    def test_no_more_than_the_limit_start_at_once(self) -> None:
        processes = [("muxer", "m"), *(("capture", f"c{index}") for index in range(40)), ("server", "s")]
        policy = Policy(processes, Limits(starting_max=16), 0)
        policy.tick(0)
        policy.ready("m", 0)
        first = starts(policy.tick(0))
        assert first == [f"c{index}" for index in range(16)]
        assert policy.tick(0) == []
        for name in first[:3]:
            policy.ready(name, 0)
        assert starts(policy.tick(0)) == ["c16", "c17", "c18"]

    def test_a_capture_that_dies_at_start_does_not_hold_up_the_others(self) -> None:
        policy = Policy(PROCESSES, LIMITS, 0)
        policy.tick(0)
        policy.ready("muxer-0", 0)
        policy.tick(0)
        policy.died("capture-a", 0, 1, "exit code 1")
        policy.ready("capture-b", 0)
        assert policy.tick(0) == [Start("server-0")]
        policy.ready("server-0", 0)
        assert policy.tick(0) == [AllUp()]

    @pytest.mark.parametrize("name", ["muxer-0", "server-0"])
    def test_the_instance_is_not_up_while_a_muxer_or_server_dies_again_and_again(self, name: str) -> None:
        policy = Policy(PROCESSES, LIMITS, 0)
        said: list[Action] = []
        for now in range(0, 25 * S, 100 * MS):
            actions = policy.tick(now)
            said += actions
            for started in starts(actions):
                if started == name:
                    policy.died(name, now, 1, "exit code 1")
                else:
                    policy.ready(started, now)
            for process in policy.processes.values():
                policy.heard(process.name, now)
        assert AllUp() not in said
        assert {process.name for process in policy.processes.values() if process.state is State.UP} == {
            "muxer-0", "capture-a", "capture-b", "server-0",
        } - {name}  # fmt: skip


class TestStop:
    def test_all_are_asked_then_finish_with_0(self) -> None:
        policy = all_up()
        assert policy.stop(S) == [
            Terminate("server-0"), Terminate("capture-a"), Terminate("capture-b"), Terminate("muxer-0"),
        ]  # fmt: skip
        assert policy.stop(S) == []
        for _, name in PROCESSES:
            assert policy.tick(S) == []
            assert policy.died(name, S, 1, "exit code 1") == []
        assert policy.tick(S) == [Finish(EXIT_OK)]

    def test_who_does_not_end_is_killed_after_2_s(self) -> None:
        policy = all_up()
        policy.stop(0)
        policy.died("server-0", S, 0, "")
        policy.died("capture-a", S, 0, "")
        assert policy.next_us(S + 500 * MS) == 2 * S
        assert policy.tick(2 * S - 1) == []
        assert policy.tick(2 * S) == [
            Note("process_killed", "muxer-0", "did not end when asked to"),
            Note("process_killed", "capture-b", "did not end when asked to"),
            Kill("capture-b"),
            Kill("muxer-0"),
        ]
        assert policy.tick(2 * S + 1) == []
        policy.died("capture-b", 2 * S + 2, -9, "")
        policy.died("muxer-0", 2 * S + 2, -9, "")
        assert policy.tick(2 * S + 2) == [Finish(EXIT_OK)]

    def test_what_cannot_be_killed_is_named_and_left_within_3_s(self) -> None:
        policy = all_up()
        policy.stop(0)
        policy.tick(2 * S)
        for name in ("server-0", "capture-a", "capture-b"):
            policy.died(name, 2 * S, -9, "")
        due = policy.next_us(2 * S)
        assert due < 3 * S
        assert policy.tick(due) == [
            Note("process_left", "muxer-0", "SIGKILL does not end it"), Finish(EXIT_CRASH),
        ]  # fmt: skip

    def test_hurry_kills_at_once(self) -> None:
        policy = all_up()
        policy.stop(0)
        policy.died("server-0", 0, 0, "")
        assert kills(policy.hurry()) == ["capture-a", "capture-b", "muxer-0"]
        assert policy.tick(2 * S) == []  # nothing is killed twice

    def test_while_starting_and_backing_off_nothing_more_is_started(self) -> None:
        policy = Policy(PROCESSES, LIMITS, 0)
        policy.tick(0)
        policy.died("muxer-0", 0, 1, "exit code 1")
        assert policy.stop(0) == []
        assert policy.tick(S) == [Finish(EXIT_OK)]

    def test_a_settings_fault_while_stopping_changes_nothing(self) -> None:
        policy = all_up()
        policy.stop(0)
        for _, name in PROCESSES:
            policy.died(name, 0, EXIT_SETTINGS, "wrong")
        assert policy.tick(0) == [Finish(EXIT_OK)]


@given(st.data())
def test_whatever_happens_the_actions_fit_the_processes_and_stopping_ends(data: st.DataObject) -> None:
    policy = Policy(PROCESSES, LIMITS, 0)
    names = [name for _, name in PROCESSES]
    running: set[str] = set()
    finished: list[int] = []
    now = 0

    def carry_out(actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Start):
                assert action.name not in running
                assert not policy.stopping
                running.add(action.name)
            elif isinstance(action, Terminate | Kill):
                assert action.name in running
            elif isinstance(action, Finish):
                finished.append(action.exit_code)

    for _ in range(data.draw(st.integers(0, 40))):
        now += data.draw(st.sampled_from([0, 1, 100 * MS, S, 3 * S, 11 * S]))
        event = data.draw(st.sampled_from(["tick", "ready", "heard", "died", "tick"]))
        name = data.draw(st.sampled_from(names))
        if event == "ready" and name in running:
            policy.ready(name, now)
        elif event == "heard" and name in running:
            policy.heard(name, now)
        elif event == "died" and name in running:
            running.discard(name)
            carry_out(policy.died(name, now, data.draw(st.sampled_from([0, 1, -9, EXIT_SETTINGS])), "why"))
        if finished:
            return
        carry_out(policy.tick(now))
        assert now <= policy.next_us(now) <= now + TICK_MAX_US
        assert {process.name for process in policy.processes.values() if process.running} == running
        if finished:
            return

    carry_out(policy.stop(now))
    deadline = now + 3 * S
    while not finished:
        carry_out(policy.tick(now))
        now = max(policy.next_us(now), now + 1)
        assert now <= deadline
