# SPDX-License-Identifier: GPL-2.0-or-later
"""`bqlscope flame`: a flame graph of waiting time, with who made whom wait."""

from pathlib import Path

import click

from profiler.commands.output import STDOUT, output_file, write_whole
from profiler.commands.reading import read_figures
from profiler.errors import UserError
from profiler.model import Snapshot
from profiler.stacks.join import seen_waits
from profiler.stacks.store import Stored, read_dumps
from profiler.traces.flame_svg import Flame, html, svg, time_words
from profiler.traces.fold import fold, folded_lines

_SUFFIXES = {".svg": "svg", ".html": "html", ".htm": "html", ".folded": "folded", ".txt": "folded"}


@click.command(
    epilog="\b\nExamples:\n"
    "  bqlscope flame vm.bql -o waits.svg\n"
    "  bqlscope flame 4711 -o - | flamegraph.pl >waits.svg"
)
@click.argument("recording", metavar="FILE|PID")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    callback=output_file,
    help="Where to write ('-': standard output).",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["svg", "html", "folded"]),
    help="Default: by the name of FILE (.svg, .html, .folded, .txt); folded for '-'.",
)
@click.option(
    "--spread",
    is_flag=True,
    help="Estimate: draw all waits for a call site with the Python stacks that were seen there, in"
    " proportion. Default: a stack for the waits that it is of, no more.",
)
def flame(recording: str, output: Path, form: str | None, spread: bool) -> None:
    """Draw waiting time as a flame graph: the waiter, [blocked by], the holder.

    FILE is a recording or a file of `bqlscope record`, PID a process that is being recorded. Widths
    are time that threads waited for the lock. Where `bqlscope stacks --watch` took Python stacks
    and left them beside FILE, they are in it, for the waits that they are of.

    The picture is one file that needs no network and no script; point at a frame to read its name.
    """
    form = form or _form(output)
    snapshot, remarks = read_figures(recording)
    stored = read_dumps(snapshot.process)
    for remark in remarks:
        click.echo(f"bqlscope: note: {remark}", err=True)
    folded = fold(snapshot, seen_waits(stored.dumps), spread)
    if form == "folded":
        text = "".join(f"{line}\n" for line in folded_lines(folded))
    else:
        picture = Flame(folded, _title(snapshot, sum(folded.values())), _note(stored, spread))
        text = svg(picture) if form == "svg" else html(picture)
    if output == STDOUT:
        click.echo(text, nl=False)
        return
    try:
        write_whole(output, text)
    except OSError as error:
        raise UserError(f"{output}: {(error.strerror or str(error)).lower()}") from error


def _form(output: Path) -> str:
    if output == STDOUT:
        return "folded"
    form = _SUFFIXES.get(output.suffix.lower())
    if form is None:
        raise UserError(f"{output}: name it .svg, .html or .folded, or choose a --format")
    return form


def _title(snapshot: Snapshot, total_ns: float) -> str:
    process = snapshot.process
    return (
        f"{process.vm_name or process.name} {process.pid}:"
        f" threads waited {time_words(total_ns)} for the big lock"
        f" in {time_words(snapshot.elapsed_seconds * 1e9)}"
    )


def _note(stored: Stored, spread: bool) -> str:
    count = sum(dump.hold.same for dump in stored.dumps)
    seen = f"Python stacks of {count} holds" if count else "no Python stacks, call sites only"
    if count and spread:
        seen += ", taken for all holds at their call sites: an estimate"
    return f"Above [blocked by]: who waited, and where. Below: who held the lock. With {seen}."
