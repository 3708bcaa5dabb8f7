"""The model of many server processes finds the constants that runs were made of."""

import pytest

from tests.bench.model import Model, described, fit
from tests.bench.run import Case, Run

TRUE = Model(frame_cores=0.02, send_s_per_gb=0.4, mux_cores=0.015, server_cores=0.002)


def run(processes: int, gb_s: float) -> Run:
    """As the sink would have measured it, with servers that share the viewers out evenly."""
    seconds = 10.0
    server_s = (TRUE.frame_cores + TRUE.send_s_per_gb * gb_s / processes) * seconds
    muxer_s = (TRUE.mux_cores + TRUE.server_cores * processes) * seconds
    entries = [{"pid": 1, "cpu_s": muxer_s}, *({"pid": 2 + n, "cpu_s": server_s} for n in range(processes))]
    roles = {1: "muxer"} | {2 + number: "server" for number in range(processes)}
    figures = {
        "bytes": gb_s * 1e9 * seconds, "seconds": seconds, "processes_gone": 0, "processes": entries,
        "cpu_s": sum(entry["cpu_s"] for entry in entries),
    }  # fmt: skip
    return Run(Case("scale", "rtsp-tcp", 500, processes), "framegate", 0, figures, roles=roles)


def test_the_constants_are_found() -> None:
    assert fit([run(1, 0.25), run(2, 0.26), run(4, 0.25)]) == pytest.approx(TRUE)


def test_one_number_of_processes_says_nothing() -> None:
    assert fit([run(2, 0.25), run(2, 0.3)]) is None
    assert fit([]) is None


def test_what_is_foretold_grows_with_the_processes() -> None:
    assert TRUE.delivered_gb_s(1) == pytest.approx(0.98 / 0.4)
    assert TRUE.delivered_gb_s(8) == pytest.approx(8 * 0.98 / 0.4)
    assert TRUE.processes_max == pytest.approx(492.5)
    assert "| Gbit/s of one stream | 20 | 39 | 78 | 157 |" in described(TRUE)
