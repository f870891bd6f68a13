# SPDX-License-Identifier: GPL-2.0-or-later
"""Dashboards as pictures without Grafana: each panel's JSON, with figures of a real Prometheus.

The pictures show what is on a dashboard and what its numbers look like, not Grafana's typography.
Drawn is the committed JSON: positions, units, limits and legends come from there.
"""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter
from PIL import Image

from grafana.query import Json, Points, Prometheus, Target, filled, legend, panels, targets
from grafana.tables import Cells, cells
from grafana.units import text

BACKGROUND, PANEL, INK, FAINT, LINE = "#111217", "#181b1f", "#d8d9da", "#8e9297", "#2c3035"
COLOURS = ("#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#8ab8ff", "#fade2a")
LIMITS = {"green": "#73bf69", "orange": "#ff9830", "red": "#f2495c"}
COLUMN_INCHES, LINE_INCHES, DOTS = 0.55, 0.42, 75
MOST_LEGENDS = 8


@dataclass(frozen=True)
class Window:
    """What is asked for: from, to and step in seconds; values of variables."""

    begin: float
    end: float
    step: float
    values: Mapping[str, str]


@dataclass(frozen=True)
class Shown:
    """A panel with the answers to its queries."""

    panel: Json
    answers: Sequence[tuple[Target, list[Points]]]
    end: float

    @property
    def unit(self) -> str:
        """Grafana's unit."""
        return str(self.panel["fieldConfig"]["defaults"].get("unit", "short"))

    @property
    def custom(self) -> Json:
        """Settings of the kind of panel."""
        return dict(self.panel["fieldConfig"]["defaults"].get("custom", {}))

    @property
    def limits(self) -> list[tuple[float, str]]:
        """From which value on which colour."""
        steps = self.panel["fieldConfig"]["defaults"].get("thresholds", {}).get("steps", ())
        return [(-math.inf if s["value"] is None else s["value"], s["color"]) for s in steps]

    def colour(self, value: float) -> str:
        """The colour of a value by the limits."""
        found = [name for limit, name in self.limits if value >= limit]
        return LIMITS.get(found[-1], INK) if len(self.limits) > 1 and found else INK

    def named(self) -> list[tuple[str, Points]]:
        """All series by legend."""
        found = [(legend(t, p.labels), p) for t, points in self.answers for p in points]
        return sorted(found, key=lambda each: each[0])


def ask(prometheus: Prometheus, panel: Json, window: Window) -> Shown:
    """Ask for what a panel shows. Raises QueryError."""
    answers = []
    for target in targets(panel):
        expr = filled(target.expr, window.values)
        if target.instant:
            points = prometheus.instant(expr, window.end)
        else:
            points = prometheus.course(expr, window.begin, window.end, window.step)
        answers.append((target, points))
    return Shown(panel, answers, window.end)


def draw(dashboard: Json, prometheus: Prometheus, window: Window, path: Path) -> None:
    """Draw a dashboard into a PNG. Raises QueryError and OSError."""
    lines = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in dashboard["panels"]) + 1.4
    size = (24 * COLUMN_INCHES, lines * LINE_INCHES)
    with mpl.rc_context({"font.size": 8, "text.color": INK, "axes.unicode_minus": False}):
        figure = Figure(figsize=size, facecolor=BACKGROUND)
        heading = 1 - 0.75 / lines
        figure.text(0.008, heading, dashboard["title"], fontsize=14, va="center")
        chosen = "   ".join(
            f"{name} = {'All' if value == '.+' else value}"
            for name, value in window.values.items()
            if name not in ("__rate_interval", "datasource")
        )
        figure.text(0.992, heading, chosen, color=FAINT, va="center", ha="right")
        for row in (p for p in dashboard["panels"] if p["type"] == "row"):
            at = 1 - (row["gridPos"]["y"] + 1.4 + 0.5) / lines
            figure.text(0.008, at, f"▾ {row['title']}", fontsize=10, va="center")
        for panel in panels(dashboard):
            _place(figure, ask(prometheus, panel, window), lines, window)
        _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    """As a PNG of 96 colours: a quarter of the size, and nobody sees it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=DOTS)
    with Image.open(buffer) as picture:
        picture.convert("RGB").quantize(96).save(path, optimize=True)


def _place(figure: Figure, shown: Shown, lines: float, window: Window) -> None:
    place = shown.panel["gridPos"]
    left, width = place["x"] / 24, place["w"] / 24
    top, height = 1 - (place["y"] + 1.4) / lines, place["h"] / lines
    gap, line = 0.003, 1 / lines
    back = figure.add_axes((left + gap, top - height + gap / 2, width - 2 * gap, height - gap))
    back.set(facecolor=PANEL, xticks=[], yticks=[])
    for side in back.spines.values():
        side.set_color(LINE)
    title = filled(shown.panel["title"], window.values)
    figure.text(left + 0.009, top - 0.45 * line, title, fontsize=8.5, va="center", weight="bold")
    kind = shown.panel["type"]
    foot = (_legend_lines(shown) * 0.42 + 0.25) * line if kind == "timeseries" else 0.1 * line
    inset = {"timeseries": 0.055, "heatmap": 0.055}.get(kind, 0.01)
    bottom = top - height + foot + (0.75 * line if inset > 0.02 else 0.15 * line)
    box = (left + inset, bottom, width - inset - 0.014, top - 0.95 * line - bottom)
    axes = figure.add_axes(box)
    axes.set_facecolor("none")
    if not any(points for _, points in shown.answers):
        axes.axis("off")
        axes.text(
            0.5,
            0.5,
            shown.panel["fieldConfig"]["defaults"].get("noValue", "no data"),
            color=FAINT,
            ha="center",
            va="center",
            transform=axes.transAxes,
        )
        return
    {
        "timeseries": _graph,
        "stat": _number,
        "bargauge": _ranking,
        "heatmap": _density,
        "table": _table,
    }[kind](axes, shown)


def _legend_lines(shown: Shown) -> int:
    return (min(MOST_LEGENDS, len(shown.named())) + 1) // 2


def _moments(points: Points, shown: Shown) -> list[float]:
    """Seconds before the end, negative."""
    return [t - shown.end for t in points.times]


def _time_axes(axes: Axes, shown: Shown) -> None:
    axes.tick_params(colors=FAINT, labelsize=7, length=2)
    axes.grid(color=LINE, linewidth=0.6)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.0f} s"))
    for side in axes.spines.values():
        side.set_visible(False)


def _graph(axes: Axes, shown: Shown) -> None:
    _time_axes(axes, shown)
    series = shown.named()
    names = sorted({name for name, _ in series})
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}
    stacked = shown.custom.get("stacking", {}).get("mode") == "normal"
    base: dict[float, float] = {}
    for name, points in series:
        values = np.array(points.values)
        if stacked:
            below = np.array([base.get(t, 0.0) for t in points.times])
            values = np.nan_to_num(values) + below
            base.update(zip(points.times, values.tolist(), strict=True))
            axes.fill_between(
                _moments(points, shown), below, values, color=colours[name], alpha=0.5
            )
        axes.plot(_moments(points, shown), values, color=colours[name], linewidth=1.1, label=name)
    if shown.custom.get("scaleDistribution", {}).get("type") == "log":
        axes.set_yscale("log")
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(*_decades(series))
    else:
        top = shown.panel["fieldConfig"]["defaults"].get("max")
        axes.set_ylim(0, top * 1.05 if top else max(axes.get_ylim()[1] * 1.05, 1e-12))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: text(y, shown.unit)))
    _limit_lines(axes, shown)
    _legend(axes, shown, series, colours)


def _decades(series: list[tuple[str, Points]]) -> tuple[float, float]:
    """Whole powers of ten around all values; at least two."""
    values = [v for _, points in series for v in points.values if v > 0]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return 10.0**low, 10.0 ** max(high, low + 2)


def _limit_lines(axes: Axes, shown: Shown) -> None:
    low, high = axes.get_ylim()
    if shown.custom.get("thresholdsStyle", {}).get("mode") == "dashed":
        for limit, name in shown.limits[1:]:
            if low < limit < high:
                axes.axhline(limit, color=LIMITS[name], linestyle="--", linewidth=0.8)


def _legend(
    axes: Axes, shown: Shown, series: list[tuple[str, Points]], colours: Mapping[str, str]
) -> None:
    biggest = sorted(series, key=lambda each: -np.nan_to_num(each[1].values[-1]))
    lines = [Line2D([], [], color=colours[name], linewidth=3) for name, _ in biggest[:MOST_LEGENDS]]
    labels = [
        f"{_short(name)}  {text(points.values[-1], shown.unit)}"
        for name, points in biggest[:MOST_LEGENDS]
    ]
    axes.legend(
        lines,
        labels,
        ncols=2,
        loc="upper left",
        bbox_to_anchor=(-0.72 / shown.panel["gridPos"]["w"], -0.13),
        frameon=False,
        fontsize=7,
        labelcolor=INK,
        handlelength=1,
        borderaxespad=0.3,
        labelspacing=0.25,
    )


def _short(name: str, most: int = 44) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _number(axes: Axes, shown: Shown) -> None:
    points = shown.answers[0][1][0]
    value = points.values[-1]
    colour = shown.colour(value)
    axes.axis("off")
    big = axes.text(0.5, 0.62, text(value, shown.unit), transform=axes.transAxes, fontsize=20)
    big.set(ha="center", va="center", color=colour)
    values = np.nan_to_num(np.array(points.values))
    low, high = values.min(), values.max()
    course = (values - low) / (high - low or 1) * 0.3
    below = axes.inset_axes((0, 0, 1, 0.32))
    below.axis("off")
    below.fill_between(range(len(course)), 0, course, color=colour, alpha=0.25)
    below.set_ylim(0, 0.35)


def _ranking(axes: Axes, shown: Shown) -> None:
    found = [(name, points.values[-1]) for name, points in shown.named()]
    found.sort(key=lambda each: -each[1])
    axes.axis("off")
    limited = len(shown.limits) > 1
    largest = max(value for _, value in found) or 1.0
    narrow = shown.panel["gridPos"]["w"] < 12
    for index, (name, value) in enumerate(found):
        warm = mpl.colormaps["YlOrRd"](0.3 + 0.6 * value / largest)
        colour = shown.colour(value) if limited else warm
        axes.barh(index, value / largest * 0.45, left=0.4, height=0.62, color=colour)
        label = axes.text(0.39, index, _short(name, 32), ha="right", va="center")
        label.set_fontsize(6.5 if narrow else 7.5)
        axes.text(0.87, index, text(value, shown.unit), va="center", fontsize=8)
    axes.set(xlim=(0, 1), ylim=(max(len(found) - 0.4, 4.4), -0.6))


def _density(axes: Axes, shown: Shown) -> None:
    """Cumulative buckets as cells."""
    _time_axes(axes, shown)
    series = sorted(
        (math.inf if p.labels["le"] == "+Inf" else float(p.labels["le"]), p)
        for p in shown.answers[0][1]
    )
    times = series[0][1].times
    table = np.array(
        [dict(zip(p.times, p.values, strict=True)).get(t, 0.0) for _, p in series for t in times]
    ).reshape(len(series), len(times))
    each = np.diff(table, axis=0, prepend=0.0)
    each[each <= 0] = np.nan
    moments = np.array(_moments(series[0][1], shown))
    axes.pcolormesh(
        moments,
        np.arange(len(series)),
        each,
        cmap="Oranges_r",
        norm=PowerNorm(0.4),
        shading="nearest",
    )
    marks = range(0, len(series) - 1, 3)
    axes.set_yticks(list(marks), [text(series[i][0], shown.unit) for i in marks])


def _table(axes: Axes, shown: Shown) -> None:
    found = cells(shown.panel, shown.answers)
    axes.axis("off")
    axes.set(xlim=(0, 1), ylim=(0, 1))
    most = max(3, int(shown.panel["gridPos"]["h"] * 1.15) - 1)
    step = 1 / (most + 1)
    edges = _edges(found)
    for column, heading in enumerate(found.headings):
        axes.text(
            edges[column] + 0.006, 1 - step / 2, heading, color="#6e9fff", va="center", fontsize=7.5
        )
    for index, row in enumerate(found.rows[:most]):
        at = 1 - step * (index + 1.5)
        axes.axhline(at + step / 2, color=LINE, linewidth=0.5)
        for column, cell in enumerate(row):
            if cell.share is not None:
                shade = mpl.colormaps["YlOrRd"](0.25 + 0.7 * cell.share)
                axes.fill_between(
                    edges[column : column + 2],
                    at - step / 2,
                    at + step / 2,
                    color=shade,
                    alpha=0.08 + 0.67 * cell.share,
                    linewidth=0,
                )
            axes.text(edges[column] + 0.006, at, _short(cell.text, 40), va="center", fontsize=7.5)


def _edges(found: Cells) -> list[float]:
    widths = [
        max([len(heading), *(min(40, len(row[i].text)) for row in found.rows)]) + 3
        for i, heading in enumerate(found.headings)
    ]
    return [0.0, *(np.cumsum(widths) / sum(widths)).tolist()]
