# SPDX-License-Identifier: GPL-2.0-or-later
"""What a table panel shows: its queries' answers after the panel's own transformations."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from grafana.query import Json, Points, Target
from grafana.units import text

Answers = Sequence[tuple[Target, list[Points]]]


@dataclass(frozen=True)
class Cell:
    """A cell; `share` is how intense its colour is, 0 to 1, None for none."""

    text: str
    share: float | None = None


@dataclass(frozen=True)
class Cells:
    """A table."""

    headings: list[str]
    rows: list[list[Cell]]


def cells(panel: Json, answers: Answers) -> Cells:
    """The table of a panel that panels.py made."""
    options = {each["id"]: each["options"] for each in panel["transformations"]}
    if "groupingToMatrix" in options:
        return _matrix(panel, options, answers[0][1])
    return _grid(panel, options, answers)


def _matrix(panel: Json, options: Json, points: list[Points]) -> Cells:
    grouping, names = options["groupingToMatrix"], options["organize"]["renameByName"]
    row, column = grouping["rowField"], grouping["columnField"]
    values = {(p.labels[row], p.labels[column]): p.values[-1] for p in points}
    columns = sorted({key[1] for key in values})
    largest = max([value for value in values.values() if not math.isnan(value)] or [0.0]) or 1.0
    unit = panel["fieldConfig"]["defaults"]["unit"]
    rows = [
        [
            Cell(name),
            *(
                Cell(text(value, unit), math.sqrt(max(0.0, value) / largest))
                for value in (values.get((name, other), 0.0) for other in columns)
            ),
        ]
        for name in sorted({key[0] for key in values})
    ]
    return Cells([names[rf"{row}\{column}"], *columns], rows)


def _grid(panel: Json, options: Json, answers: Answers) -> Cells:
    shown = options["filterFieldsByName"]["include"]["names"]
    headings = options["organize"]["renameByName"]
    units = {
        each["matcher"]["options"]: property_["value"]
        for each in panel["fieldConfig"]["overrides"]
        for property_ in each["properties"]
        if property_["id"] == "unit"
    }
    labels = [name for name in shown if not name.startswith("Value")]
    merged: dict[tuple[str, ...], dict[str, float]] = {}
    for target, points in answers:
        name = "Value" if len(answers) == 1 else f"Value #{target.ref}"
        for each in points:
            key = tuple(each.labels.get(label, "") for label in labels)
            merged.setdefault(key, {})[name] = each.values[-1]
    values = [name for name in shown if name not in labels]
    order = [by["displayName"] for by in panel["options"].get("sortBy", ())]
    keys = list(merged)
    for heading in order:
        name = next(name for name in values if headings[name] == heading)
        keys.sort(key=lambda key: -merged[key].get(name, 0.0))
    rows = [
        [
            *map(Cell, key),
            *(Cell(text(merged[key].get(v, math.nan), units[headings[v]])) for v in values),
        ]
        for key in keys
    ]
    return Cells([headings[name] for name in shown], rows)
