# SPDX-License-Identifier: GPL-2.0-or-later
"""The comparison as a page of at most 80 columns, for a person.

One table a candidate (baseline, candidate, ratio): three value columns with intervals are what fits
into 80 columns, and a ratio belongs to exactly one pair anyway.
"""

import math
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from profiler.compare.locks import HANDOFF, UNKNOWN
from profiler.compare.metrics import METRICS, Metric
from profiler.compare.result import TRANSPORT, BlameShare, Result, product_version
from profiler.compare.statistics import Estimate, Ratio
from profiler.compare.text import INFINITE, counted, factor, interval, number
from profiler.compare.verdict import Verdict

WIDTH = 80
NARROW_LABEL = 14
TOP_WAITERS = 4
TOP_HOLDERS = 3
LEAST_PART = 0.005
"""A smaller part of a wait would be told as 0 %."""

NOT_MEASURED = "-"
HEADER_LABEL = 10


def estimate_text(value: Estimate, scale: float) -> str:
    """Median and interval, scaled for the table."""
    if value.median is None or value.low is None or value.high is None:
        return NOT_MEASURED
    if value.high == 0:
        return "0"
    bounds = interval(number(value.low * scale), number(value.high * scale))
    return f"{number(value.median * scale)} {bounds}"


def ratio_text(value: Ratio) -> str:
    """Ratio and interval."""
    if value.value is None or value.low is None or value.high is None:
        return NOT_MEASURED
    if math.isinf(value.low):
        return INFINITE
    return f"{factor(value.value)} {interval(factor(value.low), factor(value.high))}"


def _ratio_style(value: Ratio) -> str:
    if value.better:
        return "green"
    return "red" if value.worse else ""


def size_text(size: int) -> str:
    """Bytes in the largest unit that divides them: 4 KiB, 512 B."""
    for unit, bytes_in in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size % bytes_in == 0:
            return f"{size // bytes_in} {unit}"
    return f"{size} B"


def _accelerator(result: Result) -> str:
    name = str(result.accel.get("name") or "unknown accelerator")
    reason = result.accel.get("reason")
    text = f"{name} ({reason})" if reason else name
    if result.host.nested and name != "qtest":
        text += ", nested: exits are slow"
    return text


def header_lines(result: Result) -> list[tuple[str, str]]:
    """Label and text of the lines that say what was run where."""
    plan, host = result.plan, result.host
    work, drive = plan.workload, plan.drive
    cache = "O_DIRECT" if drive.cache == "none" else "page cache"
    image = "temporary 256 MiB image" if drive.temporary else str(drive.path)
    vmm = f"bqlscope {product_version()}"
    irqs = {placement.irq for placement in plan.placements}
    irq = irqs.pop() if len(irqs) == 1 else "as each name says (default irqfd)"
    irq = "none asked for" if irq == "none" else irq
    return [
        ("vmm", f"{vmm}, {counted(work.smp, 'vCPU')}, {work.memory}, {TRANSPORT}"),
        ("host", f"{_accelerator(result)}; Linux {host.kernel}, {host.cpus} CPUs"),
        ("disk", f"{image}, raw, {cache}, aio={drive.aio}"),
        ("workload", f"{work.rw} {size_text(work.block_size)}, queue depth {work.iodepth}"),
        ("irq", f"{irq}; iothreads poll up to {work.poll_max_ns} ns"),
        (
            "trials",
            f"{plan.trials} each, interleaved, {work.duration:g} s + {work.warmup:g} s warm-up",
        ),
    ]


def _print_header(console: Console, result: Result) -> None:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=HEADER_LABEL, no_wrap=True)
    grid.add_column(overflow="fold")
    for label, text in header_lines(result):
        grid.add_row(label, Text(text))
    console.print(grid)


def _metric_row(metric: Metric, result: Result, candidate: str) -> list[Text]:
    base = result.estimates[result.plan.baseline.name][metric.key]
    other = result.estimates[candidate][metric.key]
    quotient = result.ratios[candidate][metric.key]
    unit = metric.unit
    return [
        Text(f"{metric.label}, {unit}"),
        Text(estimate_text(base, metric.scale)),
        Text(estimate_text(other, metric.scale)),
        Text(ratio_text(quotient), style=_ratio_style(quotient)),
    ]


def candidate_table(result: Result, candidate: str, width: int = WIDTH) -> Table:
    """The table of one candidate against the baseline; below `WIDTH` columns labels wrap too."""
    narrow = width < WIDTH
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column(
        "median [95 %]", no_wrap=not narrow, max_width=NARROW_LABEL if narrow else None
    )
    for name in (result.plan.baseline.name, candidate):
        # A long name breaks where its parts meet.
        table.add_column(name.replace("/", "/\n"), overflow="fold", justify="right")
    table.add_column("times better", overflow="fold", justify="right")
    for metric in METRICS:
        table.add_row(*_metric_row(metric, result, candidate))
    return table


def milliseconds(nanoseconds: float) -> str:
    """A duration in ms with three significant digits."""
    return f"{number(nanoseconds / 1e6)} ms"


def site_words(site: str) -> str:
    """Where a lock was held, as a person would say it."""
    function, _, place = site.partition(" ")
    if function == "main_loop_wait":
        return f"one loop iteration ({place})"
    return site


def part_text(pair: BlameShare) -> str:
    """What one holder has to do with a wait, in plain words after the percentage."""
    part = f"{100 * pair.wait_ns / pair.waiter_wait_ns:3.0f} %"
    if pair.holder == HANDOFF:
        return f"{part}  waking up after the lock was free"
    if pair.holder == UNKNOWN:
        return f"{part}  for a holder no longer on record"
    where = f" in {site_words(pair.holder_site)}" if pair.holder_site else ""
    holder = pair.holder if pair.holder.startswith("CPU ") else f"the {pair.holder}"
    return f"{part}  while {holder} held it{where}"


def _worth_telling(pair: BlameShare) -> bool:
    return pair.wait_ns >= LEAST_PART * pair.waiter_wait_ns


def blame_lines(pairs: Sequence[BlameShare]) -> list[tuple[int, str]]:
    """Indentation and text of each line: a waiter, then its holders; the longest waits only."""
    waiters: dict[tuple[str, str], list[BlameShare]] = {}
    for pair in pairs:
        waiters.setdefault((pair.waiter, pair.waiter_site), []).append(pair)
    longest = sorted(waiters.items(), key=lambda item: -item[1][0].waiter_wait_ns)
    lines = []
    for (waiter, site), own in longest[:TOP_WAITERS]:
        lines.append((2, f"{waiter} at {site} waited {milliseconds(own[0].waiter_wait_ns)}:"))
        told = [pair for pair in own[:TOP_HOLDERS] if _worth_telling(pair)]
        lines += [(4, part_text(pair)) for pair in told]
    return lines


def _print_blame(console: Console, name: str, pairs: Sequence[BlameShare], trials: int) -> None:
    console.print(
        Text(f"who blocked whom, {name} (sum of {counted(trials, 'trial')})", style="bold")
    )
    if not pairs:
        console.print(Text("  no vCPU waited for the BQL"))
    for indent, text in blame_lines(pairs):
        console.print(Padding(Text(text), (0, 0, 0, indent), expand=False))


def print_result(console: Console, result: Result, verdict: Verdict) -> None:
    """Print the whole page.  Give a console of at most `WIDTH` columns."""
    _print_header(console, result)
    for candidate in result.ratios:
        console.print()
        console.print(candidate_table(result, candidate, console.width))
    if result.window is not None:
        for name, pairs in result.blame.items():
            console.print()
            _print_blame(console, name, pairs, result.plan.trials)
    console.print()
    print_verdict(console, verdict)


def print_verdict(console: Console, verdict: Verdict) -> None:
    """Print the sentence and, one a line, its caveats."""
    console.print(Text(verdict.sentence, style="bold"))
    for caveat in verdict.caveats:
        console.print(Text(f"Note: {caveat}"))
