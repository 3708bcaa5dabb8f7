"""What deploy.policy makes of changes to a running instance: processes added, retired, drained and restarted."""

from common.errors import EXIT_SETTINGS
from deploy.policy import AllUp, Drain, Kill, Limits, Note, Start, Terminate
from tests.deploy.policies import S, all_up, keep_reporting, kills, starts


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
