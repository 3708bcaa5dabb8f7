"""What is refused is counted; what somebody has to mend is said, once."""

from common import logs
from common.errors import MessageError, VersionError
from common.refusals import SAID_MAX, Refusals
from tests.support.logged import logged


def test_another_version_is_said_once_of_each_sender() -> None:
    refusals = Refusals(logs.Logger())
    with logged() as said:
        for sender in ("capture-a", "capture-b", "capture-a"):
            refusals.note(sender, VersionError("version 1"))
        refusals.note("capture-a", MessageError("nonsense"))
    lines = [(line["log_level"], line["event"], line["sender"]) for line in said]
    assert lines == [
        ("error", "version_refused", "capture-a"),
        ("error", "version_refused", "capture-b"),
        ("debug", "message_refused", "capture-a"),
    ]
    assert refusals.counters == {"messages_refused": 4, "versions_refused": 3}


def test_what_is_said_has_a_limit() -> None:
    refusals = Refusals(logs.Logger())
    with logged() as said:
        for number in range(SAID_MAX + 9):
            refusals.note("a server", VersionError(f"version {number}"))
    assert len(said) == SAID_MAX
    assert refusals.versions == SAID_MAX + 9
