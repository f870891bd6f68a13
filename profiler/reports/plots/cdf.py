# SPDX-License-Identifier: GPL-2.0-or-later
"""Cumulative distributions: time on a logarithmic axis, shares on one that stretches the tail.

What matters about a lock is how rare and how long the worst waits are; on a linear axis all of them
share the last pixel. So up the axis each step is ten times rarer: 90 %, 99 %, 99.9 %, …
"""

import math
from collections.abc import Sequence

from profiler.reports.markup import Markup, tag
from profiler.reports.model import Curve, Distributions
from profiler.reports.plots.canvas import Canvas, LogTime, line, text

LEFT, RIGHT, BOTTOM, LEGEND = 72.0, 26.0, 48.0, 20.0
PLOT_HEIGHT = 230.0
MOST_NINES = 6
ROOM_FOR_HALF = 5
"""With more nines up the axis 50 % would lie on 0 %."""
MARKS = ("circle", "square", "triangle", "diamond")


class _Shares:
    """The vertical axis."""

    def __init__(self, curves: Sequence[Curve], top: float, bottom: float) -> None:
        largest = max((curve.samples for curve in curves), default=10)
        self.nines = min(MOST_NINES, max(2, math.ceil(math.log10(max(10, largest)))))
        self._top, self._bottom = top, bottom

    def y(self, share: float) -> float:
        """Where a share lies; what is rarer than the axis can show lies at the top."""
        nines = self.nines if share >= 1 else min(self.nines, -math.log10(1 - share))
        return self._bottom - (self._bottom - self._top) * nines / self.nines

    def ticks(self) -> list[tuple[float, str]]:
        """Position and text."""
        names = [(0.0, "0 %"), (0.9, "90 %")]
        if self.nines <= ROOM_FOR_HALF:
            names.append((0.5, "50 %"))
        names += [(1 - 10.0**-n, f"99.{'9' * (n - 2)} %") for n in range(2, self.nines)]
        names = [(share, name.replace("99. %", "99 %")) for share, name in names]
        return [*((self.y(share), name) for share, name in names), (self._top, "all")]


def draw_cdf(plot: Distributions, canvas: Canvas, alternative: str) -> Markup:
    """The plot, with a legend above it."""
    legend, legend_height = _legend(plot.curves, canvas)
    top = legend_height + 10
    bottom, right = top + PLOT_HEIGHT, canvas.width - RIGHT
    values = [x for curve in plot.curves for x, _ in curve.points]
    values += [curve.largest for curve in plot.curves]
    time, shares = LogTime.over(values, LEFT, right), _Shares(plot.curves, top, bottom)
    parts: list[Markup] = [legend]
    for y, name in shares.ticks():
        parts.append(line(LEFT, y, right, y, "grid"))
        parts.append(text(LEFT - 7, y + 3, name, "tick end"))
    for x, name in time.ticks():
        parts.append(line(x, top, x, bottom, "grid"))
        parts.append(text(x, bottom + 19, name, "tick middle"))
    parts.append(line(LEFT, bottom, right, bottom, "axis"))
    turned = f"rotate(-90 12 {(top + bottom) / 2:.0f})"
    parts.append(
        text(12, (top + bottom) / 2, f"share of {plot.share}", "label middle", transform=turned)
    )
    axis = f"{plot.axis} time, at most (logarithmic)"
    parts.append(text((LEFT + right) / 2, bottom + 40, axis, "label middle"))
    parts += [_curve(curve, index, time, shares) for index, curve in enumerate(plot.curves)]
    return canvas.svg(bottom + BOTTOM, alternative, parts)


def _legend(curves: Sequence[Curve], canvas: Canvas) -> tuple[Markup, float]:
    x, y = LEFT, 14.0
    parts: list[Markup] = []
    for index, curve in enumerate(curves):
        width = 34 + 7 * len(curve.label)
        if x + width > canvas.width and x > LEFT:
            x, y = LEFT, y + LEGEND
        parts.append(line(x, y - 4, x + 22, y - 4, f"curve k-{curve.kind} d{index % 4}"))
        parts.append(_mark(x + 11, y - 4, index, curve.kind))
        parts.append(text(x + 28, y, curve.label, "legend"))
        x += width + 12
    return tag("g", parts), y


def _curve(curve: Curve, index: int, time: LogTime, shares: _Shares) -> Markup:
    """The line from the left edge, in steps, and a mark at the longest sample."""
    share, path = 0.0, [f"M{time.x0:.1f} {shares.y(0):.1f}"]
    for duration_ns, reached in curve.points:
        x = time.x(duration_ns)
        if x > time.x0:
            path.append(f"H{x:.1f}")
        if reached - share > 0:
            path.append(f"V{shares.y(reached):.1f}")
        share = reached
    classes = f"curve k-{curve.kind} d{index % 4}"
    end = _mark(time.x(curve.largest), shares.y(1), index, curve.kind)
    return tag("g", tag("path", d="".join(path), class_=classes), end)


def _mark(x: float, y: float, index: int, kind: str) -> Markup:
    """A small shape, so that curves differ in more than colour."""
    classes, shape = f"mark k-{kind}", MARKS[index % len(MARKS)]
    if shape == "circle":
        return tag("circle", cx=x, cy=y, r=4, class_=classes)
    if shape == "square":
        return tag("rect", x=x - 3.5, y=y - 3.5, width=7, height=7, class_=classes)
    points = {
        "triangle": ((0, -5), (4.5, 4), (-4.5, 4)),
        "diamond": ((0, -5), (5, 0), (0, 5), (-5, 0)),
    }
    corners = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in points[shape])
    return tag("polygon", points=corners, class_=classes)
