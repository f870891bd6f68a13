# SPDX-License-Identifier: GPL-2.0-or-later
"""The rules of dashboard-linter: all dashboards obey them, and each rule sees what it is for."""

import json
from collections.abc import Callable

import pytest

from grafana.boards import boards
from grafana.query import Json, panels
from tests.support.dashboard_lint import RULES, lint

BOARDS = {board.uid: board for board in boards()}


def a_dashboard() -> Json:
    found: Json = json.loads(BOARDS["bqlscope-overview"].text())
    return found


def first(dashboard: Json, kind: str = "timeseries") -> Json:
    return next(panel for panel in panels(dashboard) if panel["type"] == kind)


def variable(dashboard: Json, name: str) -> Json:
    found: Json = next(v for v in dashboard["templating"]["list"] if v["name"] == name)
    return found


def expr(dashboard: Json, text: str) -> None:
    first(dashboard)["targets"][0]["expr"] = text


SELECTED = 'job=~"$job", instance=~"$instance"'
LOKI = {"type": "loki", "uid": "$datasource"}
BROKEN: dict[str, Callable[[Json], object]] = {
    "template-datasource-rule": lambda d: variable(d, "datasource").update(label="Source"),
    "template-job-rule": lambda d: variable(d, "job").update(multi=False),
    "template-instance-rule": lambda d: variable(d, "instance").update(allValue=".*"),
    "template-label-promql-rule": lambda d: variable(d, "vm")["query"].update(query="up{"),
    "template-on-time-change-reload-rule": lambda d: variable(d, "vm").update(refresh=1),
    "panel-datasource-rule": lambda d: first(d)["targets"][0].update(datasource={"uid": "abc"}),
    "panel-title-description-rule": lambda d: first(d).pop("description"),
    "panel-units-rule": lambda d: first(d)["fieldConfig"]["defaults"].update(unit="seconds"),
    "panel-no-targets-rule": lambda d: first(d).update(targets=[]),
    "target-logql-rule": lambda d: first(d).update(datasource=LOKI),
    "target-logql-auto-rule": lambda d: first(d)["targets"][0].update(datasource=LOKI),
    "target-promql-rule": lambda d: expr(d, "sum("),
    "target-rate-interval-rule": lambda d: expr(d, f"rate(up{{{SELECTED}}}[5m])"),
    "target-job-rule": lambda d: expr(d, 'up{instance=~"$instance"}'),
    "target-instance-rule": lambda d: expr(d, 'up{job=~"$job"}'),
    "target-counter-agg-rule": lambda d: expr(d, f"sum(a_total{{{SELECTED}}})"),
    "uneditable-dashboard": lambda d: d.update(editable=True),
}


@pytest.mark.parametrize("uid", BOARDS)
def test_a_dashboard_obeys_every_rule(uid: str) -> None:
    assert lint(json.loads(BOARDS[uid].text())) == {}


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_sees_what_it_is_for(rule: str) -> None:
    dashboard = a_dashboard()
    BROKEN[rule](dashboard)
    assert lint(dashboard).get(rule)


def test_all_rules_of_the_linter_are_there() -> None:
    assert len(RULES) == 17
    assert set(RULES) == set(BROKEN)


def test_a_variable_that_is_not_defined_is_seen() -> None:
    dashboard = a_dashboard()
    expr(dashboard, f'up{{{SELECTED}, vm=~"$machine"}}')
    assert "target-promql-rule" in lint(dashboard)
