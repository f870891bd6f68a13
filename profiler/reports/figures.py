# SPDX-License-Identifier: GPL-2.0-or-later
"""The figures and tables of one body of data: distributions, blame, call sites, sleeps."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from profiler.compare.blame_words import site_words
from profiler.compare.locks import HANDOFF, UNKNOWN
from profiler.histogram import UPPER_BOUNDS
from profiler.reports.model import Cell, Column, Curve, Distributions, Figure, Heatmap, Table
from profiler.reports.sample import Group, Pair, Sample, Spread
from profiler.reports.words import SLEEP_WORDS, counted, duration, listed, percent, rate, role_name

MOST_SITES = 25
MOST_PAIRS = 20
MOST_SLEEPS = 15
HOLDER_WORDS = {HANDOFF: "waking up", UNKNOWN: "not on record"}
"""Columns that are no holder: the lock was free, or who held it was overwritten."""


def curve(label: str, kind: str, spread: Spread) -> Curve:
    """A histogram as a curve: a point at the end of each bucket that has samples."""
    used = np.flatnonzero(spread.histogram.counts)
    cumulative = np.cumsum(spread.histogram.counts)
    total = spread.histogram.total
    points = [
        (
            min(float(UPPER_BOUNDS[i]) * spread.ns_per_tick, spread.largest),
            float(cumulative[i]) / total,
        )
        for i in used
    ]
    return Curve(label, kind, tuple(points), total, spread.largest)


def wait_curves(sample: Sample) -> tuple[Curve, ...]:
    """How long each role waited."""
    return tuple(
        curve(role_name(g.role), g.role.label, g.wait) for g in sample.roles if g.acquisitions
    )


def hold_curves(sample: Sample) -> tuple[Curve, ...]:
    """How long each role held the lock."""
    return tuple(
        curve(role_name(g.role), g.role.label, g.hold) for g in sample.roles if g.acquisitions
    )


def distribution_figures(sample: Sample) -> tuple[Figure, ...]:
    """Waits and holds by role."""
    waits, holds = wait_curves(sample), hold_curves(sample)
    return (
        Figure(
            "Waiting for the lock",
            Distributions("wait", "acquisitions", waits),
            "How much of all acquisitions had the lock within a given time. A curve that starts "
            "high got it at once; the further right its tail, the longer the worst waits. Each "
            "line up the axis is ten times rarer.",
            _curves_text("waited", sample.roles, [group.wait for group in sample.roles]),
        ),
        Figure(
            "Holding the lock",
            Distributions("hold", "holds", holds),
            "How long the lock was kept once taken. Whoever is far to the right makes others wait.",
            _curves_text("held it", sample.roles, [group.hold for group in sample.roles]),
        ),
    )


def _curves_text(verb: str, groups: Sequence[Group], spreads: Sequence[Spread]) -> str:
    parts = [
        f"{role_name(group.role)} {verb} at most {duration(spread.quantile(0.5))} in half of "
        f"{counted(group.acquisitions, 'acquisition')}, {duration(spread.quantile(0.99))} in 99 %, "
        f"{duration(spread.largest)} at worst"
        for group, spread in zip(groups, spreads, strict=True)
        if group.acquisitions
    ]
    return f"Cumulative distribution. {listed(parts)}." if parts else "Nobody took the lock."


def roles_table(sample: Sample) -> Table:
    """Roles: how often, how long they waited and held."""
    waits, holds = ("waited", "wait p50", "p99", "max"), ("held", "hold p50", "p99", "max")
    titles = (*waits, *holds, "taken /s", "contended")
    rows = tuple(
        (
            Cell(_threads(group), mark=group.role.label),
            *_figures(sample, group, ("p50", "p99")),
        )
        for group in sample.roles
    )
    return Table(
        "By thread role",
        (Column("role", numeric=False), *map(Column, titles)),
        rows,
        "Waited and held are totals, with the part of all waiting and of the time; p50 and p99 are "
        "of all acquisitions, an acquisition without a wait counting as 0.",
    )


def _threads(group: Group) -> str:
    name = role_name(group.role)
    return name if group.threads == 1 else f"{name} \N{MULTIPLICATION SIGN} {group.threads}"


def sites_table(sample: Sample, most: int = MOST_SITES) -> Table:
    """Call sites, those with the longest waits first."""
    titles = ("waited", "wait p99", "max", "held", "hold p99", "max", "taken /s", "contended")
    shown = sample.sites[:most]
    left = len(sample.sites) - len(shown)
    note = "A vCPU's call site is the device that it accessed."
    if left:
        note += f" Not shown: {counted(left, 'more call site')}; `bqlscope summary` lists them all."
    return Table(
        "By call site",
        (Column("call site", numeric=False), *map(Column, titles), Column("role", numeric=False)),
        tuple(
            (
                Cell(site_words(group.site), mark=group.role.label),
                *_figures(sample, group, ("p99",)),
                Cell(role_name(group.role)),
            )
            for group in shown
        ),
        note,
    )


def _figures(sample: Sample, group: Group, quantiles: Sequence[str]) -> list[Cell]:
    """For waits and holds the total, quantiles and maximum; then rate and contention."""
    cells: list[Cell] = []
    for spread, whole in ((group.wait, sample.waited), (group.hold, sample.elapsed)):
        part = min(1.0, spread.total / whole) if whole else 0.0
        cells.append(Cell(duration(spread.total), bar=part))
        ranks = [{"p50": 0.5, "p99": 0.99}[name] for name in quantiles]
        cells += [Cell(duration(spread.quantile(q))) for q in ranks]
        cells.append(Cell(duration(spread.largest)))
    seconds = sample.elapsed / 1e9
    cells.append(Cell(rate(group.acquisitions / seconds) if seconds else "-"))
    part = group.contended / group.acquisitions if group.acquisitions else 0.0
    return [*cells, Cell(percent(part))]


def heatmap(sample: Sample) -> Heatmap | None:
    """Waiters and holders; None if nobody waited."""
    cells: dict[tuple[str, str], float] = defaultdict(float)
    for pair in sample.pairs:
        cells[pair.waiter, pair.holder] += pair.total
    if not cells:
        return None
    waiters = sorted({waiter for waiter, _ in cells})
    named = sorted({holder for _, holder in cells} - HOLDER_WORDS.keys(), key=_main_first)
    waiters.sort(key=_main_first)
    unnamed = [holder for holder in HOLDER_WORDS if any(h == holder for _, h in cells)]
    holders = [*named, *unnamed]
    return Heatmap(
        tuple(waiters),
        tuple(HOLDER_WORDS.get(holder, holder) for holder in holders),
        tuple(tuple(cells.get((waiter, holder), 0.0) for holder in holders) for waiter in waiters),
        len(unnamed),
    )


def _main_first(name: str) -> tuple[bool, bool, str]:
    return name != "main loop", not name.startswith(("CPU", "vCPU")), name


def heatmap_figure(sample: Sample) -> Figure | None:
    """Who waited for whom; None if nobody waited."""
    plot = heatmap(sample)
    if plot is None:
        return None
    largest = sorted(
        (
            (ns, w, h)
            for w, row in zip(plot.waiters, plot.cells, strict=True)
            for h, ns in zip(plot.holders, row, strict=True)
            if ns
        ),
        reverse=True,
    )[:3]
    parts = [
        f"{waiter}, {holder}: {duration(ns)}, {percent(ns / plot.total)}"
        for ns, waiter, holder in largest
    ]
    return Figure(
        "Who waited for whom",
        plot,
        "Rows waited, columns held the lock meanwhile; each wait is split exactly among all who "
        "held it. 'Waking up' is a free lock and a waiter that did not run yet: the scheduler's "
        "part. The stronger a cell's colour, the larger its part of all waiting.",
        f"Matrix of waiters and holders, {duration(plot.total)} of waiting. Largest: "
        f"{'; '.join(parts)}.",
    )


def pairs_table(sample: Sample, most: int = MOST_PAIRS) -> Table | None:
    """Blame pairs with their places; None if nobody waited."""
    shown = sample.pairs[:most]
    if not shown:
        return None
    total = sum(pair.total for pair in sample.pairs)
    left = len(sample.pairs) - len(shown)
    note = "Means are per wait; what no holder accounts for is not counted by the wait."
    if left:
        rest = sum(pair.total for pair in sample.pairs[most:])
        note += f" Not shown: {counted(left, 'smaller pair')}, together {duration(rest)}."
    return Table(
        "Waiters and holders by place",
        (
            *(Column(title, numeric=False) for title in ("waiter", "holder")),
            *map(Column, ("waited", "of all")),
            *(Column(title, numeric=False) for title in ("waiter's place", "holder's place")),
            *map(Column, ("waits", "mean", "max")),
        ),
        tuple(_pair_row(pair, total) for pair in shown),
        note,
    )


def _pair_row(pair: Pair, total: float) -> tuple[Cell, ...]:
    counts = ("-", "-", "-")
    if pair.count:
        counts = (str(pair.count), duration(pair.total / pair.count), duration(pair.largest))
    return (
        Cell(pair.waiter),
        Cell(HOLDER_WORDS.get(pair.holder, pair.holder)),
        Cell(duration(pair.total), bar=pair.total / total),
        Cell(percent(pair.total / total)),
        Cell(site_words(pair.waiter_site)),
        Cell(site_words(pair.holder_site)),
        *map(Cell, counts),
    )


def sleeps_table(sample: Sample) -> Table | None:
    """What holders slept for inside their holds; None if none did."""
    found = [(g, reason, ns) for g in sample.sites for reason, ns in g.slept.items()]
    found.sort(key=lambda sleep: -sleep[2])
    if not found:
        return None
    return Table(
        "What holders slept for",
        (
            Column("call site", numeric=False),
            Column("slept for", numeric=False),
            Column("time"),
            Column("of its hold"),
        ),
        tuple(
            (
                Cell(site_words(group.site), mark=group.role.label),
                Cell(SLEEP_WORDS[reason]),
                Cell(duration(ns)),
                Cell(percent(min(1.0, ns / group.hold.total)) if group.hold.total else "-"),
            )
            for group, reason, ns in found[:MOST_SLEEPS]
        ),
        "A holder that sleeps keeps everybody else out while it does nothing.",
    )
