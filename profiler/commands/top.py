# SPDX-License-Identifier: GPL-2.0-or-later
"""`bqlscope top`: who takes the lock right now, who waits, and for whom."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

import click
from rich.console import Console

from profiler.discovery import candidates
from profiler.errors import RecordingError, UserError
from profiler.model import Process
from profiler.reader import Recording
from profiler.top.draw import plain
from profiler.top.loop import TopLoop, glyphs_of
from profiler.top.model import Picture, Sort
from profiler.top.sampler import Sampler

PLAIN_WIDTH = 120
"""Columns where output is not a terminal."""


@click.command(
    epilog="\b\nKeys:\n"
    "  1 2 3 or Tab  call sites, threads, who waited for whom\n"
    "  w h c x       sort by wait, hold, count, contention\n"
    "  Space         freeze\n"
    "  ?             all keys, and what the columns mean\n"
    "  q             quit"
)
@click.argument("recording", metavar="[PID|FILE]", required=False)
@click.option(
    "--interval",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0.05, 3600),
    metavar="SECONDS",
    help="Time between two pictures.",
)
@click.option(
    "--sort",
    default=Sort.WAIT.value,
    show_default=True,
    type=click.Choice([sort.value for sort in Sort]),
    help="What rows are ordered by.",
)
@click.option("--once", is_flag=True, help="Print one interval as plain text and end.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print JSON, a line for each interval; see --once."
)
@click.pass_context
def top(
    ctx: click.Context,
    recording: str | None,
    interval: float,
    sort: str,
    once: bool,
    as_json: bool,
) -> None:
    """Watch a recorded process: who holds its lock, who waits, and for whom.

    PID is a process that is being recorded, FILE its recording; may be left out if there is only
    one. Shared memory is all that is read: the process is neither asked nor slowed down.

    Where output is not a terminal, or one that cannot be drawn on, pictures follow one another as
    plain text until the process ends.
    """
    with Recording.open(recording if recording is not None else only_live()) as opened:
        if not opened.process.alive:
            raise UserError(_ended(opened.process))
        sampler = Sampler(opened)
        console = Console(highlight=False)
        drawable = console.is_terminal and not console.is_dumb_terminal
        if not (once or as_json) and drawable:
            ctx.exit(TopLoop(sampler, console, interval, Sort(sort)).run())
        for number, picture in enumerate(_pictures(sampler, interval, once)):
            if as_json:
                click.echo(json.dumps(picture.to_json()))
            else:
                _print(console, picture, Sort(sort), again=number > 0)
            sys.stdout.flush()


def only_live() -> str:
    """The recording of the only process that is recorded now. Raises UserError, with a choice."""
    found = _live()
    if len(found) == 1:
        return str(found[0].path)
    if not found:
        raise UserError(
            "no recorded process runs; start one with 'bqlscope run' or 'bqlscope qemu',"
            " or name the recording of one"
        )
    names = ", ".join(f"{process.pid} ({_name(process)})" for process in found)
    raise UserError(f"{len(found)} recorded processes run: {names}; name one")


def _live() -> list[Process]:
    """Recorded processes that run, wherever their recordings lie."""
    found = []
    for path in candidates():
        with suppress(RecordingError), Recording.open(path) as recording:
            if recording.process.alive:
                found.append(recording.process)
    return sorted(found, key=lambda process: process.pid)


def _name(process: Process) -> str:
    return process.vm_name or process.name


def _ended(process: Process) -> str:
    return (
        f"process {process.pid} ({_name(process)}) has ended;"
        f" 'bqlscope summary {process.path}' shows what it did"
    )


def _pictures(sampler: Sampler, interval: float, once: bool) -> Iterator[Picture]:
    while sampler.alive:
        time.sleep(interval)
        yield sampler.sample()
        if once:
            return


def _print(console: Console, picture: Picture, sort: Sort, again: bool) -> None:
    width = console.width if console.is_terminal else PLAIN_WIDTH
    lines = plain(picture, width, sort, glyphs_of(console))
    click.echo("\n" * again + "\n".join(line.plain.rstrip() for line in lines))
