# SPDX-License-Identifier: GPL-2.0-or-later
"""``bqlscope bench``: what recording costs, and this VMM against QEMU and against the bare host.

Options are declared here; everything that measures or draws is imported by the verb that runs, so
that ``--help`` costs nothing.
"""

import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import click

from vmm.commands.output import output_file, write_whole
from vmm.config import parse_size
from vmm.errors import VmmError

if TYPE_CHECKING:
    from rich.console import RenderableType

EXIT_MISSING_TOOL = 3
EXIT_TERMINATED = 143
STDOUT = Path("-")
CONTEXT = {"max_content_width": 80}
MAX_DEPTH = 256

Measured = tuple[dict[str, Any], "RenderableType"]


class MissingProgramError(click.ClickException):
    """Something to install first."""

    exit_code = EXIT_MISSING_TOOL


def _terminated(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(EXIT_TERMINATED)


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """Errors become one line and a status; SIGTERM unwinds, so children and files go away."""
    from vmm.bench.process import MissingToolError  # noqa: PLC0415 (see the module's docstring)

    previous = signal.signal(signal.SIGTERM, _terminated)
    try:
        yield
    except MissingToolError as error:
        raise MissingProgramError(str(error)) from None
    except VmmError as error:
        raise click.ClickException(str(error)) from None
    finally:
        signal.signal(signal.SIGTERM, previous)


def _tell(text: str) -> None:
    """Progress: one line on a terminal, rewritten in place; lines where nobody watches."""
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{text}", err=True, nl=False)
    else:
        click.echo(text, err=True)


def _told() -> None:
    if sys.stderr.isatty():
        click.echo("\r\x1b[K", err=True, nl=False)


def _publish(measured: Measured, json_file: Path | None) -> None:
    """Print the table, and write the JSON; the table gives way to JSON on standard output."""
    document, picture = measured
    _publish_table(picture, to_stderr=json_file == STDOUT)
    if json_file is not None:
        _write_json(json_file, document)


def _publish_table(picture: "RenderableType", *, to_stderr: bool) -> None:
    from rich.console import Console  # noqa: PLC0415

    from vmm.bench.report import print_to  # noqa: PLC0415

    _told()
    print_to(Console(stderr=to_stderr, highlight=False), picture)


def _write_json(path: Path, document: dict[str, Any]) -> None:
    text = json.dumps(document, indent=2, allow_nan=False) + "\n"
    if path == STDOUT:
        click.echo(text, nl=False)
        return
    try:
        write_whole(path, text)
    except OSError as error:
        raise click.ClickException(f"--json {path}: {error.strerror}") from None


def _document(benchmark: str, result: dict[str, Any]) -> dict[str, Any]:
    from datetime import UTC, datetime  # noqa: PLC0415

    from vmm.accel.detect import host_info  # noqa: PLC0415

    date = datetime.now(UTC).isoformat(timespec="seconds")
    return {"benchmark": benchmark, "date": date, "host": host_info().as_dict(), **result}


def _require_kvm() -> None:
    from vmm.accel.detect import kvm_problem  # noqa: PLC0415

    problem = kvm_problem()
    if problem is not None:
        raise VmmError(f"comparing with QEMU takes KVM: {problem}")


def _bytes(_ctx: click.Context, _param: click.Parameter, value: str) -> int:
    try:
        size = parse_size(value)
    except VmmError as error:
        raise click.BadParameter(str(error)) from None
    if size % 512 or not 512 <= size <= 1 << 20:
        raise click.BadParameter("expects a multiple of 512 up to 1M")
    return size


def _json_option(command: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "--json",
        "json_file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        callback=output_file,
        help="Also write the result as JSON; - is standard output (the table moves to stderr).",
    )(command)


def _trials_option(default: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(
        "--trials",
        type=click.IntRange(1, 1000),
        default=default,
        show_default=True,
        help="Rounds.",
    )


def _reads_option(default: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(
        "--reads",
        type=click.IntRange(1, 10**9),
        default=default,
        show_default=True,
        help="Register reads of a trial.",
    )


def _duration_option(command: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "--duration",
        "seconds",
        type=click.FloatRange(0.05, 3600),
        default=1.0,
        show_default=True,
        help="Measured seconds of disk reads in a trial; 0.2 s of warm-up come on top.",
    )(command)


def _versus_option(command: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "--vs",
        type=click.Choice(["qemu"]),
        default="qemu",
        show_default=True,
        help="The VMM to compare with, found in PATH.",
    )(command)


def _recorder(rounds: int = 101) -> Measured:
    from vmm.bench.report import recorder_report  # noqa: PLC0415
    from vmm.commands.bench_recorder import run  # noqa: PLC0415

    _tell("measuring lock pairs")
    try:
        figures = run(rounds=rounds)
    except OSError as error:
        raise VmmError(error.strerror or str(error)) from None
    return _document("recorder", {**figures, "config": {"rounds": rounds}}), recorder_report(
        figures
    )


def _block(drive: Path | None = None, **plan: Any) -> Measured:
    from vmm.bench import block, fio  # noqa: PLC0415
    from vmm.bench.image import readable_image, temporary_image  # noqa: PLC0415
    from vmm.bench.process import run_child  # noqa: PLC0415
    from vmm.bench.qemu import find_qemu  # noqa: PLC0415
    from vmm.bench.report import block_report  # noqa: PLC0415

    _require_kvm()
    qemu, fio_path = find_qemu(run_child), fio.find_fio()
    if drive is not None:
        chosen = block.BlockPlan(readable_image(drive), **plan)
        result = block.measure(chosen, qemu, fio_path, run_child, _tell)
    else:
        with temporary_image() as image:
            chosen = block.BlockPlan(image, **plan)
            result = block.measure(chosen, qemu, fio_path, run_child, _tell)
    return _document("block", result.as_dict()), block_report(result)


def _exits(**plan: Any) -> Measured:
    from vmm.bench import exits  # noqa: PLC0415
    from vmm.bench.process import run_child  # noqa: PLC0415
    from vmm.bench.qemu import find_qemu  # noqa: PLC0415
    from vmm.bench.report import exits_report  # noqa: PLC0415

    _require_kvm()
    result = exits.measure(exits.ExitsPlan(**plan), find_qemu(run_child), run_child, _tell)
    return _document("exits", result.as_dict()), exits_report(result)


def _qemu_recorder(program: str = "qemu-system-x86_64", **plan: Any) -> Measured:
    from vmm.bench import qemu_recorder  # noqa: PLC0415
    from vmm.bench.image import temporary_image  # noqa: PLC0415
    from vmm.bench.process import run_child  # noqa: PLC0415
    from vmm.bench.qemu import find_qemu  # noqa: PLC0415
    from vmm.bench.report import qemu_recorder_report  # noqa: PLC0415

    _require_kvm()
    qemu = find_qemu(run_child, program)
    with temporary_image() as image:
        chosen = qemu_recorder.QemuRecorderPlan(image, **plan)
        result = qemu_recorder.measure(chosen, qemu, run_child, _tell)
    return _document("qemu-recorder", result.as_dict()), qemu_recorder_report(result)


@click.group(invoke_without_command=True, context_settings=CONTEXT)
@_json_option
@click.pass_context
def bench(ctx: click.Context, json_file: Path | None) -> None:
    """Measure what recording costs, and this VMM against QEMU.

    Without a verb all four benchmarks run with their defaults; what was measured before one
    fails is still shown. Everything is measured in interleaved rounds; compare the ratios, not the
    absolute times.

    Exit status: 0 measured; 1 a run failed; 2 wrong option; 3 a program is missing
    ('make bench-deps' installs QEMU and fio).
    """
    if ctx.invoked_subcommand is not None:
        if json_file is not None:
            raise click.UsageError("--json goes behind the verb", ctx)
        return
    with _one_line_errors():
        documents: dict[str, Any] = {}
        try:
            for measure in (_recorder, _block, _exits, _qemu_recorder):
                document, picture = measure()
                documents[str(document["benchmark"])] = document
                _publish_table(picture, to_stderr=json_file == STDOUT)
        finally:
            if json_file is not None and documents:
                _write_json(json_file, documents)


@bench.command(context_settings=CONTEXT)
@click.option(
    "--rounds",
    type=click.IntRange(1, 1001),
    default=101,
    show_default=True,
    help="Interleaved rounds of 20000 pairs.",
)
@_json_option
def recorder(rounds: int, json_file: Path | None) -> None:
    """Time a lock and unlock with recording, without it, and of a bare mutex."""
    with _one_line_errors():
        _publish(_recorder(rounds), json_file)


@bench.command(context_settings=CONTEXT)
@_versus_option
@_trials_option(5)
@_duration_option
@click.option(
    "--iodepth",
    "depth",
    type=click.IntRange(1, MAX_DEPTH),
    default=32,
    show_default=True,
    help="Requests in flight.",
)
@click.option(
    "--block-size",
    default="4k",
    show_default=True,
    callback=_bytes,
    help="Bytes of a request, with k or M.",
)
@click.option(
    "--drive",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Raw image to read, never written. Default: a private temporary file whose blocks are "
    "allocated but unwritten.",
)
@click.option(
    "--qemu-aio",
    type=click.Choice(["native", "io_uring", "threads"]),
    default="native",
    show_default=True,
    help="QEMU's I/O engine; this VMM uses io_uring.",
)
@_json_option
def block(vs: str, json_file: Path | None, **options: Any) -> None:
    """Compare random reads through virtio-blk with QEMU's, and with fio on the host.

    Same guest, same file, one vCPU; the queue in the main loop and in an iothread, with recording
    on. Takes about 8 seconds a trial.
    """
    with _one_line_errors():
        _publish(_block(**options), json_file)


@bench.command(context_settings=CONTEXT)
@_versus_option
@_trials_option(9)
@_reads_option(10_000)
@_json_option
def exits(vs: str, json_file: Path | None, **options: Any) -> None:
    """Compare what a guest waits for a device register with QEMU's.

    The same serial port on both; registers implemented in C and in Python on this VMM.
    """
    with _one_line_errors():
        _publish(_exits(**options), json_file)


@bench.command("qemu-recorder", context_settings=CONTEXT)
@click.option(
    "--qemu",
    "program",
    default="qemu-system-x86_64",
    show_default=True,
    metavar="BIN",
    help="The QEMU to measure.",
)
@_trials_option(15)
@_duration_option
@_reads_option(20_000)
@_json_option
def qemu_recorder(json_file: Path | None, **options: Any) -> None:
    """Measure what recording costs an unmodified QEMU.

    Three QEMUs in turn: as it is, under 'bqlscope qemu', and with -enable-sync-profile. Disk reads
    and reads of a device register a second. Takes about 7 seconds a trial.
    """
    with _one_line_errors():
        _publish(_qemu_recorder(**options), json_file)
