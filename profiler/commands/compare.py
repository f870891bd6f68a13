# SPDX-License-Identifier: GPL-2.0-or-later
"""`bqlscope compare`: what does moving a disk off the main loop do, here, to this workload?"""

import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import click
from rich.console import Console

from profiler.commands.output import output_file, write_whole
from profiler.compare.drive import temporary_drive, user_drive
from profiler.compare.fail_if import Check, FailIfError, Outcome, evaluate, parse_check
from profiler.compare.host import detect_host
from profiler.compare.plan import (
    IRQ_PATHS,
    PLACEMENT_KINDS,
    RW_MODES,
    Drive,
    Placement,
    Plan,
    PlanError,
    Workload,
    parse_placements,
    parse_size,
)
from profiler.compare.progress import reporter
from profiler.compare.recording import read_locks
from profiler.compare.result import Result, build_result, to_json
from profiler.compare.runner import Runner
from profiler.compare.statistics import finite
from profiler.compare.table import WIDTH, print_result, print_verdict
from profiler.compare.verdict import Verdict, build_verdict
from profiler.errors import UserError

EXIT_CHECK_FAILED = 3
STDOUT = Path("-")
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


def _terminated(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(EXIT_TERMINATED)


@contextmanager
def _orderly_termination() -> Iterator[None]:
    """Make SIGTERM unwind like Ctrl-C does, so that child and temporary image go away."""
    previous = signal.signal(signal.SIGTERM, _terminated)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


@contextmanager
def _save_directory(target: Path | None) -> Iterator[Path | None]:
    """A directory inside `target` that becomes its content if the block succeeds.

    Raises `UserError` when the directory cannot be made or already holds a comparison.
    """
    if target is None:
        yield None
        return
    created = not target.exists()
    try:
        target.mkdir(parents=True, exist_ok=True)
        if (target / "compare.json").exists():
            raise UserError(f"--save {target}: there is a saved comparison already")
        partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=target))
    except OSError as error:
        raise UserError(f"--save {target}: {error.strerror}") from error
    done = False
    try:
        yield partial
        for path in sorted(partial.iterdir()):
            os.replace(path, target / path.name)
        done = True
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if created and not done:
            shutil.rmtree(target, ignore_errors=True)


def _write_json(target: Path, document: dict[str, Any]) -> None:
    """Write the document whole or not at all.  Raises `UserError`."""
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        write_whole(target, text)
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror}", 1) from error


def _document(result: Result, verdict: Verdict, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    date = datetime.now(UTC).isoformat(timespec="seconds")
    checks = [
        {"check": o.check.text, "value": finite(o.value), "failed": o.failed} for o in outcomes
    ]
    return {**to_json(result, date), "verdict": verdict.to_json(), "checks": checks}


def _drive(stack: ExitStack, path: Path | None, rw: str, allow_write: bool) -> Drive:
    if path is None:
        return stack.enter_context(temporary_drive())
    return user_drive(path, rw, allow_write)


def _parse_checks(texts: Sequence[str], placements: Sequence[Placement]) -> list[Check]:
    try:
        return [parse_check(text, placements) for text in texts]
    except FailIfError as error:
        raise click.UsageError(f"--fail-if: {error}") from error


def _size(_ctx: click.Context, _param: click.Parameter, value: str) -> int:
    try:
        return parse_size(value)
    except PlanError as error:
        raise click.BadParameter(str(error)) from error


@click.command(
    epilog="\b\nExamples:\n"
    "  bqlscope compare --placements mainloop,vcpu,iothread --trials 9\n"
    "  bqlscope compare --drive /dev/nvme0n1 --json result.json\n"
    "  bqlscope compare --fail-if 'ratios.vcpu_bql_wait_share.low<2' --quiet"
)
@click.option(
    "--placements",
    default="mainloop,iothread",
    show_default=True,
    help="Who processes the disk's queue, comma separated, the baseline first: "
    f"{', '.join(PLACEMENT_KINDS)}. The main loop and a vCPU do it with the BQL held, iothreads "
    "without.",
)
@click.option(
    "--irq",
    default="irqfd",
    show_default=True,
    help=f"How completions reach the guest: {', '.join(IRQ_PATHS)}. 'mainloop' sends them through "
    "the main loop and the BQL, as virtio-mmio does in QEMU. With irqfd,mainloop every iothread "
    "placement is run with each. With 'none' the guest asks for no interrupts.",
)
@click.option(
    "--smp",
    default=2,
    show_default=True,
    help="vCPUs: the first does I/O, the others read a "
    "device register and time it. 1 leaves only the I/O.",
)
@click.option("--iodepth", default=32, show_default=True, help="Requests in flight, 1 to 256.")
@click.option(
    "--block-size", default="4k", show_default=True, callback=_size, help="Bytes a request."
)
@click.option(
    "--rw",
    type=click.Choice(RW_MODES),
    default="read",
    show_default=True,
    help="Random reads, writes, both, or write-and-verify of a pattern.",
)
@click.option(
    "--trials",
    default=5,
    show_default=True,
    help="Trials of each placement, interleaved. Below 5 there is no verdict; 9 or more give "
    "tighter intervals.",
)
@click.option("--duration", default=1.0, show_default=True, help="Measured seconds a trial.")
@click.option("--warmup", default=0.2, show_default=True, help="Seconds before, not measured.")
@click.option(
    "--drive",
    type=click.Path(path_type=Path),
    help="Raw image or block device to use. Opened read-only unless --rw writes. Default: a "
    "temporary 256 MiB image, removed afterwards.",
)
@click.option("--allow-write", is_flag=True, help="Let --rw overwrite the data of --drive.")
@click.option(
    "--poll-max-ns",
    default=32768,
    show_default=True,
    help="How long an iothread polls before it sleeps; 0 turns polling off. Polling costs CPU "
    "time, which hurts when threads outnumber CPUs.",
)
@click.option("--memory", default="128M", show_default=True, help="Guest memory.")
@click.option(
    "--accel",
    type=click.Choice(("auto", "kvm", "qtest")),
    default="auto",
    show_default=True,
    help="qtest runs the workload without a CPU and needs no /dev/kvm.",
)
@click.option(
    "--save",
    type=click.Path(path_type=Path, file_okay=False),
    help="Directory for the recordings, every trial's JSON and compare.json.",
)
@click.option(
    "--fail-if",
    "fail_if",
    multiple=True,
    metavar="METRIC>LIMIT",
    help="End with status 3 if this holds, e.g. 'iothread.access_p99_us>500' or "
    "'ratios.iops.low<1.1' (.low, .high: bounds of the interval). Operators > >= < <=. May be "
    "given several times.",
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    callback=output_file,
    help="Write the result as JSON (docs/compare-json.md); '-' is standard output, the table then "
    "goes to standard error.",
)
@click.option("--quiet", is_flag=True, help="No progress and no table, only the verdict.")
def compare(
    *,
    placements: str,
    irq: str,
    drive: Path | None,
    allow_write: bool,
    trials: int,
    save: Path | None,
    fail_if: tuple[str, ...],
    json_file: Path | None,
    quiet: bool,
    **workload: Any,
) -> None:
    """Compare virtio-blk placements: throughput, device latency, and who waits for the BQL.

    Boots a small measuring guest once for every trial, in turn with the disk's queue processed by
    the main loop (under the big lock) and by an iothread (without it), and prints medians, ratios
    with 95 % intervals, who blocked whom, and a verdict.

    Exit status: 0 done, 1 a trial failed twice, 2 wrong usage, 3 a --fail-if holds, 130
    interrupted.
    """
    with ExitStack() as stack:
        stack.enter_context(_orderly_termination())
        try:
            chosen = parse_placements(_names(placements), _names(irq))
            work = Workload(**workload)
            checks = _parse_checks(fail_if, chosen)
            # Placements and trials are judged before the image is made.
            Plan(chosen, work, Drive(Path(), "none"), trials)
            image = _drive(stack, drive, work.rw, allow_write)
        except PlanError as error:
            raise click.UsageError(str(error)) from error
        keep = stack.enter_context(_save_directory(save))
        plan = Plan(chosen, work, image, trials)
        try:
            outcomes = _measure(plan, checks, keep, json_file, quiet)
        except KeyboardInterrupt:
            click.echo("bqlscope: interrupted", err=True)
            raise SystemExit(EXIT_INTERRUPTED) from None
    if any(outcome.failed for outcome in outcomes):
        raise SystemExit(EXIT_CHECK_FAILED)


def _measure(
    plan: Plan, checks: Sequence[Check], keep: Path | None, json_file: Path | None, quiet: bool
) -> list[Outcome]:
    """Run the trials, print, write JSON, and evaluate the checks."""
    errors = Console(stderr=True)
    with reporter(errors, len(plan), quiet) as shown:
        trials = Runner(plan, read_locks, keep=keep).run(shown)
    result = build_result(plan, detect_host(), trials)
    verdict = build_verdict(result)
    outcomes = [evaluate(check, result) for check in checks]
    document = _document(result, verdict, outcomes)
    if keep is not None:
        _write_json(keep / "compare.json", document)
    console = Console(stderr=json_file == STDOUT)
    console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    if quiet:
        print_verdict(console, verdict)
    else:
        print_result(console, result, verdict)
    for outcome in outcomes:
        click.echo(f"--fail-if {outcome.line()}", err=True)
    if json_file == STDOUT:
        json.dump(document, sys.stdout, indent=2, ensure_ascii=False, allow_nan=False)
        sys.stdout.write("\n")
    elif json_file is not None:
        _write_json(json_file, document)
    return outcomes
