# SPDX-License-Identifier: GPL-2.0-or-later
"""`bqlscope compare`: what does moving a disk off the main loop do, here, to this workload?"""

import shlex
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import click
from rich.console import Console

from profiler.commands.compare_output import build_document, save_directory, write_document
from profiler.commands.output import STDOUT, output_file
from profiler.compare.drive import temporary_drive, user_drive
from profiler.compare.fail_if import Check, FailIfError, Outcome, evaluate, parse_checks
from profiler.compare.host import detect_host
from profiler.compare.own import OwnVmm
from profiler.compare.page import print_page, print_verdicts
from profiler.compare.placement import DISK_KINDS, IRQ_PATHS, VNC_KINDS, PlanError
from profiler.compare.plan import Plan
from profiler.compare.progress import reporter
from profiler.compare.qemu import AIO_ENGINES, MACHINES, QemuVmm, micro_guest
from profiler.compare.qemu_program import PROGRAM, find_qemu
from profiler.compare.recording import read_locks
from profiler.compare.result import build_result
from profiler.compare.runner import Runner
from profiler.compare.table import WIDTH
from profiler.compare.verdict import build_verdict
from profiler.compare.vmm import Vmm
from profiler.compare.workload import DRAWINGS, RW_MODES, VNC_ENCODINGS, Drive, Workload, parse_size
from profiler.errors import UserError

VMMS = ("bqlscope", "qemu")
EXIT_CHECK_FAILED = 3
USUAL_VIEWERS = 4
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


def _drive(stack: ExitStack, path: Path | None, rw: str, allow_write: bool) -> Drive:
    if path is None:
        return stack.enter_context(temporary_drive())
    return user_drive(path, rw, allow_write)


def _parse_checks(texts: Sequence[str], plans: Sequence[Plan]) -> list[Check]:
    vmms = {plan.key: plan.placements for plan in plans}
    try:
        return [check for text in texts for check in parse_checks(text, vmms)]
    except FailIfError as error:
        raise click.UsageError(f"--fail-if: {error}") from error


def _vmms(
    names: Sequence[str],
    accel: str,
    qemu: str | None,
    machine: str | None,
    qemu_aio: str | None,
    qemu_args: str | None,
) -> list[Vmm]:
    """The VMMs named, in that order.

    Raises `PlanError` for options that do not fit them, `UserError` if QEMU cannot run here.
    """
    for name in names:
        if name not in VMMS:
            raise PlanError(f"--vmm: unknown '{name}', choose from {', '.join(VMMS)}")
    if not names or len(set(names)) != len(names):
        raise PlanError("--vmm needs each VMM once, as in bqlscope,qemu")
    if "qemu" not in names:
        given = {"--qemu": qemu, "--machine": machine, "--qemu-aio": qemu_aio}
        for option, value in {**given, "--qemu-args": qemu_args}.items():
            if value is not None:
                raise PlanError(f"{option} needs --vmm qemu or --vmm bqlscope,qemu")
        return [OwnVmm()]
    if accel == "qtest":
        raise PlanError("--accel qtest exists in bqlscope's own VMM only: add --vmm bqlscope")
    try:
        arguments = tuple(shlex.split(qemu_args or ""))
    except ValueError as error:
        raise PlanError(f"--qemu-args: {error}") from error
    if not detect_host().kvm:
        raise UserError(
            "--vmm qemu needs /dev/kvm, which cannot be opened here; bqlscope's own VMM does "
            "without: --vmm bqlscope --accel qtest"
        )
    chosen = MACHINES[machine or "microvm"]
    other = QemuVmm(find_qemu(qemu or PROGRAM), micro_guest(), chosen, qemu_aio, arguments)
    return [OwnVmm() if name == "bqlscope" else other for name in names]


def _plans(
    vmms: Sequence[Vmm],
    kinds: Sequence[str],
    irqs: Sequence[str],
    work: Workload,
    image: Drive,
    trials: int,
) -> list[Plan]:
    """One plan for each VMM.  Raises `PlanError`."""
    return [Plan(vmm, vmm.placements(kinds, irqs), work, vmm.drive(image), trials) for vmm in vmms]


def _size(_ctx: click.Context, _param: click.Parameter, value: str) -> int:
    try:
        return parse_size(value)
    except PlanError as error:
        raise click.BadParameter(str(error)) from error


@click.command(
    epilog="\b\nExamples:\n"
    "  bqlscope compare --placements mainloop,vcpu,iothread --trials 9\n"
    "  bqlscope compare --drive /dev/nvme0n1 --json result.json\n"
    "  bqlscope compare --vmm bqlscope,qemu --trials 9\n"
    "  bqlscope compare --fail-if 'ratios.vcpu_bql_wait_share.low<2' --quiet"
)
@click.option(
    "--placements",
    default="mainloop,iothread",
    show_default=True,
    help="Who processes the disk's queue, comma separated, the baseline first: "
    f"{', '.join(DISK_KINDS)}. The main loop and a vCPU do it with the BQL held, iothreads "
    f"without. Or who encodes the screen for viewers: {', '.join(VNC_KINDS)}.",
)
@click.option(
    "--vnc-clients",
    default=0,
    metavar="N",
    help="VNC viewers that watch the screen, while the guest draws on it. Default: none, or 4 "
    "for vnc placements.",
)
@click.option(
    "--vnc-encoding",
    type=click.Choice(tuple(VNC_ENCODINGS)),
    default="tight",
    show_default=True,
    help="The encoding these viewers ask for.",
)
@click.option(
    "--vnc-draw",
    type=click.Choice(DRAWINGS),
    default="text",
    show_default=True,
    help="What the guest draws, 30 times a second: a line of text, or ever more of the screen.",
)
@click.option(
    "--irq",
    help=f"How completions reach the guest: {', '.join(IRQ_PATHS)}. 'mainloop' sends them through "
    "the main loop and the BQL, as virtio-mmio does in QEMU. With irqfd,mainloop every iothread "
    "placement is run with each. With 'none' the guest asks for no interrupts. Default: irqfd; for "
    "QEMU the one its machine has.",
)
@click.option(
    "--vmm",
    default="bqlscope",
    show_default=True,
    help="Who runs the guest: bqlscope, qemu (unmodified, its lock recorded), or bqlscope,qemu: "
    "both, interleaved, in one table.",
)
@click.option("--qemu", metavar="PROGRAM", help=f"The QEMU to run.  [default: {PROGRAM}]")
@click.option(
    "--machine",
    type=click.Choice(tuple(MACHINES)),
    help="QEMU's machine: microvm (the default) has virtio-mmio, q35 has PCI.",
)
@click.option(
    "--qemu-aio",
    type=click.Choice(AIO_ENGINES),
    help="QEMU's disk backend. Default: native, or threads where the image has no O_DIRECT.",
)
@click.option(
    "--qemu-args",
    metavar="WORDS",
    help="More words for QEMU's command line, in one argument: '-cpu host'.",
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
    vmm: str,
    qemu: str | None,
    machine: str | None,
    qemu_aio: str | None,
    qemu_args: str | None,
    placements: str,
    irq: str | None,
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

    With --vmm qemu the same is done to an unmodified QEMU. With --placements
    vnc-worker,vnc-mainloop it is the encoding of the screen that moves, under the eyes of
    --vnc-clients viewers.

    Exit status: 0 done, 1 a trial failed twice, 2 wrong usage, 3 a --fail-if holds or QEMU is not
    installed, 130 interrupted.
    """
    with ExitStack() as stack:
        stack.enter_context(_orderly_termination())
        try:
            vmms = _vmms(_names(vmm), workload["accel"], qemu, machine, qemu_aio, qemu_args)
            kinds = _names(placements)
            if set(kinds) & set(VNC_KINDS):
                workload["vnc_clients"] = workload["vnc_clients"] or USUAL_VIEWERS
            work = Workload(**workload)
            choice = (vmms, kinds, _names(irq or ""), work)
            # Everything is judged before the image is made.
            checks = _parse_checks(fail_if, _plans(*choice, Drive(Path(), "none"), trials))
            plans = _plans(*choice, _drive(stack, drive, work.rw, allow_write), trials)
        except PlanError as error:
            raise click.UsageError(str(error)) from error
        keep = stack.enter_context(save_directory(save))
        try:
            outcomes = _measure(plans, checks, keep, json_file, quiet)
        except KeyboardInterrupt:
            click.echo("bqlscope: interrupted", err=True)
            raise SystemExit(EXIT_INTERRUPTED) from None
    if any(outcome.failed for outcome in outcomes):
        raise SystemExit(EXIT_CHECK_FAILED)


def _measure(
    plans: Sequence[Plan],
    checks: Sequence[Check],
    keep: Path | None,
    json_file: Path | None,
    quiet: bool,
) -> list[Outcome]:
    """Run the trials, print, write JSON, and evaluate the checks."""
    with reporter(Console(stderr=True), sum(map(len, plans)), quiet) as shown:
        trials = Runner(plans, read_locks, keep=keep).run(shown)
    results = {plan.key: build_result(plan, detect_host(), trials) for plan in plans}
    judged = [(result, build_verdict(result)) for result in results.values()]
    outcomes = [evaluate(check, results[check.vmm]) for check in checks]
    document = build_document(judged, outcomes)
    if keep is not None:
        write_document(keep / "compare.json", document)
    console = Console(stderr=json_file == STDOUT)
    console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    if quiet:
        print_verdicts(console, judged)
    else:
        print_page(console, judged)
    for outcome in outcomes:
        line = outcome.line_with_vmm() if len(plans) > 1 else outcome.line()
        click.echo(f"--fail-if {line}", err=True)
    if json_file is not None:
        write_document(json_file, document)
    return outcomes
