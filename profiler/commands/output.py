# SPDX-License-Identifier: GPL-2.0-or-later
"""Result files are refused before anything runs, not after minutes of measuring.

`vmm` has the same functions: neither package may import the other for them.
"""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import click

from profiler.errors import UserError

STDOUT = Path("-")

_Command = TypeVar("_Command", bound=Callable[..., Any])


def output_file(
    _ctx: click.Context | None, _param: click.Parameter | None, value: Path | None
) -> Path | None:
    """A click callback: `value` if a file can be made there, or is `-` or not given.

    Raises `click.BadParameter` for a directory, or if its parent is missing or not writable.
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


def json_option(help_text: str) -> Callable[[_Command], _Command]:
    """The option `--json FILE`, as parameter `json_path`; `-` is standard output."""
    return click.option(
        "--json",
        "json_path",
        type=click.Path(path_type=Path),
        metavar="FILE",
        callback=output_file,
        help=help_text,
    )


def write_whole(path: Path, text: str) -> None:
    """Write a file whole or not at all; links are followed, devices and pipes written to.

    Raises OSError; the file is as it was then.
    """
    path = path.resolve()
    if path.exists() and not path.is_file():  # /dev/null, /dev/stdout: never replace those
        path.write_text(text, encoding="utf-8")
        return
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError:
        with suppress(OSError):
            partial.unlink()
        raise


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON to a file or, for `-`, to standard output.  Raises `UserError`."""
    text = json.dumps(content, indent=2) + "\n"
    if path == STDOUT:
        click.echo(text, nl=False)
        return
    try:
        write_whole(path, text)
    except OSError as error:
        raise UserError(f"{path}: {(error.strerror or str(error)).lower()}") from error
