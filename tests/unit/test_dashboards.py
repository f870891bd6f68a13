# SPDX-License-Identifier: GPL-2.0-or-later
"""The generated files: fresh, whole in the SDK's eyes, and about series that exist."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from exporters.names import METRICS, THREAD_LABELS
from grafana.alerts import ALERTS
from grafana.boards import boards
from grafana.files import HOME, generated
from grafana.promql import OWN
from grafana.query import Json, filled, panels, targets, variables
from grafana.rules import RULES
from grafana.thresholds import SCRAPE_SECONDS
from tests.support.promql import grouping_labels, selectors

ROOT = HOME.parent
BOARDS = {board.uid: board for board in boards()}
TARGET_LABELS = {"job", "instance", "variant"}
LABEL_VALUES = re.compile(r"label_values\((.*), \w+\)")


def load(uid: str) -> Json:
    found: Json = json.loads((HOME / "dashboards" / f"{uid}.json").read_text())
    return found


def known_series() -> dict[str, set[str]]:
    """Labels of every series that exists, by name."""
    found: dict[str, set[str]] = {}
    for metric in METRICS:
        own = set(metric.labels) | (set(THREAD_LABELS) if metric.per_thread else set())
        if metric.kind == "histogram":
            found |= {f"{metric.name}_{part}": own for part in ("sum", "count")}
            found[f"{metric.name}_bucket"] = own | {"le"}
        else:
            found[metric.name] = own
    found |= {each.name: set(each.labels) for each in (*OWN, *RULES)}
    return found


def expressions(uid: str) -> Iterator[str]:
    dashboard = load(uid)
    values = variables(dashboard, "5m")
    for panel in panels(dashboard):
        for target in targets(panel):
            yield filled(target.expr, values)
    for each in dashboard["templating"]["list"]:
        if match := LABEL_VALUES.fullmatch(each.get("definition", "")):
            yield filled(match[1], values)


def overlap(first: Json, second: Json) -> bool:
    return bool(
        first["x"] < second["x"] + second["w"]
        and second["x"] < first["x"] + first["w"]
        and first["y"] < second["y"] + second["h"]
        and second["y"] < first["y"] + first["h"]
    )


@pytest.mark.parametrize("name", sorted(map(str, generated())))
def test_a_committed_file_is_what_its_source_makes(name: str) -> None:
    assert (HOME / name).read_text() == generated()[Path(name)], "run `make dashboards`"


def test_no_dashboard_is_left_from_earlier() -> None:
    committed = {path.name for path in (HOME / "dashboards").iterdir()}
    assert committed == {board.file_name for board in BOARDS.values()}


@pytest.mark.parametrize("uid", BOARDS)
def test_a_dashboard_reads_back_through_the_models_of_the_sdk(uid: str) -> None:
    register_default_plugins()
    written = load(uid)
    read = Dashboard.from_json(written)
    assert read.schema_version == 42
    again = json.loads(json.dumps(read, cls=JSONEncoder))
    for link in again["links"]:
        del link["placement"]  # the model's default, which hides links in a menu
    assert again == written


@pytest.mark.parametrize("uid", BOARDS)
def test_panels_have_numbers_of_their_own_and_do_not_overlap(uid: str) -> None:
    every = load(uid)["panels"]
    assert [panel["id"] for panel in every] == list(range(1, len(every) + 1))
    places = [panel["gridPos"] for panel in every]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for index, place in enumerate(places):
        assert not [other for other in places[:index] if overlap(place, other)]


@pytest.mark.parametrize("uid", BOARDS)
def test_queries_have_letters_and_graphs_have_legends(uid: str) -> None:
    for panel in panels(load(uid)):
        letters = [target.ref for target in targets(panel)]
        assert letters == list("ABCDEFGH"[: len(letters)])
        if panel["type"] == "timeseries":
            assert panel["options"]["legend"]["showLegend"] is True
            assert all(target.legend != "__auto" for target in targets(panel))


@pytest.mark.parametrize("uid", BOARDS)
def test_a_dashboard_links_to_all_others_and_is_found_by_them(uid: str) -> None:
    dashboard = load(uid)
    assert dashboard["uid"] == uid
    (link,) = dashboard["links"]
    assert (link["type"], link["tags"]) == ("dashboards", dashboard["tags"])
    assert link["includeVars"]
    assert link["keepTime"]


@pytest.mark.parametrize("uid", BOARDS)
def test_every_variable_is_used_and_every_used_one_is_there(uid: str) -> None:
    text = json.dumps([load(uid)["panels"], load(uid)["templating"]])
    used = set(re.findall(r"\$(\w+)", text)) - {"__rate_interval", "__all"}
    assert used == {each["name"] for each in load(uid)["templating"]["list"]}


@pytest.mark.parametrize("uid", BOARDS)
def test_a_dashboard_asks_only_for_series_and_labels_that_exist(uid: str) -> None:
    known = known_series()
    for expr in expressions(uid):
        read = selectors(expr)
        assert read or expr == "vector(0)"
        labels: set[str] = set(TARGET_LABELS)
        for selector in read:
            assert selector.name in known, expr
            assert selector.labels <= known[selector.name] | TARGET_LABELS, expr
            labels |= known[selector.name]
        assert grouping_labels(expr) <= labels, expr


@pytest.mark.parametrize("expr", [each.expr for each in (*RULES, *ALERTS)])
def test_a_rule_asks_only_for_series_and_labels_that_exist(expr: str) -> None:
    known = known_series()
    for selector in selectors(expr):
        assert selector.name in known
        assert selector.labels <= known[selector.name] | TARGET_LABELS
        assert not selector.name.endswith("_total") or selector.function in ("rate", "increase")


def test_the_fleet_lives_on_recording_rules_alone() -> None:
    names = {each.name for expr in expressions("bqlscope-fleet") for each in selectors(expr)}
    assert names
    assert names <= {rule.name for rule in RULES}


def test_every_metric_is_on_a_dashboard_or_in_a_rule() -> None:
    texts = [expr for uid in BOARDS for expr in expressions(uid)]
    texts += [each.expr for each in (*RULES, *ALERTS)]
    shown = {each.name for text in texts for each in selectors(text)}
    absent = {
        metric.name for metric in METRICS if not {metric.name, f"{metric.name}_bucket"} & shown
    }
    assert absent == {"bql_trylock_failures_total"}


def test_provisioning_and_prometheus_agree_with_the_dashboards() -> None:
    provisioning = HOME / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources/bqlscope.yml").read_text())[
        "datasources"
    ]
    assert source["uid"] == "bqlscope-prometheus"
    assert source["type"] == "prometheus"
    assert source["jsonData"]["timeInterval"] == f"{SCRAPE_SECONDS}s"
    (provider,) = yaml.safe_load((provisioning / "dashboards/bqlscope.yml").read_text())[
        "providers"
    ]
    assert provider["options"]["path"] in (HOME / "README.md").read_text()
    config = yaml.safe_load((HOME / "prometheus/prometheus.yml").read_text())
    assert config["global"]["scrape_interval"] == f"{SCRAPE_SECONDS}s"
    (job,) = config["scrape_configs"]
    assert "bqlscope" in job["job_name"]  # what ExporterStale looks for


def test_the_runbook_has_a_section_for_every_alert_and_the_alerts_link_there() -> None:
    headings = re.findall(r"^## (\w+)$", (ROOT / "docs" / "runbook.md").read_text(), re.MULTILINE)
    assert headings == [alert.name for alert in ALERTS]
    (group,) = yaml.safe_load((HOME / "prometheus/alerts.yml").read_text())["groups"]
    for rule in group["rules"]:
        assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{rule['alert'].lower()}"
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]
        assert rule["labels"]["severity"] in ("warning", "critical")


def test_the_runbook_can_be_elsewhere() -> None:
    text = generated("https://wiki.example/bql")[Path("prometheus/alerts.yml")]
    assert "runbook_url: https://wiki.example/bql#bqlstuck" in text


@pytest.mark.parametrize("uid", BOARDS)
def test_a_dashboard_has_a_picture_that_is_small_and_shown(uid: str) -> None:
    picture = ROOT / "docs" / "images" / f"{uid.removeprefix('bqlscope-')}.png"
    assert picture.stat().st_size < 200_000, "run `make dashboard-images`"
    assert f"docs/images/{picture.name}" in (HOME / "README.md").read_text()
