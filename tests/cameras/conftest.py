"""The tests of this folder run against real drivers, in a box of their own (`tests.support.kernel_box`).

They are collected outside, sent inside as one pytest, and each is reported outside as if it had run there. Where
a box cannot be had they are skipped; with FRAMEGATE_CAMERAS=required in the environment, as `.ci/run` sets it,
they fail instead.
"""

import json
import os
import time
from pathlib import Path

import pytest

from tests.support import kernel_box
from tests.support.kernel_box import KernelBox

HERE = Path(__file__).parent
BOOT_S = 300.0  # until the first report, on a busy machine
TEST_S = 120.0  # one test, by the clock inside, where it sets no limit of its own
SLOWER = 8.0  # a second's work inside takes longer here, and the more the busier this machine is
REPORT_S = 30.0  # for the word of it to come out
_INSIDE = kernel_box.MARK in os.environ


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip where there is no box; and let the time of a test inside be counted there."""
    missing = "" if _INSIDE or os.environ.get("FRAMEGATE_CAMERAS") == "required" else kernel_box.missing()
    for item in filter(_ours, items):
        if missing:
            item.add_marker(pytest.mark.skip(reason=missing))
        if not _INSIDE:
            item.stash[_LIMIT_S] = SLOWER * _limit_s(item)
            item.add_marker(pytest.mark.timeout(BOOT_S + item.stash[_LIMIT_S] + 2 * REPORT_S), append=False)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> bool | None:
    """Outside: what the box reports of this test is its report."""
    if _INSIDE or not _ours(item) or item.get_closest_marker("skip"):
        return None
    _Remote.of(item.session).run(item)
    return True


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Switch the box off."""
    if (remote := session.stash.get(_REMOTE, None)) is not None:
        remote.box.close()


def _ours(item: pytest.Item) -> bool:
    return HERE in item.path.parents


def _limit_s(item: pytest.Item) -> float:
    """How long it may take, by the clock inside."""
    own = item.get_closest_marker("timeout")
    return float(own.args[0]) if own else TEST_S


class _Remote:
    """The box of a session, which runs all the tests of it that are ours, in their order."""

    def __init__(self, session: pytest.Session) -> None:
        names = [item.nodeid for item in session.items if _ours(item)]
        self.box = KernelBox(["--rootdir", str(session.config.rootpath), *names])
        self._session = session
        self._fault = ""
        self._until_s = time.monotonic() + BOOT_S

    @classmethod
    def of(cls, session: pytest.Session) -> "_Remote":
        remote = session.stash.get(_REMOTE, None)
        if remote is None:
            remote = session.stash[_REMOTE] = cls(session)
        return remote

    def run(self, item: pytest.Item) -> None:
        """Report `item` as the box does."""
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        self._until_s = max(self._until_s, time.monotonic() + item.stash[_LIMIT_S] + REPORT_S)
        while not self._fault:
            report = self._next()
            if report is None:
                break
            if report.nodeid != item.nodeid:
                self._fault = f"the box ran {report.nodeid} instead of {item.nodeid}"
                break
            item.ihook.pytest_runtest_logreport(report=report)
            if report.when == "teardown":
                item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
                return
        longrepr = f"{self._fault}\n{self.box.console[-20_000:]}"
        report = pytest.TestReport(item.nodeid, item.location, {}, "failed", longrepr, "call")
        item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)

    def _next(self) -> pytest.TestReport | None:
        try:
            line = self.box.line(self._until_s)
        except TimeoutError as error:
            self._fault = str(error)
            return None
        if line is None:
            self._fault = "the box ended before its tests"
            return None
        said = json.loads(line)
        if "fault" in said:
            self._fault = said["fault"]
            return None
        config = self._session.config
        report: pytest.TestReport = config.hook.pytest_report_from_serializable(config=config, data=said["report"])
        return report


_REMOTE = pytest.StashKey[_Remote]()
_LIMIT_S = pytest.StashKey[float]()  # by the clock outside
