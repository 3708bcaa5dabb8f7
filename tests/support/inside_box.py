"""`python -m tests.support.inside_box`: pytest in a box of `kernel_box`, each report a line of JSON."""

import glob
import json
import os
from pathlib import Path
from typing import IO

import pytest

from tests.support.kernel_box import JOB, PORT


class Reports:
    """The plugin that writes them."""

    def __init__(self, port: IO[str]) -> None:
        self._port = port

    def pytest_configure(self, config: pytest.Config) -> None:
        """The first hook of all."""
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One phase of one test is over."""
        config = self._config
        self._say({"report": config.hook.pytest_report_to_serializable(config=config, report=report)})

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that cannot be imported has no tests to report."""
        if report.failed:
            self._say({"fault": report.longreprtext})

    def _say(self, line: dict[str, object]) -> None:
        self._port.write(json.dumps(line) + "\n")
        self._port.flush()


def main() -> None:
    job = json.loads(Path(JOB).read_text())
    os.environ.clear()
    os.environ.update(job["environment"])
    with open(glob.glob(PORT)[0], "w", encoding="utf-8") as port:
        pytest.main(["-p", "no:cacheprovider", *job["arguments"]], plugins=[Reports(port)])


if __name__ == "__main__":
    main()
