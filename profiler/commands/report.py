# SPDX-License-Identifier: GPL-2.0-or-later
"""`bqlscope report`: a recording or a saved comparison as an HTML file for people."""

from datetime import UTC, datetime
from pathlib import Path

import click

from profiler.commands.output import STDOUT, output_file, write_whole
from profiler.commands.reading import reading
from profiler.compare.saved import is_comparison, load_comparison
from profiler.errors import UserError
from profiler.reports.comparison import comparison_page
from profiler.reports.hosts import host_facts
from profiler.reports.model import Page
from profiler.reports.page import render
from profiler.reports.recording import recording_page
from profiler.reports.source import read_source


@click.command(
    epilog="\b\nExamples:\n"
    "  bqlscope report vm.bql -o vm.html\n"
    "  bqlscope report vm.events -o vm.html\n"
    "  bqlscope compare --save trials && bqlscope report trials -o comparison.html"
)
@click.argument("source", metavar="FILE|PID|DIR")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("report.html"),
    show_default=True,
    metavar="FILE",
    callback=output_file,
    help="The file to write or to replace; '-' is standard output.",
)
def report(source: str, output: Path) -> None:
    """Write a report that a person can read without help, as one HTML file.

    FILE is a recording, or a file of `bqlscope record`; PID a process that is being recorded, DIR
    what `bqlscope compare --save DIR` left. If the guest marked its window (FILE.begin and FILE.end
    exist), the report is of that window. The page needs no network and no other file; it can be
    mailed and printed.
    """
    page = make_page(source, datetime.now(UTC))
    text = render(page)
    if output == STDOUT:
        click.echo(text, nl=False)
        return
    try:
        write_whole(output, text)
    except OSError as error:
        raise UserError(f"{output}: {(error.strerror or str(error)).lower()}") from error
    click.echo(f"{output} ({len(text.encode()) / 1024:.0f} KiB)")
    for sentence in page.verdict:
        click.echo(sentence)


def make_page(source: str, now: datetime) -> Page:
    """The report on what a person named.  Raises UserError."""
    if is_comparison(Path(source)):
        return comparison_page(load_comparison(Path(source)), now)
    with reading(Path(source).name) as shown:
        found = read_source(source, shown)
    for note in found.events.notes if found.events else ():
        click.echo(f"bqlscope: note: {note}", err=True)
    return recording_page(found, host_facts(), now)
