# SPDX-License-Identifier: GPL-2.0-or-later
"""Every query of every panel, put to a real Prometheus that scrapes two real VMs under load."""

import json
import math
import os
import shutil
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from grafana.boards import boards
from grafana.drawing import Window, draw
from grafana.live import Live, Options, live
from grafana.query import Json, Points, Prometheus, filled, panels, targets, variables
from tests.support.rig import wait_until

pytestmark = [
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="no prometheus"),
    pytest.mark.timeout(300),
]

BOARDS = {board.uid: json.loads(board.text()) for board in boards()}
WINDOW = "5s"  # five scrapes
MAY_BE_EMPTY = {
    "Who holds the lock": "there is no holder while the lock is free",
    "Holds spent waiting for Python's lock": "a VMM that never waited for it has no such series",
    "Holders asleep, by reason": "a holder that never slept has no such series",
    "Holders asleep, by site": "a holder that never slept has no such series",
}
LARGEST = {"s": 3600.0, "percentunit": 5.0, "ops": 1e8, "short": 1e5, "bytes": 1e9, "binBps": 1e12}
"""What no value of this unit can pass here: two VMs of four threads, minutes old."""


class Answer(NamedTuple):
    """What Prometheus says to a query: values, their unit, and the panel they are for."""

    title: str
    unit: str
    points: list[Points]


@pytest.fixture(scope="module")
def running() -> Iterator[Live]:
    usable = os.access("/dev/kvm", os.R_OK | os.W_OK)
    with live(Options(accel="kvm" if usable else "qtest")) as found:
        yield found


@pytest.fixture(scope="module")
def prometheus(running: Live) -> Prometheus:
    return Prometheus(running.prometheus)


def value(prometheus: Prometheus, expr: str) -> float:
    """The value of an expression with one result; not a number until it has one."""
    found = prometheus.instant(expr, time.time())
    return found[0].values[0] if found else math.nan


def answers(prometheus: Prometheus, dashboard: Json) -> dict[str, Answer]:
    """What Prometheus says, by panel, query and expression."""
    values, now = variables(dashboard, WINDOW), time.time()
    found = {}
    for panel in panels(dashboard):
        for target in targets(panel):
            expr = filled(target.expr, values)
            key = f"{panel['title']} / {target.ref}: {expr}"
            points = prometheus.instant(expr, now)
            found[key] = Answer(panel["title"], unit(panel, target.ref), points)
    return found


def finite(points: list[Points]) -> list[float]:
    return [each.values[0] for each in points if math.isfinite(each.values[0])]


def unit(panel: Json, ref: str) -> str:
    """The unit of a query's values: of its column, of a heat map's cells, or of the panel."""
    if panel["type"] == "heatmap":
        return "ops"
    overrides = panel["fieldConfig"]["overrides"]
    columns = [p["value"] for o in overrides for p in o["properties"] if p["id"] == "unit"]
    found: str = panel["fieldConfig"]["defaults"]["unit"]
    return columns["ABCDEFGH".index(ref)] if columns else found


@pytest.mark.parametrize("uid", BOARDS)
def test_every_query_of_a_dashboard_returns_sane_figures(prometheus: Prometheus, uid: str) -> None:
    found: dict[str, Answer] = {}

    def empty() -> list[str]:
        found.update(answers(prometheus, BOARDS[uid]))
        return [
            key
            for key, answer in found.items()
            if not finite(answer.points) and answer.title not in MAY_BE_EMPTY
        ]

    wait_until(lambda: not empty(), f"figures for all of {uid}: {empty()}")
    for key, answer in found.items():
        for number in finite(answer.points):
            assert 0 <= number <= LARGEST[answer.unit], key


def test_what_may_be_empty_is_on_a_dashboard() -> None:
    titles = {panel["title"] for board in BOARDS.values() for panel in panels(board)}
    assert set(MAY_BE_EMPTY) <= titles


def test_all_blame_adds_up_to_all_waits(prometheus: Prometheus) -> None:
    expr = "sum(bql_blocked_seconds_total) / sum(bql_wait_seconds_sum)"
    wait_until(lambda: math.isfinite(value(prometheus, expr)), expr)
    assert value(prometheus, expr) == pytest.approx(1, rel=1e-3)


def test_the_placements_differ_as_they_must(prometheus: Prometheus) -> None:
    """In an iothread requests are processed without the lock, in the main loop under it."""
    requests = 'bql_virtio_blk_requests_total{{variant="{0}", placement="{0}"}} > 1000'
    for variant in ("mainloop", "iothread"):
        wait_until(
            lambda v=variant: value(prometheus, requests.format(v)) > 1000,  # type: ignore[misc]
            f"requests by the {variant}",
        )
    iterations = 'role="main", site=~"main_loop_wait.*"'
    held = f"sum(bql_hold_seconds_sum{{{iterations}, variant='%s'}}) or vector(0)"
    assert value(prometheus, held % "mainloop") > 2 * value(prometheus, held % "iothread")
    taken = 'sum(bql_acquisitions_total{role="iothread"}) or vector(0)'
    assert value(prometheus, taken) == 0


def test_prometheus_evaluates_all_rules(running: Live) -> None:
    def rules() -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"{running.prometheus}/api/v1/rules", timeout=20) as answer:
            groups = json.load(answer)["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    wait_until(lambda: all(rule["health"] != "unknown" for rule in rules()), "evaluated rules")
    assert {rule["health"] for rule in rules()} == {"ok"}
    assert [r["name"] for r in rules() if r["type"] == "alerting" and r["state"] == "firing"] == []


def test_exemplars_name_the_thread_of_the_longest_wait(running: Live) -> None:
    def exemplars() -> list[dict[str, Any]]:
        now = time.time()
        query = f"query=bql_wait_seconds_bucket&start={now - 600}&end={now}"
        url = f"{running.prometheus}/api/v1/query_exemplars?{query}"
        with urllib.request.urlopen(url, timeout=20) as answer:
            series = json.load(answer)["data"]
        return [exemplar for each in series for exemplar in each["exemplars"]]

    wait_until(lambda: bool(exemplars()), "an exemplar")
    assert all(int(exemplar["labels"]["tid"]) > 0 for exemplar in exemplars())


@pytest.mark.parametrize("uid", ["bqlscope-overview", "bqlscope-blame"])
def test_a_dashboard_can_be_drawn(prometheus: Prometheus, uid: str, tmp_path: Path) -> None:
    wait_until(lambda: value(prometheus, "sum(rate(bql_wait_seconds_sum[5s]))") > 0, "waits")
    end = time.time()
    window = Window(end - 5, end, 1.0, variables(BOARDS[uid], WINDOW))
    picture = tmp_path / "picture.png"
    draw(BOARDS[uid], prometheus, window, picture)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert 10_000 < picture.stat().st_size < 200_000
