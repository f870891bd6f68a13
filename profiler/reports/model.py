# SPDX-License-Identifier: GPL-2.0-or-later
"""What a report says, as plain immutable values, before anybody decides how it looks.

Durations are nanoseconds, shares lie between 0 and 1, unless a field says otherwise. `kind`
strings name a category (`main`, `vcpu`, …, `wait`): drawing gives each a colour and a mark.
"""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Curve:
    """A distribution: `points` are (duration, share of samples up to it), both rising.

    `samples` is how many there are, `largest` the longest one. `kind` is a role or a placement's
    slot `p0`, `p1`, …
    """

    label: str
    kind: str
    points: tuple[tuple[float, float], ...]
    samples: int
    largest: float


@dataclass(frozen=True)
class Distributions:
    """Curves over one time axis; `axis` says what the time is, `share` what is counted."""

    axis: str
    share: str
    curves: tuple[Curve, ...]


@dataclass(frozen=True)
class Heatmap:
    """Times at which row waited for column. `cells` are nanoseconds, `shares` parts of all.

    The last `unnamed` columns are not holders: wake-up latency and what is no longer on record.
    """

    waiters: tuple[str, ...]
    holders: tuple[str, ...]
    cells: tuple[tuple[float, ...], ...]
    unnamed: int = 2

    @property
    def total(self) -> float:
        """All waiting, in nanoseconds."""
        return sum(map(sum, self.cells))


@dataclass(frozen=True)
class Slice:
    """A span of a lane, from `start` to `end` in ns from the window's start."""

    start: float
    end: float
    note: str


@dataclass(frozen=True)
class Haze:
    """Spans too short to be drawn one by one: part of the time, 0 to 1, from start to end in ns."""

    start: float
    end: float
    share: float


@dataclass(frozen=True)
class Lane:
    """What one thread did. `unseen` are the ns from the window's start that its ring forgot."""

    label: str
    kind: str
    holds: tuple[Slice, ...]
    waits: tuple[Slice, ...]
    hold_haze: tuple[Haze, ...]
    wait_haze: tuple[Haze, ...]
    unseen: float = 0.0


@dataclass(frozen=True)
class LongWait:
    """One of the longest waits of a window, numbered for the eye; instants in ns from its start.

    `waiter_lane` and `holder_lane` are indices of lanes; the latter is None if the holder has none.
    `wait` is the whole wait in ns; `before` and `beyond`: it began or ended outside the window.
    """

    number: int
    request: float
    acquired: float
    waiter_lane: int
    holder_lane: int | None
    waiter: str
    site: str
    holder: str
    holder_site: str
    wait: float
    before: bool = False
    beyond: bool = False


@dataclass(frozen=True)
class Timeline:
    """The worst stretch of a recording. `omitted` threads have no lane.

    `length` in ns; `start` is the ns from the recording's begin to the stretch's.
    """

    length: float
    lanes: tuple[Lane, ...]
    waits: tuple[LongWait, ...]
    omitted: int = 0
    start: float = 0.0


@dataclass(frozen=True)
class Reading:
    """A placement's value: median and interval, and each trial; in the plot's unit."""

    label: str
    group: str
    kind: str
    median: float
    low: float
    high: float
    trials: tuple[float, ...]
    text: str


@dataclass(frozen=True)
class Intervals:
    """One metric of several placements. `better` is `more` or `less`."""

    title: str
    unit: str
    better: str
    readings: tuple[Reading, ...]


Plot: TypeAlias = Distributions | Heatmap | Timeline | Intervals


@dataclass(frozen=True)
class Cell:
    """A table's cell; `bar` is the filled part, 0 to 1, of a bar behind a number."""

    text: str
    bar: float | None = None
    mark: str = ""
    """A category to show as a coloured mark before the text, or `better` or `worse`."""


@dataclass(frozen=True)
class Column:
    """A column's heading; `numeric` ones are aligned to the right, and break if they `wrap`."""

    title: str
    numeric: bool = True
    wraps: bool = False


@dataclass(frozen=True)
class Table:
    """A table; the first cell of a row is its heading. `note` stands below."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class Figure:
    """A plot with a caption and the text that stands for it where it cannot be seen."""

    title: str
    plot: Plot
    caption: str
    alternative: str


@dataclass(frozen=True)
class Figures:
    """Figures that stand side by side where there is room."""

    parts: tuple[Figure, ...]


@dataclass(frozen=True)
class Paragraph:
    """Plain text."""

    text: str


@dataclass(frozen=True)
class Facts:
    """Named facts: label and text."""

    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Notes:
    """A list of sentences."""

    items: tuple[str, ...]


Block: TypeAlias = Figure | Figures | Table | Paragraph | Facts | Notes


@dataclass(frozen=True)
class Section:
    """A part of the page; `anchor` is its name in the table of contents' links."""

    anchor: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Tile:
    """One of the numbers under the verdict."""

    value: str
    label: str


@dataclass(frozen=True)
class Page:
    """The whole report. `verdict` has a sentence for each thing judged, `made` the small print."""

    title: str
    subject: str
    verdict: tuple[str, ...]
    hints: tuple[str, ...]
    tiles: tuple[Tile, ...]
    sections: tuple[Section, ...]
    made: str
