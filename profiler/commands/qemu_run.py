# SPDX-License-Identifier: GPL-2.0-or-later
"""What `bqlscope qemu` does once its options are known: probe, run, watch, report."""

import os
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from profiler.commands.metrics import start_exporter
from profiler.commands.output import write_json
from profiler.commands.summary import print_summary, summary_console, summary_document
from profiler.discovery import recording_directories
from profiler.errors import UserError
from profiler.preload import library_path
from profiler.qemu.command import daemonizes, environment, vm_name, with_additions
from profiler.qemu.launch import Child, Exit
from profiler.qemu.probe import Qemu, probe
from profiler.qemu.result import Left, discard, read_left, remove_old_window
from profiler.qemu.socket_dir import SocketDirectory
from profiler.qemu.watch import Watch

_DAEMON_SECONDS = 10.0


@dataclass(frozen=True)
class Wishes:
    """The options of the command."""

    recording: Path | None
    discard: bool
    window: bool
    monitor: bool
    json_path: Path | None
    sites: int
    quiet: bool
    metrics: str | None

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


def run_qemu(words: tuple[str, ...], wishes: Wishes) -> int:
    """Run QEMU to its end, or until it is a daemon; the exit status. Raises UserError."""
    library = library_path()
    found = probe(words, library, os.environ)
    wishes.say(f"QEMU {found.version or '(unknown version)'}, {found.path}, through {found.symbol}")
    if wishes.window and wishes.recording is not None:
        with suppress(OSError):
            remove_old_window(wishes.recording)
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


def _announcing(watch: Watch, pid: int, wishes: Wishes) -> Callable[[], float]:
    """A tick that tells once where the recording is."""
    told = False

    def tick() -> float:
        nonlocal told
        pause = watch.tick(pid)
        process = watch.process
        if process is not None and not told:
            told = True
            wishes.say(f"recording process {process.pid} to {process.path}")
            _serve_metrics(wishes, process.path)
        return pause

    return tick


def _serve_metrics(wishes: Wishes, recording: Path, detached: bool = False) -> None:
    """Start the exporter, if it is wanted; QEMU goes on without it."""
    if wishes.metrics is not None:
        try:
            start_exporter(wishes.metrics, recording, detached)
        except OSError as error:
            click.echo(f"bqlscope: cannot start the exporter: {error.strerror}", err=True)


def _daemon(found: Qemu, pid: int, ended: Exit, socket: Path | None, wishes: Wishes) -> _Run:
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
        _serve_metrics(wishes, process.path, detached=True)
    else:
        places = wishes.recording or f"{recording_directories()[0]}/PID.bql"
        wishes.say(f"QEMU went on in the background; its recording is {places}")
    if wishes.json_path is not None:
        write_json(wishes.json_path, _document(run, None))
    return run


def _report(run: _Run, wishes: Wishes) -> None:
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
