"""Every rule of deploy.policy, by observations in and actions out."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import EXIT_CRASH, EXIT_OK, EXIT_SETTINGS
from deploy.policy import (
    TICK_MAX_US,
    Action,
    AllUp,
    Drain,
    Finish,
    Kill,
    Limits,
    Note,
    Policy,
    Start,
    State,
    Terminate,
)

S = 1_000_000
MS = 1000
LIMITS = Limits()
LOOP = Note("crash_loop", "capture-a", "died 5 times in a row, last: exit code 1")
PROCESSES = [
    ("server", "server-0"),
    ("capture", "capture-a"),
    ("capture", "capture-b"),
    ("muxer", "muxer-0"),
]


def starts(actions: Sequence[Action]) -> list[str]:
    return [action.name for action in actions if isinstance(action, Start)]


def kills(actions: Sequence[Action]) -> list[str]:
    return [action.name for action in actions if isinstance(action, Kill)]


def all_up(now_us: int = 0, limits: Limits = LIMITS) -> Policy:
    """An instance whose every process got ready at once."""
    policy = Policy(PROCESSES, limits, now_us)
    said: list[Action] = []
    for _ in range(4):
        said += policy.tick(now_us)
        for name in starts(said):
            policy.ready(name, now_us)
    assert said[-1] == AllUp()
    return policy


def keep_reporting(policy: Policy, until_us: int, since_us: int = 0) -> list[Action]:
    """Let every running process report once a second; returns what was to be done."""
    actions: list[Action] = []
    for now in range(since_us + S, until_us + 1, S):
        for process in policy.processes.values():
            if process.running:
                policy.heard(process.name, now)
        actions += policy.tick(now)
    return actions


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


class TestDeath:
    def test_restarts_back_off_from_100_ms_doubling_to_10_s(self) -> None:
        policy = all_up()
        now, waits = 0, []
        for restarts in range(1, 11):
            note, *more = policy.died("capture-a", now, 1, "exit code 1")
            assert more == ([LOOP] if restarts == 5 else [])
            assert policy.shown_state("capture-a") == ("backoff" if restarts < 5 else "crash-loop")
            assert isinstance(note, Note)
            assert note.event == "process_died"
            assert note.reason == "exit code 1"
            assert note.retry_ms is not None
            waits.append(note.retry_ms)
            due = now + note.retry_ms * 1000
            assert policy.processes["capture-a"].state is State.BACKOFF
            keep_reporting(policy, due - S, now)
            assert starts(policy.tick(due - 1)) == []
            assert policy.next_us(due - 1) == due
            assert starts(policy.tick(due)) == ["capture-a"]
            assert policy.processes["capture-a"].restarts == restarts
            policy.ready("capture-a", due)
            assert policy.shown_state("capture-a") == "up"
            now = due
        assert waits == [100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000, 10000]

    @pytest.mark.parametrize(("life_us", "wait_ms", "deaths"), [(30 * S - 1, 200, 2), (30 * S, 100, 1)])
    def test_30_s_of_life_pay_the_backoff_off(self, life_us: int, wait_ms: int, deaths: int) -> None:
        policy = all_up()
        policy.died("muxer-0", 0, 1, "exit code 1")
        assert starts(policy.tick(100 * MS)) == ["muxer-0"]
        policy.ready("muxer-0", 100 * MS)
        (note,) = policy.died("muxer-0", 100 * MS + life_us, 1, "exit code 1")
        assert isinstance(note, Note)
        assert note.retry_ms == 0
        muxer = policy.processes["muxer-0"]
        assert (muxer.wait_us, muxer.deaths) == (wait_ms * MS, deaths)

    @pytest.mark.parametrize(("life_us", "waits"), [(2 * S, [0, 0, 0]), (2 * S - 1, [100, 200, 400])])
    def test_who_lives_20_times_longer_than_it_would_be_kept_away_is_started_at_once(
        self, life_us: int, waits: list[int]
    ) -> None:
        policy = all_up()
        now, found = life_us, []
        for _ in waits:
            (note,) = policy.died("muxer-0", now, -9, "killed by SIGKILL")
            assert isinstance(note, Note)
            assert note.retry_ms is not None
            found.append(note.retry_ms)
            now += note.retry_ms * 1000
            assert starts(policy.tick(now)) == ["muxer-0"]
            policy.ready("muxer-0", now)
            now += life_us
        assert found == waits

    def test_an_unasked_exit_with_0_is_a_death_like_any_other(self) -> None:
        policy = all_up()
        policy.died("server-0", 0, EXIT_OK, "ended without being asked to")
        assert starts(policy.tick(100 * MS)) == ["server-0"]

    def test_a_death_leaves_the_others_alone(self) -> None:
        policy = all_up()
        policy.died("muxer-0", 0, -9, "killed by SIGKILL")
        actions = [action for action in keep_reporting(policy, 60 * S) if not isinstance(action, Note)]
        assert actions == [Start("muxer-0"), Kill("muxer-0")]  # never said Ready again
        assert [policy.processes[name].state for name in ("capture-a", "capture-b", "server-0")] == [State.UP] * 3

    def test_all_up_is_said_once(self) -> None:
        policy = all_up()
        policy.died("server-0", 0, 1, "exit code 1")
        policy.tick(S)
        policy.ready("server-0", S)
        assert AllUp() not in policy.tick(S)


class TestSettingsFault:
    def test_a_capture_fails_alone_and_is_never_started_again(self) -> None:
        policy = Policy(PROCESSES, LIMITS, 0)
        policy.tick(0)
        policy.ready("muxer-0", 0)
        policy.tick(0)
        assert policy.died("capture-a", 0, EXIT_SETTINGS, "wrong") == [
            Note("process_failed", "capture-a", "wrong", None)
        ]
        policy.ready("capture-b", 0)
        assert policy.tick(0) == [Start("server-0")]
        policy.ready("server-0", 0)
        assert policy.tick(0) == [AllUp()]
        assert keep_reporting(policy, 120 * S) == []
        assert policy.processes["capture-a"].state is State.FAILED
        assert policy.processes["capture-a"].restarts == 0

    @pytest.mark.parametrize("name", ["muxer-0", "server-0"])
    def test_a_muxer_or_server_ends_the_instance_at_start(self, name: str) -> None:
        policy = Policy([*PROCESSES, ("muxer", "muxer-1"), ("server", "server-1")], LIMITS, 0)
        for _ in range(3):
            for started in starts(policy.tick(0)):
                if started != name:
                    policy.ready(started, 0)
            if policy.processes[name].running:
                break
        running = {process.name for process in policy.processes.values() if process.running} - {name}
        actions = policy.died(name, 0, EXIT_SETTINGS, "wrong")
        assert [action.event for action in actions if isinstance(action, Note)] == [
            "process_failed", "instance_failed",
        ]  # fmt: skip
        assert {action.name for action in actions if isinstance(action, Terminate)} == running
        for other in running:
            assert policy.died(other, S, 0, "") == []
        assert policy.tick(S) == [Finish(EXIT_SETTINGS)]

    def test_one_of_two_servers_that_fails_later_fails_alone_and_the_last_ends_the_instance(self) -> None:
        policy = Policy([*PROCESSES, ("server", "server-1")], LIMITS, 0)
        for _ in range(4):
            for started in starts(policy.tick(0)):
                policy.ready(started, 0)
        policy.died("server-0", 0, 1, "exit code 1")
        policy.tick(S)
        assert [type(action) for action in policy.died("server-0", S, EXIT_SETTINGS, "wrong")] == [Note]
        assert not policy.stopping
        policy.died("server-1", S, 1, "exit code 1")
        policy.tick(2 * S)
        assert len(policy.died("server-1", 2 * S, EXIT_SETTINGS, "wrong")) > 1
        assert policy.stopping

    def test_when_every_capture_has_failed_the_instance_ends(self) -> None:
        policy = Policy(PROCESSES, LIMITS, 0)
        policy.tick(0)
        policy.ready("muxer-0", 0)
        policy.tick(0)
        policy.died("capture-a", 0, EXIT_SETTINGS, "wrong")
        actions = policy.died("capture-b", 0, EXIT_SETTINGS, "wrong")
        assert Note("instance_failed", "capture-b", "no capture can run with these settings") in actions
        assert actions[-1] == Terminate("muxer-0")
        policy.died("muxer-0", 0, 0, "")
        assert policy.tick(0) == [Finish(EXIT_SETTINGS)]

    def test_the_exit_code_of_a_killed_process_is_no_word_of_its_own(self) -> None:
        policy = all_up()
        policy.tick(1)
        for now in range(S, 11 * S, S):
            policy.heard("capture-b", now)
            policy.heard("muxer-0", now)
            policy.heard("server-0", now)
            policy.tick(now)
        policy.died("capture-a", 11 * S, EXIT_SETTINGS, "wrong")
        assert policy.processes["capture-a"].state is State.BACKOFF


class TestSilence:
    def silent(self, policy: Policy, until_us: int) -> list[Action]:
        actions: list[Action] = []
        for now in range(S, until_us + 1, S):
            for name in ("capture-a", "muxer-0", "server-0"):
                policy.heard(name, now)
            actions += policy.tick(now)
        return actions

    def test_a_process_silent_for_10_s_is_killed_once_and_started_again(self) -> None:
        policy = all_up()
        assert self.silent(policy, 9 * S) == []
        assert policy.next_us(9 * S) == 10 * S
        assert self.silent(policy, 14 * S) == [
            Note("process_hung", "capture-b", "no report for 10 s (hung): it is killed"), Kill("capture-b"),
        ]  # fmt: skip
        (note,) = policy.died("capture-b", 14 * S, -9, "killed by SIGKILL")
        assert note == Note("process_died", "capture-b", "no report for 10 s (hung): killed", 0)
        assert starts(policy.tick(15 * S)) == ["capture-b"]
        policy.ready("capture-b", 15 * S)
        policy.died("capture-b", 16 * S, 1, "exit code 1")
        assert policy.processes["capture-b"].reason == "exit code 1"  # the old life's fault is not the new one's

    def test_a_supervisor_that_slept_accuses_nobody(self) -> None:
        policy = all_up()
        policy.tick(S)
        assert policy.tick(3600 * S) == []
        assert policy.tick(3601 * S) == []
        keep_silent = [policy.tick(now) for now in range(3602 * S, 3610 * S, S)]
        assert not any(keep_silent)
        assert sorted(kills(policy.tick(3610 * S))) == sorted(name for _, name in PROCESSES)


class TestChange:
    def test_one_that_is_added_is_started(self) -> None:
        policy = all_up()
        policy.generation = 3
        policy.add("capture", "capture-c")
        assert policy.tick(S) == [Start("capture-c")]
        assert policy.processes["capture-c"].generation == 3
        assert policy.processes["capture-a"].generation == 0
        policy.ready("capture-c", S)
        assert AllUp() not in policy.tick(S)

    def test_one_that_is_retired_ends_for_good(self) -> None:
        policy = all_up()
        assert policy.retire("capture-a", S) == [Terminate("capture-a")]
        assert policy.next_us(S) <= 3 * S
        assert policy.died("capture-a", S, 0, "") == [Note("process_gone", "capture-a", "no longer wanted")]
        assert "capture-a" not in policy.processes
        assert starts(keep_reporting(policy, 60 * S, S)) == []

    def test_one_that_does_not_run_is_retired_at_once(self) -> None:
        policy = all_up()
        policy.died("capture-a", S, 1, "exit code 1")
        assert policy.retire("capture-a", S) == []
        assert "capture-a" not in policy.processes

    def test_who_is_asked_to_end_and_does_not_is_killed(self) -> None:
        policy = all_up()
        policy.retire("capture-a", S)
        for name in ("capture-a", "capture-b", "muxer-0", "server-0"):
            policy.heard(name, 2 * S)
        assert policy.tick(3 * S - 1) == []
        assert policy.tick(3 * S) == [
            Note("process_killed", "capture-a", "did not end when asked to"), Kill("capture-a"),
        ]  # fmt: skip
        assert policy.tick(3 * S + 1) == []
        (note,) = policy.died("capture-a", 3 * S, -9, "killed by SIGKILL")
        assert note == Note("process_gone", "capture-a", "did not end when asked to: killed")

    def test_a_server_drains_and_is_ended_when_that_takes_too_long(self) -> None:
        policy = all_up(limits=Limits(drain_us=60 * S))
        assert policy.drain("server-0", 0) == [Drain("server-0")]
        assert policy.shown_state("server-0") == "draining"
        assert keep_reporting(policy, 59 * S) == []
        assert keep_reporting(policy, 60 * S, 59 * S) == [
            Note("drain_over", "server-0", "still has viewers after 60 s: it is ended"), Terminate("server-0"),
        ]  # fmt: skip
        policy.died("server-0", 60 * S, 0, "")
        assert "server-0" not in policy.processes

    def test_a_draining_server_that_hangs_is_killed_and_not_started_again(self) -> None:
        policy = all_up()
        policy.drain("server-0", 0)
        now = 0
        while not (actions := policy.tick(now)):
            now += S
            for name in ("muxer-0", "capture-a", "capture-b"):
                policy.heard(name, now)
        assert kills(actions) == ["server-0"]
        policy.died("server-0", now, -9, "killed by SIGKILL")
        assert "server-0" not in policy.processes

    def test_a_server_that_is_not_up_does_not_drain(self) -> None:
        policy = all_up()
        policy.died("server-0", S, 1, "exit code 1")
        assert policy.drain("server-0", S) == []
        assert "server-0" not in policy.processes

    def test_a_restart_is_no_death(self) -> None:
        policy = all_up()
        policy.generation = 1
        assert policy.restart("muxer-0", S) == [Terminate("muxer-0")]
        assert policy.died("muxer-0", S, 0, "") == []
        assert policy.tick(S) == [Start("muxer-0")]
        process = policy.processes["muxer-0"]
        assert (process.restarts, process.deaths, process.generation, process.kill_us) == (0, 0, 1, None)

    def test_what_failed_or_waits_is_restarted_at_once(self) -> None:
        policy = all_up()
        policy.died("capture-a", S, EXIT_SETTINGS, "wrong")
        policy.died("capture-b", S, 1, "exit code 1")
        for name in ("capture-a", "capture-b"):
            assert policy.restart(name, S) == []
        assert policy.tick(S) == [Start("capture-a"), Start("capture-b")]


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
