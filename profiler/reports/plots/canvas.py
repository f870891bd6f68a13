# SPDX-License-Identifier: GPL-2.0-or-later
"""What all plots share: the drawing's size, text in it, and scales with round ticks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from profiler.reports.markup import Child, Markup, Value, tag
from profiler.reports.words import duration

WIDE, HALF, NARROW = 960, 472, 340
CHARACTER = 6.6
"""Width of a character of the plots' text in units of the drawing, on average; generous."""


@dataclass(frozen=True)
class Canvas:
    """A drawing of a given width; `narrow`: for a phone. `key` makes ids unique in the page."""

    width: float
    key: str
    narrow: bool = False

    def grown(self, width: float) -> "Canvas":
        """The same, at least that wide; what is wider than the window is scrolled."""
        return replace(self, width=max(self.width, width))

    def svg(self, height: float, alternative: str, *children: Child) -> Markup:
        """The whole drawing, with the text that stands for it."""
        return tag(
            "svg",
            *children,
            viewBox=f"0 0 {self.width:g} {math.ceil(height)}",
            width=self.width,
            height=math.ceil(height),
            role="img",
            aria_label=alternative,
            class_=self._classes(),
        )

    def _classes(self) -> str:
        if self.narrow:
            return "narrow scrolled" if self.width > NARROW else "narrow"
        return "wide"


def text(x: float, y: float, content: str, class_: str = "", **attributes: Value) -> Markup:
    """Text with its baseline at y."""
    return tag("text", content, x=x, y=y, class_=class_ or None, **attributes)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """A straight line."""
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def fitted(content: str, width: float) -> str:
    """Text cut to about a width in units, with an ellipsis."""
    room = max(1, int(width / CHARACTER))
    return content if len(content) <= room else content[: room - 1] + "\N{HORIZONTAL ELLIPSIS}"


@dataclass(frozen=True)
class LogTime:
    """A logarithmic scale of durations in ns, from x0 to x1."""

    low: float
    high: float
    x0: float
    x1: float

    @classmethod
    def over(cls, values: Sequence[float], x0: float, x1: float) -> "LogTime":
        """Whole decades around some durations, at least one."""
        positive = [value for value in values if value >= 1]
        low = math.floor(math.log10(min(positive, default=1e3)))
        high = math.ceil(math.log10(max(positive, default=1e4)))
        return cls(10.0**low, 10.0 ** max(high, low + 1), x0, x1)

    def x(self, value: float) -> float:
        """Where a duration lies; shorter ones lie at the left edge."""
        if value <= self.low:
            return self.x0
        part = math.log10(value / self.low) / math.log10(self.high / self.low)
        return self.x0 + (self.x1 - self.x0) * min(1.0, part)

    def ticks(self) -> list[tuple[float, str]]:
        """Position and text of the decades, every other one where they are many."""
        decades = round(math.log10(self.high / self.low))
        step = max(1, math.ceil(decades * 44 / (self.x1 - self.x0)))
        return [
            (self.x(self.low * 10.0**i), _decade(self.low * 10.0**i))
            for i in range(0, decades + 1, step)
        ]


def _decade(ns: float) -> str:
    """A power of ten as `100 µs`: without the digits that a measured duration has."""
    number, _, unit = duration(ns).partition(" ")
    return f"{float(number):g} {unit}"


def round_step(span: float, most: int) -> float:
    """The smallest of 1, 2, 5 times a power of ten that cuts a span into at most so many parts."""
    raw = span / most
    power: float = 10.0 ** math.floor(math.log10(raw))
    return next((power * m for m in (1, 2, 5) if power * m >= raw * 0.999), power * 10)
