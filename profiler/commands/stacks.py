# SPDX-License-Identifier: GPL-2.0-or-later
"""`bqlscope stacks`: the Python stacks behind the longest holds."""

import time
from pathlib import Path

import click

from profiler.commands.durations import Duration
from profiler.commands.output import STDOUT, json_option, write_json
from profiler.commands.reading import read_figures
from profiler.errors import UserError
from profiler.model import Snapshot
from profiler.qemu.stopping import StopRequest
from profiler.reader import Recording
from profiler.stacks.dump import StackError
from profiler.stacks.pyspy import PySpy, find_pyspy, require_readable
from profiler.stacks.report import document, dump_lines, site_lines, worst_first
from profiler.stacks.store import Dump, Stored, append_dump, read_dumps, stacks_path
from profiler.stacks.watchdog import Limits, Watchdog

MOST_FAILURES = 3
"""Dumps that may fail before watching is given up."""


@click.command(
    epilog="\b\nExamples:\n"
    "  bqlscope stacks 4711 --watch --threshold 50ms --duration 10m\n"
    "  bqlscope stacks vm.bql"
)
@click.argument("recording", metavar="FILE|PID")
@click.option("--watch", is_flag=True, help="Take stacks of a running process when a hold is long.")
@click.option(
    "--threshold",
    type=Duration(least=1e-3, most=3600),
    default="10ms",
    show_default=True,
    help="With --watch: the hold that is too long.",
)
@click.option(
    "--every",
    type=Duration(least=0.1, most=86400),
    default="5s",
    show_default=True,
    help="With --watch: one dump in this time at most.",
)
@click.option(
    "--most",
    type=click.IntRange(1, 10_000),
    default=20,
    show_default=True,
    help="With --watch: so many dumps at most.",
)
@click.option(
    "--duration",
    "seconds",
    type=Duration(least=0.01),
    help="With --watch: how long.  Default: until Ctrl-C or the process's end.",
)
@click.option(
    "--native",
    is_flag=True,
    help="With --watch: frames of native code too.  Each dump then stops all threads for some"
    " tens of milliseconds and makes every vCPU leave the guest.",
)
@click.option(
    "--rows",
    type=click.IntRange(0, 1000),
    default=8,
    show_default=True,
    help="Holds and call sites to show.",
)
@json_option("Also write everything as JSON ('-': standard output, instead of text).")
def stacks(
    recording: str,
    watch: bool,
    threshold: float,
    every: float,
    most: int,
    seconds: float | None,
    native: bool,
    rows: int,
    json_path: Path | None,
) -> None:
    """Show the longest holds with the Python code that ran in them.

    FILE is a recording or a file of `bqlscope record`, PID a process that is being recorded. Stacks
    are taken with --watch only: when somebody holds the lock for longer than the threshold, py-spy
    reads the process once, and what it saw is stored beside the recording, in FILE.stacks.jsonl.

    A dump costs the process some milliseconds: do not watch what you measure. Without py-spy, or
    for a QEMU, there are call sites only.
    """
    if watch:
        with Recording.open(recording) as opened:
            limits = Limits(round(threshold * 1e9), round(every * 1e9), most)
            quiet = json_path == STDOUT
            _watch(opened, limits, seconds, native, quiet)
            snapshot, remarks = opened.snapshot(), list[str]()
    else:
        snapshot, remarks = read_figures(recording)
    stored = read_dumps(snapshot.process)
    for remark in remarks:
        click.echo(f"bqlscope: note: {remark}", err=True)
    if json_path is not None:
        write_json(json_path, document(snapshot, stored))
    if json_path != STDOUT:
        _print(snapshot, stored, rows)


def _print(snapshot: Snapshot, stored: Stored, rows: int) -> None:
    worst = worst_first(stored.dumps, snapshot.clock)[:rows]
    for number, dump in enumerate(worst, 1):
        _echo([*dump_lines(dump, snapshot.clock, number), ""])
    if stored.skipped:
        where = stacks_path(snapshot.process.path)
        click.echo(f"bqlscope: {stored.skipped} lines of {where} are of no use here", err=True)
    if not stored.dumps:
        click.echo(
            "no Python stacks beside this recording, so call sites only;"
            " 'bqlscope stacks PID --watch' takes some",
            err=True,
        )
    if rows:
        _echo(site_lines(snapshot, stored.dumps, rows))


def _echo(lines: list[str]) -> None:
    click.echo("\n".join(lines))


def _watch(
    recording: Recording, limits: Limits, seconds: float | None, native: bool, quiet: bool
) -> None:
    """Watch until the time is over, Ctrl-C, the end of the process, or the last dump."""
    process = recording.process
    if not process.alive:
        raise UserError(f"process {process.pid} has ended: --watch needs a running one")
    spy = PySpy(find_pyspy(), native)
    require_readable(process.pid)
    watchdog = Watchdog(recording, spy.dump, limits, native)
    if not quiet:
        what = f"holds longer than {limits.threshold_ns / 1e6:g} ms"
        click.echo(f"watching process {process.pid} for {what}; Ctrl-C ends it", err=True)
    deadline = None if seconds is None else time.monotonic() + seconds
    failures = 0
    with StopRequest() as stop:
        while watchdog.alive and not watchdog.exhausted and stop.signal is None:
            if deadline is not None and time.monotonic() >= deadline:
                break
            try:
                _keep(recording, watchdog.look(), quiet)
            except StackError as error:
                # Reading a process that goes on fails now and then, and when it has ended.
                failures += 1
                if recording.process.alive and failures >= MOST_FAILURES:
                    raise
                click.echo(f"bqlscope: {error.message}", err=True)
            stop.wait(limits.look_seconds)
    _keep(recording, watchdog.finish(), quiet)
    if not quiet:
        _echo_end(watchdog)


def _keep(recording: Recording, dump: Dump | None, quiet: bool) -> None:
    if dump is None:
        return
    append_dump(recording.process.path, dump)
    if not quiet:
        clock = recording.live().clock
        _echo([*dump_lines(dump, clock), ""])


def _echo_end(watchdog: Watchdog) -> None:
    text = f"{watchdog.taken} dumps taken"
    if watchdog.passed_over:
        text += f"; {watchdog.passed_over} more holds were as long, too soon after one (--every)"
    click.echo(text, err=True)
