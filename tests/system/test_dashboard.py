"""The Grafana dashboard asks for nothing that a running instance does not export."""

import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.instance import Instance
from tests.support.viewers import RtspViewer
from tests.support.wait import until

DASHBOARD = json.loads((Path(__file__).parents[2] / "deploy" / "grafana-dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
TARGETS = [(f"{panel['title']}/{target['refId']}", target) for panel in PANELS for target in panel["targets"]]
WORDS = {"sum", "count", "by", "rate", "increase", "histogram_quantile", "vector", "or"}

Exported = dict[str, set[str]]  # the labels of each metric


@pytest.fixture(scope="module")
def exported() -> Iterator[Exported]:
    """With one viewer that wants the pictures alone, so that there are frames which it is not sent."""
    with Instance("cam=test:size=320x240,fps=25") as instance:
        instance.wait_live("cam")
        with RtspViewer(f"{instance.rtsp('cam')}/native", user_agent="pictures") as viewer:
            viewer.wait_bytes(10_000)

            def labels() -> Exported:
                with urllib.request.urlopen(f"{instance.http_base()}/metrics", timeout=5) as answer:
                    families = text_string_to_metric_families(answer.read().decode())
                    return {each.name: set(each.labels) for family in families for each in family.samples}

            wanted = "framegate_frames_dropped_total", "framegate_frame_age_seconds_bucket"
            until(lambda: all(name in labels() for name in wanted), 10, "what viewers do, in the metrics")
            yield labels()


def split(expression: str) -> tuple[list[tuple[str, set[str]]], set[str], set[str]]:
    """The metrics with the labels that are asked of each; the labels that are kept; all other words."""
    text = re.sub(r'"[^"]*"', '""', re.sub(r"\[(\$__rate_interval|\d+[smhd])\]", "", expression))
    metrics = [
        (name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", chosen or "")))
        for name, chosen in re.findall(r"\b(framegate_\w+)(?:\{([^}]*)\})?", text)
    ]
    kept = {label.strip() for labels in re.findall(r"\bby \(([^)]*)\)", text) for label in labels.split(",")}
    rest = re.sub(r"\bframegate_\w+|\{[^}]*\}|\bby \([^)]*\)", " ", text)
    return metrics, kept, set(re.findall(r"[A-Za-z_]\w*", rest))


@pytest.mark.parametrize("target", [target for _, target in TARGETS], ids=[name for name, _ in TARGETS])
def test_it_asks_for_what_there_is(target: dict[str, Any], exported: Exported) -> None:
    expression = target["expr"]
    metrics, kept, words = split(expression)
    assert metrics
    assert words <= WORDS, f"{words - WORDS}: a function that this test does not know, or a metric of others"
    assert expression.count("(") == expression.count(")")
    for name, chosen in metrics:
        assert name in exported, f"there is no {name}"
        assert chosen | kept <= exported[name], f"{name} has {exported[name]}"
        shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        assert shown <= (kept if kept else exported[name])


def test_it_can_choose_among_streams(exported: Exported) -> None:
    (query,) = [each["definition"] for each in DASHBOARD["templating"]["list"] if each["type"] == "query"]
    found = re.fullmatch(r"label_values\((\w+), (\w+)\)", query)
    assert found is not None
    assert found[2] in exported[found[1]]


def test_every_panel_has_a_place_of_its_own() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [panel["gridPos"] for panel in panels]
    cells = [
        (x, y)
        for at in places
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert all(0 <= x < 24 for x, _ in cells)
