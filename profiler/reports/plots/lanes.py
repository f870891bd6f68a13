# SPDX-License-Identifier: GPL-2.0-or-later
"""The timeline: a lane for each thread, holds as solid bars, waits as hatched ones below them.

Holds exclude each other, so the holder at any instant is the one lane with a solid bar there. The
longest waits carry a number, and a line that leads from the start of the wait up or down to the
lane of the thread that held the lock then.
"""

from collections.abc import Iterable, Sequence

from profiler.reports.markup import Markup, number, tag
from profiler.reports.model import Haze, Lane, LongWait, Slice, Timeline
from profiler.reports.plots.canvas import CHARACTER, Canvas, fitted, line, round_step, text

HOLD, WAIT, PAD, NAME = 18.0, 10.0, 12.0, 16.0
"""Heights: of the two bars of a lane, between lanes, and of its name where that stands above."""

TOP, BOTTOM, RIGHT = 26.0, 42.0, 14.0
MOST_NOTES = 60
"""So many bars of a lane, the longest ones, have a text that appears over them."""


class _Layout:
    """Where lanes and instants are."""

    def __init__(self, plot: Timeline, canvas: Canvas) -> None:
        self.narrow = canvas.narrow
        longest = max(len(lane.label) for lane in plot.lanes)
        self.left = 8.0 if canvas.narrow else min(180.0, longest * CHARACTER + 18)
        self.right = canvas.width - RIGHT
        self.step = HOLD + WAIT + PAD + (NAME if canvas.narrow else 0)
        self.bottom = TOP + self.step * len(plot.lanes)
        self._length = plot.length

    def x(self, ns: float) -> float:
        """Where an instant lies."""
        return self.left + (self.right - self.left) * min(1.0, max(0.0, ns / self._length))

    def hold_y(self, lane: int) -> float:
        """The upper edge of a lane's holds; its waits are right below."""
        return TOP + self.step * lane + (NAME if self.narrow else 0)

    def wait_y(self, lane: int) -> float:
        """The upper edge of a lane's waits."""
        return self.hold_y(lane) + HOLD + 1


def draw_lanes(plot: Timeline, canvas: Canvas, alternative: str) -> Markup:
    """The plot."""
    at = _Layout(plot, canvas)
    parts: list[Markup] = [_patterns(canvas), *_axis(plot, at)]
    for index, lane in enumerate(plot.lanes):
        parts.append(_lane(lane, index, at, canvas.key))
    parts += [_pointer(wait, at) for wait in plot.waits]
    parts += _badges(plot.waits, at)
    return canvas.svg(at.bottom + BOTTOM, alternative, parts)


def _patterns(canvas: Canvas) -> Markup:
    """The hatchings of waits and of what is not on record."""
    shapes = (("wait", "M-1 5L5 -1M3 9L9 3", 8), ("unseen", "M0 0L6 6M6 0L0 6", 6))
    return tag(
        "defs",
        [
            tag(
                "pattern",
                tag("rect", width=size, height=size, class_=f"{name}-ground"),
                tag("path", d=path, class_=f"{name}-hatch"),
                id=f"{canvas.key}-{name}",
                width=size,
                height=size,
                patternUnits="userSpaceOnUse",
            )
            for name, path, size in shapes
        ],
    )


def _axis(plot: Timeline, at: _Layout) -> Iterable[Markup]:
    step = round_step(plot.length, 5 if at.narrow else 10)
    unit, factor = ("ms", 1e6) if plot.length >= 2e6 else ("\N{MICRO SIGN}s", 1e3)
    for tick in range(int(plot.length / step + 1e-6) + 1):
        x = at.x(tick * step)
        yield line(x, TOP - 8, x, at.bottom, "grid")
        anchor = "end" if x > at.right - 4 and not at.narrow else "middle"
        yield text(x, at.bottom + 16, f"{tick * step / factor:g}", f"tick {anchor}")
    yield line(at.left, at.bottom, at.right, at.bottom, "axis")
    middle = (at.left + at.right) / 2
    yield text(
        middle, at.bottom + 34, f"time from the start of the stretch, {unit}", "label middle"
    )


def _lane(lane: Lane, index: int, at: _Layout, key: str) -> Markup:
    hold_y, wait_y = at.hold_y(index), at.wait_y(index)
    if at.narrow:
        name = text(at.left, hold_y - 4, fitted(lane.label, at.right - at.left), "name")
    else:
        name = text(at.left - 10, hold_y + 17, fitted(lane.label, at.left - 12), "name end")
    parts: list[Markup | None] = [
        name,
        tag(
            "rect",
            x=at.left,
            y=hold_y,
            width=at.right - at.left,
            height=HOLD + WAIT + 1,
            class_="lane",
        ),
        _unseen(lane, index, at, key),
    ]
    held, waited = f"hold k-{lane.kind}", "wait"
    parts += _haze(lane.hold_haze, hold_y, HOLD, held, at)
    parts += _haze(lane.wait_haze, wait_y, WAIT, "wait-haze", at)
    parts += _bars(lane.holds, hold_y, HOLD, held, at, None)
    parts += _bars(lane.waits, wait_y, WAIT, waited, at, f"url(#{key}-wait)")
    return tag("g", parts)


def _unseen(lane: Lane, index: int, at: _Layout, key: str) -> Markup | None:
    if lane.unseen <= 0:
        return None
    return tag(
        "g",
        tag("title", f"{lane.label}: not on record, its event ring was overwritten"),
        tag(
            "rect",
            x=at.left,
            y=at.hold_y(index),
            width=at.x(lane.unseen) - at.left,
            height=HOLD + WAIT + 1,
            fill=f"url(#{key}-unseen)",
        ),
        class_="tip",
    )


def _box(start: float, end: float, y: float, height: float) -> str:
    """A rectangle as a piece of a path, at least 0.7 wide."""
    width = number(max(0.7, end - start))
    return f"M{number(start)} {number(y)}h{width}v{number(height)}h-{width}z"


def _haze(
    parts: Sequence[Haze], y: float, height: float, class_: str, at: _Layout
) -> Iterable[Markup]:
    """All short spans of one level as one path; a level is a height, not only a tint."""
    for share in sorted({haze.share for haze in parts}):
        tall = max(1.5, height * share)
        boxes = [
            _box(at.x(haze.start), at.x(haze.end), y + height - tall, tall)
            for haze in parts
            if haze.share == share
        ]
        yield tag("path", d="".join(boxes), class_=f"{class_} faint")


def _bars(
    slices: Sequence[Slice], y: float, height: float, class_: str, at: _Layout, fill: str | None
) -> Iterable[Markup]:
    """The longest bars one by one, with a text each; the others as one path."""
    by_length = sorted(slices, key=lambda s: s.start - s.end)
    rest = [_box(at.x(s.start), at.x(s.end), y, height) for s in by_length[MOST_NOTES:]]
    if rest:
        yield tag("path", d="".join(rest), class_=class_, fill=fill)
    for piece in by_length[:MOST_NOTES]:
        box = tag(
            "path", d=_box(at.x(piece.start), at.x(piece.end), y, height), class_=class_, fill=fill
        )
        yield tag("g", tag("title", piece.note), box, class_="tip")


def _pointer(wait: LongWait, at: _Layout) -> Markup:
    """From the start of a wait to the lane of whom it waited for."""
    if wait.before or wait.holder_lane in (None, wait.waiter_lane):
        return tag("g")
    assert wait.holder_lane is not None
    x, start = at.x(wait.request), at.wait_y(wait.waiter_lane)
    end = at.hold_y(wait.holder_lane)
    if wait.holder_lane < wait.waiter_lane:
        end += HOLD
    else:
        start += WAIT
    dot = tag("circle", cx=x, cy=end, r=2.6, class_="pointer-end")
    return tag("g", line(x, start, x, end, "pointer"), dot)


def _badges(waits: Sequence[LongWait], at: _Layout) -> Iterable[Markup]:
    """Numbers on the waits; where two would lie on each other, the later one moves aside."""
    taken: list[tuple[float, int]] = []
    for wait in waits:
        x = at.x(wait.request) + 8
        while any(lane == wait.waiter_lane and abs(x - other) < 16 for other, lane in taken):
            x += 2
        taken.append((x, wait.waiter_lane))
        y = at.wait_y(wait.waiter_lane) + WAIT / 2
        note = f"{wait.waiter} at {wait.site} waited for {wait.holder}"
        yield tag(
            "g",
            tag("title", note),
            tag("circle", cx=x, cy=y, r=7.5, class_="badge"),
            text(x, y + 3.6, str(wait.number), "badge-text middle"),
            class_="tip",
        )
