# SPDX-License-Identifier: GPL-2.0-or-later
"""The root of the `bqlscope` command: finds the verb, and turns errors into one line and a status.

Goal: `bqlscope run` starts a virtual machine, so the root must cost next to nothing. Only the
module of the verb that was asked for is imported, and only when its own help or code is needed;
numpy and rich are imported by no verb that does not use them.

Rule: verbs raise, the root prints. `vmm` does not know this package and raises
`click.ClickException`; everything here raises `profiler.errors.UserError`.
"""

import errno
import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from profiler.commands import VERBS
from profiler.errors import UserError

ENTRY_POINT_GROUP = "bqlscope.commands"
EXIT_OUTPUT_FAILED = 1
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it


def _installed_verbs() -> dict[str, str]:
    """Verbs of all installed distributions, as name to `module:attribute`."""
    from importlib.metadata import entry_points  # noqa: PLC0415 (slow to import, rarely needed)

    return {point.name: point.value for point in entry_points(group=ENTRY_POINT_GROUP)}


def _load(name: str, target: str) -> click.Command:
    """Import one verb. Raises UserError when its module cannot be imported."""
    module_name, _, attribute = target.partition(":")
    try:
        command = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise UserError(f"the verb '{name}' cannot be loaded: {error}") from error
    if not isinstance(command, click.Command):
        raise UserError(f"the verb '{name}' cannot be loaded: {target} is not a command")
    return command


class LazyGroup(click.Group):
    """A click group whose verbs are imported one at a time, by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all verbs, ours and those of other distributions, sorted."""
        return sorted(VERBS.keys() | _installed_verbs().keys())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one verb, or None if there is no such verb."""
        if cmd_name in VERBS:
            return _load(cmd_name, VERBS[cmd_name].target)
        target = _installed_verbs().get(cmd_name)
        return _load(cmd_name, target) if target else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The verb that the first argument names; a near miss gets a suggestion."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from difflib import get_close_matches  # noqa: PLC0415 (only after a typing error)

            near = get_close_matches(args[0], self.list_commands(ctx), n=1)
            if not near:
                raise
            hint = f"{error.message.rstrip('.')}; did you mean '{near[0]}'?"
            raise click.UsageError(hint, ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of verbs without importing any of them."""
        rows = [
            (name, VERBS[name].summary if name in VERBS else "From another distribution.")
            for name in self.list_commands(ctx)
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _show_version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if not wanted:
        return
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 (slow to import)

    try:
        number = version("bqlscope")
    except PackageNotFoundError:
        number = "(not installed)"
    click.echo(f"bqlscope {number}")
    ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
def root() -> None:
    """Time a virtual machine's big lock, and see who waits for whom."""


def _complain(message: str) -> None:
    click.echo(f"bqlscope: {' '.join(message.split())}", err=True)


def _usage_line(error: click.UsageError) -> str:
    """What is wrong with the command line, and where it is explained."""
    message = error.format_message().strip().rstrip(".")
    if error.ctx is None:
        return message
    return f"{message} (see {error.ctx.command_path} --help)"


def _prepare_streams() -> None:
    """Standard streams that exist and take any character.

    A closed one becomes /dev/null. A terminal that does not know a character gets a '?' for it.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 (lives as long as we do)
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace" if name == "stdout" else "backslashreplace")


def _output_failed(error: OSError) -> int:
    """Standard output took no more. A reader that left (`| head`) is told nothing."""
    if error.errno != errno.EPIPE:
        _complain(f"cannot write the output: {error.strerror}")
    # What is still buffered cannot be written either, and must not be tried again at the exit.
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
    return EXIT_OUTPUT_FAILED


def _run(argv: Sequence[str] | None) -> int:
    """Run the command line; raises OSError only if an output cannot be written."""
    try:
        status: Any = root.main(
            args=list(argv) if argv is not None else None,
            prog_name="bqlscope",
            standalone_mode=False,
        )
    except UserError as error:
        _complain(error.message)
        return error.exit_code
    except click.UsageError as error:
        _complain(_usage_line(error))
        return error.exit_code
    except click.ClickException as error:
        _complain(error.format_message())
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    return status if isinstance(status, int) else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (default: that of the process) and return its exit status.

    A verb ends with status 0 unless it calls `ctx.exit(status)` or raises. A wrong command line
    ends with 2, as click's users expect; an interrupt with 130.
    """
    _prepare_streams()
    try:
        status = _run(argv)
        sys.stdout.flush()
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.ENOSPC, errno.EIO) or error.filename:
            raise
        return _output_failed(error)
    return status
