"""An instance's processes for tests of `deploy.policy`, and what the policy wants done with them."""

from collections.abc import Sequence

from deploy.policy import Action, AllUp, Kill, Limits, Policy, Start

S = 1_000_000
MS = 1000
LIMITS = Limits()
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
