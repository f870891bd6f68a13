# SPDX-License-Identifier: GPL-2.0-or-later
"""`bqlscope qemu`: run an unmodified QEMU with its big lock recorded."""

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from profiler.commands.output import STDOUT, output_file, write_json
from profiler.commands.summary import print_summary, summary_console, summary_document
from profiler.discovery import recording_directories
from profiler.errors import UserError
from profiler.preload import library_path
from profiler.qemu.command import daemonizes, environment, vm_name, with_additions
from profiler.qemu.launch import Child, Exit
from profiler.qemu.probe import Qemu, probe
from profiler.qemu.result import Left, discard, read_left
from profiler.qemu.socket_dir import SocketDirectory
from profiler.qemu.watch import Watch

_DAEMON_SECONDS = 10.0


@dataclass(frozen=True)
class _Wishes:
    """The options."""

    recording: Path | None
    discard: bool
    window: bool
    monitor: bool
    json_path: Path | None
    sites: int
    quiet: bool

    def say(self, text: str) -> None:
        """A line for the user, on standard error: standard output is QEMU's."""
        if not self.quiet:
            click.echo(f"bqlscope: {text}", err=True)


@dataclass(frozen=True)
class _Run:
    """A QEMU that ran here, or went into the background. `names`: see Watch."""

    qemu: Qemu
    pid: int
    ended: Exit
    recording: Path | None
    names: int | None


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
    wishes = _Wishes(place, discarded, window, not no_monitor, json_path, sites, quiet)
    ctx.exit(_run(words, wishes))


def _run(words: tuple[str, ...], wishes: _Wishes) -> int:
    library = library_path()
    found = probe(words, library, os.environ)
    wishes.say(f"QEMU {found.version or '(unknown version)'}, {found.path}, through {found.symbol}")
    env = environment(
        os.environ,
        library,
        recording=wishes.recording,
        name=vm_name(words),
        window=wishes.window,
    )
    with ExitStack() as stack:
        directory = SocketDirectory(os.environ) if wishes.monitor else None
        socket = stack.enter_context(directory) if directory else None
        watch = Watch(socket, wishes.recording)
        stack.callback(watch.close)
        with Child(with_additions(words, socket), env) as child:
            ended = child.run(_announcing(watch, child.pid, wishes))
        if daemonizes(words) and ended.code == 0:
            run = _daemon(found, child.pid, ended, socket, wishes)
            if directory and run.pid:
                directory.keep = True
        else:
            path = watch.find_ended(child.pid)
            process = watch.process
            pid = process.pid if process else child.pid
            run = _Run(found, pid, ended, path, watch.names)
            if watch.problem:
                wishes.say(f"not all devices have names: {watch.problem}")
            _report(run, wishes)
    return ended.code


def _announcing(watch: Watch, pid: int, wishes: _Wishes) -> Callable[[], float]:
    """A tick that tells once where the recording is."""
    told = False

    def tick() -> float:
        nonlocal told
        pause = watch.tick(pid)
        process = watch.process
        if process is not None and not told:
            told = True
            wishes.say(f"recording process {process.pid} to {process.path}")
        return pause

    return tick


def _daemon(found: Qemu, pid: int, ended: Exit, socket: Path | None, wishes: _Wishes) -> _Run:
    """QEMU went into the background: find it, name its devices, and say how to read on."""
    watch = Watch(socket, wishes.recording)
    deadline = time.monotonic() + _DAEMON_SECONDS
    while time.monotonic() < deadline:
        pause = watch.tick(pid)
        if watch.process is not None and (socket is None or watch.names is not None):
            break
        time.sleep(pause)
    process = watch.process
    run = _Run(
        found,
        process.pid if process else watch.peer or 0,
        ended,
        process.path if process else None,
        watch.names,
    )
    watch.close()
    if process is not None:
        wishes.say(f"QEMU went on as process {run.pid}, recording to {run.recording}")
        wishes.say(f"look at it with: bqlscope summary {_short(run)}")
    else:
        places = wishes.recording or f"{recording_directories()[0]}/PID.bql"
        wishes.say(f"QEMU went on in the background; its recording is {places}")
    if wishes.json_path is not None:
        write_json(wishes.json_path, _document(run, None))
    return run


def _report(run: _Run, wishes: _Wishes) -> None:
    """Print and write what was recorded. Raises UserError."""
    left = None
    if run.recording is None:
        wishes.say("QEMU ended before it took its lock: nothing was recorded")
    else:
        left = read_left(run.recording, wishes.window)
    if wishes.json_path is not None:
        write_json(wishes.json_path, _document(run, left))
    if left is None:
        return
    if not wishes.quiet:
        if wishes.window:
            wishes.say(
                "the figures are of the guest's measured window"
                if left.window
                else "the guest marked no window: the figures are of the whole run"
            )
        print_summary(summary_console(stderr=True), left.snapshot, wishes.sites)
    if wishes.discard:
        try:
            discard(left.path)
        except OSError as error:
            raise UserError(f"cannot remove {left.path}: {error.strerror}") from error
    else:
        wishes.say(
            f"look further with: bqlscope summary {_short(run)}, bqlscope check {_short(run)}"
        )


def _short(run: _Run) -> str:
    """What `bqlscope summary` takes: the process id where that is enough."""
    path = run.recording
    if path and path.name == f"{run.pid}.bql" and path.parent in recording_directories():
        return str(run.pid)
    return str(path)


def _document(run: _Run, left: Left | None) -> dict[str, Any]:
    return {
        "schema": 1,
        "qemu": run.qemu.to_json(),
        "pid": run.pid or None,
        "exit": run.ended.to_json(),
        "recording": str(run.recording) if run.recording else None,
        "regions": run.names,
        "window": left.window_json() if left else None,
        "summary": summary_document(left.snapshot) if left else None,
    }
