# SPDX-License-Identifier: GPL-2.0-or-later
"""Placements side by side: each trial a small circle, the median a diamond on its interval."""

from collections.abc import Iterable
from itertools import groupby

from profiler.reports.markup import Markup, tag
from profiler.reports.model import Intervals, Reading
from profiler.reports.plots.canvas import CHARACTER, Canvas, fitted, line, round_step, text

ROW, NARROW_ROW, GROUP, BOTTOM, RIGHT = 44.0, 54.0, 24.0, 40.0, 16.0
LIFT = (0.0, -5.0, 5.0, -9.0, 9.0)
"""How far trials lie from the row's middle, in turn, so that equal ones do not cover each other."""


def draw_dots(plot: Intervals, canvas: Canvas, alternative: str) -> Markup:
    """The plot; the scale begins at zero."""
    longest = max(len(reading.label) for reading in plot.readings)
    left = 12.0 if canvas.narrow else min(190.0, longest * CHARACTER + 20)
    right = canvas.width - RIGHT
    step = round_step(max(_largest(plot), 1e-9), 4 if canvas.width < 600 else 8)
    end = step * max(1, -(-_largest(plot) // step))
    scale = (right - left) / end
    parts: list[Markup] = []
    y = 8.0
    for group, readings in groupby(plot.readings, key=lambda reading: reading.group):
        if group:
            parts.append(text(0, y + 15, group, "group"))
            y += GROUP
        for reading in readings:
            parts += _row(reading, y, left, right, scale, canvas)
            y += NARROW_ROW if canvas.narrow else ROW
    for tick in range(round(end / step) + 1):
        x = left + tick * step * scale
        parts.insert(0, line(x, 8, x, y, "grid"))
        anchor = "end" if x > right - 4 else "middle"
        parts.append(text(x, y + 16, f"{tick * step:g}", f"tick {anchor}"))
    parts.append(line(left, y, right, y, "axis"))
    parts.append(text((left + right) / 2, y + 33, f"{plot.title}, {plot.unit}", "label middle"))
    return canvas.svg(y + BOTTOM, alternative, parts)


def _largest(plot: Intervals) -> float:
    return max(max(r.high, *r.trials, r.median) for r in plot.readings)


def _row(
    reading: Reading, top: float, left: float, right: float, scale: float, canvas: Canvas
) -> Iterable[Markup]:
    middle = top + (36 if canvas.narrow else 28)
    if canvas.narrow:
        yield text(left, top + 13, reading.label, "name")
        yield text(right, top + 13, reading.text, "value end")
    else:
        yield text(left - 10, middle + 4, fitted(reading.label, left - 12), "name end")
        yield text(right, top + 13, reading.text, "value end")
    for index, trial in enumerate(reading.trials):
        y = middle + LIFT[index % len(LIFT)]
        yield tag("circle", cx=left + trial * scale, cy=y, r=3, class_=f"trial k-{reading.kind}")
    low, high = left + reading.low * scale, left + reading.high * scale
    yield line(low, middle, high, middle, f"interval k-{reading.kind}")
    for x in (low, high):
        yield line(x, middle - 6, x, middle + 6, f"interval k-{reading.kind}")
    x = left + reading.median * scale
    corners = f"{x:.1f},{middle - 7:.1f} {x + 6:.1f},{middle:.1f} "
    corners += f"{x:.1f},{middle + 7:.1f} {x - 6:.1f},{middle:.1f}"
    yield tag("polygon", points=corners, class_=f"median k-{reading.kind}")
