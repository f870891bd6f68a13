# SPDX-License-Identifier: GPL-2.0-or-later
"""Result files are refused before anything runs, not after minutes of measuring."""

import os
from pathlib import Path

import click

from vmm import files


def output_file(
    _ctx: click.Context | None, _param: click.Parameter | None, value: Path | None
) -> Path | None:
    """A click callback: ``value`` if a file can be made there, or is ``-`` or not given.

    Raises:
        click.BadParameter: a directory, or its parent is missing or not writable.
    """
    if value is None or str(value) == "-":
        return value
    if value.is_dir():
        raise click.BadParameter(f"{value} is a directory, not a file")
    if not value.parent.is_dir():
        raise click.BadParameter(f"{value}: there is no directory {value.parent}")
    if not os.access(value if value.exists() else value.parent, os.W_OK):
        raise click.BadParameter(f"{value}: no permission to write there")
    return value


def write_whole(path: Path, text: str) -> None:
    """Write a file whole or not at all; links are followed, devices and pipes written to.

    Raises OSError; the file is as it was then.
    """
    files.write_whole(path, text.encode())
