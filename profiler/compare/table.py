# SPDX-License-Identifier: GPL-2.0-or-later
"""The figures of a comparison as tables of at most 80 columns.

One table a candidate (baseline, candidate, ratio): three value columns with intervals are what fits
into 80 columns, and a ratio belongs to exactly one pair anyway. Several VMMs share the table, a
line each under the metric.
"""

import math
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from profiler.compare.metrics import Metric, shown
from profiler.compare.placement import Placement
from profiler.compare.result import Result
from profiler.compare.statistics import Estimate, Ratio
from profiler.compare.text import INFINITE, factor, interval, number

WIDTH = 80
NARROW_LABEL = 14
NOT_MEASURED = "-"


def estimate_text(value: Estimate, scale: float) -> str:
    """Median and interval, scaled for the table."""
    if value.median is None or value.low is None or value.high is None:
        return NOT_MEASURED
    if value.high == 0:
        return "0"
    bounds = interval(number(value.low * scale), number(value.high * scale))
    return f"{number(value.median * scale)} {bounds}"


def ratio_text(value: Ratio) -> str:
    """Ratio and interval."""
    if value.value is None or value.low is None or value.high is None:
        return NOT_MEASURED
    if math.isinf(value.low):
        return INFINITE
    return f"{factor(value.value)} {interval(factor(value.low), factor(value.high))}"


def _ratio_style(value: Ratio) -> str:
    if value.better:
        return "green"
    return "red" if value.worse else ""


def _cells(metric: Metric, result: Result, candidate: str) -> list[Text]:
    base = result.estimates[result.plan.baseline.name][metric.key]
    other = result.estimates[candidate][metric.key]
    quotient = result.ratios[candidate][metric.key]
    return [
        Text(estimate_text(base, metric.scale)),
        Text(estimate_text(other, metric.scale)),
        Text(ratio_text(quotient), style=_ratio_style(quotient)),
    ]


def _empty_table(names: Sequence[str], width: int) -> Table:
    """Columns only; below `WIDTH` columns labels wrap too."""
    narrow = width < WIDTH
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column(
        "median [95 %]", no_wrap=not narrow, max_width=NARROW_LABEL if narrow else None
    )
    for name in names:
        # A long name breaks where its parts meet.
        table.add_column(name.replace("/", "/\n"), overflow="fold", justify="right")
    table.add_column("times better", overflow="fold", justify="right")
    return table


def candidate_table(result: Result, candidate: str, width: int = WIDTH) -> Table:
    """The table of one candidate against the baseline."""
    table = _empty_table((result.plan.baseline.name, candidate), width)
    for metric in shown(result.estimates.values()):
        label = Text(f"{metric.label}, {metric.unit}")
        table.add_row(label, *_cells(metric, result, candidate))
    return table


def shared_name(placements: Sequence[Placement]) -> str:
    """What VMMs call the same choice: their name for it, or its kind where those differ."""
    names = {placement.name for placement in placements}
    return names.pop() if len(names) == 1 else placements[0].kind


def side_by_side_table(results: Sequence[Result], number_of: int, width: int = WIDTH) -> Table:
    """The table of candidate `number_of`, counted from 0, with a line for each VMM."""
    plans = [result.plan for result in results]
    candidates = [plan.candidates[number_of] for plan in plans]
    names = (shared_name([plan.baseline for plan in plans]), shared_name(candidates))
    table = _empty_table(names, width)
    for metric in shown(own for result in results for own in result.estimates.values()):
        table.add_row(Text(f"{metric.label}, {metric.unit}"))
        for result, candidate in zip(results, candidates, strict=True):
            title = Text(f"  {result.plan.vmm.identity.title}")
            table.add_row(title, *_cells(metric, result, candidate.name))
    return table
