# SPDX-License-Identifier: GPL-2.0-or-later
"""The report on one recording."""

from collections.abc import Sequence
from datetime import UTC, datetime

from profiler.compare.own import product_version
from profiler.layout import ClockKind
from profiler.model import Snapshot
from profiler.reports.devices import device_sections
from profiler.reports.event_words import event_facts, event_gaps, stretch_words
from profiler.reports.figures import (
    distribution_figures,
    heatmap_figure,
    pairs_table,
    roles_table,
    sites_table,
    sleeps_table,
)
from profiler.reports.gaps import checked, gaps
from profiler.reports.judge import hints, tiles, verdict
from profiler.reports.model import (
    Block,
    Cell,
    Column,
    Facts,
    Figure,
    Figures,
    Notes,
    Page,
    Paragraph,
    Section,
    Table,
    Timeline,
)
from profiler.reports.sample import Sample
from profiler.reports.source import Source
from profiler.reports.stretch import Stretch
from profiler.reports.timeline import timeline
from profiler.reports.words import counted, duration

Fact = tuple[str, str]
NO_WAIT = (Paragraph("No event of a wait is on record: there is nothing to draw."),)


def recording_page(source: Source, host: Sequence[Fact], now: datetime) -> Page:
    """The page; `host` describes the running host, `now` is when the report is made, in UTC."""
    snapshot = source.snapshot
    sample, process = Sample((snapshot,)), snapshot.process
    sections = [*lock_sections(sample), *_rest(source, sample, host)]
    name = process.vm_name or process.name or "a process"
    return Page(
        title=f"{name}: who waits for the big lock",
        subject=f"{process.name} {process.pid}, {duration(sample.elapsed)} recorded",
        verdict=(verdict(sample),),
        hints=hints(sample),
        tiles=tiles(sample),
        sections=tuple(sections),
        made=f"Made {now:%Y-%m-%d %H:%M} UTC by bqlscope {product_version()}.",
    )


def lock_sections(sample: Sample, prefix: str = "") -> list[Section]:
    """Waits and holds, blame, call sites; `prefix` makes the anchors unique."""
    heat, pairs, sleeps = heatmap_figure(sample), pairs_table(sample), sleeps_table(sample)
    blame: list[Block] = [block for block in (heat, pairs) if block is not None]
    sites: list[Block] = [block for block in (sites_table(sample), sleeps) if block is not None]
    return [
        Section(
            f"{prefix}waits",
            "How long threads wait, and hold",
            (Figures(distribution_figures(sample)), roles_table(sample)),
        ),
        Section(
            f"{prefix}blame",
            "Who makes whom wait",
            tuple(blame) or (Paragraph("Nobody waited for the lock."),),
        ),
        Section(f"{prefix}sites", "Where the lock is taken", tuple(sites)),
    ]


def _rest(source: Source, sample: Sample, host: Sequence[Fact]) -> list[Section]:
    snapshot, events = source.snapshot, source.events
    here = "Host" if snapshot.process.alive else "Host of this report"
    note = (
        "A recording does not say which host it was made on. The process lives, so it is this one."
        if snapshot.process.alive
        else "A recording does not say which host it was made on; the report was made here."
    )
    if events:
        missing = event_gaps(snapshot, events)
        blocks = timeline_blocks(events.worst.snapshot, events.worst) if events.worst else NO_WAIT
    else:
        missing = gaps([snapshot], window_words(source))
        blocks = timeline_blocks(snapshot)
    return [
        Section("timeline", "The worst 50 ms", blocks),
        *device_sections(sample),
        Section("measured", "How it was measured", (Facts(measured(source)),)),
        Section("gaps", "What was not measured", (Notes(missing),)),
        Section("host", here, (Paragraph(note), Facts(tuple(host)))),
    ]


def window_words(source: Source) -> str:
    """What time the numbers are of."""
    if source.marked:
        return (
            "Anything outside the window that the guest marked: boot and warm-up are subtracted. A "
            "maximum from before it may appear as the upper bound of its bucket."
        )
    return (
        "A window of its own: the numbers are of the whole recording, boot and idle times among "
        "them."
    )


def measured(source: Source) -> tuple[Fact, ...]:
    """How the recording came about."""
    snapshot = source.snapshot
    process, clock = snapshot.process, snapshot.clock
    name = f"{process.name} {process.pid}"
    state = "still running" if process.alive else "ended in order" if snapshot.closed else "ended"
    kind = "invariant TSC, calibrated" if clock.kind is ClockKind.TSC else "CLOCK_MONOTONIC"
    taken = sum(row.total for row in snapshot.rows)
    captured: tuple[Fact, ...] = (
        ("Part", "the window that the guest marked" if source.marked else "the whole recording"),
        ("Captured", f"all of {counted(taken, 'acquisition')}, none sampled"),
    )
    return (
        ("File of events" if source.events else "Recording", str(process.path)),
        ("Process", name if source.events else f"{name}, {state}"),
        (
            "Time",
            f"{duration(clock.ns(snapshot.elapsed))} {_since(clock.realtime_ns(snapshot.start))}",
        ),
        *(event_facts(taken, source.events) if source.events else captured),
        ("Threads", f"{len(snapshot.threads)} at {counted(len(snapshot.sites), 'call site')}"),
        ("Clock", f"{kind}, {clock.ns_per_tick:.3g} ns a tick"),
        ("Blame", "each wait is split among all holds that overlapped it, to the tick"),
        ("Checked", checked([snapshot])),
    )


def _since(realtime_ns: int) -> str:
    try:
        return f"from {datetime.fromtimestamp(realtime_ns / 1e9, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError, OSError):
        return "from an impossible date on"


def timeline_blocks(snapshot: Snapshot, stretch: Stretch | None = None) -> tuple[Block, ...]:
    """The plot of the worst stretch with a table of its longest waits.

    `stretch` is where the snapshot's events are from, if not from rings.
    """
    plot = timeline(snapshot)
    if plot is None:
        return NO_WAIT
    length = f"{plot.length / 1e6:.3g} ms"
    omitted = f" {counted(plot.omitted, 'less busy thread')} left out." if plot.omitted else ""
    caption = (
        "Solid bars hold the lock, hatched bars below them wait for it; low solid bars are many "
        "holds too short to draw, about as high as their part of the time. A number marks the "
        "start of one of the longest waits, and its dotted line leads to the thread that held the "
        "lock then."
        f"{omitted}"
    )
    if any(lane.unseen for lane in plot.lanes):
        caption += " Crossed areas are not on record: the thread's event ring was overwritten."
    if stretch is not None:
        caption += stretch_words(stretch, plot)
    alternative = (
        f"Lanes of {counted(len(plot.lanes), 'thread')} over {length}: "
        f"{', '.join(lane.label for lane in plot.lanes)}."
    )
    if plot.waits:
        longest = max(plot.waits, key=lambda wait: wait.wait)
        alternative += (
            f" Longest wait: {longest.waiter} at {longest.site}, {duration(longest.wait)}, for "
            f"{longest.holder}. The table below lists {counted(len(plot.waits), 'wait')}."
        )
    title = f"The {length} in which threads waited longest"
    return Figure(title, plot, caption, alternative), _longest_table(plot)


def _longest_table(plot: Timeline) -> Table:
    columns = ("waiter", "at", "first waited for", "in")
    return Table(
        "The longest waits in it",
        (
            Column("no.", numeric=False),
            *(Column(title, numeric=False) for title in columns),
            Column("waited"),
            Column("from"),
        ),
        tuple(
            (
                Cell(str(wait.number)),
                Cell(wait.waiter),
                Cell(wait.site),
                Cell(wait.holder),
                Cell(wait.holder_site),
                Cell(duration(wait.wait)),
                Cell("before" if wait.before else f"{wait.request / 1e6:.2f} ms"),
            )
            for wait in plot.waits
        ),
        "The holder is the one at the start of the wait; others may have followed.",
    )
