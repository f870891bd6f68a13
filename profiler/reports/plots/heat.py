# SPDX-License-Identifier: GPL-2.0-or-later
"""The blame heatmap: a cell for each waiter and holder, with its time and part written in it."""

from profiler.reports.markup import Markup, tag
from profiler.reports.model import Heatmap
from profiler.reports.plots.canvas import CHARACTER, Canvas, fitted, text
from profiler.reports.words import duration, percent

STEPS = (0.01, 0.05, 0.15, 0.4)
"""Parts of all waiting at which a cell's colour becomes stronger."""

HEAD, FOOT, GAP = 40.0, 8.0, 3.0


def level(share: float) -> int:
    """Strength of a cell's colour, 0 (nothing) to 5."""
    return 1 + sum(share >= step for step in STEPS) if share > 0 else 0


def draw_heatmap(plot: Heatmap, canvas: Canvas, alternative: str) -> Markup:
    """The matrix; waiters down, holders across, the columns that are no holders set apart."""
    columns = len(plot.holders)
    longest = max(map(len, plot.waiters))
    left = min(longest * CHARACTER + 14, 92 if canvas.narrow else 180)
    least = 48 if canvas.narrow else 70
    cell = max(least, min(130, (canvas.width - left - 14) / columns))
    height = 46.0
    canvas = canvas.grown(left + cell * columns + 14)
    head = HEAD if not canvas.narrow else HEAD + 6
    parts: list[Markup] = [
        text(left - 10, head - 6, "waiter", "label end"),
        text(left, 12, "holder", "label"),
    ]
    for number, holder in enumerate(plot.holders):
        x = left + _shift(plot, number) + (number + 0.5) * cell
        parts.append(text(x, head - 6, fitted(holder, cell + 8), "tick middle"))
    for row, (waiter, cells) in enumerate(zip(plot.waiters, plot.cells, strict=True)):
        y = head + row * height
        parts.append(text(left - 10, y + height / 2 + 3, fitted(waiter, left - 8), "name end"))
        for number, ns in enumerate(cells):
            x = left + _shift(plot, number) + number * cell
            note = f"{waiter} waited {duration(ns)} for {plot.holders[number]}"
            parts.append(_cell(x, y, cell - GAP, height - GAP, ns, plot.total, note))
    return canvas.svg(head + height * len(plot.waiters) + FOOT, alternative, parts)


def _shift(plot: Heatmap, column: int) -> float:
    return 6.0 if column >= len(plot.holders) - plot.unnamed else 0.0


def _cell(
    x: float, y: float, width: float, height: float, ns: float, total: float, note: str
) -> Markup:
    darkness = level(ns / total)
    parts: list[Markup] = [
        tag("title", note),
        tag("rect", x=x, y=y, width=width, height=height, rx=4, class_=f"cell h{darkness}"),
    ]
    if ns:
        middle, on = x + width / 2, f"on{darkness} middle"
        parts.append(text(middle, y + height / 2 - 2, duration(ns), f"value {on}"))
        parts.append(text(middle, y + height / 2 + 13, percent(ns / total), f"share {on}"))
    return tag("g", parts, class_="tip" if ns else None)
