# SPDX-License-Identifier: GPL-2.0-or-later
"""`bqlscope record`: every acquisition of a process, in a file, for as long as one likes."""

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import click

from profiler.commands.output import json_option, output_file, write_json
from profiler.errors import EXIT_VIOLATED, UserError
from profiler.reader import Recording
from profiler.traces.capture import Capture, Limits, Progress, Totals
from profiler.traces.child import Child, await_recording, live_recording
from profiler.traces.files import EventFiles

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
DEFAULT_PART = 256 << 20
SMALLEST = 1 << 16
PROGRESS_SECONDS = 0.25
MAX_WIDTH = 80
REASONS = {
    "ended": "it ended",
    "closed": "it closed its recording",
    "duration": "for the time asked for",
    "size": "up to the size limit",
    "stopped": "until stopped",
}


def _size(
    _ctx: click.Context | None, _param: click.Parameter | None, value: str | None
) -> int | None:
    """A click callback: bytes with an optional K, M, G or T."""
    if value is None:
        return None
    text = value.strip().lower().removesuffix("ib").removesuffix("b")
    unit = text[-1:] if text[-1:].isalpha() else ""
    try:
        size = int(float(text.removesuffix(unit)) * _UNITS[unit])
    except (ValueError, KeyError, OverflowError):
        raise click.BadParameter(f"{value!r} is no size; examples: 500M, 2G") from None
    if size < SMALLEST:
        raise click.BadParameter("a file takes at least 64K")
    return size


@click.command(
    epilog="\b\nExamples:\n"
    "  bqlscope record 4711 -o vm.events --duration 60\n"
    "  bqlscope record -o boot.events -- bqlscope qemu -- qemu-system-x86_64 …\n"
    "  bqlscope record -o vm.events --size-limit 1G --rotate 3"
)
@click.argument("target", nargs=-1, metavar="[PID|FILE | -- COMMAND…]")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    callback=output_file,
    help="Where to. A file of an earlier `record` is replaced.",
)
@click.option(
    "--duration",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="End by itself after this time; a COMMAND runs on.",
)
@click.option(
    "--size-limit",
    callback=_size,
    metavar="SIZE",
    help="End when the file has this size (500M, 2G); with --rotate, begin another one.",
)
@click.option(
    "--rotate",
    type=click.IntRange(1, 1000),
    metavar="N",
    help="Keep the N files before the current one as FILE.1 (the newest), FILE.2, …; each of"
    " --size-limit (default 256M).",
)
@json_option("Write the totals as JSON ('-': standard output).")
@click.option("--quiet", is_flag=True, help="Nothing on standard error but errors.")
@click.pass_context
def record(
    ctx: click.Context,
    target: tuple[str, ...],
    output: Path,
    duration: float | None,
    size_limit: int | None,
    rotate: int | None,
    json_path: Path | None,
    quiet: bool,
) -> None:
    """Keep every acquisition of a live process in a file.

    The process is PID, the one that writes the recording FILE, or the only live one (`bqlscope
    ls`). With COMMAND it is what that starts: the recording of the command or of one of its
    children, from its first acquisition on; the exit status is then the command's.

    Recording takes no lock of the process and costs it nothing. It ends with the process, at a
    limit, or on Ctrl-C. `bqlscope convert` reads the file.
    """
    if str(output) == "-":
        raise UserError("a file of events is written in place: give -o a file name")
    if rotate is not None and size_limit is None:
        size_limit = DEFAULT_PART
    job = _Job(output, Limits(duration, size_limit), rotate or 0, json_path, quiet)
    if len(target) == 1 and _is_recorded(target[0]):
        job.attach(target[0])
    elif target:
        ctx.exit(job.command(target))
    else:
        job.attach(None)


def _is_recorded(word: str) -> bool:
    """Whether the only word after the options names a process or a recording, not a command."""
    if word.isascii() and word.isdigit():
        return True
    path = Path(word)
    try:
        with path.open("rb") as file:
            return file.read(8) == b"BQLREC1\0"
    except OSError:
        return path.suffix == ".bql"


class _Signals:
    """Signals that end the recording in order instead of the program."""

    def __init__(self) -> None:
        self.received: list[int] = []

    def take(self, number: int, _frame: FrameType | None) -> None:
        """The handler."""
        self.received.append(number)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Take SIGINT, SIGTERM and SIGHUP meanwhile; those that are ignored stay so."""
        before = {}
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, self.take)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@dataclass
class _Job:
    output: Path
    limits: Limits
    rotate: int
    json_path: Path | None
    quiet: bool
    signals: _Signals = field(default_factory=_Signals)

    def attach(self, target: str | None) -> None:
        """Record a process that runs already, from now on."""
        with self.signals.installed(), live_recording(target) as recording:
            self._capture(recording, lambda: not self.signals.received)

    def command(self, command: tuple[str, ...]) -> int:
        """Start a command and record what it records. Returns the command's exit status."""
        with self.signals.installed(), Child(command) as child:

            def runs() -> bool:
                child.pass_on(self.signals.received)
                return child.running

            recording = await_recording(child.pid, runs)
            if recording is None:
                status = child.wait(self.signals.received)
                click.echo("bqlscope: the command ended and left no recording to read", err=True)
                return status or EXIT_VIOLATED
            with recording:
                # A daemon outlives the command that started it: then signals are for us.
                self._capture(recording, lambda: runs() or not self.signals.received, True)
            return child.wait(self.signals.received)

    def _capture(
        self, recording: Recording, wanted: Callable[[], bool], from_start: bool = False
    ) -> None:
        shown = _Shown(recording.process.name, recording.process.pid, self.quiet)
        with EventFiles(self.output, self.rotate) as files:
            totals = Capture(recording, files, self.limits, from_start).run(wanted, shown)
        shown.end(totals, self.output)
        if self.json_path is not None:
            write_json(self.json_path, totals.to_json())


class _Shown:
    """The progress line, where standard error is a terminal, and the line that ends it."""

    def __init__(self, name: str, pid: int, quiet: bool) -> None:
        self._who = f"{name} {pid}"
        self._quiet = quiet
        self._live = not quiet and sys.stderr.isatty()
        self._last = 0.0

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if not self._live or now - self._last < PROGRESS_SECONDS:
            return
        self._last = now
        line = (
            f"recording {self._who}: {progress.seconds:.1f} s, {progress.events:,} acquisitions,"
            f" {progress.dropped:,} dropped, {progress.size / 1e6:.1f} MB"
        )
        sys.stderr.write(f"\r\x1b[K{line[: MAX_WIDTH - 1]}")
        sys.stderr.flush()

    def end(self, totals: Totals, output: Path) -> None:
        """Say what came of it."""
        if self._live:
            sys.stderr.write("\r\x1b[K")
        missing = totals.dropped + totals.lost
        if self._quiet:
            return
        files = f" and {totals.files - 1} before it" if totals.files > 1 else ""
        click.echo(
            f"recorded {totals.seconds:.1f} s of {self._who} ({REASONS[totals.reason]}):"
            f" {totals.events:,} acquisitions, {missing:,} dropped,"
            f" {totals.size / 1e6:.1f} MB in {output}{files}",
            err=True,
        )
