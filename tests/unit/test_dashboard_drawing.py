# SPDX-License-Identifier: GPL-2.0-or-later
"""How figures get from Prometheus's answers into pictures: variables, legends, units, tables."""

import json
import math

import pytest

from grafana.boards import boards
from grafana.query import Json, Points, Target, filled, legend, panels, targets, variables
from grafana.tables import cells
from grafana.units import text

BOARDS: dict[str, Json] = {board.uid: json.loads(board.text()) for board in boards()}


def panel(uid: str, title: str) -> Json:
    return next(each for each in panels(BOARDS[uid]) if each["title"] == title)


def points(value: float, **labels: str) -> Points:
    return Points(labels, (0.0,), (value,))


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (0.0, "s", "0 s"),
        (2.5e-7, "s", "250 ns"),
        (1.024e-3, "s", "1.02 ms"),
        (75.0, "s", "1.25 min"),
        (0.123, "percentunit", "12.3 %"),
        (1e-6, "percentunit", "< 0.01 %"),
        (23456.0, "ops", "23.5 k/s"),
        (0.25, "ops", "0.25/s"),
        (3 << 20, "bytes", "3 MiB"),
        (1536.0, "binBps", "1.5 KiB/s"),
        (32.0, "short", "32"),
        (1e-6, "short", "< 0.001"),
        (math.nan, "s", "-"),
    ],
)
def test_numbers_are_written_with_their_unit(value: float, unit: str, expected: str) -> None:
    assert text(value, unit) == expected


def test_variables_stand_for_what_a_dashboard_opens_with() -> None:
    values = variables(BOARDS["bqlscope-virtio-blk"], "1m")
    assert values["vm"] == ".+"
    assert values["baseline"] == "mainloop"
    assert filled("rate(a{x=~'$vm'}[$__rate_interval])", values) == "rate(a{x=~'.+'}[1m])"
    with pytest.raises(KeyError):
        filled("$missing", values)


def test_a_series_is_called_by_its_legend() -> None:
    target = Target("A", "", "{{vm}} on {{host}}", False)
    assert legend(target, {"vm": "v", "host": "h"}) == "v on h"
    assert legend(Target("A", "", "__auto", False), {"__name__": "x", "vm": "v"}) == "v"


def test_a_table_joins_its_queries_by_their_labels_and_is_sorted() -> None:
    found = panel("bqlscope-blame", "Pairs")
    first, second = targets(found)
    pair = {"waiter_role": "vcpu", "holder_role": "main", "holder_site": "a"}
    other = {**pair, "holder_site": "b"}
    answers = [
        (first, [points(0.1, **pair), points(0.2, **other)]),
        (second, [points(0.25, **pair), points(0.5, **other)]),
    ]
    table = cells(found, answers)
    assert table.headings == [
        "Waiter",
        "Holder",
        "Holder's site",
        "Threads waiting",
        "Part of its waits",
    ]
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["vcpu", "main", "b", "0.2", "50 %"],
        ["vcpu", "main", "a", "0.1", "25 %"],
    ]


def test_a_matrix_has_waiters_as_lines_and_holders_as_columns() -> None:
    found = panel("bqlscope-blame", "Waiter × holder")
    (target,) = targets(found)
    answer = [
        points(4.0, waiter_role="vcpu", holder_role="main"),
        points(1.0, waiter_role="main", holder_role="vcpu"),
    ]
    table = cells(found, [(target, answer)])
    assert table.headings == ["Waiter", "main", "vcpu"]
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["main", "0", "1"],
        ["vcpu", "4", "0"],
    ]
    assert table.rows[1][1].share == 1.0
    assert table.rows[0][2].share == 0.5
