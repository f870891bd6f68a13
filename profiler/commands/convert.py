# SPDX-License-Identifier: GPL-2.0-or-later
"""`bqlscope convert`: a recording in the formats of other people's viewers."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import click

from profiler.commands.output import STDOUT, output_file
from profiler.errors import UserError
from profiler.traces.formats import FORMATS
from profiler.traces.source import open_source


@click.command(
    epilog="\b\nExamples:\n"
    "  bqlscope convert vm.events --format perfetto -o vm.pftrace   # ui.perfetto.dev\n"
    "  bqlscope convert 4711 --format pprof -o lock.pb.gz           # go tool pprof\n"
    "  bqlscope convert vm.bql --format folded | flamegraph.pl > waits.svg"
)
@click.argument("recording", metavar="RECORDING|PID")
@click.option(
    "--format",
    "name",
    required=True,
    type=click.Choice(tuple(FORMATS)),
    help="; ".join(f"{name}: {format_.about}" for name, format_ in FORMATS.items()) + ".",
)
@click.option(
    "-o",
    "--output",
    default="-",
    type=click.Path(path_type=Path),
    metavar="FILE",
    callback=output_file,
    help="Where to; '-' (the default) is standard output.",
)
def convert(recording: str, name: str, output: Path) -> None:
    """Write a recording in the format of another tool.

    RECORDING is a file of `bqlscope record`, which has every acquisition, or a recording (.bql,
    PID), which has exact sums since it began and the last 16384 acquisitions of each thread.
    """
    chosen = FORMATS[name]
    if output == STDOUT and chosen.binary and sys.stdout.isatty():
        raise UserError(f"{name} is binary and standard output is a terminal: give -o FILE")
    with open_source(recording) as source:
        with _written(output) as out:
            chosen.write(source, out)
        for note in source.notes:
            click.echo(f"bqlscope: note: {note}", err=True)


@contextmanager
def _written(path: Path) -> Iterator[BinaryIO]:
    """A file that appears whole or not at all; devices and pipes are written to.

    Raises UserError if it cannot be written.
    """
    if path == STDOUT:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = path.resolve()
    special = path.exists() and not path.is_file()
    target = path if special else path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with target.open("wb") as out:
            yield out
        if not special:
            target.replace(path)
    except OSError as error:
        raise UserError(f"{path}: {(error.strerror or str(error)).lower()}", 1) from error
    finally:
        if not special:
            with suppress(OSError):
                target.unlink()
