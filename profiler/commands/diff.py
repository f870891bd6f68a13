# SPDX-License-Identifier: GPL-2.0-or-later
"""`bqlscope diff`: what changed between two recordings or two saved comparisons."""

from collections.abc import Sequence
from pathlib import Path

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from profiler.commands.output import STDOUT, json_option, write_json
from profiler.commands.reading import reading
from profiler.commands.summary import summary_console
from profiler.compare.metrics import ONE_BUCKET
from profiler.compare.saved import is_comparison, load_comparison
from profiler.compare.table import estimate_text, ratio_text
from profiler.compare.text import factor
from profiler.diff.comparisons import (
    ComparisonDiff,
    Gain,
    MetricChange,
    PlacementChange,
    diff_comparisons,
)
from profiler.diff.recordings import Change, RecordingDiff, Side, diff_recordings
from profiler.errors import UserError
from profiler.reports.source import Source, read_source
from profiler.reports.words import duration, percent, rate

SAME = 1.005
"""Counts and times that differ by less than this factor are shown as the same."""


@click.command(
    epilog="\b\nExamples:\n"
    "  bqlscope diff before.bql after.bql\n"
    "  bqlscope compare --save monday … bqlscope compare --save tuesday\n"
    "  bqlscope diff monday tuesday"
)
@click.argument("a")
@click.argument("b")
@click.option(
    "--sites",
    default=12,
    show_default=True,
    type=click.IntRange(0, 1000),
    help="Call sites to show, those that changed most first; 0 for none.",
)
@json_option("Also write all changes as JSON ('-': standard output, instead of the tables).")
def diff(a: str, b: str, sites: int, json_path: Path | None) -> None:
    """Show what changed from A to B, the largest changes first.

    A and B are two recordings (FILE or PID) or files of `bqlscope record`, or two saved comparisons
    (the directory of `bqlscope compare --save`, or the file of its `--json`). Recordings are
    compared by rates and parts of the time, so they need not be equally long, but have no interval;
    comparisons are compared by the ratios of their medians with 95 % intervals.
    """
    kinds = [is_comparison(Path(source)) for source in (a, b)]
    if kinds[0] != kinds[1]:
        raise UserError(
            f"{a} and {b}: one is a comparison, the other a recording; give two of a kind"
        )
    found: ComparisonDiff | RecordingDiff
    if kinds[0]:
        found = diff_comparisons(load_comparison(Path(a)), load_comparison(Path(b)))
        if not found.placements:
            raise UserError(f"{a} and {b} have no VMM and placement in common")
    else:
        found = diff_recordings(_read(a), _read(b))
    if json_path is not None:
        write_json(json_path, found.to_json())
    if json_path == STDOUT:
        return
    console = summary_console()
    if isinstance(found, ComparisonDiff):
        _print_comparisons(console, found)
    else:
        _print_recordings(console, found, sites)
    for remark in found.remarks:
        console.print(Text(f"Note: {remark}"))


def _read(name: str) -> Source:
    with reading(Path(name).name) as shown:
        return read_source(name, shown)


def _print_recordings(console: Console, found: RecordingDiff, sites: int) -> None:
    for name, sample in (("A", found.a), ("B", found.b)):
        process = sample.snapshots[0].process
        share = sample.vcpu_wait_share
        console.print(
            Text(
                f"{name}  {process.path.name}: {process.name} {process.pid}, "
                f"{duration(sample.elapsed)}; "
                f"vCPUs waited {'-' if share is None else percent(share)} of their time, "
                f"the main loop held {percent(sample.main_held_share)}"
            )
        )
    console.print()
    console.print(_changes_table("role", found.roles))
    if sites and found.sites:
        console.print()
        console.print(_changes_table("role, call site", found.sites[:sites]))
        if len(found.sites) > sites:
            console.print(Text(f"more call sites, see --sites: {len(found.sites) - sites}"))
    console.print()
    console.print(Text("100 % of wait or hold is one thread that does nothing else", style="dim"))


def _changes_table(title: str, changes: Sequence[Change]) -> Table:
    """Three lines for each: A, B, and B against A."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column(title, overflow="fold", ratio=1)
    for name in ("taken/s", "wait", "wait p99", "hold", "hold p99"):
        table.add_column(name, justify="right", no_wrap=True)
    for index, change in enumerate(changes):
        last = index + 1 == len(changes)
        table.add_row(Text(change.label, style="bold"))
        table.add_row("  A", *_side_cells(change.before))
        table.add_row("  B", *_side_cells(change.after))
        table.add_row("  change", *_factors(change))
        if not last:
            table.add_row()
    return table


def _side_cells(side: Side | None) -> list[str]:
    if side is None:
        return ["-"] * 5
    return [
        rate(side.rate),
        percent(side.wait),
        duration(side.wait_p99),
        percent(side.hold),
        duration(side.hold_p99),
    ]


def _factors(change: Change) -> list[str]:
    if change.before is None or change.after is None:
        return ["new" if change.before is None else "gone", "", "", "", ""]
    old, new = change.before, change.after
    return [
        change_factor(old.rate, new.rate),
        change_factor(old.wait, new.wait),
        change_factor(old.wait_p99, new.wait_p99, ONE_BUCKET),
        change_factor(old.hold, new.hold),
        change_factor(old.hold_p99, new.hold_p99, ONE_BUCKET),
    ]


def change_factor(before: float, after: float, resolution: float = SAME) -> str:
    """By how much a value grew or shrank: `×2.5`, `÷11`, `=`; `from 0`, `to 0`.

    Values that differ by less than the factor `resolution` cannot be told apart.
    """
    if before == after:
        return "="
    if not before or not after:
        return "from 0" if not before else "to 0"
    ratio = after / before
    if 1 / resolution < ratio < resolution:
        return "="
    return f"×{factor(ratio)}" if ratio > 1 else f"÷{factor(1 / ratio)}"


def _print_comparisons(console: Console, found: ComparisonDiff) -> None:
    several = found.a.several or found.b.several
    for name, saved in (("A", found.a), ("B", found.b)):
        console.print(Text(f"{name}  {saved.path}, {saved.when}"))
    for placement in found.placements:
        title = f"{placement.title} {placement.name}" if several else placement.name
        console.print()
        console.print(_metrics_table(title, placement.metrics))
    if found.gains:
        console.print()
        console.print(_gains_table(found.gains, several))
    console.print()
    for placement in found.placements:
        console.print(Text(_sentence(placement, several), style="bold"))


def _sentence(placement: PlacementChange, several: bool) -> str:
    """What the trials show about a placement."""
    title = f"{placement.title} {placement.name}" if several else placement.name
    parts = []
    for word, wanted in (("better", True), ("worse", False)):
        names = [
            change.metric.label
            for change in placement.metrics
            if change.decided and change.ratio.better is wanted
        ]
        if names:
            parts.append(f"{word} in {', '.join(names)}")
    if not parts:
        return f"{title}: no difference that the trials can show."
    return f"{title}: B is {' and '.join(parts)}."


def _metrics_table(title: str, changes: Sequence[MetricChange]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column(title, no_wrap=True)
    for name in ("A", "B", "B times better"):
        table.add_column(name, justify="right", overflow="fold")
    for change in changes:
        metric = change.metric
        style = ""
        if change.decided:
            style = "green" if change.ratio.better else "red"
        table.add_row(
            Text(f"{metric.label}, {metric.unit}"),
            Text(estimate_text(change.before, metric.scale)),
            Text(estimate_text(change.after, metric.scale)),
            Text(ratio_text(change.ratio), style=style),
        )
    return table


def _gains_table(gains: Sequence[Gain], several: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("gain over the baseline", overflow="fold")
    for name in ("within A", "within B"):
        table.add_column(name, justify="right", overflow="fold")
    for gain in gains:
        title = f"{gain.title} {gain.candidate}" if several else gain.candidate
        table.add_row(
            Text(f"{title}, {gain.metric.label}"),
            Text(ratio_text(gain.before)),
            Text(ratio_text(gain.after)),
        )
    return table
