# SPDX-License-Identifier: GPL-2.0-or-later
"""What was recorded beside the lock: requests of disk queues, and why vCPUs came back."""

from collections import defaultdict
from collections.abc import Sequence

from profiler.histogram import Histogram
from profiler.model import Exit, QueueKey, QueueStats, Request, Snapshot
from profiler.reports.figures import curve
from profiler.reports.model import Block, Cell, Column, Distributions, Figure, Section, Table
from profiler.reports.sample import Sample, Spread
from profiler.reports.words import counted, duration, listed, percent, rate

COLOURS = 8
EXIT_WORDS = {
    Exit.PIO: "port access",
    Exit.MMIO: "memory-mapped access",
    Exit.INTERRUPTED: "kicked by a signal",
    Exit.EMULATION: "an instruction the kernel could not emulate",
    Exit.HLT: "halted",
    Exit.IRQ_WINDOW: "ready for an interrupt",
    Exit.SHUTDOWN: "shutdown",
    Exit.OTHER: "something else",
}


def device_sections(sample: Sample) -> list[Section]:
    """A section on disks and exits; none where neither was recorded."""
    queues = _queues(sample)
    blocks: list[Block] = []
    if queues:
        blocks += [_durations_figure(queues), _queues_table(sample, queues)]
    exits = exits_table(sample)
    if exits is not None:
        blocks.append(exits)
    return [Section("devices", "What the disks and vCPUs did", tuple(blocks))] if blocks else []


def queues_table(sample: Sample) -> Table | None:
    """Requests by queue; None where no queue was recorded."""
    queues = _queues(sample)
    return _queues_table(sample, queues) if queues else None


Queues = dict[QueueKey, list[tuple[Snapshot, QueueStats]]]


def _queues(sample: Sample) -> Queues:
    """The queues that had requests, with what each snapshot says of them."""
    found: Queues = defaultdict(list)
    for snapshot in sample.snapshots:
        for queue in snapshot.queues:
            if queue.total:
                found[queue.key].append((snapshot, queue))
    return dict(sorted(found.items()))


def _name(key: QueueKey) -> str:
    return f"{key.device} queue {key.queue} ({key.placement})"


def _spread(parts: Sequence[tuple[Snapshot, QueueStats]]) -> Spread:
    return Spread(
        Histogram.merged(queue.durations for _, queue in parts),
        parts[0][0].clock.ns_per_tick,
        sum(snapshot.clock.ns(queue.duration_total) for snapshot, queue in parts),
        max(snapshot.clock.ns(queue.max_duration) for snapshot, queue in parts),
    )


def _durations_figure(queues: Queues) -> Figure:
    curves = tuple(
        curve(_name(key), f"p{index % COLOURS}", _spread(parts))
        for index, (key, parts) in enumerate(queues.items())
        if any(queue.durations.total for _, queue in parts)
    )
    texts = [
        f"{c.label}: {counted(c.samples, 'request')}, at most {duration(c.largest)}" for c in curves
    ]
    return Figure(
        "Disk requests, as the VMM saw them",
        Distributions("request", "requests", curves),
        "From taking a request off the ring to completing it. What the guest waits for its disk "
        "before and after is not in it.",
        f"Cumulative distribution. {listed(texts)}.",
    )


def _queues_table(sample: Sample, queues: Queues) -> Table:
    seconds = sample.elapsed / 1e9
    titles = (
        "requests",
        "requests /s",
        "reads",
        "writes",
        "errors",
        "p50",
        "p99",
        "max",
        "deepest",
    )
    rows = []
    for key, parts in queues.items():
        spread, stats = _spread(parts), [queue for _, queue in parts]
        total = sum(queue.total for queue in stats)
        rows.append(
            (
                Cell(_name(key)),
                Cell(str(total)),
                Cell(rate(total / seconds) if seconds else "-"),
                Cell(str(sum(queue.requests[Request.READ] for queue in stats))),
                Cell(str(sum(queue.requests[Request.WRITE] for queue in stats))),
                Cell(str(sum(queue.errors for queue in stats))),
                Cell(duration(spread.quantile(0.5))),
                Cell(duration(spread.quantile(0.99))),
                Cell(duration(spread.largest)),
                Cell(str(max(queue.max_inflight for queue in stats))),
            )
        )
    return Table(
        "Disk queues",
        (Column("queue", numeric=False), *map(Column, titles)),
        tuple(rows),
        "'Deepest' is the most requests in flight at once; it and the longest request are of all "
        "time, also where the numbers are of a window.",
    )


def exits_table(sample: Sample) -> Table | None:
    """Why vCPUs came back to user space; None where nobody counted."""
    counts: dict[Exit, int] = defaultdict(int)
    for snapshot in sample.snapshots:
        for thread in snapshot.threads:
            for number, count in enumerate(thread.exits):
                counts[Exit(number)] += count
    total, seconds = sum(counts.values()), sample.elapsed / 1e9
    if not total:
        return None
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return Table(
        "Why vCPUs left the guest",
        (Column("reason", numeric=False), *map(Column, ("exits", "exits /s", "of all"))),
        tuple(
            (
                Cell(EXIT_WORDS[kind]),
                Cell(str(count)),
                Cell(rate(count / seconds) if seconds else "-"),
                Cell(percent(count / total), bar=count / total),
            )
            for kind, count in ordered
            if count
        ),
        "Only exits that reach the VMM; the kernel handles others itself.",
    )
