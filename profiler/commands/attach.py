# SPDX-License-Identifier: GPL-2.0-or-later
"""`bqlscope attach`: what a running QEMU that nobody prepared can still tell about its locks."""

import json
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import Any, TextIO

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from profiler.commands.output import STDOUT, json_option, output_file, write_json
from profiler.commands.summary import MAX_WIDTH, duration
from profiler.errors import UserError
from profiler.qemu.peer import monitors_of, require_peer, require_process
from profiler.qemu.qmp import Qmp, QmpClosedError, QmpTimeoutError
from profiler.qemu.sampling import MISSING, NOTHING, Interval, SyncProfile
from profiler.qemu.stopping import StopRequest
from profiler.qemu.sync_profile import BQL, ordered
from profiler.reader import recording_of

EXIT_SIGNALLED = 128


@click.command(
    epilog="\b\nThe JSON (--json):\n"
    "  schema 1, pid, qemu_version, seconds (measured), polls, interval_s (asked for),\n"
    "  ended: duration, interrupted or qemu-ended; counters_reset: somebody else did that;\n"
    "  was_on: the statistics were on before, and stay on;  missing: what QEMU cannot tell;\n"
    "  sites: type, bql, site, objects, wait_ns, count, average_ns, waits_per_second,\n"
    "  wait_ns_per_second; those of the big lock first, longest wait first.\n"
    "A line of --save has time_s (since the start), seconds, counters_reset and sites."
)
@click.argument("pid", type=click.IntRange(1))
@click.option(
    "--qmp",
    "address",
    metavar="SOCKET",
    help="QEMU's QMP monitor: a Unix socket, or HOST:PORT on this machine.",
)
@click.option(
    "--duration",
    "seconds",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="How long to measure.  Default: until Ctrl-C or QEMU's end.",
)
@click.option(
    "--interval",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0.05, 3600),
    metavar="SECONDS",
    help="Time between two polls. Each takes the big lock in QEMU's main loop.",
)
@click.option(
    "--sites",
    default=20,
    show_default=True,
    type=click.IntRange(0, 10_000),
    help="Call sites to show; those of the big lock come first.",
)
@json_option("Also write all totals as JSON ('-': standard output, instead of the table).")
@click.option(
    "--save",
    "save_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    callback=output_file,
    help="Write one line of JSON for each interval while measuring ('-': standard output).",
)
def attach(
    pid: int,
    address: str | None,
    seconds: float | None,
    interval: float,
    sites: int,
    json_path: Path | None,
    save_path: Path | None,
) -> None:
    """Poll the lock statistics of the running QEMU PID through its monitor.

    Switches QEMU's own `sync-profile` on, adds up what it counts, and switches it off again unless
    it was on before. QEMU does not count hold times, holders, threads or distributions:
    `bqlscope qemu` records all of it, for a QEMU that it starts.

    Ends with status 0 after --duration, at Ctrl-C and when QEMU ends.
    """
    require_process(pid)
    _refuse_recorded(pid)
    if address is None:
        raise UserError(_how_to_get_a_monitor(pid))
    with ExitStack() as stack:
        stop = stack.enter_context(StopRequest())
        qmp = stack.enter_context(Qmp(address))
        require_peer(qmp, pid)
        save = stack.enter_context(_opened(save_path)) if save_path else None
        profile = SyncProfile(qmp)
        shown = _Progress(sys.stderr)
        measured, ended = _measure(profile, stop, interval, seconds, _Saver(save), shown)
    if json_path is not None:
        document = _document(pid, qmp.version, interval, profile.was_on, measured, ended)
        write_json(json_path, document)
    if json_path != STDOUT:
        _print(pid, measured, ended, sites)
    if profile.left_on is not None:
        raise UserError(
            f"could not switch QEMU's sync-profile off again ({profile.left_on});"
            " the monitor command is: sync-profile off"
        )
    if stop.signal and stop.signal.name != "SIGINT":
        raise SystemExit(EXIT_SIGNALLED + stop.signal)


def _refuse_recorded(pid: int) -> None:
    """What is recorded already tells more, and QEMU's statistics would only slow it down."""
    recorded = recording_of(pid)
    if recorded is not None:
        name = str(pid) if recorded.path.name == f"{pid}.bql" else str(recorded.path)
        raise UserError(
            f"process {pid} is being recorded, which tells more than attach can:"
            f" bqlscope summary {name}"
        )


def _how_to_get_a_monitor(pid: int) -> str:
    found = monitors_of(pid)
    if found:
        return f"attach asks QEMU through its monitor: --qmp {found[0]}"
    return (
        "attach asks QEMU through a QMP monitor: --qmp SOCKET. This QEMU was started without one,"
        " and none can be added while it runs; start it with -qmp unix:SOCKET,server=on,wait=off,"
        " or better with `bqlscope qemu`, which records without asking"
    )


def _opened(path: Path) -> AbstractContextManager[TextIO]:
    if path == STDOUT:
        return nullcontext(sys.stdout)
    try:
        return path.open("w", encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: {(error.strerror or str(error)).lower()}") from error


class _Saver:
    """Lines of JSON, one for each interval. The first error is raised at the end."""

    def __init__(self, file: TextIO | None) -> None:
        self._file = file
        self._since_start = 0.0

    def add(self, part: Interval) -> None:
        """Write one interval. Raises UserError."""
        self._since_start += part.seconds
        if self._file is None:
            return
        line = {"time_s": self._since_start, **part.to_json()}
        try:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
        except OSError as error:
            raise UserError(
                f"{self._file.name}: {(error.strerror or str(error)).lower()}"
            ) from error


class _Progress:
    """One line about the latest interval: rewritten on a terminal, one after another elsewhere."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._terminal = stream.isatty()
        self._started = time.monotonic()

    def show(self, part: Interval) -> None:
        """Write the line."""
        bql = part.of_bql()
        text = f"{_rate(bql.count, part.seconds)} BQL waits/s"
        first = next(iter(ordered(part.waits)), None)
        if first and first[0].kind == BQL:
            text += f", {duration(bql.wait_ns / (part.seconds or 1))}/s, most at {first[0].site}"
        self._write(text)

    def stuck(self) -> None:
        """Say that QEMU does not answer."""
        self._write("QEMU does not answer: its main loop is stuck, or the process is stopped")

    def _write(self, text: str) -> None:
        line = f"{time.monotonic() - self._started:.1f} s: {text}"[:MAX_WIDTH]
        self._stream.write(f"\r\x1b[K{line}" if self._terminal else f"{line}\n")
        self._stream.flush()

    def clear(self) -> None:
        """Take the line off a terminal."""
        if self._terminal:
            self._stream.write("\r\x1b[K")
            self._stream.flush()


def _measure(
    profile: SyncProfile,
    stop: StopRequest,
    interval: float,
    seconds: float | None,
    saver: _Saver,
    shown: _Progress,
) -> tuple[Interval, str]:
    """Poll until the time is over, somebody asks to stop, or QEMU ends; the sum and which of it."""
    measured = NOTHING
    end = None if seconds is None else time.monotonic() + seconds
    try:
        with profile:
            while True:
                now = time.monotonic()
                stopped = stop.wait(interval if end is None else min(interval, end - now))
                try:
                    part = profile.poll()
                except QmpTimeoutError:
                    shown.stuck()
                else:
                    measured = measured.plus(part)
                    saver.add(part)
                    shown.show(part)
                if stopped:
                    return measured, "interrupted"
                if end is not None and time.monotonic() >= end:
                    return measured, "duration"
    except QmpClosedError:
        return measured, "qemu-ended"
    finally:
        shown.clear()


def _document(
    pid: int, version: str, interval: float, was_on: bool, measured: Interval, ended: str
) -> dict[str, Any]:
    return {
        "schema": 1,
        "pid": pid,
        "qemu_version": version,
        "interval_s": interval,
        "was_on": was_on,
        "ended": ended,
        "missing": list(MISSING),
        **measured.to_json(),
    }


def _rate(count: float, seconds: float) -> str:
    rate = count / seconds if seconds else 0.0
    return f"{rate:.0f}" if rate >= 10 or rate == 0 else f"{rate:.2g}"


def _print(pid: int, measured: Interval, ended: str, sites: int) -> None:
    console = Console(highlight=False)
    console.width = min(console.width, MAX_WIDTH)
    say: Callable[[str], None] = lambda text: console.print(Text(text))  # noqa: E731
    bql = measured.of_bql()
    say(
        f"QEMU {pid}, {duration(measured.seconds * 1e9)}:"
        f" {bql.count} waits for the BQL, {duration(bql.wait_ns)} in all"
    )
    if ended == "qemu-ended":
        say("QEMU ended; what happened after the last poll is not included")
    if measured.reset:
        say("somebody reset the counters meanwhile: waits before that are missing")
    rows = ordered(measured.waits)
    if rows and sites:
        console.print(_table(measured, sites))
        if len(rows) > sites:
            say(f"more call sites, see --sites: {len(rows) - sites}")
    say(
        f"QEMU does not count: {', '.join(MISSING)}. Each of the {measured.polls} polls took the"
        " BQL itself. A condvar's waits are mostly idleness. `bqlscope qemu` records the rest."
    )


def _table(measured: Interval, sites: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("lock")
    table.add_column("call site", overflow="fold")
    for name in ("waited", "count", "average", "per s"):
        table.add_column(name, justify="right")
    for key, waits in ordered(measured.waits)[:sites]:
        table.add_row(
            Text(key.kind, style="bold" if key.kind == BQL else ""),
            Text(key.site),
            duration(waits.wait_ns),
            str(waits.count),
            duration(waits.average_ns),
            _rate(waits.count, measured.seconds),
        )
    return table
