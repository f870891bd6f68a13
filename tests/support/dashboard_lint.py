# SPDX-License-Identifier: GPL-2.0-or-later
"""The rules of Grafana's dashboard-linter, written anew: it is a Go program that nothing packages.

    for complaint in lint(dashboard): ...

Names are the linter's, so that its documentation explains a complaint. Those about LogQL hold as
soon as no panel asks Loki.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

from grafana.query import Json, Target, filled, panels, targets, variables
from tests.support.promql import Selector, selectors

UNITS = {"s", "percentunit", "ops", "short", "bytes", "binBps"}
"""Those of Grafana's units that are used here."""

NEED_UNITS = {"stat", "table", "timeseries", "gauge"}
LABEL_VALUES = re.compile(r"label_values\((.*), (\w+)\)")
DATASOURCES = ("$datasource", "${datasource}")
Rule = Callable[[Json], Iterator[str]]


def _template(dashboard: Json, name: str) -> Json | None:
    found = [each for each in dashboard["templating"]["list"] if each["name"] == name]
    return found[0] if found else None


def _queries(dashboard: Json) -> list[Json]:
    return [each for each in dashboard["templating"]["list"] if each["type"] == "query"]


def _uid(reference: Any) -> str:
    return str(reference.get("uid", "")) if isinstance(reference, dict) else str(reference or "")


def _targets(dashboard: Json) -> Iterator[tuple[str, Target]]:
    for panel in panels(dashboard):
        for target in targets(panel):
            yield panel.get("title", ""), target


def _selectors(dashboard: Json) -> Iterator[tuple[str, Selector]]:
    values = variables(dashboard, "5m") | {"job": "$job", "instance": "$instance"}
    for title, target in _targets(dashboard):
        try:
            found = selectors(filled(target.expr, values))
        except (KeyError, ValueError):
            continue  # target-promql-rule says so
        for each in found:
            yield title, each


def _template_datasource(dashboard: Json) -> Iterator[str]:
    found = [each for each in dashboard["templating"]["list"] if each["type"] == "datasource"]
    if len(found) != 1:
        yield f"{len(found)} variables for data sources"
    for each in found:
        if each["name"] != "datasource" or each["label"] != "Data source":
            yield f"the data source is {each['name']}, labelled {each['label']}"
        if each["query"] != "prometheus":
            yield f"a data source of type {each['query']}"


def _template_variable(name: str) -> Rule:
    def rule(dashboard: Json) -> Iterator[str]:
        found = _template(dashboard, name)
        if found is None:
            yield f"no variable {name}"
            return
        wanted = {"label": name, "type": "query", "multi": True, "allValue": ".+"}
        for key, value in wanted.items():
            if found.get(key) != value:
                yield f"variable {name}: {key} is {found.get(key)!r}"
        if _uid(found.get("datasource")) not in DATASOURCES:
            yield f"variable {name} does not use $datasource"

    return rule


def _template_label_promql(dashboard: Json) -> Iterator[str]:
    for each in _queries(dashboard):
        match = LABEL_VALUES.fullmatch(each["query"]["query"])
        try:
            if match is None:
                raise ValueError("not label_values(selector, label)")
            selectors(filled(match[1], variables(dashboard, "5m")))
        except (KeyError, ValueError) as error:
            yield f"variable {each['name']}: {error}"


def _template_reload(dashboard: Json) -> Iterator[str]:
    for each in _queries(dashboard):
        if each.get("refresh") != 2:
            yield f"variable {each['name']} is not asked for again when the time range changes"


def _panel_datasource(dashboard: Json) -> Iterator[str]:
    for panel in panels(dashboard):
        for owner in (panel, *panel.get("targets", ())):
            if _uid(owner.get("datasource")) not in DATASOURCES:
                yield f"{panel.get('title')}: not $datasource"


def _panel_text(dashboard: Json) -> Iterator[str]:
    for panel in panels(dashboard):
        if not panel.get("title") or not panel.get("description"):
            yield f"panel {panel.get('id')} lacks a title or a description"


def _panel_units(dashboard: Json) -> Iterator[str]:
    for panel in panels(dashboard):
        unit = panel["fieldConfig"]["defaults"].get("unit")
        if panel["type"] in NEED_UNITS and unit not in UNITS:
            yield f"{panel.get('title')}: unit {unit}"


def _panel_targets(dashboard: Json) -> Iterator[str]:
    for panel in panels(dashboard):
        if not panel.get("targets") and panel["type"] != "text":
            yield f"{panel.get('title')}: no queries"


def _logql(dashboard: Json) -> Iterator[str]:
    for panel in panels(dashboard):
        for each in (panel, *panel.get("targets", ())):
            if (each.get("datasource") or {}).get("type") != "prometheus":
                yield f"{panel.get('title')}: not a Prometheus query"


def _target_promql(dashboard: Json) -> Iterator[str]:
    values = variables(dashboard, "5m")
    for title, target in _targets(dashboard):
        try:
            selectors(filled(target.expr, values))
        except (KeyError, ValueError) as error:
            yield f"{title} {target.ref}: {error!r}"


def _target_rate_interval(dashboard: Json) -> Iterator[str]:
    for title, target in _targets(dashboard):
        for window in re.findall(r"\[([^\]]*)\]", target.expr):
            if window != "$__rate_interval":
                yield f"{title} {target.ref}: a window of {window}"


def _target_matcher(label: str) -> Rule:
    def rule(dashboard: Json) -> Iterator[str]:
        for title, selector in _selectors(dashboard):
            if (label, f"${label}") not in selector.matchers:
                yield f"{title}: {selector.name} without {label}=~"

    return rule


def _target_counter(dashboard: Json) -> Iterator[str]:
    for title, selector in _selectors(dashboard):
        counter = selector.name.endswith("_total")
        if counter and selector.function not in ("rate", "irate", "increase"):
            yield f"{title}: {selector.name} is not under rate, irate or increase"


def _uneditable(dashboard: Json) -> Iterator[str]:
    if dashboard.get("editable") is not False:
        yield "can be edited, though the provisioned file wins"


RULES: dict[str, Rule] = {
    "template-datasource-rule": _template_datasource,
    "template-job-rule": _template_variable("job"),
    "template-instance-rule": _template_variable("instance"),
    "template-label-promql-rule": _template_label_promql,
    "template-on-time-change-reload-rule": _template_reload,
    "panel-datasource-rule": _panel_datasource,
    "panel-title-description-rule": _panel_text,
    "panel-units-rule": _panel_units,
    "panel-no-targets-rule": _panel_targets,
    "target-logql-rule": _logql,
    "target-logql-auto-rule": _logql,
    "target-promql-rule": _target_promql,
    "target-rate-interval-rule": _target_rate_interval,
    "target-job-rule": _target_matcher("job"),
    "target-instance-rule": _target_matcher("instance"),
    "target-counter-agg-rule": _target_counter,
    "uneditable-dashboard": _uneditable,
}


def lint(dashboard: Json) -> dict[str, list[str]]:
    """Complaints about a dashboard's JSON, by rule."""
    found = {name: list(rule(dashboard)) for name, rule in RULES.items()}
    return {name: complaints for name, complaints in found.items() if complaints}
