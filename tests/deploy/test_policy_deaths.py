"""What deploy.policy makes of processes that die, fail or fall silent."""

import pytest

from common.errors import EXIT_OK, EXIT_SETTINGS
from deploy.policy import Action, AllUp, Finish, Kill, Note, Policy, Start, State, Terminate
from tests.deploy.policies import LIMITS, MS, PROCESSES, S, all_up, keep_reporting, kills, starts

LOOP = Note("crash_loop", "capture-a", "died 5 times in a row, last: exit code 1")


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
