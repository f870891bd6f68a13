# SPDX-License-Identifier: GPL-2.0-or-later
"""`bqlscope check`: does a recording add up?"""

from pathlib import Path

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from profiler.check import LAWS, Check, Report, Verdict, check_snapshot
from profiler.commands.output import STDOUT, json_option, write_json
from profiler.errors import EXIT_VIOLATED
from profiler.model import Snapshot
from profiler.reader import Recording

MAX_WIDTH = 80
SHOWN_DETAILS = 20
_STYLES = {Verdict.HOLDS: "green", Verdict.TOLERATED: "yellow", Verdict.VIOLATED: "bold red"}


@click.command()
@click.argument("recording", metavar="FILE|PID")
@json_option("Also write every single check as JSON ('-': standard output, instead of the table).")
@click.pass_context
def check(ctx: click.Context, recording: str, json_path: Path | None) -> None:
    """Check a recording against its conservation laws.

    FILE is a recording, PID a process that is being recorded or was. Counts and times must add
    up exactly: every wait to the holders it is blamed on, every histogram to its acquisitions.
    Exit status: 0 all laws hold, 1 one is violated, 2 the recording cannot be read.
    """
    with Recording.open(recording) as opened:
        snapshot = opened.snapshot(events=True)
    report = check_snapshot(snapshot)
    if json_path is not None:
        _write_json(json_path, snapshot, report)
    if json_path != STDOUT:
        _print(snapshot, report)
    if not report.ok:
        ctx.exit(EXIT_VIOLATED)


def _write_json(path: Path, snapshot: Snapshot, report: Report) -> None:
    process = snapshot.process
    heading = {
        "recording": str(process.path),
        "pid": process.pid,
        "process_name": process.name,
        "alive": process.alive,
    }
    write_json(path, heading | report.to_json())


def _print(snapshot: Snapshot, report: Report) -> None:
    console = Console(highlight=False)
    console.width = min(console.width, MAX_WIDTH)
    state = "alive" if snapshot.process.alive else "closed" if snapshot.closed else "ended"
    console.print(
        Text(
            f"{snapshot.process.name} {snapshot.process.pid} ({state}),"
            f" {snapshot.elapsed_seconds:.3f} s,"
            f" {sum(row.total for row in snapshot.rows)} acquisitions"
        )
    )
    console.print(_table(report))
    for line in _details(report):
        console.print(Text(line))


def _table(report: Report) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("law")
    for verdict in Verdict:
        table.add_column(verdict.value, justify="right")
    for law in LAWS:
        cells = [Text(law)]
        for verdict in Verdict:
            number = report.count(verdict, law)
            cells.append(Text(str(number), style=_STYLES.get(verdict, "") if number else "dim"))
        table.add_row(*cells)
    return table


def _details(report: Report) -> list[str]:
    lines = [f"torn by a kill: {name}" for name in report.torn_threads]
    lines += [f"moved while it was copied: {name}" for name in report.moving_threads]
    if report.copied:
        lines.append("a copy of an open recording: its parts may be of different instants")
    wrong = [c for c in report.checks if c.verdict in (Verdict.VIOLATED, Verdict.TOLERATED)]
    wrong.sort(key=lambda c: c.verdict is not Verdict.VIOLATED)
    lines += [_explain(c) for c in wrong[:SHOWN_DETAILS]]
    if len(wrong) > SHOWN_DETAILS:
        lines.append(f"and {len(wrong) - SHOWN_DETAILS} more (see --json)")
    lines.append("all laws hold" if report.ok else "the recording does not add up")
    return lines


def _explain(c: Check) -> str:
    expected = (
        f"{c.expected[0]} to {c.expected[1]}" if isinstance(c.expected, tuple) else c.expected
    )
    return f"{c.verdict.value}: {c.law}: {c.scope}: expected {expected}, found {c.actual}"
