# SPDX-License-Identifier: GPL-2.0-or-later
"""`bqlscope summary`: what a single recording says: who took the lock, waited, and for whom."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from profiler.blame import BlameMatrix, blame_matrix
from profiler.commands.output import STDOUT, json_option, write_json
from profiler.commands.reading import read_figures
from profiler.model import Blocked, Clock, Snapshot
from profiler.summary import Line, QueueLine, summarise

MAX_WIDTH = 80
SLEEPS = 6
"""Rows of the table of sleeps."""

SLEEP_WORDS = {
    Blocked.GIL: "Python's interpreter lock",
    Blocked.DRAIN: "a drain",
    Blocked.JOIN: "another thread's end",
    Blocked.FILE_IO: "file I/O",
    Blocked.STOP_VCPUS: "vCPUs to stop",
    Blocked.COND: "a condition",
    Blocked.POLL: "a poll",
    Blocked.OTHER: "something else",
    Blocked.LOCK: "another lock",
}
_UNITS = ((1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns"))


@click.command()
@click.argument("recording", metavar="FILE|PID")
@click.option(
    "--sites",
    default=12,
    show_default=True,
    type=click.IntRange(0, 1000),
    help="Call sites to show, those with the longest waits first; 0 for none.",
)
@json_option("Also write all figures as JSON ('-': standard output, instead of the tables).")
def summary(recording: str, sites: int, json_path: Path | None) -> None:
    """Show who took the lock, who waited for it, and for whom.

    FILE is a recording (`bqlscope run --recording vm.bql --keep-recording`) or a file of `bqlscope
    record`, PID a process that is being recorded. Quantiles are of all acquisitions, uncontended
    waits being 0.
    """
    snapshot, remarks = read_figures(recording)
    if json_path is not None:
        write_json(json_path, summary_document(snapshot))
    if json_path != STDOUT:
        console = summary_console()
        print_summary(console, snapshot, sites)
        for remark in remarks:
            console.print(Text(f"Note: {remark}"))


def duration(ns: float) -> str:
    """Nanoseconds with three digits and a unit: `1.25 ms`; nothing is `0`."""
    for factor, unit in _UNITS:
        rounded = float(f"{ns / factor:.3g}")  # first, or 999.6 ms would be 1e+03 ms
        if rounded >= 1:
            return f"{rounded:g} {unit}"
    return "0"


def summary_document(snapshot: Snapshot) -> dict[str, Any]:
    """All figures of a snapshot or an interval as JSON values."""
    matrix, clock = blame_matrix(snapshot), snapshot.clock
    blame = {
        waiter: {
            holder: clock.ns(ticks)
            for holder, ticks in zip(matrix.holders, cells, strict=True)
            if ticks
        }
        for waiter, cells in zip(matrix.waiters, matrix.ticks, strict=True)
    }
    return {**summarise(snapshot).to_json(), "blame_ns": blame}


def summary_console(stderr: bool = False) -> Console:
    """A console of at most MAX_WIDTH columns, on one of the standard streams."""
    console = Console(highlight=False, stderr=stderr)
    console.width = min(console.width, MAX_WIDTH)
    return console


def print_summary(console: Console, snapshot: Snapshot, sites: int) -> None:
    """Print the tables of a snapshot or an interval, with at most so many call sites."""
    figures, matrix = summarise(snapshot), blame_matrix(snapshot)
    console.print(
        Text(
            f"{figures.process_name} {figures.pid}, {duration(figures.interval_ns)}:"
            f" vCPUs waited {figures.vcpu_bql_wait_share:.2%} of their time,"
            f" the main loop held {figures.mainloop_bql_hold_share:.2%}"
        )
    )
    console.print(_lines_table("role", figures.roles))
    used = [line for line in figures.sites if line.acquisitions or line.trylock_failed]
    if sites and used:
        console.print(_lines_table("role, call site", used[:sites]))
        if len(used) > sites:
            console.print(Text(f"more call sites, see --sites: {len(used) - sites}"))
    sleeps = _sleeps(figures.sites)[:SLEEPS]
    if sites and sleeps:
        console.print(_sleeps_table(sleeps))
    if matrix.waiters:
        console.print(_matrix_table(matrix, snapshot.clock))
    else:
        console.print(Text("nobody waited"))
    if figures.queues:
        console.print(_queues_table(figures.queues))
    if figures.exits:
        exits = ", ".join(f"{kind.label} {count}" for kind, count in figures.exits.items())
        console.print(Text(f"vCPU exits: {exits}"))


def _lines_table(title: str, lines: Sequence[Line]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column(title, overflow="fold")
    for name in ("taken", "contended", "wait", "wait p99", "hold", "hold p99"):
        table.add_column(name, justify="right", overflow="fold")
    for line in lines:
        name = line.role.label if line.site is None else f"{line.role.label}, {line.site}"
        table.add_row(
            Text(name),
            str(line.acquisitions),
            str(line.contended),
            *map(duration, (line.wait.total, line.wait.p99, line.hold.total, line.hold.p99)),
        )
    return table


def _queues_table(lines: Sequence[QueueLine]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("disk queue, processed by", overflow="fold")
    for name in ("requests", "errors", "depth", "p50", "p99", "max"):
        table.add_column(name, justify="right", overflow="fold")
    for line in lines:
        table.add_row(
            Text(f"{line.device} {line.queue}, {line.placement}"),
            *map(str, (line.requests, line.errors, line.depth)),
            *map(duration, (line.duration.p50, line.duration.p99, line.duration.max)),
        )
    return table


def _sleeps(lines: Sequence[Line]) -> list[tuple[Line, Blocked, float]]:
    """Call sites and what their holders slept for, in ns, the longest first."""
    found = [(line, reason, ns) for line in lines for reason, ns in line.blocked_ns.items()]
    return sorted(found, key=lambda sleep: -sleep[2])


def _sleeps_table(sleeps: Sequence[tuple[Line, Blocked, float]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("slept while holding", overflow="fold")
    table.add_column("for")
    for name in ("time", "of its hold"):
        table.add_column(name, justify="right")
    for line, reason, ns in sleeps:
        part = f"{ns / line.hold.total:.0%}" if line.hold.total else ""
        where = f"{line.role.label}, {line.site}"
        table.add_row(Text(where), SLEEP_WORDS[reason], duration(ns), part)
    return table


def _matrix_table(matrix: BlameMatrix, clock: Clock) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("waited for", overflow="fold")
    for holder in matrix.holders:
        table.add_column(holder, justify="right", overflow="fold")
    for waiter, cells in zip(matrix.waiters, matrix.ticks, strict=True):
        table.add_row(Text(waiter), *(duration(clock.ns(ticks)) for ticks in cells))
    return table
