# SPDX-License-Identifier: GPL-2.0-or-later
"""`bqlscope qemu`: run an unmodified QEMU with its big lock recorded."""

from pathlib import Path

import click

from profiler.commands.metrics import DEFAULT_ADDRESS
from profiler.commands.output import STDOUT, output_file
from profiler.qemu.command import daemonizes
from profiler.qemu.launch import signals_blocked


def _json_file(
    ctx: click.Context | None, param: click.Parameter | None, value: Path | None
) -> Path | None:
    if value == STDOUT:
        raise click.BadParameter("standard output is QEMU's: give a file")
    return output_file(ctx, param, value)


@click.command(
    context_settings={"allow_interspersed_args": False},
    epilog="\b\nExamples:\n"
    "  bqlscope qemu -- qemu-system-x86_64 -M q35 -accel kvm -m 1G disk.img\n"
    "  bqlscope qemu --recording vm.bql -- taskset -c 2,3 qemu-system-x86_64 -nographic ...\n"
    "\b\n"
    "The JSON (--json): schema 1; qemu: path, version, symbol; pid; exit: status, signal;\n"
    "  recording (path, null without); regions (address ranges with a known device);\n"
    "  window: start_ns, end_ns on CLOCK_MONOTONIC, or null; summary: as of `bqlscope\n"
    "  summary --json`, of the window if there is one.",
)
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- QEMU...")
@click.option(
    "--recording",
    type=click.Path(path_type=Path),
    metavar="FILE",
    callback=output_file,
    help="Where to record.  Default: PID.bql in the private directory, where"
    " `bqlscope summary PID` finds it.",
)
@click.option("--discard", "discarded", is_flag=True, help="Remove the recording at the end.")
@click.option(
    "--window-recording",
    "window",
    is_flag=True,
    help="Copy the recording to FILE.begin and FILE.end when the guest writes 1 and 2 to port"
    " 0x5f0, as the measuring guest does with marks=1; figures are then of that time.",
)
@click.option(
    "--no-monitor",
    is_flag=True,
    help="Give QEMU no private monitor: devices are then shown by address.",
)
@click.option(
    "--json",
    "json_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    callback=_json_file,
    help="Write how QEMU ended and all figures as JSON.",
)
@click.option(
    "--sites",
    default=12,
    show_default=True,
    type=click.IntRange(0, 1000),
    help="Call sites to show at the end, those with the longest waits first; 0 for none.",
)
@click.option(
    "--metrics",
    is_flag=False,
    flag_value=DEFAULT_ADDRESS,
    metavar="[ADDR:PORT]",
    help=f"Serve live metrics to Prometheus while QEMU runs (default {DEFAULT_ADDRESS}), from a"
    " process of their own.",
)
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
@click.pass_context
def qemu(
    ctx: click.Context,
    words: tuple[str, ...],
    recording: Path | None,
    discarded: bool,
    window: bool,
    no_monitor: bool,
    json_path: Path | None,
    sites: int,
    quiet: bool,
    metrics: str | None,
) -> None:
    """Run QEMU with its big lock recorded, and show the result.

    QEMU is not modified: a preloaded library times its lock. Its command line gets thread names and
    a private monitor added; terminal, signals and exit status are as without bqlscope. Everything
    printed here goes to standard error.

    Exit status: QEMU's own, 128+N if signal N ended it; 2 it cannot be run or recorded, 3 it is not
    installed.
    """
    if discarded and daemonizes(words):
        raise click.UsageError("--discard needs a QEMU that ends here, not one with -daemonize")
    place = recording.absolute() if recording else None
    with signals_blocked():  # numpy's threads must not take the signals that are for QEMU
        from profiler.commands.qemu_run import Wishes, run_qemu  # noqa: PLC0415

    wishes = Wishes(place, discarded, window, not no_monitor, json_path, sites, quiet, metrics)
    ctx.exit(run_qemu(words, wishes))
